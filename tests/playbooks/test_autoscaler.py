# SPDX-License-Identifier: GPL-3.0-or-later
"""A real autoscaler, told by a real metrics server of what kwok says that pods use, from the load to the last pod."""

from __future__ import annotations

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
    chosen = ["workload_patterns_subjects=metered_nodes", "workload_patterns_scenarios=stream_processing"]
    arguments = [argument for one in chosen for argument in ("-e", one)]
    ended = nightly.run("nightly", "--tags", "environment,workload_patterns", *arguments, roles=ROLES)
    assert ended.rc == 0, ended.text
    records = {record["metric"]: record for record in read_lines(nightly.run_dir() / "records.jsonl")}
    assert {record["verdict"] for record in records.values()} == {"measured"}
    whole = records["autoscaled_scale_out_seconds"]
    # Four more, or twice as many, at a time: the default of autoscaling/v2.
    assert holds(whole, "autoscaler_decided") == "2 → 6 → 12"
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
