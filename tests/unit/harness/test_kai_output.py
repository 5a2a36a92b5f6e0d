# SPDX-License-Identifier: GPL-3.0-or-later
"""A run in the form of the KAI project's suite has the structure of what the project publishes itself."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import kai_result, kai_tests
from harness.report import report
from harness.results import RunFolder
from tests.fakes import kai_results, run_builder
from tests.fakes.job_run_builder import JobShape, build, loads
from tests.fakes.run_builder import OFF, ON, Run

ROOT = Path(__file__).resolve().parents[3]
SCENARIOS = sorted((ROOT / "roles/scheduler_scale/files/scenarios").glob("*.yml"))
# What upstream's dashboard looks for, by name and field.
UPSTREAM = {
    "Fill Cluster with single GPU Jobs": "time",
    "Fill Cluster with single GPU Jobs - scheduler is running while submitting jobs": "time",
    "Fill Cluster with single GPU Jobs with 400 pending tasks in background": "time",
    "Allocate with preferred topology": "time",
    "Allocate without preferred topology": "time",
    "Average time to unschedulable for distributed job": "average time to unschedulable (seconds)",
    "Reclaim time for one very large job": "time to reclaim (seconds)",
    "Measuring reclaim time for single GPU": "average time to reclaim single GPU (seconds)",
    "Reclaim 4000 single GPU Jobs": "time",
    "Multi Node Reclaim for distributed jobs": "time",
    "Consolidation to run multiple distributed jobs": "time",
    "NCCL Simulation on empty cluster": "time(seconds)",
}


def published() -> dict[str, Any]:
    """The published example where it is at hand, else one of our own with its names."""
    if kai_results.PUBLISHED.exists():
        return dict(json.loads(kai_results.PUBLISHED.read_text()))
    return kai_results.wrapped()


def written(run: RunFolder) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """kwok_scale_test.json, the dashboard's wrapper and its manifest."""
    report(run)
    manifest = json.loads((run.path / "dashboard/Public/manifest.json").read_text())
    wrapper = json.loads((run.path / "dashboard" / manifest["runs"][0]["path"]).read_text())
    return json.loads((run.path / "kwok_scale_test.json").read_text()), wrapper, manifest


def shape_of(value: Any) -> Any:
    """The structure of a document: names and kinds, no values."""
    if isinstance(value, dict):
        return {name: shape_of(item) for name, item in value.items()}
    if isinstance(value, bool) or value is None:
        return value
    return "number" if isinstance(value, (int, float)) else "text"


def of(scenario: str, metric: str, **values: Any) -> tuple[JobShape, dict[str, Any]]:
    test = kai_tests.of_scenario(scenario)
    assert test is not None
    name = next(name for name, field in UPSTREAM.items() if test.matches(name) and field == test.timing_field)
    completes = scenario == "burst"
    return (
        JobShape(
            scenario=scenario,
            metrics=(metric, "pods_completed") if completes else (metric,),
            upstream=(name, test.timing_field),
            completes=completes,
            victims=scenario.startswith(("reclaim", "unschedulable")),
            expectations=(),
        ),
        values,
    )


CASES = [
    of("topology_preferred", "bind_all_seconds"),
    of("topology_none", "bind_all_seconds"),
    of("fill_with_pending", "bind_all_seconds"),
    of("unschedulable_delay", "job_unschedulable_seconds", unschedulable={"samples": [1.0, 2.0, 6.0]}),
    of("reclaim_large", "reclaim_all_seconds"),
    of("reclaim_full_nodes", "reclaim_all_seconds"),
    of("reclaim_single", "job_reclaim_seconds", sequential={"samples": [0.5, 0.7]}),
    of("reclaim_all", "reclaim_all_seconds"),
    of("reclaim_distributed", "reclaim_all_seconds"),
    of("consolidation", "bind_all_seconds"),
    of("burst", "complete_all_seconds"),
]


@pytest.mark.parametrize(("shape", "values"), CASES, ids=[shape.scenario for shape, _ in CASES])
def test_each_test_has_the_structure_of_the_published_one(
    tmp_path: Path, shape: JobShape, values: dict[str, Any]
) -> None:
    def edit(run: Run) -> None:
        for load in loads(run):
            load["values"] |= values

    results, wrapper, manifest = written(build(tmp_path, shape, edits=[edit]))
    assert results["status"] == "success"
    (test,) = results["tests"]
    example = published()
    same = [item for item in example["results"]["tests"] if kai_tests.named(item["test_name"])]
    (like,) = {
        json.dumps(shape_of(item), sort_keys=True)
        for item in same
        if any(found.scenario == shape.scenario for found in kai_tests.named(item["test_name"]))
    }
    assert json.dumps(shape_of(test), sort_keys=True) == like
    assert list(wrapper) == list(example)
    assert set(wrapper["metadata"]) == set(example["metadata"])
    assert wrapper["results"] == results
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", wrapper["metadata"]["timestamp"])
    assert [set(run) for run in manifest["runs"]] == [{"timestamp", "path", "commit"}]


def test_means_are_written_where_upstream_writes_means(tmp_path: Path) -> None:
    shape, values = CASES[3]

    def edit(run: Run) -> None:
        for load in loads(run):
            load["values"] |= values

    results, _, _ = written(build(tmp_path, shape, edits=[edit]))
    assert results["tests"][0]["details"] == {
        "average time to unschedulable (seconds)": 3.0,
        "nodes": 10,
        "pods": 8,
        "total requested gpus": 8,
    }


def test_a_name_that_counts_has_the_count_of_this_run(tmp_path: Path) -> None:
    results, _, _ = written(build(tmp_path, replace(CASES[7][0], gangs=5)))
    assert results["tests"][0]["test_name"] == "Reclaim 5 single GPU Jobs"


def test_an_invalid_number_is_a_failure_with_its_reason(tmp_path: Path) -> None:
    def edit(run: Run) -> None:
        loads(run)[1]["values"]["jobs"]["completed_by_status"] = 3

    results, _, _ = written(build(tmp_path, CASES[10][0], edits=[edit]))
    (test,) = results["tests"]
    assert (results["status"], test["status"]) == ("failure", "failure")
    assert "every_pod_completed" in test["details"]["reason"]
    assert "time(seconds)" not in test["details"]


def test_what_is_written_can_be_imported_again(tmp_path: Path) -> None:
    run = build(tmp_path, CASES[7][0])
    written(run)
    assert {name for record in run.records() for name in record.parameters} & {"upstream", "expectations"} == set()
    found = kai_result.read(run.path / "kwok_scale_test.json")
    assert [(item.test.scenario, item.succeeded) for item in found.measured] == [("reclaim_all", True)]
    wrapped = kai_result.read(next((run.path / "dashboard/Public").glob("*/results.json")))
    assert wrapped.metadata["kai_scheduler_ref"] == "v0.17.0"


def test_the_fills_of_another_scheduler_are_written_under_its_name(tmp_path: Path) -> None:
    def edit(run: Run) -> None:
        for item in [*run.loads(OFF), *run.loads(ON)]:
            item["parameters"] |= {"nodes": 10}

    run = run_builder.build(tmp_path, run_builder.Shape(pods=80, nodes=10), edits=[edit])
    results, wrapper, _ = written(run)
    assert [(item["test_name"], item["details"]["jobs"], item["details"]["nodes"]) for item in results["tests"]] == [
        ("Fill Cluster with single GPU Jobs", 80, 10),
        ("Fill Cluster with single GPU Jobs - scheduler is running while submitting jobs", 80, 10),
    ]
    assert wrapper["metadata"]["kai_scheduler_ref"] == "kube-scheduler v1.36.3"


def test_a_run_without_such_a_scenario_has_none_and_loses_what_an_earlier_report_wrote(tmp_path: Path) -> None:
    run = build(tmp_path, replace(CASES[7][0], scenario="gangs_whole_gpu", upstream=None))
    (run.path / "kwok_scale_test.json").write_text("{}")
    (run.path / "dashboard/Public").mkdir(parents=True)
    report(run)
    assert not (run.path / "kwok_scale_test.json").exists()
    assert not (run.path / "dashboard").exists()


def test_limits_of_the_services_are_told_as_upstream_tells_them(tmp_path: Path) -> None:
    def edit(run: Run) -> None:
        for item in run.observations:
            if item["kind"] == "fairness":
                item["values"] |= {
                    "cpu": {"binder": {"limit": "400m", "request": "100m"}, "podgrouper": "no limit"},
                    "memory": {"binder": {"limit": "2500Mi", "request": "2500Mi"}},
                }

    _, wrapper, _ = written(build(tmp_path, CASES[7][0], edits=[edit]))
    assert wrapper["metadata"]["service_resources"] == {
        "binder": {
            "limits": {"cpu": "400m", "memory": "2500Mi"},
            "requests": {"cpu": "100m", "memory": "2500Mi"},
        },
        "podGrouper": {"limits": {}, "requests": {}},
    }


@pytest.mark.parametrize("path", SCENARIOS, ids=[path.stem for path in SCENARIOS])
def test_the_scenarios_and_the_table_agree_on_the_names(path: Path) -> None:
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    test = kai_tests.of_scenario(document["name"])
    upstream = document.get("upstream")
    assert (test is None) == (upstream is None)
    if test is not None:
        assert test.matches(upstream["test_name"])
        assert (upstream["timing_field"], UPSTREAM[upstream["test_name"]]) == (test.timing_field, test.timing_field)
        assert test.metric in document["metrics"]
