# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/gpu_hosts.yml and reap.yml as a user calls them, with a stand-in of the Compute API in place of Google."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi

BIN = Path(sys.executable).parent
RUN = "20260101T000000Z-0a1b"
HOST = f"nightbench-{RUN.lower()}-0"
NOTHING: dict[str, list[str]] = {"instances": [], "disks": [], "addresses": []}
WRITE = {
    "name": "Write results",
    "ansible.builtin.copy": {"dest": "{{ gpu_host_results }}/measured.txt", "content": "0.8 %\n", "mode": "0644"},
}


class Night:
    """A user's command line."""

    def __init__(self, cloud: ComputeApi, folder: Path, **variables: Any) -> None:
        self.cloud, self.folder = cloud, folder
        self.variables: dict[str, Any] = {
            "nightbench_run_id": RUN,
            "nightbench_results_dir": str(folder / "results"),
            "gpu_host_project": cloud.access["project"],
            "gpu_host_endpoint": cloud.url,
            "gpu_host_auth_kind": "accesstoken",
            "gpu_host_access_token": "test-token",
            "gpu_host_ssh_user": getpass.getuser(),
            "gpu_host_ssh_seconds": 20,
            "gpu_host_pause_seconds": 0.02,
            "gpu_host_dir": str(folder / "key"),
            "gpu_host_journal_dir": str(folder / "gcp"),
            "gpu_hosts_roles": ["measure"],
            **variables,
        }
        self.measure(WRITE)

    def measure(self, *tasks: dict[str, Any]) -> None:
        """What the role does that runs on the hosts."""
        path = self.folder / "roles" / "measure" / "tasks" / "main.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(list(tasks)))

    def start(self, playbook: str, *arguments: str, **variables: Any) -> subprocess.Popen[str]:
        environment = {
            **os.environ,
            "PATH": f"{self.folder / 'bin'}:{BIN}:{os.environ['PATH']}",
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": f"{ROOT / 'roles'}:{self.folder / 'roles'}",
            "HOME": str(self.folder),
            "NO_COLOR": "1",
        }
        given = json.dumps({**self.variables, **variables})
        argv = [BIN / "ansible-playbook", "-i", "inventories/gcp", f"playbooks/{playbook}.yml", "-e", given, *arguments]
        return subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def play(self, playbook: str = "gpu_hosts", *arguments: str, **variables: Any) -> tuple[int, str]:
        process = self.start(playbook, *arguments, **variables)
        output, _ = process.communicate()
        return process.returncode, " ".join(output.split())

    @property
    def results(self) -> Path:
        return self.folder / "results" / "gpu_hosts" / RUN

    @property
    def manifest(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.results / HOST / "manifest.json").read_text(encoding="utf-8"))
        return found
