# SPDX-License-Identifier: GPL-3.0-or-later
"""Of every scenario the load generator has to be able to do three times the rate used, or the number is its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import judge
from harness.model import Record
from tests.fakes.job_run_builder import JobShape, build, loads, together
from tests.fakes.run_builder import Edit, Run

#: Its Jobs are sent at 400 a second: what counts are the objects sent, not the pods that the controller makes of them.
JOBS = JobShape(victims=False)


def ceiling(*, own: float | None, other: float | None = None) -> Edit:
    """What was measured for this scenario, and for another one."""

    def edit(run: Run) -> None:
        (there,) = (item for item in run.observations if item["kind"] == "calibration")
        run.observations.remove(there)
        for scenario, value in ((JOBS.scenario, own), ("other", other)):
            if value is not None:
                run.observations.append({**there, "scenario": scenario, "values": {"ceiling_per_second": value}})

    return edit


def judged(tmp_path: Path, shape: JobShape, edit: Edit) -> Record:
    (found,) = judge.records(judge.gather(build(tmp_path, shape, edits=[edit])), {})
    return found


#: Where a scenario of parts publishes one number, a distribution over Jobs, a growth or the result of a search.
METRICS = ("bind_all_seconds", "pods_bound_per_second", "reclaim_all_seconds", "job_reclaim_seconds")
METRICS += ("job_unschedulable_seconds", "memory_growth_bytes_per_hour", "highest_rate_per_second")


def step(rate: float, **other: float) -> dict[str, float]:
    return {"rate_per_second": rate, "sent_per_second": rate, "p99_seconds": 0.4, "missing": 0} | other


def searched(*failed: dict[str, float]) -> Edit:
    """Numbers of Jobs, of memory and of a search, as loads write them down; all of an open loop that kept its rate."""

    def edit(run: Run) -> None:
        search = {"highest_rate_per_second": 100, "objective_seconds": 1.0, "steps": [step(100), *failed]}
        for load in loads(run):
            load["values"] |= {
                "search": search,
                "memory": {"scheduler": {"growth_bytes_per_hour": 2e6, "seconds": 3600}},
                "unschedulable": {"samples": [1.0, 2.0, 3.0]},
                "sequential": {"samples": [0.5] * 20},
                "rate_asked": load["values"]["creation_rate"] if failed else None,
            }

    return edit


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("edit", "holds", "observed"),
    [
        (ceiling(own=1200.0), True, "1,200/s"),
        (ceiling(own=1199.0), False, "1,199/s"),
        (ceiling(own=1199.0, other=9000.0), False, "1,199/s"),
        (ceiling(own=1200.0, other=100.0), True, "1,200/s"),
        (ceiling(own=None), False, "not measured in this run"),
    ],
    ids=["three times", "less", "another scenario's does not help", "another scenario's does not hurt", "not measured"],
)
def test_the_ceiling_of_a_load_of_jobs_is_held_against_the_jobs_that_were_sent(
    tmp_path: Path, metric: str, edit: Edit, holds: bool, observed: str
) -> None:
    found = judged(tmp_path, replace(JOBS, metrics=(metric,)), together(searched(), edit))
    (row,) = (item for item in found.evidence if item.name == "load_generator_ceiling")
    assert (row.expected, row.observed, row.holds) == ("≥ 1,200/s (3 times the rate used)", observed, holds)
    assert found.verdict == "measured"
    kind = found.bound_by.kind if found.bound_by is not None else None
    assert (kind == "load_generator") is (observed == "1,199/s")


SLOW, NOT_SENT, LOST = step(200, p99_seconds=1.4), step(200, sent_per_second=150), step(200, missing=3)
SEARCHES = [
    ("too slow at the next rate", [SLOW], "subject", None),
    ("the next rate was never sent", [NOT_SENT], "load_generator", (200.0, 150.0)),
    ("not sent, and pods lost", [NOT_SENT | LOST, SLOW], "subject", None),
    ("not sent, and too slow", [NOT_SENT | {"p99_seconds": 1.4}], "subject", None),
    ("a slower rate was too slow", [step(150, p99_seconds=1.4), NOT_SENT], "subject", None),
    ("what says no rate is no step", [{"p99_seconds": 0.1}, NOT_SENT], "load_generator", (200.0, 150.0)),
    ("what says not how it was sent", [{"rate_per_second": 200, "p99_seconds": 0.4, "missing": 0}], "subject", None),
    ("a slower rate was never sent", [step(150, sent_per_second=120), SLOW], "load_generator", (150.0, 120.0)),
]


@pytest.mark.parametrize(
    ("failed", "kind", "rates"), [case[1:] for case in SEARCHES], ids=[case[0] for case in SEARCHES]
)
def test_the_highest_rate_is_the_load_generators_only_where_the_next_one_was_not_sent(
    tmp_path: Path, failed: list[dict[str, float]], kind: str, rates: tuple[float, float] | None
) -> None:
    metric = replace(JOBS, metrics=("highest_rate_per_second",))
    found = judged(tmp_path, metric, together(searched(*failed), ceiling(own=1e6)))
    assert (found.verdict, found.value) == ("measured", 100.0)
    assert found.bound_by is not None
    assert found.bound_by.kind == kind
    assert rates is None or (found.bound_by.predicted, found.bound_by.observed) == rates


@pytest.mark.parametrize("metric", ["memory_growth_bytes_per_hour", "job_reclaim_seconds", "job_unschedulable_seconds"])
def test_what_is_no_throughput_is_not_put_on_the_rate_that_was_asked_for(tmp_path: Path, metric: str) -> None:
    found = judged(tmp_path, replace(JOBS, metrics=(metric,)), together(searched(SLOW), ceiling(own=1e6)))
    assert found.bound_by is not None
    assert found.bound_by.kind == "subject"
