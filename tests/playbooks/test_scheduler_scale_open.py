# SPDX-License-Identifier: GPL-3.0-or-later
"""Which scenarios a resumed run takes up again: repeats that are missing, and confirmations that were cut off."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

ROLE = ROOT / "roles" / "scheduler_scale"
FITS = {"within": True, "predicted": 12.5, "requests_per_pod": 1.0}
COMPONENTS = {"kube-scheduler": {"process": {"name": "kube-scheduler"}}}


def load(scenario: str, repeat: int, limit: dict[str, Any] | None = None) -> dict[str, Any]:
    pair = {"scenario": scenario, "subject": "kube-scheduler"}
    return {**pair, "kind": "pod_load", "repeat": repeat, "role": None, "client_limit": limit}


def confirmation(scenario: str, role: str) -> dict[str, Any]:
    return {**load(scenario, 1), "kind": "confirmation", "role": role}


def test_what_is_not_finished_and_only_that_is_taken_up_again(tmp_path: Path) -> None:
    known = [
        load("finished", 1),
        load("missing_repeat", 2),
        load("confirmed", 1, FITS),
        confirmation("confirmed", "second_size"),
        confirmation("confirmed", "doubled_limit"),
        load("cut_off", 1, FITS),
        confirmation("cut_off", "second_size"),
        {**load("not_here", 1), "kind": "not_runnable", "repeat": None},
    ]
    asked: list[tuple[dict[str, Any], list[list[str]]]] = [
        ({"scheduler_scale_scenarios": ["finished"]}, []),
        (
            {"scheduler_scale_scenarios": ["missing_repeat"], "scheduler_scale_repeats": 2},
            [["missing_repeat", "kube-scheduler"]],
        ),
        ({"scheduler_scale_scenarios": ["confirmed"]}, []),
        ({"scheduler_scale_scenarios": ["confirmed", "cut_off"]}, [["cut_off", "kube-scheduler"]]),
        ({"scheduler_scale_scenarios": ["cut_off"], "scheduler_scale_confirm": False}, []),
        ({"scheduler_scale_scenarios": ["cut_off"], "scheduler_scale_components": {}}, []),
        ({"scheduler_scale_scenarios": ["not_here"], "scheduler_scale_repeats": 2}, []),
    ]
    given = {
        "__scheduler_scale_known": {"known": known},
        "scheduler_scale_components": COMPONENTS,
        "scheduler_scale_repeats": 1,
    }
    assert open_pairs(tmp_path, [{**given, **variables} for variables, _ in asked]) == [pairs for _, pairs in asked]


def open_pairs(tmp_path: Path, cases: list[dict[str, Any]]) -> list[Any]:
    """What the role's own variables make of the observations that stand there, for each case."""
    answers = [tmp_path / f"answer{number}.json" for number in range(len(cases))]
    tasks = [
        {
            "name": f"Write {answer.name}",
            "ansible.builtin.copy": {
                "content": "{{ __scheduler_scale_open_pairs | to_json }}",
                "dest": str(answer),
                "mode": "0600",
            },
            "vars": variables,
        }
        for answer, variables in zip(answers, cases, strict=True)
    ]
    files = [str(ROLE / "defaults" / "main.yml"), *sorted(str(path) for path in (ROLE / "vars" / "main").glob("*.yml"))]
    play = [{"hosts": "localhost", "gather_facts": False, "vars_files": files, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(json.dumps(play))
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), str(tmp_path / "play.yml")]
    finished = subprocess.run(
        [*argv, "-i", "localhost,", "-e", f"ansible_connection=local ansible_python_interpreter={sys.executable}"],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return [json.loads(answer.read_text()) for answer in answers]
