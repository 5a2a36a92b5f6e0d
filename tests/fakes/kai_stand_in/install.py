# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a folder as kai_scheduler_bin_dir names one: the five executables and crds/.

python -m tests.fakes.kai_stand_in.install FOLDER [FOLDER OF OTHER CRDS]
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import yaml

from tests.fakes.kai_stand_in.crds import documents

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("scheduler", "binder", "podgrouper", "podgroupcontroller", "queuecontroller")
#: KAI's own CRDs where a copy of them lies beside the project; no test needs it.
PUBLISHED = "NIGHTBENCH_KAI_DEFINITIONS_DIR"
SCRIPT = """\
#!{python}
import sys
sys.path.insert(0, {root!r})
import ansible.module_utils
ansible.module_utils.__path__.append({root!r} + "/plugins/module_utils")
from tests.fakes.kai_stand_in.process import main
main(sys.argv[0], sys.argv[1:])
"""


def install(folder: Path, crds: Path | None = None) -> Path:
    """Write the folder; with ``crds`` the definitions are copied from there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        path = folder / name
        path.write_text(SCRIPT.format(python=sys.executable, root=str(ROOT)), encoding="utf-8")
        path.chmod(0o755)
    (folder / "crds").mkdir(exist_ok=True)
    if crds is not None:
        for path in sorted(crds.glob("*.yaml")):
            shutil.copy(path, folder / "crds" / path.name)
        return folder
    for document in documents():
        plural, _, group = document["metadata"]["name"].partition(".")
        text = yaml.safe_dump(json.loads(json.dumps(document)), sort_keys=False)  # without references inside
        (folder / "crds" / f"{group}_{plural}.yaml").write_text(text, encoding="utf-8")
    return folder


def published_crds() -> Path | None:
    """Where KAI's own CRDs lie: NIGHTBENCH_KAI_DEFINITIONS_DIR, else beside the project."""
    folder = Path(os.environ.get(PUBLISHED) or ROOT.parent / "shared" / "fixtures" / "kai")
    return folder if (folder / "scheduling.run.ai_queues.yaml").is_file() else None


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit("usage: python -m tests.fakes.kai_stand_in.install FOLDER [FOLDER OF OTHER CRDS]")
    install(Path(sys.argv[1]), *(Path(argument) for argument in sys.argv[2:]))
