# SPDX-License-Identifier: GPL-3.0-or-later
"""A real autoscaler, told by a real metrics server of what kwok says that pods use, from the load to the last pod."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from tests.control_plane import find_tool
from tests.playbooks.conftest import Nightly, read_lines

pytestmark = [pytest.mark.integration, pytest.mark.long]

ROLES = ["toolchain", "control_plane", "kwok_nodes"]
LEGS = ["usage_seen_seconds", "scaling_decision_seconds", "scaling_steps_seconds", "scaled_ready_seconds"]


def holds(record: dict[str, Any], name: str) -> Any:
    return next(item["observed"] for item in record["evidence"] if item["name"] == name and item["holds"])


def test_a_load_scales_out_by_the_autoscalers_own_decision_and_nothing_is_left(nightly: Nightly) -> None:
    find_tool("kwok")
    nightly.environment["NODE_COUNT"] = "4"
    # Looked at more often than by default, which would take a minute more.
    given = {"workload_patterns_subjects": "metered_nodes", "workload_patterns_scenarios": "stream_processing",
             "metrics_server_resolution_seconds": 10, "control_plane_autoscaler_sync_seconds": 2}  # fmt: skip
    arguments = [argument for name, value in given.items() for argument in ("-e", f"{name}={value}")]
    ended = nightly.run("nightly", "--tags", "environment,workload_patterns", *arguments, roles=ROLES)
    assert ended.rc == 0, ended.text
    records = {record["metric"]: record for record in read_lines(nightly.run_dir() / "records.jsonl")}
    assert {record["verdict"] for record in records.values()} == {"measured"}
    whole = records["autoscaled_scale_out_seconds"]
    replicas = [int(number) for number in holds(whole, "autoscaler_decided").split(" → ")]
    assert (replicas[0], replicas[-1]) == (2, 12)
    # How far a look goes depends on how much of the load its reading has; no more than twice as far (its own limit).
    assert all(before < after <= 2 * before for before, after in pairwise(replicas))
    assert whole["parameters"]["metrics"] == {"resolution_seconds": 10, "sync_seconds": 2}
    assert sum(records[leg]["value"] for leg in LEGS) == pytest.approx(whole["value"], abs=0.01)
    assert nightly.left() == ["machine.lock"]


def test_without_the_binary_the_suite_says_what_is_missing_and_the_night_goes_on(nightly: Nightly) -> None:
    find_tool("kwok")
    nightly.environment["NODE_COUNT"] = "4"
    given = {"workload_patterns_subjects": "metered_nodes", "workload_patterns_scenarios": "stream_processing",
             "metrics_server_binary": ""}  # fmt: skip
    arguments = [argument for name, value in given.items() for argument in ("-e", f"{name}={value}")]
    ended = nightly.run("nightly", "--tags", "environment,workload_patterns", *arguments, roles=ROLES)
    assert ended.rc == 0, ended.text
    records = read_lines(nightly.run_dir() / "records.jsonl")
    assert {record["verdict"] for record in records} == {"not_runnable"}
    (reason,) = {record["reason"] for record in records}
    assert reason.startswith("metrics_server_binary: empty. Role toolchain gets metrics-server and kwok")
