# SPDX-License-Identifier: GPL-3.0-or-later
"""Which scenarios a resumed run takes up again: repeats that are missing, and confirmations that were cut off."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scheduler_scale import evaluated

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
        (
            {
                "scheduler_scale_scenarios": ["finished", "missing_repeat"],
                "scheduler_scale_scenario_repeats": {"finished": "2"},
            },
            [["finished", "kube-scheduler"]],
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
    found = evaluated(tmp_path, "__scheduler_scale_open_pairs", [{**given, **variables} for variables, _ in asked])
    assert found == [pairs for _, pairs in asked]
