# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios, subjects and the probe of gpu_overhead fit together and run where they have to."""

from __future__ import annotations

import ast
import json
import sys
from typing import Any

import pytest

from harness.overhead import evidence, measures
from harness.overhead.experiment_checks import RECOVERED
from tests.contract.tree import ROOT, name_of, read_yaml, role_yaml, under

FILES = ROOT / "roles" / "gpu_overhead" / "files"
SCENARIOS = {path.stem: read_yaml(path) for path in sorted((FILES / "scenarios").glob("*.yml"))}
SUBJECTS = {path.stem: read_yaml(path) for path in sorted((FILES / "subjects").glob("*.yml"))}
METRICS = {one["name"]: one for one in json.loads((ROOT / "harness/schema/metrics.json").read_text())["metrics"]}
LACKING = role_yaml("gpu_overhead", "vars", "main.yml")["__gpu_overhead_lacking"]
PROBE = under("roles/gpu_overhead/files/gpu_probe", ".py")
# Newer than the Python that the probe has to run on.
NEWER = {"tomllib"}
KEYS = {"name", "layers", "argv", "arguments", "environment", "plan", "counter", "layer", "processes"}
KEYS |= {"objectives", "evidence", "without_evidence", "true_overhead"}
each_subject = pytest.mark.parametrize("name", SUBJECTS)


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_names_what_there_is(name: str) -> None:
    scenario = SCENARIOS[name]
    assert scenario["name"] == name
    assert set(scenario["metrics"]) <= set(measures.BY_METRIC) & set(METRICS)
    assert set(scenario["subjects"]) | set(scenario.get("native_subjects", [])) <= set(SUBJECTS)
    variants = {one["name"] for subject in SUBJECTS.values() for one in subject["variants"]}
    assert {scenario["native"], scenario["again"]} <= variants


@each_subject
def test_a_subject_is_whole(name: str) -> None:
    subject = SUBJECTS[name]
    assert (subject["name"], set(subject)) == (name, {"name", "title", "judged", "needs", "variants"})
    assert set(subject["needs"]) <= set(LACKING)
    names = [one["name"] for one in subject["variants"]]
    assert subject["judged"] in ["", *names]
    assert [set(one) - KEYS for one in subject["variants"]] == [set()] * len(names)


def objectives() -> list[dict[str, Any]]:
    return [one.get("objectives", {}) for subject in SUBJECTS.values() for one in subject["variants"]]


@each_subject
def test_every_evidence_and_class_is_known_to_those_who_judge(name: str) -> None:
    known = {*evidence.ALWAYS, *evidence.OF_LAYERS, RECOVERED}
    kinds = {measure.kind for measure in measures.TABLE}
    for variant in SUBJECTS[name]["variants"]:
        assert set(variant.get("evidence", [])) | set(variant.get("without_evidence", [])) <= known
        assert set(variant.get("objectives", {})) <= kinds


def test_the_published_objectives_are_those_of_compute_and_of_nothing_else() -> None:
    found = {name: SUBJECTS[name]["variants"][0]["objectives"] for name in ("k8s", "proxy", "k8s_hypervisor")}
    assert [one["compute"] for one in found.values()] == [0.01, 0.05, 0.10]
    assert all(one["control"] < 1e-3 for one in found.values()), "seconds a call, no share"


def test_a_subject_with_a_layer_asks_whether_it_was_there() -> None:
    layered = {name: one for name, one in SUBJECTS.items() for variant in one["variants"] if variant["layers"]}
    assert [name for name, one in layered.items() if not one["variants"][0].get("evidence")] == []


def test_every_measure_is_a_metric_of_its_unit() -> None:
    units = {"ratio": "ratio", "seconds": "s"}
    assert {one.metric: units[one.scale.name] for one in measures.TABLE} == {
        one.metric: METRICS[one.metric]["unit"] for one in measures.TABLE
    }


@pytest.mark.parametrize("path", PROBE, ids=name_of)
def test_the_probe_needs_python_3_9_and_nothing_else(path: Any) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 9))
    tops = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and node.level == 0
            else []
        )
    }
    assert tops - {"gpu_probe"} <= set(sys.stdlib_module_names) - NEWER
    assert not any(isinstance(node, ast.Match) for node in ast.walk(tree))
    assert "strict=" not in text, "zip knows it since 3.10"
