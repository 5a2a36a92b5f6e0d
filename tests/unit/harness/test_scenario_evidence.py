# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scenario of several parts means: each planted fault is named by what it breaks, a clean run is clean."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harness import judge
from harness.model import Record
from harness.report import report
from tests.fakes.job_run_builder import METRICS, JobShape, build, loads, row, rows, say, together
from tests.fakes.run_builder import Edit, Run

RECLAIM = JobShape(metrics=("reclaim_all_seconds",))
ALONE = replace(RECLAIM, victims=False)
TOPOLOGY = replace(ALONE, level="zone", expectations=("gang_atomic", {"one_domain_per_job": "zone"}))
LIMITED = replace(ALONE, limit=80)
BURST = replace(
    ALONE, completes=True, expectations=("every_pod_completed",), metrics=("complete_all_seconds", "pods_completed")
)
MOVING = replace(RECLAIM, consolidates=True, gangs=5, expectations=("consolidation_ran", "victims_keep_min_member"))


def judged(tmp_path: Path, shape: JobShape, *edits: Edit) -> list[Record]:
    return judge.records(judge.gather(build(tmp_path, shape, edits=edits)), {})


def broken(record: Record) -> dict[str, str]:
    return {item.name: item.observed for item in record.evidence if not item.holds}


UNBOUND = dict.fromkeys(("decided", "bound", "running", "audit_decided", "audit_bound"))


def unbound(name: str) -> Edit:
    """A pod that never got a node; the observation says so."""

    def edit(run: Run) -> None:
        row(name, **UNBOUND, node="")(run)
        values = loads(run)[1]["values"]
        for key in ("bound", "running"):
            values[key] -= 1
        values["missing"] = 1
        values["audit"]["bound"] -= 1
        values["parts"]["measured"]["missing"] = 1
        own = [item for item in rows(run) if item["measured"] and item["bound"] is not None]
        values |= {"first_bind": min(i["bound"] for i in own), "last_bind": max(i["bound"] for i in own)}
        values["last_running"] = max(i["running"] for i in own)
        audited = [item["audit_bound"] for item in own]
        values["audit"] |= {"first_bind": min(audited), "last_bind": max(audited)}

    return edit


def evict_some(run: Run) -> None:
    """A gang among the victims loses one pod of eight and goes on with the rest."""
    victims = [item for item in rows(run) if item["part"] == "victims"]
    for item in victims[:8]:
        item |= {"job": "victims-gang", "evicted": None}
    victims[0]["evicted"] = victims[0]["deleted"]
    for load in loads(run):
        load["parameters"]["parts"][0]["min_member"] = 8
    values = loads(run)[1]["values"]
    values["jobs"]["gangs"] = values["jobs"]["gangs"] + 73
    values["victims_below_min_member"] = ["victims-gang"]
    for load in (loads(run)[0], loads(run)[2]):
        load["values"]["jobs"]["gangs"] += 80


def configuration(*checks: dict[str, Any]) -> Edit:
    def edit(run: Run) -> None:
        item = dict(loads(run)[0])
        item |= {"kind": "configuration", "repeat": None, "samples": None, "parameters": {}}
        run.observations.append(item | {"values": {"checks": list(checks)}})

    return edit


GOOD_CHECK = {"component": "binder", "key": "spec.binder.service.k8sClientConfig.qps", "asked": 1000, "observed": 1000}
GOOD_CHECK |= {"source": "kai-config", "holds": True, "reason": ""}
LOST_CHECK = GOOD_CHECK | {"key": "spec.binder.args.qps", "observed": None, "holds": False, "reason": "pruned"}


CLEAN: list[tuple[str, JobShape, tuple[str, ...]]] = [
    ("reclaim", RECLAIM, ("gangs_atomic", "queues_within_limits", "victims_keep_min_member", "parts_accounted_for")),
    ("one domain", TOPOLOGY, ("one_domain_per_job",)),
    ("limits", LIMITED, ("queues_within_limits",)),
    ("burst", BURST, ("every_pod_completed",)),
    ("consolidation", MOVING, ("consolidation_ran", "victims_keep_min_member")),
    ("every metric", replace(RECLAIM, metrics=METRICS), ("every_pod_decided", "client_limits_in_effect")),
]


@pytest.mark.parametrize(("shape", "names"), [case[1:] for case in CLEAN], ids=[case[0] for case in CLEAN])
def test_a_clean_run_stays_clean_and_shows_why(tmp_path: Path, shape: JobShape, names: tuple[str, ...]) -> None:
    found = judged(tmp_path, shape, configuration(GOOD_CHECK))
    assert {(r.verdict, r.reason if r.verdict == "invalid" else "") for r in found} == {("measured", "")}
    assert [broken(r) for r in found] == [{}] * len(found)
    there = {item.name for record in found for item in record.evidence}
    assert {*names, "configuration_took_effect"} <= there


FAULTS: list[tuple[str, JobShape, Edit, dict[str, str]]] = [
    (
        "a dropped pod",
        ALONE,
        unbound("measured-3-5"),
        {
            "parts_accounted_for": "repeat 2: measured: 0 failed, 1 missing",
            "all_pods_accounted_for": "repeat 2: 80 = 80 seen + 0 failed + 0 missing, 80 uids; 1 missing by the "
            "observation",
            "every_pod_bound": "repeat 2: 79 pods bound",
            "gangs_atomic": "repeat 2: 10 gangs; 1 partly bound: measured-3 (7 of at least 8)",
        },
    ),
    (
        "a pod that was moved before it had a node",
        ALONE,
        lambda run: (unbound("measured-3-5")(run), row("measured-3-5", evicted=9.0, deleted=9.0)(run))[-1],
        {
            "parts_accounted_for": "repeat 2: measured: 0 failed, 1 missing",
            "all_pods_accounted_for": "repeat 2: 80 = 80 seen + 0 failed + 0 missing, 80 uids; 1 missing by the "
            "observation",
            "every_pod_bound": "repeat 2: 79 pods bound, 1 evicted before they were",
            "gangs_atomic": "repeat 2: 10 gangs; 1 partly bound: measured-3 (7 of at least 8)",
        },
    ),
    (
        "a broken gang that the load did not see",
        ALONE,
        row("measured-3-5", evicted=9.0, deleted=9.0),
        {"gangs_atomic": "repeat 2: 10 gangs; 1 partly bound: measured-3 (7 of at least 8)"},
    ),
    (
        "a broken gang that only the load saw",
        ALONE,
        say(jobs__broken=["measured-1"], jobs__broken_count=1),
        {"gangs_atomic": "repeat 2: 10 gangs; 1 partly bound by the watch: measured-1"},
    ),
    (
        "a gang of which nobody knows",
        ALONE,
        say(jobs__gangs=9),
        {"gangs_atomic": "repeat 2: 10 gangs; 9 by the watch, 10 by the samples"},
    ),
    ("gangs never looked at", ALONE, say(jobs=None), {"gangs_atomic": "repeat 2: not observed"}),
    (
        "an over-filled node",
        ALONE,
        together(row("measured-0-1", node="node-0000"), say(max_gpus_on_a_node=9)),
        {"no_node_over_its_gpus": "repeat 2: 9 by the samples, 9 by the watch: node node-0000 after 416 ms"},
    ),
    (
        "a queue over its limit",
        replace(ALONE, limit=79),
        lambda run: None,
        {"queues_within_limits": "measured 80 by the samples, 80 by the watch"},
    ),
    (
        "a queue over its limit for a moment that only the load saw",
        LIMITED,
        say(queues_used_most={"measured": 81}),
        {"queues_within_limits": "repeat 2: measured 80 by the samples, 81 by the watch"},
    ),
    (
        "a watch that saw less of a queue than the samples",
        LIMITED,
        say(queues_used_most={"measured": 79}),
        {"queues_within_limits": "repeat 2: measured 80 by the samples, 79 by the watch"},
    ),
    ("queues never looked at", LIMITED, say(queues_used_most=None), {"queues_within_limits": "repeat 2: not observed"}),
    (
        "victims left below their minimum",
        RECLAIM,
        evict_some,
        {
            "gangs_atomic": "repeat 2: 83 gangs; 1 partly bound: victims-gang (7 of at least 8)",
            "victims_keep_min_member": "repeat 2: 73 pods of 73 Jobs evicted; 1 below: victims-gang (7 of at least 8)",
        },
    ),
    (
        "victims below their minimum that only the load saw",
        RECLAIM,
        say(victims_below_min_member=["victims-4"]),
        {"victims_keep_min_member": "repeat 2: 80 pods of 80 Jobs evicted; below by the watch: victims-4"},
    ),
    (
        "victims never looked at",
        RECLAIM,
        say(victims_below_min_member=None),
        {"victims_keep_min_member": "repeat 2: not observed"},
    ),
    (
        "victims that never ran",
        RECLAIM,
        say(parts__victims__missing=3),
        {"parts_accounted_for": "repeat 2: victims: 0 failed, 3 missing"},
    ),
    (
        "victims that never ran, which the load hides",
        RECLAIM,
        row("victims-7", running=None),
        {"parts_accounted_for": "repeat 2: victims: 79 of 80 running in the samples"},
    ),
    (
        "a part that is short of a pod in the samples",
        RECLAIM,
        lambda run: rows(run).remove(next(item for item in rows(run) if item["name"] == "victims-7")),
        {
            "parts_accounted_for": "repeat 2: victims: 80 asked, 79 in the samples; victims: 79 of 80 running in the "
            "samples"
        },
    ),
    (
        "a burst that Job status does not know to be complete",
        BURST,
        say(jobs__completed_by_status=9),
        {"every_pod_completed": "repeat 2: 9 Jobs by their status, 10 by the watch; 80 pods"},
    ),
    (
        "a burst whose last pods were collected before they were seen",
        BURST,
        row("measured-9-7", completed=None),
        {
            "parts_accounted_for": "repeat 2: measured: 79 of 80 completed in the samples",
            "every_pod_completed": "repeat 2: 10 Jobs by their status, 10 by the watch; 79 pods",
        },
    ),
    (
        "a burst nobody counted",
        BURST,
        say(jobs__completed_by_watch=None),
        {"every_pod_completed": "repeat 2: not observed"},
    ),
    (
        "no consolidation",
        replace(MOVING, consolidates=False),
        lambda run: None,
        {
            "consolidation_ran": "40 pods evicted, 40 Jobs did not get a node again, e.g. victims-40, victims-41, "
            "victims-42"
        },
    ),
    (
        "nobody had to move",
        replace(MOVING, victims=False),
        lambda run: None,
        {"consolidation_ran": "0 pods evicted, 0 Jobs did not get a node again"},
    ),
    (
        "a scheduler that counts no consolidation",
        MOVING,
        say(podgroups_scheduled_by_action={"consolidation": 0, "reclaim": 5}),
        {
            "consolidation_ran": "repeat 2: 40 pods evicted, 0 Jobs did not get a node again; the scheduler counts 0 "
            "PodGroups placed by consolidation"
        },
    ),
    (
        "a scheduler that counts, and never counted a consolidation",
        MOVING,
        say(podgroups_scheduled_by_action={"reclaim": 5}),
        {
            "consolidation_ran": "repeat 2: 40 pods evicted, 0 Jobs did not get a node again; the scheduler counts 0 "
            "PodGroups placed by consolidation"
        },
    ),
    (
        "a setting that was ignored",
        ALONE,
        configuration(GOOD_CHECK, LOST_CHECK),
        {"configuration_took_effect": "1 of 2 not: binder spec.binder.args.qps: asked 1000, absent (pruned)"},
    ),
]


@pytest.mark.parametrize(
    ("shape", "edit", "expected"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_a_planted_fault_makes_the_record_invalid_and_is_named(
    tmp_path: Path, shape: JobShape, edit: Edit, expected: dict[str, str]
) -> None:
    found = judged(tmp_path, shape, edit)[0]
    seen = broken(found)
    assert {name: text for name, text in seen.items() if not text.startswith(expected.get(name, "\0"))} == {}
    assert set(seen) == set(expected)
    assert (found.verdict, found.value) == ("invalid", None)
    assert all(name in found.reason for name in expected)


def test_a_late_binder_is_named_and_the_number_is_published_as_its_own(tmp_path: Path) -> None:
    found = judged(tmp_path, replace(ALONE, bind_after=2.0))[0]
    assert found.verdict == "measured"
    assert set(broken(found)) == {"binds_follow_decisions"}
    assert found.bound_by is not None
    assert (found.bound_by.kind, found.bound_by.component) == ("subject", "binder")


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (
            # Told to send 20 requests a second, it sends as many as the default lets it.
            replace(ALONE, gangs=100, nodes=100, qps=20.0, burst=100.0, real_qps=50.0, real_burst=300.0),
            "binder sent 57.69 requests a second beyond its burst, its limit is 20",
        ),
        (
            replace(ALONE, gangs=100, nodes=100, real_qps=50.0, real_burst=300.0),
            "binder was as slow as its default of 50 requests a second (burst 300) makes it, its limit is set to 1,000",
        ),
    ],
    ids=["faster than it may be", "as slow as its default"],
)
def test_a_flag_that_is_ignored_is_named(tmp_path: Path, shape: JobShape, text: str) -> None:
    found = judged(tmp_path, shape)[0]
    assert found.verdict == "invalid"
    assert set(broken(found)) == {"client_limits_in_effect"}
    assert text in broken(found)["client_limits_in_effect"]


@pytest.mark.parametrize("metric", ["pod_created_to_grouped_seconds", "pod_grouped_to_decided_seconds"])
def test_a_pod_without_its_mark_spoils_what_is_said_of_marks(tmp_path: Path, metric: str) -> None:
    found = judged(tmp_path, replace(ALONE, metrics=(metric, "bind_all_seconds")), row("measured-0-0", grouped=None))
    assert {r.metric: set(broken(r)) for r in found} == {metric: {"every_pod_grouped"}, "bind_all_seconds": set()}


def test_a_group_that_was_there_before_its_pod_was_no_wait(tmp_path: Path) -> None:
    def edit(run: Run) -> None:
        for repeat in (1, 2, 3):
            for item in rows(run, repeat):
                item |= {"grouped": 0.0, "audit_grouped": None}

    found = judged(tmp_path, replace(ALONE, metrics=("pod_created_to_grouped_seconds",)), edit)[0]
    assert (found.value, found.clock) == (0.0, "client monotonic, watch event arrival")


def test_the_clock_of_the_evidence_is_that_of_the_record(tmp_path: Path) -> None:
    found = {
        r.metric: r for r in judged(tmp_path, replace(BURST, metrics=("bind_all_seconds", "complete_all_seconds")))
    }
    clocks = {name: next(e for e in r.evidence if e.name == "clock_known").observed for name, r in found.items()}
    assert clocks == {
        "bind_all_seconds": "API server's audit log, stageTimestamp of ResponseComplete, resolution 1 µs; the start of "
        "the load: client monotonic, watch event arrival",
        "complete_all_seconds": "client monotonic, watch event arrival, resolution 4 ms",
    }


SERIES: list[tuple[str, dict[str, Any], tuple[str, float | None, int]]] = [
    ("job_unschedulable_seconds", {"unschedulable": {"samples": [1.0, 3.0, 2.0]}}, ("measured", 2.0, 9)),
    ("job_reclaim_seconds", {"sequential": {"samples": [0.5] * 20}}, ("measured", 0.5, 60)),
    ("job_reclaim_seconds", {"sequential": {"samples": []}}, ("invalid", None, 0)),
    (
        "memory_growth_bytes_per_hour",
        {
            "memory": {
                "etcd": {"growth_bytes_per_hour": 9e9, "seconds": 3600},
                "scheduler": {"growth_bytes_per_hour": 2e6, "seconds": 3600},
                "binder": {"growth_bytes_per_hour": 1e6, "seconds": 3600},
            }
        },
        ("measured", 2e6, 3),
    ),
    (
        "memory_growth_bytes_per_hour",
        {"memory": {"scheduler": {"growth_bytes_per_hour": 2e6, "seconds": 1799}}},
        ("inconclusive", 2e6, 3),
    ),
    ("memory_growth_bytes_per_hour", {"memory": {}}, ("invalid", None, 0)),
]


@pytest.mark.parametrize(("metric", "values", "expected"), SERIES)
def test_numbers_of_jobs_and_processes(
    tmp_path: Path, metric: str, values: dict[str, Any], expected: tuple[str, float | None, int]
) -> None:
    def edit(run: Run) -> None:
        for load in loads(run):
            load["values"] |= values

    found = judged(tmp_path, replace(ALONE, metrics=(metric,)), edit)[0]
    assert (found.verdict, found.value, found.n) == expected


def test_a_short_soak_says_for_how_long_it_was_looked_at(tmp_path: Path) -> None:
    def edit(run: Run) -> None:
        for load in loads(run):
            load["values"]["memory"] = {"scheduler": {"growth_bytes_per_hour": 2e6, "seconds": 600}}

    found = judged(tmp_path, replace(ALONE, metrics=("memory_growth_bytes_per_hour",)), edit)[0]
    assert found.reason.startswith("Scheduler was looked at for 600 s; growth is told of 1,800 s or more.")


def step(rate: float, p99: float, **other: Any) -> dict[str, Any]:
    return {"rate_per_second": rate, "sent_per_second": rate, "p99_seconds": p99, "missing": 0, "meets": None} | other


GOOD, SLOW = step(100, 0.4), step(200, 1.4)
SEARCHES: list[tuple[str, list[dict[str, Any]], float, float | None, float | None]] = [
    ("found", [GOOD, SLOW, step(150, 0.9)], 150, 150.0, 50.0),
    ("no rate would do", [SLOW], 0, None, None),
    ("claimed too high", [GOOD, SLOW], 200, None, None),
    ("a load that lost a pod does not meet it", [GOOD, step(150, 0.2, missing=1)], 100, 100.0, 50.0),
    ("a load that was sent slower does not meet it", [GOOD, step(150, 0.2, sent_per_second=120)], 100, 100.0, 50.0),
    ("the highest that was tried", [GOOD], 100, 100.0, None),
]


@pytest.mark.parametrize(("steps", "claimed", "value", "off"), [c[1:] for c in SEARCHES], ids=[c[0] for c in SEARCHES])
def test_the_highest_rate_is_that_of_the_steps(
    tmp_path: Path, steps: list[dict[str, Any]], claimed: float, value: float | None, off: float | None
) -> None:
    search = {"highest_rate_per_second": claimed, "objective_seconds": 1.0, "steps": steps}

    def edit(run: Run) -> None:
        for load in loads(run):
            load["values"]["search"] = search

    found = judged(tmp_path, replace(ALONE, metrics=("highest_rate_per_second",)), edit)[0]
    assert (found.value, found.resolution) == (value, off)
    assert found.verdict == ("invalid" if value is None else "measured")


def test_the_report_shows_groups_and_decisions_and_keeps_their_columns(tmp_path: Path) -> None:
    run = build(tmp_path, replace(RECLAIM, metrics=METRICS))
    done = report(run)
    html = done.html.read_text()
    assert "Created, grouped, decided, bound, running" in html
    assert '"colour": "grouped"' in html
    path = run.path / "samples/scheduler_scale/reclaim_all.kai.parquet"
    columns = {row[0] for row in duckdb.sql(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}
    assert {"part", "job", "queue", "grouped", "decided", "evicted", "audit_decided"} <= columns
