# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes a folder as calico_bin_dir names one: calico-felix, calico, calico-typha, crds/ and the pages of the stand-ins.

python -m tests.fakes.calico_stand_in.install FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import yaml

from tests.fakes.calico_pages import FELIX, IPTABLES, TYPHA, page

ROOT = Path(__file__).resolve().parents[3]
#: Felix by the name that it has as a program of its own, or in the image of a node.
FELIX_NAMES = ("calico-felix", "calico-node")
KINDS = {
    "ClusterInformation": "clusterinformations",
    "FelixConfiguration": "felixconfigurations",
    "IPPool": "ippools",
}
GROUP = "crd.projectcalico.org"
#: Calico's own kinds where a copy of them lies beside the project; no test needs it.
PUBLISHED = Path(os.environ.get("NIGHTBENCH_CALICO_DEFINITIONS_DIR") or ROOT.parent / "shared/fixtures/calico/crd")


def install(folder: Path, felix: str = FELIX_NAMES[0]) -> Path:
    (folder / "crds").mkdir(parents=True, exist_ok=True)
    for name, source in {felix: "felix.py", "calico": "plugin.py", "calico-typha": "typha.py"}.items():
        text = Path(__file__).with_name(source).read_text(encoding="utf-8")
        (folder / name).write_text(f"#!{sys.executable}\n{text}", encoding="utf-8")
        (folder / name).chmod(0o755)
    pages = {"nftables": page(FELIX), "iptables": page(FELIX, **IPTABLES), "typha": page(TYPHA)}
    (folder / "pages.json").write_text(json.dumps(pages), encoding="utf-8")
    for kind, plural in KINDS.items():
        name = f"{GROUP}_{plural}.yaml"
        if (PUBLISHED / name).is_file():
            shutil.copy(PUBLISHED / name, folder / "crds" / name)
        else:
            (folder / "crds" / name).write_text(yaml.safe_dump(definition(kind, plural)), encoding="utf-8")
    return folder


def definition(kind: str, plural: str) -> dict[str, object]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Cluster",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": f"{kind}List"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.fakes.calico_stand_in.install FOLDER")
    install(Path(sys.argv[1]))
