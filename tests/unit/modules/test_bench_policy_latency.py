# SPDX-License-Identifier: GPL-3.0-or-later
"""What bench_policy_latency would do, and what it refuses before it touches anything."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.modules import bench_policy_latency

from tests.conftest import RunModule

POLICY = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "deny"}}
GIVEN: dict[str, Any] = {"name": "probe", "policy": POLICY, "pairs": [{"name": "a", "address": "198.18.0.1"}]}


def test_check_mode_returns_the_plan_and_needs_no_cluster(run_module: RunModule) -> None:
    result = run_module(bench_policy_latency, check=True, **GIVEN).ok()
    assert (result["changed"], result["plan"]) == (
        False,
        {
            "pairs": ["a"],
            "cycles": 3,
            "changes": 6,
            "creates": "deny",
            "hold_seconds": 2.0,
            "interval_seconds": 0.005,
            "predicted_seconds": 13.0,
        },
    )


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"policy": {"kind": "NetworkPolicy"}}, "policy: it needs apiVersion and kind"),
    ({"policy": {**POLICY, "metadata": {}}}, "policy: it needs metadata.name"),
    ({"cycles": 0}, "0 cycles with a probe every 0.005 s"),
    ({"interval_seconds": 0.0}, "a probe every 0 s"),
    ({"interval_seconds": 0.5}, "1 to 100 ms"),
    ({"hold_seconds": 0.5}, "0.5 s are too short to tell what holds; at least 0.7 s"),
]


@pytest.mark.parametrize(("changes", "words"), REFUSED)
def test_what_cannot_be_measured_is_refused(run_module: RunModule, changes: dict[str, Any], words: str) -> None:
    for check in (True, False):
        assert words in run_module(bench_policy_latency, check=check, **GIVEN | changes).failed().msg


@pytest.mark.usefixtures("impatient")
def test_without_an_api_server_no_probe_is_started(run_module: RunModule) -> None:
    result = run_module(bench_policy_latency, host="http://127.0.0.1:1", **GIVEN).failed()
    assert "127.0.0.1:1" in result.msg


def test_no_pairs_are_refused(run_module: RunModule) -> None:
    assert "pairs" in run_module(bench_policy_latency, host="http://127.0.0.1:1", **GIVEN | {"pairs": []}).failed().msg
