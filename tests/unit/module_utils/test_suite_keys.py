# SPDX-License-Identifier: GPL-3.0-or-later
"""A key or a word that nobody reads is refused before a run begins, with the nearest one that there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench import plan
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.project import Project

from tests.conftest import ROOT

PART = {"name": "measured", "measured": True, "form": "pods", "pods": 4, "until": "bound"}
SCENARIO: dict[str, Any] = {
    "name": "own", "title": "Own", "scheduler": "running", "needs": ["jobs"], "parts": [PART],
    "expectations": ["gang_atomic", {"one_domain_per_job": "zone"}], "metrics": ["bind_all_seconds"],
}  # fmt: skip
SUBJECT: dict[str, Any] = {
    "name": "own", "title": "Own", "scheduler_name": "own", "component": "own", "version": "", "asked_version": "",
    "installed": {"by": "hand", "kinds": []}, "capabilities": ["queues"],
}  # fmt: skip


def told(tmp_path: Path, kind: str, text: str, name: str = "own") -> list[str]:
    """What `start` says of a scenario or a subject of the caller's own."""
    folder = tmp_path / kind
    folder.mkdir()
    (folder / f"{name}.yml").write_text(text, encoding="utf-8")
    problems: list[str] = []
    settings = {f"scheduler_scale_{kind}_dirs": [str(folder)], f"scheduler_scale_{kind}s": ["own"]}
    plan.resolve(Project(ROOT), "scheduler_scale", settings, problems)
    return problems


def part(**more: Any) -> list[dict[str, Any]]:
    return [PART | more]


SCENARIOS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"parts": part(pods="{{ scheduler_scale_nodes }}", until="{{ anything }}")}, []),
    ({"nodes": {"levels": "{{ scheduler_scale_topology }}"}}, []),
    ({"need": []}, ["There is no key in scenario 'own' 'need'; the nearest is 'needs'."]),
    ({"needs": ["queue"]}, ["There is no value of needs in scenario 'own' 'queue'; the nearest is 'queues'."]),
    ({"scheduler": "stopped"},
     ["There is no value of scheduler in scenario 'own' 'stopped'; there is: released, running."]),
    ({"metrics": ["bind_all"]},
     ["There is no value of metrics in scenario 'own' 'bind_all'; the nearest is 'bind_all_seconds'."]),
    # It would be a scenario that asserts nothing.
    ({"expectations": ["gangs_atomic", {"one_domain_a_job": "zone"}]},
     ["There is no value of expectations in scenario 'own' 'gangs_atomic'; the nearest is 'gang_atomic'.",
      "There is no value of expectations in scenario 'own' 'one_domain_a_job'; the nearest is 'one_domain_per_job'."]),
    ({"parts": part(untill="bound", until="runing")},
     ["There is no key in scenario 'own', parts 'measured' 'untill'; the nearest is 'until'.",
      "There is no value of until in scenario 'own', parts 'measured' 'runing'; the nearest is 'running'."]),
    ({"parts": part(topology={"level": "row", "placement": "required", "depth": 1})},
     ["There is no key in scenario 'own', parts 'measured', topology 'depth'; there is: level, placement.",
      "There is no value of level in scenario 'own', parts 'measured', topology 'row'; there is: block, rack, zone."]),
    ({"queues": {"victims": {"gpu": {"quota": 0, "limit": -1, "weight": 0}, "priority": 50}}}, []),
    ({"queues": {"victims": {"gpu": {"quota": 0, "limits": -1, "weight": 0}, "priorty": 50}}},
     ["There is no key in scenario 'own', queues 'victims' 'priorty'; the nearest is 'priority'.",
      "There is no key in scenario 'own', queues 'victims', gpu 'limits'; the nearest is 'limit'.",
      "The scenario 'own', queues 'victims', gpu lacks the key 'limit'."]),
    ({"parts": ["measured"]},
     ["In scenario 'own', parts there is 'measured'; it has to be a mapping of keys."]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), SCENARIOS)
def test_a_scenario_that_is_not_understood_is_refused(
    tmp_path: Path, change: dict[str, Any], expected: list[str]
) -> None:
    assert told(tmp_path, "scenario", yaml.safe_dump(SCENARIO | change)) == expected


@pytest.mark.parametrize("key", ["title", "scheduler", "needs", "metrics"])
def test_a_scenario_that_lacks_a_key_is_refused(tmp_path: Path, key: str) -> None:
    text = yaml.safe_dump({name: value for name, value in SCENARIO.items() if name != key})
    assert told(tmp_path, "scenario", text) == [f"The scenario 'own' lacks the key '{key}'."]


SUBJECTS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"capabilites": ["gangs"]}, ["There is no key in subject 'own' 'capabilites'; the nearest is 'capabilities'."]),
    ({"capabilities": ["gang"]},
     ["There is no value of capabilities in subject 'own' 'gang'; the nearest is 'gangs'."]),
    ({"manifests": {"queues": []}},
     ["There is no key in subject 'own', manifests 'queues'; the nearest is 'queue'."]),
    ({"marks": {"bond": "own"}}, ["There is no value of marks in subject 'own' 'bond'; the nearest is 'bound'."]),
    ({"observed": {"group": {"kind": "Group"}}},
     ["The subject 'own', observed, group lacks the key 'api_version'."]),
]  # fmt: skip


@pytest.mark.parametrize(("change", "expected"), SUBJECTS)
def test_a_subject_that_is_not_understood_is_refused(
    tmp_path: Path, change: dict[str, Any], expected: list[str]
) -> None:
    assert told(tmp_path, "subject", yaml.safe_dump(SUBJECT | change)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: own\n  x: [", "mapping values are not allowed"),
        ("- own", "it has no name"),
        ("name: other", "it is named 'other' inside"),
    ],
)
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError, match=expected) as told_of:
        told(tmp_path, "scenario", text)
    assert str(tmp_path / "scenario" / "own.yml") in str(told_of.value)
