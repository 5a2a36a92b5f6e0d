# SPDX-License-Identifier: GPL-3.0-or-later
"""What a later attempt of a run is told about the observations that stand there."""

from __future__ import annotations

from pathlib import Path

from ansible.modules import bench_observation

from tests.conftest import RunModule


def test_what_a_load_says_about_a_client_limit_is_told_to_the_next_attempt(
    run_module: RunModule, tmp_path: Path
) -> None:
    limit = {"within": True, "predicted": 12.5, "requests_per_pod": 1.0}
    pair = {"scenario": "fill", "subject": "kube-scheduler", "repeat": 1}
    observations = [
        {**pair, "kind": "pod_load", "values": {"client_limit": limit}},
        {**pair, "kind": "confirmation", "values": {}, "parameters": {"role": "doubled_limit"}},
    ]
    where = {"results": str(tmp_path), "run_id": "20261122T183000Z-1a2b", "suite": "scheduler_scale"}
    run_module(bench_observation, **where, observations=observations).ok()
    assert run_module(bench_observation, **where).ok()["known"] == [
        {**pair, "kind": "pod_load", "role": None, "client_limit": limit},
        {**pair, "kind": "confirmation", "role": "doubled_limit", "client_limit": None},
    ]
