# SPDX-License-Identifier: GPL-3.0-or-later
"""Role scheduler_scale on the tests' control plane, with scenarios and subjects that are files of a user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.nightbench.errors import NotFound
from ansible.module_utils.nightbench.kube import Call, Kube

from tests.conftest import ROOT
from tests.control_plane import ControlPlane
from tests.role import BIN, Played, play_role

NAMESPACE = "nightbench-scheduler-scale"
LABELS = {"type": "kwok", "scheduler-scale-role": "yes"}
RUN_ID = "20260101T000000Z-5ca1"
NODES = 4


def scenario(name: str, *parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """One whose queue has its own name, measured unless it says something else."""
    measured = {"name": "measured", "measured": True, "form": "pods", "pods": 4, "queue": name, "until": "bound"}
    queues = {name: {"gpu": {"quota": -1, "limit": -1, "weight": 1}}}
    told = {"name": name, "title": f"Scenario {name}", "scheduler": "running", "needs": ["queues"], "queues": queues}
    return {**told, "parts": list(parts) or [measured], "metrics": ["bind_all_seconds"], **more}


class Suite:
    """The role on the test's control plane, with a folder of its own scenarios and one of subjects."""

    def __init__(self, directory: Path, kubeconfig: str) -> None:
        self.directory = directory
        self.kubeconfig = kubeconfig
        self.results = directory / "results"
        for name in ("results", "state", "scenarios", "subjects"):
            (directory / name).mkdir()

    def write(self, folder: str, *documents: dict[str, Any]) -> list[str]:
        for one in documents:
            (self.directory / folder / f"{one['name']}.yml").write_text(yaml.safe_dump(one), encoding="utf-8")
        return [one["name"] for one in documents]

    def play(self, scenarios: list[str], subjects: list[str], **more: Any) -> Played:
        variables = {
            "scheduler_scale_kubeconfig": self.kubeconfig,
            "scheduler_scale_run_id": RUN_ID,
            "scheduler_scale_results": str(self.results),
            "scheduler_scale_run_state": str(self.directory / "state"),
            "scheduler_scale_progress": "",
            "scheduler_scale_audit_log": "",
            "scheduler_scale_components": {},
            "scheduler_scale_configuration": {},
            "scheduler_scale_failed_tools": {},
            "scheduler_scale_nodes": NODES,
            "scheduler_scale_node_selector": LABELS,
            "scheduler_scale_repeats": 1,
            "scheduler_scale_deadline_seconds": 120,
            "scheduler_scale_scenario_dirs": [str(self.directory / "scenarios")],
            "scheduler_scale_subject_dirs": [str(self.directory / "subjects")],
            "scheduler_scale_scenarios": scenarios,
            "scheduler_scale_subjects": subjects,
        }
        return play_role("scheduler_scale", self.directory, variables | more)

    def observed(self, kind: str) -> dict[str, Any]:
        """Values of the first observation of the kind, by its scenario: what is written down later follows from it."""
        return {one["scenario"]: one["values"] for one in reversed(self.observations(kind))}

    def observations(self, kind: str) -> list[dict[str, Any]]:
        lines = (self.results / "observations.jsonl").read_text(encoding="utf-8").splitlines()
        return [one for one in map(json.loads, lines) if one["kind"] == kind]


@contextmanager
def nodes(control_plane: ControlPlane, prefix: str) -> Iterator[None]:
    """Four fake nodes of 8 GPUs; kwok runs no pod on a node that comes again before its lease has ended."""
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "8"}
    names = [f"{prefix}-{number}" for number in range(NODES)]
    with closing(control_plane.kube()) as kube:
        for name in names:
            metadata = {"name": name, "labels": LABELS, "annotations": {"kwok.x-k8s.io/node": "fake"}}
            body = {"metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}}
            kube.request("POST", "/api/v1/nodes", body=body)
        yield
        kube.map([Call("DELETE", f"/api/v1/nodes/{name}") for name in names])


def exists(kube: Kube, path: str) -> bool:
    try:
        kube.request("GET", path)
    except NotFound:
        return False
    return True


def through(directory: Path, url: str) -> str:
    """A kubeconfig of an address that asks for no certificate."""
    place = {"name": "proxy", "cluster": {"server": url}}
    context = {"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}
    document = {"apiVersion": "v1", "kind": "Config", "clusters": [place], "contexts": [context],
                "users": [{"name": "nobody", "user": {}}], "current-context": "proxy"}  # fmt: skip
    path = directory / "proxy.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def evaluated(directory: Path, expression: str, cases: list[dict[str, Any]]) -> list[Any]:
    """What the role's own variables make of an expression where a case gives these variables, for each case."""
    role = ROOT / "roles" / "scheduler_scale"
    answers = [directory / f"answer{number}.json" for number in range(len(cases))]
    tasks = [
        {
            "name": f"Write {answer.name}",
            "ansible.builtin.copy": {
                "content": "{{ " + expression + " | to_json }}",
                "dest": str(answer),
                "mode": "0600",
            },
            "vars": variables,
        }
        for answer, variables in zip(answers, cases, strict=True)
    ]
    files = [str(role / "defaults" / "main.yml"), *sorted(str(path) for path in (role / "vars" / "main").glob("*.yml"))]
    play = [{"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": tasks}]
    (directory / "play.yml").write_text(json.dumps(play))
    finished = subprocess.run(
        [str(BIN / "ansible-playbook"), str(directory / "play.yml"), "-i", "localhost,",
         "-e", f"ansible_connection=local ansible_python_interpreter={sys.executable}"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return [json.loads(answer.read_text()) for answer in answers]
