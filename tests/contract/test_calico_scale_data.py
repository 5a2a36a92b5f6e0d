# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios and subjects of calico_scale are data: each means something, and its metrics are what its kind gives."""

from __future__ import annotations

import json

import pytest
from ansible.modules import bench_dataplane, bench_observation

from harness.churn.gangs import METRICS as CHURN
from harness.felix.starts import LEGS
from harness.nodes.load import METRICS as NODES
from harness.policy.changes import OF_METRIC, PROBE_CPU
from tests.contract.tree import ROOT, read_yaml, under

SCENARIOS = {path.stem: read_yaml(path) for path in under("roles/calico_scale/files/scenarios", ".yml")}
SUBJECTS = {path.stem: read_yaml(path) for path in under("roles/calico_scale/files/subjects", ".yml")}
KNOWN = {metric["name"] for metric in json.loads((ROOT / "harness/schema/metrics.json").read_text())["metrics"]}
OF_KIND = {
    "policy_latency": {*OF_METRIC, PROBE_CPU},
    "churn": set(CHURN),
    "node_load": set(NODES),
    "felix_start": set(LEGS),
}

each_scenario = pytest.mark.parametrize("name", SCENARIOS)


@each_scenario
def test_a_scenario_has_the_keys_that_the_role_reads(name: str) -> None:
    keys = {"name", "title", "nightly", "metrics", "kind", "load"}
    assert (set(SCENARIOS[name]), SCENARIOS[name]["name"]) == (keys, name)


@each_scenario
def test_a_scenario_plans_what_its_kind_gives(name: str) -> None:
    scenario = SCENARIOS[name]
    assert set(scenario["metrics"]) <= OF_KIND[scenario["kind"]] <= KNOWN
    assert (ROOT / "roles/calico_scale/tasks" / f"{scenario['kind']}.yml").exists()
    assert scenario["kind"] in bench_observation.OBSERVATION_SPEC["kind"]["choices"]


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subject_is_a_dataplane_that_can_be_observed(name: str) -> None:
    subject = SUBJECTS[name]
    assert (set(subject), subject["name"]) == ({"name", "title", "dataplane"}, name)
    assert subject["dataplane"] in bench_dataplane.ARGUMENT_SPEC["asked"]["choices"]


def test_there_is_a_subject_for_every_dataplane() -> None:
    found = sorted(subject["dataplane"] for subject in SUBJECTS.values())
    assert found == sorted(bench_dataplane.ARGUMENT_SPEC["asked"]["choices"])
