# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster does with a workload is published where all of it was seen, and never what was planted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.model import Record
from harness.report import report
from harness.results import RunFolder
from harness.workload.scaling import LEGS
from harness.workload.steps import MEASURES
from tests.fakes.workload_run_builder import PARAMETERS, Rows, build, pod, row, step, values

GANG: Rows = [
    step("start", 1.0, 3.0),
    row("request", "start", "Job/training", sent=1.0, answered=1.1, due=1.0),
    pod("start", "training-0", 2.0, gpus=2, gone=5.1),
    pod("start", "training-1", 2.9, gpus=2, failed=5.15, gone=5.2),
    step("restart", 5.0, 5.5, "evict"),
    pod("restart", "training-2", 5.2, gpus=2),
    pod("restart", "training-3", 5.4, gpus=2),
]
PARTS: Rows = [
    step("work", 0.0, 9.0),
    *(pod("work", f"batch-now-{n}", begin, 0.0, gpus=1, completed=end, gone=end + 1)
      for n, (begin, end) in enumerate([(1.0, 3.0), (1.0, 4.0), (3.5, 6.0), (4.25, 8.0)])),
    row("job", "work", "batch-now", created=0.5, completed=8.5),
]  # fmt: skip
USERS: Rows = [
    step("spawn", 0.0, 4.0),
    *(
        row("request", "spawn", f"Pod/notebook-{n}", copy=n, due=float(n), sent=n + 0.5, answered=n + 0.6)
        for n in range(3)
    ),
    *(pod("spawn", f"notebook-{n}", n + 0.6, 0.4, gpus=1, copy=n, gone=11.0) for n in range(3)),
    step("reclaim", 10.0, 11.0),
    *(row("request", "reclaim", f"notebook-{n}", due=10.0, sent=10.0, answered=10.1) for n in range(3)),
]
STAGES: Rows = [
    step("prepare", 0.0, 3.0),
    pod("prepare", "prepare-0", 0.5, 0.0, completed=2.5),
    step("train", 3.0, 7.0),
    pod("train", "train-0", 3.5, 0.0, gpus=4, completed=5.0),
    pod("train", "train-1", 3.5, 0.0, gpus=4, completed=6.5),
    step("serve", 7.0, 8.0),
    pod("serve", "serve-0", 7.1, gpus=1),
]
SWAP: Rows = [step("swap_down", 0, 1), step("swap_up", 1, 3), step("back_down", 3, 4), step("back_up", 4, 5)]
POOL: Rows = [
    step("fill", 0.0, 1.0),
    pod("fill", "a", 0.5),
    pod("fill", "b", 0.5),
    step("claim", 2.0, 2.5),
    *(row("request", "claim", name, due=2.0, sent=2.0, answered=2.02) for name in "ab"),
    pod("claim", "c", 2.1, 0.3),
]

EVENTS: Rows = [
    step("events", 0.0, 3.0),
    *(row("request", "events", f"Job/event-{n}", copy=n, due=0.0, sent=0.1 * n, answered=0.1 * n) for n in range(2)),
    *(row("job", "events", f"event-{n}", copy=n, created=0.1 * n, completed=2.9) for n in range(2)),
    *(pod("events", f"event-{n}-x", 0.2, 0.1 * n, gpus=1, copy=n, completed=2.0) for n in range(2)),
]
SERVER: Rows = [
    step("scale_out", 0.0, 1.0),
    step("replace", 1.0, 1.25),
    step("wake", 2.0, 2.5),
    pod("replace", "a", 1.1),
]

KNOWN = [
    ("event_to_running_seconds", EVENTS, 0.25),
    ("scale_out_seconds", SERVER, 1.0),
    ("pod_replacement_seconds", SERVER, 0.25),
    ("wake_seconds", SERVER, 0.5),
    ("gang_start_seconds", GANG, 2.0),
    ("gang_held_gpu_seconds", GANG, 2.2),  # 1.0 s and 0.1 s, two GPUs each
    ("gang_restart_seconds", GANG, 0.5),
    ("restart_lost_gpu_seconds", GANG, 2.0),
    ("checkpoint_lost_gpu_seconds", GANG, 0.5),  # 0.1 s and 0.15 s, two GPUs each
    ("gpus_held_most", GANG, 4.0),
    ("idle_usd_per_thousand_units", GANG, 2.2 * 2.0 / 3.6),
    # An hour of a pod without a GPU is 2 USD here, and each GPU 2 USD more.
    ("usd_per_thousand_units", GANG, 1.1 * 6.0 / 3.6),
    ("usd_per_thousand_units", PARTS, 0.375 * 4.0 / 3.6),
    ("usd_per_thousand_units", USERS, (0.4 + 1.0) * 4.0 / 3.6),
    ("usd_per_thousand_units", EVENTS, 0.05 * 4.0 / 3.6),
    ("usd_per_thousand_units", STAGES, 0.1 * 4.0 / 3.6),
    ("usd_per_thousand_units", SERVER, 0.25 * 2.0 / 3.6),
    ("usd_per_thousand_units", POOL, 0.3 * 2.0 / 3.6),
    ("idle_usd_per_thousand_units", POOL, 0.0),
    ("manifest_fields", GANG, 40.0),
    ("slot_turnaround_seconds", PARTS, 0.375),
    ("job_end_seconds", PARTS, 0.5),
    ("notebook_spawn_seconds", USERS, 1.0),
    ("notebook_reclaim_seconds", USERS, 1.0),
    ("pipeline_overhead_seconds", STAGES, 3.0),
    ("model_swap_seconds", SWAP, 2.5),
    ("sandbox_claim_seconds", POOL, 0.02),
    ("sandbox_refill_seconds", POOL, 0.5),
    ("sandbox_cold_start_seconds", POOL, 0.1),
]
Edit = Callable[[Rows, dict[str, Any]], None]


def run_of(tmp_path: Path, metric: str, rows: Rows, edit: Edit | None = None, repeats: int = 1) -> RunFolder:
    made = []
    for _ in range(repeats):
        found = [dict(one) for one in rows]
        told = values(found)
        if edit is not None:
            edit(found, told)
        made.append((told, found))
    return build(tmp_path, {"pattern": ([metric], made)})


def record(run: RunFolder) -> Record:
    (found,) = report(run).records
    return found


@pytest.mark.parametrize(("metric", "rows", "value"), KNOWN)
def test_each_metric_is_what_its_rows_say(tmp_path: Path, metric: str, rows: Rows, value: float) -> None:
    found = record(run_of(tmp_path, metric, rows))
    assert ([item for item in found.evidence if not item.holds], found.verdict) == ([], "measured")
    assert found.value == pytest.approx(value)


def test_three_repeats_give_an_interval_and_say_what_is_simulated(tmp_path: Path) -> None:
    found = record(run_of(tmp_path, "gang_start_seconds", GANG, repeats=3))
    assert found.ci is not None
    assert found.parameters["simulated"] == "the work"
    assert found.samples is not None


def test_the_report_has_what_the_api_server_says_of_each_form(tmp_path: Path) -> None:
    def asked(rows: Rows, told: dict[str, Any]) -> None:
        message = "the cluster has no TrainJob in trainer.kubeflow.org/v1alpha1; install Kubeflow Trainer"
        answer = {"object": "TrainJob training", "accepted": None, "message": message}
        told["forms"]["operator"] = {"api_server": [answer]}

    run = run_of(tmp_path, "gang_start_seconds", GANG, asked)
    assert record(run).verdict == "measured"
    assert "install Kubeflow Trainer" in (run.path / "report.html").read_text()


def test_what_is_counted_has_no_clock_and_is_not_simulated(tmp_path: Path) -> None:
    found = record(run_of(tmp_path, "gpus_held_most", GANG))
    assert (found.clock, found.resolution, "simulated" in found.parameters) == (None, None, False)


def test_the_work_that_was_planted_changes_no_metric(tmp_path: Path) -> None:
    def longer(rows: Rows, told: dict[str, Any]) -> None:
        for one in rows:
            if one["step"] == "prepare":
                for name in ("completed", "reached"):
                    one[name] = one[name] + 100 if one[name] is not None else None
            elif one["step"] in ("train", "serve"):
                for name, at in one.items():
                    if isinstance(at, float):
                        one[name] = at + 100

    found = record(run_of(tmp_path, "pipeline_overhead_seconds", STAGES, longer))
    assert found.value == pytest.approx(3.0)


def late(rows: Rows, told: dict[str, Any]) -> None:
    rows[0]["reached"] = None
    told.update(done=told["done"] - 1, missing=1, waited_for=["start: 2 running, 1 are"])


def refused(rows: Rows, told: dict[str, Any]) -> None:
    told["requests"].update(failed=1, failures=["forbidden: exceeded quota"])


def job_failed(rows: Rows, told: dict[str, Any]) -> None:
    told["jobs_failed"] = ["training"]


def pod_failed(rows: Rows, told: dict[str, Any]) -> None:
    rows[3].update(failed=4.0)


def pod_less(rows: Rows, told: dict[str, Any]) -> None:
    told["pods"] += 1


def unsound(rows: Rows, told: dict[str, Any]) -> None:
    told["forms"]["plain"]["findings"] = ["job-gang: Job training: spec.parallelism"]


def not_taken(rows: Rows, told: dict[str, Any]) -> None:
    told["forms"]["plain"]["api_server"] = [{"object": "Job training", "accepted": False, "message": "no"}]


def nobody_asked(rows: Rows, told: dict[str, Any]) -> None:
    told["forms"]["plain"]["api_server"] = []


def ended_before_it_ran(rows: Rows, told: dict[str, Any]) -> None:
    told["planted"] = {"training": {"seconds": 1}}
    rows[2].update(completed=rows[2]["running"] - 1)


def run_on(rows: Rows, told: dict[str, Any]) -> None:
    rows[2].update(gone=5.3)


def ended_early(rows: Rows, told: dict[str, Any]) -> None:
    rows[2].update(gone=4.9)


def never_ended(rows: Rows, told: dict[str, Any]) -> None:
    rows[2].update(gone=None)


@pytest.mark.parametrize(
    ("edit", "evidence"),
    [
        (run_on, {"no_checkpoint_after_the_failure"}),
        (ended_early, {"no_checkpoint_after_the_failure"}),
        (never_ended, {"no_checkpoint_after_the_failure", "has_its_samples"}),
    ],
)
def test_a_loss_that_is_not_the_planned_one_is_not_published(tmp_path: Path, edit: Edit, evidence: set[str]) -> None:
    found = record(run_of(tmp_path, "checkpoint_lost_gpu_seconds", GANG, edit))
    assert found.verdict == "invalid"
    assert {item.name for item in found.evidence if not item.holds} == evidence


def test_what_is_planted_of_a_loss_is_a_parameter(tmp_path: Path) -> None:
    found = record(run_of(tmp_path, "checkpoint_lost_gpu_seconds", GANG))
    # Checkpoints 0.75 s apart, the failure after 2 s: half a second of four GPUs is lost, whatever the cluster does.
    planted = {"checkpoint_seconds": 0.75, "failure_after_seconds": 2.0, "gpu_seconds": 2.0}
    assert found.parameters["planted_loss"] == planted
    assert "planted_loss" not in record(run_of(tmp_path / "other", "gang_restart_seconds", GANG)).parameters


def stolen(rows: Rows, told: dict[str, Any]) -> None:
    told["machine"]["steal_ratio"] = 0.5


@pytest.mark.parametrize(
    ("edit", "evidence"),
    [
        (late, {"steps_reached", "has_its_samples"}),
        (refused, {"nothing_failed"}),
        (job_failed, {"nothing_failed"}),
        (pod_failed, {"no_pod_failed_by_itself"}),
        (pod_less, {"rows_accounted_for"}),
        (unsound, {"form_is_sound"}),
        (not_taken, {"form_is_sound"}),
        (nobody_asked, {"form_is_sound"}),
        (ended_before_it_ran, {"nothing_planted_in_it"}),
        (stolen, {"cpu_not_stolen"}),
    ],
)
def test_a_run_in_which_something_is_wrong_is_invalid_and_says_what(
    tmp_path: Path, edit: Edit, evidence: set[str]
) -> None:
    found = record(run_of(tmp_path, "gang_start_seconds", GANG, edit))
    assert found.verdict == "invalid"
    assert {item.name for item in found.evidence if not item.holds} == evidence


def test_samples_that_were_changed_afterwards_are_found(tmp_path: Path) -> None:
    run = run_of(tmp_path, "gang_start_seconds", GANG)
    path = run.path / "samples" / "pattern.1.jsonl"
    path.write_text(path.read_text().replace("3.0", "2.0", 1))
    found = record(run)
    assert {item.name for item in found.evidence if not item.holds} >= {"samples_intact"}


@pytest.mark.parametrize(
    "prices",
    [
        {},
        {"gpu_hour": 2.0, "cpu_hour": 0.25, "source": "a price list"},
        {"gpu_hour": 2.0, "cpu_hour": -0.25, "memory_gib_hour": 0.125, "source": "a price list"},
        {"gpu_hour": True, "cpu_hour": 0.25, "memory_gib_hour": 0.125, "source": "a price list"},
        {"gpu_hour": 2.0, "cpu_hour": 0.25, "memory_gib_hour": 0.125, "source": ""},
    ],
)
def test_a_cost_without_three_prices_and_their_source_is_not_published(tmp_path: Path, prices: dict[str, Any]) -> None:
    repeats = [(values(GANG), GANG)]
    run = build(tmp_path, {"pattern": (["usd_per_thousand_units"], repeats)}, {**PARAMETERS, "prices": prices})
    found = record(run)
    assert found.verdict == "invalid"
    assert "price_has_a_source" in {item.name for item in found.evidence if not item.holds}


def test_every_metric_of_the_table_is_measured_here() -> None:
    # What an autoscaler does has a file of its own, test_autoscaled_records.py.
    assert {metric for metric, _, _ in KNOWN} == set(MEASURES) - set(LEGS)
