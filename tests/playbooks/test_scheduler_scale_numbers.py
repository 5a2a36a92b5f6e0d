# SPDX-License-Identifier: GPL-3.0-or-later
"""What role scheduler_scale says of numbers that make no load: before anything is asked of a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

GOOD = {"scheduler_scale_run_id": "r", "scheduler_scale_results": "/r", "scheduler_scale_run_state": "/s"}
TOPOLOGY = {"zone": 4, "block": 8, "rack": 8, "nodes_per_rack": 2}
#: What is given (values of the command line are text) → what the message names; nothing for what is good.
CASES: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    (
        {"scheduler_scale_soak_minutes": "0.5", "scheduler_scale_arrival_rate": "12.5", "scheduler_scale_nodes": "10"},
        "",
    ),
    ({"scheduler_scale_nodes": "ten"}, "scheduler_scale_nodes (ten)"),
    ({"scheduler_scale_nodes": 0}, "scheduler_scale_nodes (0)"),
    ({"scheduler_scale_deadline_seconds": "-1"}, "scheduler_scale_deadline_seconds (-1)"),
    ({"scheduler_scale_rate": "fast"}, "scheduler_scale_rate (fast; empty for no rate)"),
    ({"scheduler_scale_burst_jobs_per_size": 0}, "scheduler_scale_burst_jobs_per_size (0)"),
    ({"scheduler_scale_arrival_rate": "often"}, "scheduler_scale_arrival_rate (often)"),
    ({"scheduler_scale_objective_seconds": -1}, "scheduler_scale_objective_seconds (-1)"),
    ({"scheduler_scale_soak_minutes": 0}, "scheduler_scale_soak_minutes (0)"),
    ({"scheduler_scale_topology": TOPOLOGY | {"block": 0}}, "'block': 0"),
    ({"scheduler_scale_topology": {"zone": 4}}, "zone, block, rack and nodes_per_rack"),
    ({"scheduler_scale_results": ""}, "one of them is empty"),
]


def test_numbers_that_make_no_load_are_named(tmp_path: Path) -> None:
    told = tmp_path / "told"
    told.mkdir()
    tasks = [
        {
            "name": f"Case {number}",
            "vars": GOOD | given,
            "block": [{"ansible.builtin.include_role": {"name": "scheduler_scale", "tasks_from": "preflight"}}],
            "rescue": [
                {
                    "ansible.builtin.copy": {
                        "content": "{{ ansible_failed_result['msg'] }}", "dest": f"{told}/{number}", "mode": "0600"
                    }
                }
            ],
        }
        for number, (given, _) in enumerate(CASES)
    ]  # fmt: skip
    (tmp_path / "play.yml").write_text(json.dumps([{"hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), str(tmp_path / "play.yml"), "-i", "localhost,",
            "-e", f"ansible_connection=local ansible_python_interpreter={sys.executable}"]  # fmt: skip
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    ended = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    said = {path.name: path.read_text() for path in told.iterdir()}
    assert said.keys() == {str(number) for number, (_, names) in enumerate(CASES) if names}
    wrong = {number: text for number, text in said.items() if CASES[int(number)][1] not in text}
    assert wrong == {}
