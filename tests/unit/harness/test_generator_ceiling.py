# SPDX-License-Identifier: GPL-3.0-or-later
"""Of every scenario the load generator has to be able to do three times the rate used, or the number is its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import judge
from harness.model import Record
from tests.fakes.job_run_builder import JobShape, build
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


@pytest.mark.parametrize("metric", ["bind_all_seconds", "pods_bound_per_second", "reclaim_all_seconds"])
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
    found = judged(tmp_path, replace(JOBS, metrics=(metric,)), edit)
    (row,) = (item for item in found.evidence if item.name == "load_generator_ceiling")
    assert (row.expected, row.observed, row.holds) == ("≥ 1,200/s (3 times the rate used)", observed, holds)
    assert found.verdict == "measured"
    kind = found.bound_by.kind if found.bound_by is not None else None
    assert (kind == "load_generator") is (observed == "1,199/s")
