# SPDX-License-Identifier: GPL-3.0-or-later
"""What a subject's components may use: as the fairness manifest tells it, and whether it is what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.scheduler_scale import evaluated

DEPLOYMENT = {"deployment": {"namespace": "kai-scheduler", "name": "binder"}}
LIMITS, REQUESTS = {"cpu": "400m", "memory": "2500Mi"}, {"cpu": "100m"}
#: A component → its replicas, CPU and memory.
CASES: list[tuple[dict[str, Any], tuple[Any, Any, Any]]] = [
    ({"process": {"name": "binder"}}, (1, "no limit", "no limit")),
    ({"pid": 7}, (1, "no limit", "no limit")),
    (DEPLOYMENT, (None, "unknown", "unknown")),
    ({**DEPLOYMENT, "runs_with": {"replicas": 3}}, (3, "no limit", "no limit")),
    ({**DEPLOYMENT, "runs_with": {"replicas": 2, "limits": LIMITS}}, (2, "400m", "2500Mi")),
    (
        {**DEPLOYMENT, "runs_with": {"replicas": 2, "limits": LIMITS, "requests": REQUESTS}},
        (2, {"limit": "400m", "request": "100m"}, "2500Mi"),
    ),
    (
        {**DEPLOYMENT, "runs_with": {"replicas": 1, "requests": {"memory": 1024}}},
        (1, "no limit", {"limit": "no limit", "request": "1024"}),
    ),
]


def test_limits_and_requests_are_told_where_they_were_read_back(tmp_path: Path) -> None:
    subject = {"__scheduler_scale_subject": {"components": ["binder"]}}
    cases = [{**subject, "scheduler_scale_components": {"binder": component}} for component, _ in CASES]
    found = evaluated(tmp_path, "__scheduler_scale_sizes", cases)
    assert [tuple(one[key]["binder"] for key in ("replicas", "cpu", "memory")) for one in found] == [
        told for _, told in CASES
    ]


ADDRESS = "https://127.0.0.1:10259/configz"
READ_BACK = {
    "component": "binder",
    "key": "qps",
    "asked": 1000,
    "observed": 1000,
    "source": "Deployment",
    "holds": True,
}
LIMITED = {"configz_url": ADDRESS, "limits": {"qps": 20.0, "burst": 100}}


def check(key: str, asked: float, observed: float | None) -> dict[str, Any]:
    told = {"component": "kube-scheduler", "key": key, "asked": asked, "observed": observed, "source": ADDRESS}
    holds = asked == observed
    return {**told, "holds": holds, "reason": "" if holds else "it runs with another one"}


#: The component, what its /configz answers, what its role read back → the checks.
EFFECTS: list[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]], list[dict[str, Any]]]] = [
    (LIMITED, {"qps": 20, "burst": 100}, [], [check("qps", 20, 20), check("burst", 100, 100)]),
    (LIMITED, {"qps": 50, "burst": 100}, [], [check("qps", 20, 50), check("burst", 100, 100)]),
    (LIMITED, {}, [], [check("qps", 20, None), check("burst", 100, None)]),
    # Who tells nothing of itself is read back by its own role.
    ({"limits": {"qps": 20}}, {}, [READ_BACK], [READ_BACK]),
    ({"configz_url": ADDRESS}, {"qps": 50}, [], []),
    ({}, {}, [], []),
]


def test_a_limit_that_did_not_take_effect_is_a_check_that_does_not_hold(tmp_path: Path) -> None:
    configz = {name: ["clientConnection", name] for name in ("qps", "burst")}
    cases = [
        {
            "__scheduler_scale_pair": ["one", "kube-scheduler"],
            "__scheduler_scale_subject": {"component": "kube-scheduler", "configz": configz},
            "scheduler_scale_components": {"kube-scheduler": component},
            "__scheduler_scale_configz": {"json": {"clientConnection": told}},
            "scheduler_scale_configuration": {"kube-scheduler": read_back},
        }
        for component, told, read_back, _ in EFFECTS
    ]
    assert evaluated(tmp_path, "__scheduler_scale_checks", cases) == [checks for *_, checks in EFFECTS]


MOVES = {"consolidation": {"--moves": "{{ 4000 }}"}}
RUNS: dict[str, Any] = {"process": {"name": "own", "argv": ["/bin/own", "--qps=1"]}}
SET: dict[str, Any] = {"process": {"name": "own", "argv": ["/bin/own", "--moves=16"]}}
IN_A_CLUSTER = {"deployment": {"namespace": "n", "name": "d"}, "runs_with": {"arguments": {"qps": "1"}}}
SET_THERE = {**IN_A_CLUSTER, "runs_with": {"arguments": {"moves": "16"}}}
LACKS = (
    "own has to run with --moves=4000 for this, its command line says nothing of it, and nobody can start it anew "
    "here; have role own set it"
)
UNTOLD = "own does not say that it can do this: reclaim"
#: The component, what the scenario needs, its own words for what it cannot → what it is started with, and why not.
ARGUMENTS: list[tuple[dict[str, Any], list[str], dict[str, str], list[str], list[str]]] = [
    (RUNS, ["consolidation"], {}, ["/bin/own", "--qps=1", "--moves=4000"], []),
    (RUNS, [], {}, ["/bin/own", "--qps=1"], []),
    # Who says it himself is believed.
    (SET, ["consolidation"], {}, ["/bin/own", "--moves=16"], []),
    (IN_A_CLUSTER, ["consolidation"], {}, [], [LACKS]),
    (SET_THERE, ["consolidation"], {}, [], []),
    # Nobody knows what it runs with.
    ({"deployment": IN_A_CLUSTER["deployment"]}, ["consolidation"], {}, [], []),
    (RUNS, ["reclaim"], {}, ["/bin/own", "--qps=1"], [UNTOLD]),
    (RUNS, ["reclaim"], {"reclaim": "own takes nothing back"}, ["/bin/own", "--qps=1"], ["own takes nothing back"]),
]


def test_a_scenario_is_run_with_the_arguments_that_it_needs_or_says_why_not(tmp_path: Path) -> None:
    cases = [
        {
            "__scheduler_scale_pair": ["one", "own"],
            "__scheduler_scale_scenario": {"name": "one", "needs": needs},
            "__scheduler_scale_subject": {
                "name": "own", "component": "own", "capabilities": ["consolidation"], "cannot": cannot,
                "installed": {"by": "role own"}, "arguments": MOVES,
            },
            "scheduler_scale_components": {"own": component},
        }
        for component, needs, cannot, _, _ in ARGUMENTS
    ]  # fmt: skip
    expression = (
        "[(__scheduler_scale_process['argv'] if __scheduler_scale_can['stop_scheduler'] else []), "
        "__scheduler_scale_reasons]"
    )
    assert evaluated(tmp_path, expression, cases) == [[argv, reasons] for *_, argv, reasons in ARGUMENTS]


def test_a_module_that_was_killed_is_told_with_what_to_do(tmp_path: Path) -> None:
    killed = "Module result deserialization failed: No start of json char found"
    cases = [
        {"ansible_failed_task": {"name": "Load"}, "ansible_failed_result": result}
        for result in ({"msg": killed}, {"msg": "refused"}, {})
    ]
    found = evaluated(tmp_path, "__scheduler_scale_failure", cases)
    assert found[0].startswith(f"Load: {killed} (the module ended without an answer: it was killed")
    assert found[1:] == ["Load: refused", "Load: no message"]
