# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts, exit codes and what stands in a record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from harness import exit_codes, judge
from harness.model import Failure, Record
from tests.fakes.run_builder import METRICS, OFF, ON, RUN_ID, SUBJECT, SUITE, Run, Shape, build

SMALL = Shape(pods=80, nodes=10)
Edit = Callable[[Run], None]


def judged(root: Path, shape: Shape = SMALL, *edits: Edit) -> tuple[list[Record], int]:
    run = build(root, shape, edits=edits)
    material = judge.gather(run)
    found = judge.records(material, {})
    return found, judge.exit_code(found, material.failures, material.plan is not None)


def observe(kind: str, reason: str, scenario: str | None = OFF, subject: str | None = SUBJECT) -> Edit:
    def edit(run: Run) -> None:
        common = {"schema_version": 1, "run_id": RUN_ID, "at": "2026-11-22T18:35:00Z", "suite": SUITE}
        told = {"scenario": scenario, "subject": subject, "kind": kind, "values": {"reason": reason}}
        run.observations.append(common | told)

    return edit


def fail(folder: str, reason: str, **more: Any) -> Edit:
    def edit(run: Run) -> None:
        run.failures[folder] = {"stage": folder.split("__")[1], "reason": reason, **more}

    return edit


def keep_repeats(count: int) -> Edit:
    def edit(run: Run) -> None:
        run.observations = [o for o in run.observations if o["kind"] != "pod_load" or o["repeat"] <= count]

    return edit


def unplanned(run: Run) -> None:
    run.plan = None


def new_metric(run: Run) -> None:
    assert run.plan is not None
    run.plan["records"][0]["metric"] = "pods_admired_per_second"


DOWN = fail("02__environment", "etcd died")
BROKE = fail("03__scheduler_scale", "the API server went away")
OUTCOMES: list[tuple[str, tuple[Edit, ...], set[tuple[str, str]], int]] = [
    ("clean", (), {("measured", "")}, 0),
    (
        "the environment failed",
        (keep_repeats(0), DOWN),
        {("not_runnable", "environment failed: etcd died")},
        3,
    ),
    (
        "the start failed",
        (keep_repeats(0), fail("01__start", "no rights", exit_code=2)),
        {("not_runnable", "start failed: no rights")},
        2,
    ),
    (
        "the environment failed when all was measured",
        (DOWN,),
        {("measured", "")},
        3,
    ),
    ("the suite broke", (keep_repeats(0), BROKE), {("error", "the suite broke: the API server went away")}, 3),
    (
        "the suite broke half way",
        (keep_repeats(2), BROKE),
        {("error", "the suite broke (after 2 of 3 repeats): the API server went away")},
        3,
    ),
    ("the suite broke after its last repeat", (BROKE,), {("measured", "")}, 3),
    ("nothing came", (keep_repeats(0),), {("invalid", "never finished: it was planned and nothing was observed")}, 4),
    (
        "repeats are missing",
        (keep_repeats(2),),
        {("invalid", "evidence does not hold: all_repeats_present: repeats 1, 2 (expected repeats 1, 2, 3)")},
        4,
    ),
    ("the teardown failed", (fail("05__teardown", "a pod stayed"),), {("measured", "")}, 3),
    ("the verdict failed its play", (fail("06__verdict", "exit code 1"),), {("measured", "")}, 0),
    ("interrupted", (fail("03__scheduler_scale", "stopped", exit_code=130),), {("measured", "")}, 130),
    ("no plan", (unplanned,), set(), 3),
    ("no plan, and why", (unplanned, fail("01__start", "tag 'envrionment'", exit_code=2)), set(), 2),
    (
        "a tool cannot be had",
        (keep_repeats(0), observe("not_runnable", "kube-scheduler 1.36.3: download answered 404", None, None)),
        {("not_runnable", "kube-scheduler 1.36.3: download answered 404")},
        0,
    ),
]


@pytest.mark.parametrize(("edits", "verdicts", "code"), [o[1:] for o in OUTCOMES], ids=[o[0] for o in OUTCOMES])
def test_the_outcome_of_a_run(
    tmp_path: Path, edits: tuple[Edit, ...], verdicts: set[tuple[str, str]], code: int
) -> None:
    shape = replace(SMALL, scenarios=(OFF,))
    found, exit_code = judged(tmp_path, shape, *edits)
    plain = {(r.verdict, "" if r.verdict == "measured" else r.reason) for r in found}
    assert (plain, exit_code) == (verdicts, code)
    assert all((r.value is None) == (r.verdict != "measured") for r in found)


def test_one_scenario_that_breaks_leaves_the_other_its_records(tmp_path: Path) -> None:
    found, code = judged(tmp_path, SMALL, observe("error", "namespace is stuck"))
    assert {(r.scenario, r.verdict) for r in found} == {(OFF, "error"), (ON, "measured")}
    assert {r.reason for r in found if r.scenario == OFF} == {"namespace is stuck"}
    assert code == 3


def at(moment: str, edit: Edit) -> Edit:
    def dated(run: Run) -> None:
        edit(run)
        run.observations[-1]["at"] = moment

    return dated


@pytest.mark.parametrize(
    ("edits", "verdict"),
    [
        ((at("2026-11-22T18:00:00.5Z", observe("error", "x")),), "measured"),
        ((at("2026-11-22T18:59:00Z", observe("error", "x")),), "error"),
        ((keep_repeats(2), at("2026-11-22T18:00:00Z", observe("error", "x"))), "error"),
        ((at("2026-11-22T18:59:00Z", observe("not_runnable", "x")),), "measured"),
    ],
)
def test_what_broke_before_a_resumed_run_finished_counts_no_more(
    tmp_path: Path, edits: tuple[Edit, ...], verdict: str
) -> None:
    found, _ = judged(tmp_path, replace(SMALL, scenarios=(OFF,)), *edits)
    assert {r.verdict for r in found} == {verdict}


def test_a_metric_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    found, code = judged(tmp_path, SMALL, new_metric)
    assert (found[0].verdict, found[0].reason, code) == (
        "error",
        "the metric pods_admired_per_second is not in harness/schema/metrics.json",
        3,
    )


OBJECTIVES = [
    ({"max": 60.0}, "pass", 0, "Objective ≤ 60: the interval"),
    ({"max": 0.5}, "fail", 1, "Objective ≤ 0.5: the interval"),
    ({"max": 1.81}, "inconclusive", 0, "repeats would decide."),
]


@pytest.mark.parametrize(("objective", "verdict", "code", "reason"), OBJECTIVES)
def test_an_objective_is_judged(
    tmp_path: Path, objective: dict[str, float], verdict: str, code: int, reason: str
) -> None:
    shape = replace(SMALL, scenarios=(OFF,), objectives=(("bind_all_seconds", objective),))
    found, exit_code = judged(tmp_path, shape)
    assert {r.metric: r.verdict for r in found if r.verdict != "measured"} == {"bind_all_seconds": verdict}
    assert reason in found[0].reason
    assert found[0].objective == objective
    assert exit_code == code


def test_with_two_repeats_there_is_no_interval_and_no_decision(tmp_path: Path) -> None:
    shape = replace(SMALL, repeats=2, scenarios=(OFF,), objectives=(("bind_all_seconds", {"max": 60.0}),))
    found, code = judged(tmp_path, shape)
    assert {r.ci for r in found} == {None}
    assert [r.verdict for r in found] == ["inconclusive"] + ["measured"] * (len(found) - 1)
    assert code == 0


def test_an_objective_does_not_rescue_what_is_invalid(tmp_path: Path) -> None:
    shape = replace(SMALL, scenarios=(OFF,), objectives=(("bind_all_seconds", {"max": 60.0}),))
    found, code = judged(tmp_path, shape, keep_repeats(2))
    assert (found[0].verdict, code) == ("invalid", 4)


VERDICTS = [
    (["measured", "pass", "inconclusive", "not_runnable", "improvement"], {}, 0),
    (["measured", "fail"], {}, 1),
    (["regression"], {}, 1),
    (["fail", "invalid"], {}, 4),
    (["fail", "invalid", "error"], {}, 3),
    (["invalid"], {"environment": None}, 3),
    (["invalid"], {"start": 2}, 2),
    (["error"], {"start": 2, "scheduler_scale": 130}, 130),
    (["measured"], {"start": 77}, 3),
    ([], {}, 0),
]


@pytest.mark.parametrize(("verdicts", "failures", "code"), VERDICTS)
def test_the_gravest_exit_code_wins(verdicts: list[str], failures: dict[str, int | None], code: int) -> None:
    blank = Record(RUN_ID, SUITE, OFF, SUBJECT, "bind_all_seconds", "s", "lower", "measured", "")
    found = [replace(blank, verdict=verdict) for verdict in verdicts]
    told = {stage: Failure(stage, "", exit_code=hint) for stage, hint in failures.items()}
    assert judge.exit_code(found, told, planned=True) == code
    assert code in exit_codes.PRECEDENCE


def test_a_record_has_all_fields_and_what_they_mean(tmp_path: Path) -> None:
    found, _ = judged(tmp_path, Shape(pods=800))
    latency = next(r for r in found if (r.scenario, r.metric) == (ON, "pod_bound_to_running_seconds"))
    assert latency.n == 2400
    assert latency.quantiles is not None
    assert set(latency.quantiles) == {"p50", "p90", "p95", "p99", "max"}
    assert all(value is not None for value in latency.quantiles.values())
    assert len(latency.repeats) == 3
    assert latency.value == pytest.approx(sum(latency.repeats) / 3)
    assert (latency.unit, latency.direction, latency.resolution) == ("s", "none", 1e-6)
    assert latency.clock == "API server's audit log, stageTimestamp of ResponseComplete"
    assert latency.parameters["simulated"] == "kwok plays the kubelet: its Stages set Running"
    assert latency.parameters["machine"] == {
        "cpus": 2.0,
        "cpu_busy_ratio": 0.62,
        "steal_ratio": 0.0,
        "other_cpu_ratio": 0.01,
        "throttled_seconds": 0.0,
        "pressure": {"cpu": 0.4, "io": 0.0, "memory": 0.0},
    }
    assert {k: v for k, v in latency.parameters.items() if k not in judge.TOLD} == {
        "pods": 800,
        "connections": 16,
        "nodes": 100,
        "gpus_per_node": 8,
    }
    scalar = next(r for r in found if (r.scenario, r.metric) == (OFF, "bind_all_seconds"))
    assert (scalar.n, scalar.quantiles, "simulated" in scalar.parameters) == (3, None, False)
    assert set(asdict(scalar)) == {
        *("schema_version", "run_id", "suite", "scenario", "subject", "metric", "unit", "direction", "value", "n"),
        *("quantiles", "repeats", "ci", "resolution", "clock", "bound_by", "evidence", "verdict", "reason"),
        *("objective", "baseline", "samples", "parameters"),
    }


def test_too_few_samples_give_null_and_the_reason(tmp_path: Path) -> None:
    found, _ = judged(tmp_path, Shape(pods=40, nodes=5))
    latency = next(r for r in found if r.metric == "pod_bound_to_running_seconds")
    assert latency.quantiles is not None
    assert [name for name, value in latency.quantiles.items() if value is None] == ["p95", "p99"]
    assert latency.reason == "Too few samples: p95 needs 130, p99 needs 662, there are 120."


def test_where_the_scheduler_was_stopped_the_latency_says_that_it_contains_the_wait(tmp_path: Path) -> None:
    found, _ = judged(tmp_path, Shape(pods=800))
    reasons = {r.scenario: r.reason for r in found if r.metric == "pod_created_to_bound_seconds"}
    assert reasons == {OFF: "Contains the time in which the scheduler was stopped (up to 1.655 s).", ON: ""}


@pytest.mark.parametrize(
    ("audit", "seconds", "clock"),
    [
        (True, 1e-6, "API server's audit log, stageTimestamp of ResponseComplete"),
        (False, 0.004, "client monotonic, watch event arrival"),
    ],
)
def test_what_ends_with_a_binding_is_stamped_by_the_audit_log_where_there_is_one(
    tmp_path: Path, audit: bool, seconds: float, clock: str
) -> None:
    found, _ = judged(tmp_path, Shape(pods=800, spread=0.0, audit=audit))
    metrics = {r.metric: r for r in found if r.scenario == OFF}
    rate = metrics["pods_bound_per_second"]
    assert rate.value == pytest.approx(260, rel=1e-3)
    assert rate.resolution == pytest.approx(260 * seconds / (799 / 260), rel=1e-3)
    assert (rate.clock, metrics["bind_all_seconds"].clock) == (clock, clock)
    assert metrics["bind_all_seconds"].resolution == seconds
    assert metrics["run_all_seconds"].resolution == seconds
    created = metrics["pods_created_per_second"]
    assert (created.clock, created.resolution) == (
        "client monotonic, first request and last answer",
        pytest.approx(0, abs=0.01),
    )


def test_every_metric_of_a_fill_can_be_measured(tmp_path: Path) -> None:
    found, _ = judged(tmp_path, SMALL)
    assert {r.metric for r in found if r.value is not None} == {name for of in METRICS.values() for name in of}


CONFIRMATIONS: list[tuple[str, Edit, str]] = [
    (
        "bound fewer than asked",
        lambda run: _confirmation(run, "second_size").update(bound=3),
        "no run of a second size",
    ),
    ("refused some", lambda run: _confirmation(run, "doubled_limit").update(failed=1), "no run with twice the limit"),
]


def _confirmation(run: Run, role: str) -> dict[str, Any]:
    """All confirmations of the role are one and the same document, so that a change reaches both scenarios."""
    found = [o for o in run.observations if o["kind"] == "confirmation" and o["parameters"]["role"] == role]
    for item in found[1:]:
        item["values"] = found[0]["values"]
    values: dict[str, Any] = found[0]["values"]
    return values


@pytest.mark.parametrize(("edit", "text"), [c[1:] for c in CONFIRMATIONS], ids=[c[0] for c in CONFIRMATIONS])
def test_a_confirmation_that_is_not_in_order_confirms_nothing(tmp_path: Path, edit: Edit, text: str) -> None:
    found, code = judged(tmp_path, Shape(pods=800, qps=20, burst=100), edit)
    assert found[0].bound_by is None
    assert text in found[0].reason
    assert (found[0].verdict, code) == ("measured", 0)
    assert [e.name for e in found[0].evidence if not e.holds] == ["client_limit_confirmed"]
