# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_job_load against a server that does nothing: how fast its objects could be sent, of Jobs and of pods."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.modules import bench_job_load

from tests.conftest import RunModule
from tests.fakes.job_load import OBSERVED, RACK, job, pod

PODS: dict[str, Any] = {"name": "pods", "form": "pods", "count": 40, "template": pod(), "measured": True}
JOBS: dict[str, Any] = {"name": "jobs", "form": "jobs", "count": 30, "pods_per_job": 4, "template": job()}
CASES: dict[str, tuple[list[dict[str, Any]], int]] = {
    "bare pods": ([PODS], 40),
    "Jobs, not their pods": ([JOBS | {"measured": True}], 30),
    "measured parts alone": ([JOBS, PODS], 40),
    "parts that start together": ([PODS, JOBS | {"measured": True, "together": True}], 70),
    "an open loop, as fast as it goes": ([PODS | {"rate": 0.5, "arrivals": "poisson"}], 40),
    "one after the other": ([JOBS | {"measured": True, "sequential": True}], 30),
    "what follows others that go": ([JOBS, PODS | {"delete": {"part": "jobs", "per_node": 1}}], 40),
    "no more than shows something": ([PODS | {"count": 240_000}], 1000),
}


@pytest.mark.parametrize("case", CASES)
def test_the_measured_parts_are_sent_to_nobody_as_fast_as_it_goes(run_module: RunModule, case: str) -> None:
    parts, slice_of = CASES[case]
    result = run_module(
        bench_job_load, name="calibration", target="null_server", null_server_seconds=0.05, parts=parts,
        observed=OBSERVED, topology_labels={"rack": RACK},
    ).ok()  # fmt: skip
    assert "values" not in result.json
    found = result["calibration"]
    assert found["requests"] > 0
    assert found["requests"] % slice_of == 0
    assert found["ceiling_per_second"] == pytest.approx(found["requests"] / found["seconds"], rel=0.05)


def test_a_plan_that_cannot_be_carried_out_is_refused_here_as_well(run_module: RunModule) -> None:
    failed = run_module(bench_job_load, name="c", target="null_server", parts=[PODS | {"count": 0}]).failed()
    assert failed.msg == "parts: pods: count: 0 is not a number of at least 1."
