# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers of churn are published where every gang came, met, was kept apart and went, and traffic beside it worked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.churn.gangs import FAILURE_RATIO, FALSE_ALLOW, FALSE_DENY, METRICS, OF_POLICIES
from harness.model import Record
from harness.report import report
from harness.resource_metrics import OF_FELIX
from harness.results import RunFolder
from tests.fakes.churn_run_builder import NO_ENGINE, Rows, build, rows, values

EVERY = set(METRICS)
Edit = Callable[[Rows, dict[str, Any]], None]


def records(run: RunFolder) -> dict[str, Record]:
    return {record.metric: record for record in report(run).records}


def one(tmp_path: Path, edit: Edit | None = None) -> RunFolder:
    found = rows()
    told = values(found)
    if edit is not None:
        edit(found, told)
    return build(tmp_path, [(told, found)])


def test_every_metric_of_three_repeats(tmp_path: Path) -> None:
    shifts = (-0.001, 0.0, 0.001)
    run = build(tmp_path, [(values(rows(shift)), rows(shift)) for shift in shifts])
    found = records(run)
    assert {record.verdict for record in found.values()} == {"measured"}
    assert {metric: record.value for metric, record in found.items()} == pytest.approx(
        {
            "pod_created_to_running_seconds": 1.24,
            "gang_created_to_reachable_seconds": 1.7,
            "pod_deleted_to_gone_seconds": 0.8,
            "pod_running_to_reachable_seconds": 0.2,
            "churn_pods_created_per_second": 1.9,
            "churn_pods_running_per_second": 0.95,
            "churn_pods_gone_per_second": 2.0,
            "churn_cpu_seconds_per_pod": 0.4,
            "request_median_seconds": 0.003,
            "request_max_seconds": 0.003,
            "request_failure_ratio": 0.0,
            "request_goodput_bytes_per_second": 409600.0,
            "request_quiet_median_seconds": 0.002,
            FALSE_ALLOW: 0.04,
            FALSE_DENY: 0.1,
            "felix_cpu_cores": 0.1,
            "felix_most_memory_bytes": 3e6,
            "api_server_cpu_cores": 0.2,
            "api_server_most_memory_bytes": 3e6,
            "etcd_cpu_cores": 0.2,
            "etcd_most_memory_bytes": 3e6,
            "etcd_storage_bytes": 8e6,
            "etcd_storage_in_use_ratio": 0.75,
        }
    )
    assert (found[FALSE_DENY].n, found[FALSE_DENY].resolution) == (6, 0.021)
    assert found["request_median_seconds"].n == 300
    assert found["pod_created_to_running_seconds"].ci is not None
    assert found["gang_created_to_reachable_seconds"].samples is not None
    page = (run.path / "report.html").read_text()
    assert "Gangs" in page and "Requests beside the churn" in page


RATES = {"churn_pods_created_per_second": 1.9, "churn_pods_running_per_second": 0.95, "churn_pods_gone_per_second": 2.0}


@pytest.mark.parametrize(("metric", "seen"), RATES.items())
def test_a_rate_as_it_was_asked_for_is_the_load_s(tmp_path: Path, metric: str, seen: float) -> None:
    bound = records(one(tmp_path))[metric].bound_by
    assert bound is not None
    assert (bound.kind, bound.limit, bound.observed) == ("load_generator", {"rate_asked": 1.0}, seen)


def test_goodput_as_it_was_offered_is_the_load_s_and_less_is_not(tmp_path: Path) -> None:
    metric = "request_goodput_bytes_per_second"
    run = one(tmp_path / "all")
    bound = records(run)[metric].bound_by
    assert bound is not None
    assert (bound.kind, bound.limit) == ("load_generator", {"bytes_per_second_offered": 409600.0})
    assert "The load: 3.277 Mb/s were offered, 3.277 Mb/s were answered." in (run.path / "report.html").read_text()
    half = tell(100000.0, "requests", "churn", "goodput_bytes_per_second")
    assert records(one(tmp_path / "half", half))[metric].bound_by is None


def test_nodes_of_which_nobody_says_how_many_have_to_be_ready_and_stay(tmp_path: Path) -> None:
    assert {record.verdict for record in records(one(tmp_path, tell(None, "plan", "nodes"))).values()} == {"measured"}


def test_without_a_policy_engine_the_baseline_stands_and_windows_are_none(tmp_path: Path) -> None:
    found = rows()
    for row in found[:4]:
        row |= {"stranger_arrived": 100, "stranger_settled": False, "false_allow": None}
    there = records(build(tmp_path, [(values(found, NO_ENGINE), found)]))
    verdicts = {metric: record.verdict for metric, record in there.items()}
    assert verdicts == {
        **dict.fromkeys(METRICS, "measured"),
        **dict.fromkeys((*OF_POLICIES, *OF_FELIX), "not_runnable"),
    }
    assert there["felix_cpu_cores"].reason == "no policy engine: no Felix ran"
    assert there[FALSE_ALLOW].reason.startswith("no policy engine: strangers reached all of 2 gangs on the wire")


def pod(**changes: Any) -> Edit:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        dataplane = told["dataplane"]
        found[0] |= changes
        told |= values(found, dataplane)

    return edit


def tell(value: Any, *path: str) -> Edit:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        place = told
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return edit


def requests(count: int) -> Edit:
    """The load of the published log in which every request failed, and that was called a success."""

    def edit(found: Rows, told: dict[str, Any]) -> None:
        for row in [row for row in found if row["phase"] == "churn"][:count]:
            row["failure"] = "ECONNREFUSED"
        told |= values(found)

    return edit


def no_traffic(found: Rows, told: dict[str, Any]) -> None:
    found[:] = [row for row in found if row["phase"] != "churn"]
    told |= values(found)


def each(*evidence: str, but: tuple[str, ...] = ()) -> dict[str, set[str]]:
    return {metric: set(evidence) for metric in EVERY - set(but)}


WRONG: list[tuple[str, Edit, dict[str, set[str]]]] = [
    ("a pod that never ran", pod(running=None, failure="quota"), each("pods_accounted_for")),
    ("a pod that never went", pod(gone=None), each("pods_accounted_for")),
    ("a pod that is told of twice", pod(pod="job-1-1"), each("pods_accounted_for")),
    ("a count of something else", tell(3, "gangs", "reached"), each("observation_matches_samples")),
    ("a gang that never met", pod(job_arrived=0, job_first=None, false_deny=None), each("every_gang_reached")),
    ("all requests failed", requests(100), each("requests_succeeded", but=(FAILURE_RATIO,))),
    ("two of a hundred failed", requests(2), each("requests_succeeded", but=(FAILURE_RATIO,))),
    ("no traffic", no_traffic, each("traffic_was_measured")),
    ("a stranger who is never kept out", pod(stranger_settled=False, false_allow=None),
     {FALSE_ALLOW: {"strangers_kept_out"}}),
    ("policies that no node knows of", tell(0.0, "active_policies", "real-1", "most"),
     {metric: {"policies_were_active"} for metric in OF_POLICIES}),
    ("no policy more than before", tell(3.0, "active_policies", "real-1", "first"),
     {metric: {"policies_were_active"} for metric in OF_POLICIES}),
    ("more nodes than the label says", tell(1, "plan", "nodes"), each("node_count_as_asked")),
    ("a node that is not Ready", tell({"existing": 2, "ready": 1}, "nodes", "after"), each("node_count_as_asked")),
    ("nodes that nobody counted", tell({}, "nodes"), each("node_count_as_asked")),
    ("background that never came", tell(100, "plan", "background_policies"), each("background_as_asked")),
    ("policies that nobody looked at", tell({}, "active_policies"),
     {metric: {"policies_were_active"} for metric in OF_POLICIES}),
    ("kept apart by nobody", tell(NO_ENGINE, "dataplane"), each("enforced_by_an_engine")),
    ("another dataplane", tell(False, "dataplane", "holds"), each("dataplane_as_asked")),
    ("a probe that hardly looked", tell(0.5, "probe", "largest_gap_seconds"), each("probe_saw_enough")),
    ("a dear probe", tell(0.6, "probe", "cpu_ratio_of_core"), each("probe_was_cheap")),
    ("stolen time", tell(0.4, "machine", "steal_ratio"), each("cpu_not_stolen")),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_does_not_hold_is_not_published(tmp_path: Path, edit: Edit, expected: dict[str, set[str]]) -> None:
    found = records(one(tmp_path, edit))
    broken = {metric: {item.name for item in record.evidence if not item.holds} for metric, record in found.items()}
    assert {metric: names for metric, names in broken.items() if names} == expected
    assert {metric for metric, record in found.items() if record.verdict == "invalid"} == set(expected)


def test_the_share_of_failed_requests_stands_whatever_it_is(tmp_path: Path) -> None:
    record = records(one(tmp_path, requests(100)))[FAILURE_RATIO]
    assert (record.verdict, record.value) == ("measured", 1.0)


def test_samples_altered_since_are_found(tmp_path: Path) -> None:
    run = one(tmp_path)
    path = run.path / "samples/1.jsonl"
    path.write_text(path.read_text().replace("0.04,", "0.01,"))
    assert {record.verdict for record in records(run).values()} == {"invalid"}
