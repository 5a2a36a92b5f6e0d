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
KEYS = {"name", "title", "layers", "argv", "arguments", "environment", "plan", "counter", "layer", "processes"}
KEYS |= {"objectives", "evidence", "without_evidence", "true_overhead", "proxy"}
PROXIES = {path.stem: read_yaml(path) for path in under("roles/gpu_proxy/files/proxies", ".yml")}
PROOFS = role_yaml("gpu_overhead", "vars", "main.yml")["__gpu_overhead_proofs"]
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


def test_the_published_objectives_are_those_of_applications_and_compute_and_of_nothing_else() -> None:
    found = {name: SUBJECTS[name]["variants"][0]["objectives"] for name in ("k8s", "proxy", "k8s_hypervisor")}
    for kind in ("application", "compute"):
        assert [one[kind] for one in found.values()] == [0.01, 0.05, 0.10]
    assert all(one["control"] < 1e-3 for one in found.values()), "seconds a call, no share"


def test_a_subject_with_a_layer_asks_whether_it_was_there() -> None:
    layered = {name: variant for name, one in SUBJECTS.items() for variant in one["variants"] if variant["layers"]}
    assert [name for name, one in layered.items() if not (one.get("evidence") or one.get("proxy") in PROXIES)] == []


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_is_seen_in_place_active_and_enforcing(name: str) -> None:
    proxy = PROXIES[name]
    assert proxy["name"] == name
    assert set(proxy) <= set(role_yaml("gpu_proxy", "vars", "main.yml")["__gpu_proxy_keys"])
    assert [what for what, proofs in PROOFS.items() if not set(proofs) & set(proxy["evidence"])] == []
    assert set(proxy["evidence"]) <= set(evidence.OF_LAYERS)
    assert set(proxy.get("without_evidence", [])) <= set(evidence.ALWAYS)
    assert "attested" not in proxy.get("without_evidence", []) or "service_attested" in proxy["evidence"]


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_brings_what_its_evidence_looks_for(name: str) -> None:
    looks_for = {"layer_loaded": "library", "layer_keeps_books": "shared", "layer_counted": "counter"}
    looks_for |= {"service_attested": "service", "speed_limited": "speed", "limit_enforced": "limit_bytes"}
    proxy = PROXIES[name]
    assert [what for proof, what in looks_for.items() if proof in proxy["evidence"] and not proxy.get(what)] == []


def test_two_proxies_never_share_what_they_read_their_limits_from() -> None:
    """HAMi-core takes them from the file that is there, not from its environment."""
    found = [
        PROXIES[name]["environment"]["CUDA_DEVICE_MEMORY_SHARED_CACHE"] for name in ("hami_core", "hami_core_half")
    ]
    assert len(set(found)) == 2
    assert all("gpu_proxy_limit_bytes" in cache for cache in found)


def test_the_night_of_one_machine_asks_for_every_row_and_for_the_calibration() -> None:
    """Where there is no device every real row says so by itself; none is left out."""
    asked = read_yaml(ROOT / "inventories" / "local" / "group_vars" / "all" / "gpu_overhead.yml")
    assert set(asked["gpu_overhead_scenarios"]) == set(SCENARIOS)
    assert set(asked["gpu_overhead_subjects"]) == {
        one for scenario in SCENARIOS.values() for one in scenario["subjects"]
    }
    real = set(SCENARIOS["isolation"]["subjects"])
    assert [name for name in real if "nvidia" not in SUBJECTS[name]["needs"]] == []
    assert (set(SUBJECTS) - real, "nvidia" in SUBJECTS["calibration"]["needs"]) == ({"host", "calibration"}, False)


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
