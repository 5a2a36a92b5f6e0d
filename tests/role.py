# SPDX-License-Identifier: GPL-3.0-or-later
"""A role by ansible-playbook, as a user has it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT

BIN = Path(sys.executable).parent
GOLDEN = ROOT / "tests" / "fixtures" / "golden"
CHARTS = ROOT / "tests" / "fixtures" / "charts"


@dataclass(frozen=True)
class Played:
    """How a play ended."""

    rc: int
    changed: int
    output: str
    #: What the play left in the file that its last task writes.
    facts: dict[str, Any]


def golden(name: str) -> Any:
    return yaml.safe_load((GOLDEN / name).read_text(encoding="utf-8"))


def need_helm_collection() -> None:
    """kubernetes.core comes with requirements-dev.txt and requirements-cluster.txt."""
    known = subprocess.run([BIN / "ansible-doc", "--list", "kubernetes.core"], capture_output=True, check=False)
    if b"kubernetes.core.helm " not in known.stdout:
        pytest.skip("the collection kubernetes.core is not installed: pip install -r requirements-cluster.txt")


def play_role(
    role: str, directory: Path, variables: dict[str, Any], *arguments: str, fact: str = "", tasks_from: str = "main"
) -> Played:
    """Run the role, or one file of its tasks, with these variables; ``fact`` is brought back."""
    left = directory / "fact.json"
    left.unlink(missing_ok=True)
    keep = {
        "name": "Keep the fact",
        "ansible.builtin.copy": {"dest": str(left), "content": "{{ " + fact + " | to_json }}"},
        "changed_when": False,
        "when": f"{fact} is defined",
    }
    play = {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": sys.executable, **variables},
        "tasks": [
            {"name": "Role", "ansible.builtin.include_role": {"name": role, "tasks_from": tasks_from}},
            *([keep] if fact else []),
        ],
    }
    playbook = directory / "play.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "NO_COLOR": "1",
        "HOME": str(directory),
    }
    environment.pop("KUBECONFIG", None)
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", "localhost,", playbook, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    recap = re.search(r"localhost +: .*changed=(\d+) ", output)
    facts = json.loads(left.read_text(encoding="utf-8")) if left.exists() else {}
    return Played(done.returncode, int(recap[1]) if recap else -1, output, facts)


def changes(played: Played) -> int:
    """How many tasks changed something, of a play that succeeded."""
    assert played.rc == 0, played.output
    return played.changed
