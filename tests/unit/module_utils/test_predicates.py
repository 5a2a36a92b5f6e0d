# SPDX-License-Identifier: GPL-3.0-or-later
"""The readiness table: objects as YAML, and why they are not ready (null: they are)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.predicates import PREDICATES, check_parameters, look_up
from ansible.module_utils.nightbench.reasons import Hopeless

CASES = yaml.safe_load((Path(__file__).parent / "predicates.yml").read_text())


@pytest.mark.parametrize(
    ("predicate", "case"),
    [(predicate, case) for predicate, cases in CASES.items() for case in cases],
    ids=[f"{predicate}-{case['id']}" for predicate, cases in CASES.items() for case in cases],
)
def test_predicate(predicate: str, case: dict[str, Any]) -> None:
    assert PREDICATES[predicate](case["object"], case.get("parameters", {})) == case["reason"]


def test_every_predicate_has_cases() -> None:
    assert set(CASES) == set(PREDICATES)


def test_a_failed_job_is_hopeless_and_a_running_one_is_not() -> None:
    by_name = {case["id"]: PREDICATES["job_complete"](case["object"], {}) for case in CASES["job_complete"]}
    assert {name: isinstance(reason, Hopeless) for name, reason in by_name.items()} == {
        "complete": False,
        "running": False,
        "failed": True,
        "failure not true": False,
    }


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("status.phase", "Active"),
        ("spec.containers[0].image", "a:1"),
        ("spec.containers.1.image", "b:1"),
        ("spec.containers[-1].image", "b:1"),
        ("metadata.labels['a.b/c']", "d"),
        ('metadata.labels["a.b/c"]', "d"),
        (r"metadata.labels.a\.b/c", "d"),
        ("spec.zero", 0),
    ],
)
def test_paths(path: str, value: Any) -> None:
    item = {
        "metadata": {"labels": {"a.b/c": "d"}},
        "spec": {"containers": [{"image": "a:1"}, {"image": "b:1"}], "zero": 0},
        "status": {"phase": "Active"},
    }
    assert look_up(item, path) == value


@pytest.mark.parametrize(
    ("predicate", "parameters", "message"),
    [
        ("condition", {}, "predicate condition needs the parameter type."),
        (
            "condition",
            {"type": "Ready", "value": 1},
            "predicate condition has no parameter value. Known: status, type.",
        ),
        ("field", {"value": 1}, "predicate field needs the parameter path."),
        ("pod_running", {"phase": "x"}, "predicate pod_running has no parameter phase. Known: none."),
    ],
)
def test_parameters_that_cannot_be_meant(predicate: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_parameters(predicate, parameters)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("predicate", "parameters"),
    [
        ("condition", {"type": "x"}),
        ("condition", {"type": "x", "status": "y"}),
        ("field", {"path": "x"}),
        ("exists", {}),
    ],
)
def test_parameters_that_can_be_meant(predicate: str, parameters: dict[str, Any]) -> None:
    check_parameters(predicate, parameters)
