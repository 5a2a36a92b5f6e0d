# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of nvbandwidth, cuda-bench and LoadGen are read, and compared with the probe where both measure the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.overhead import other_tools
from harness.overhead.other_tools import Value
from tests.fakes import overhead_runs as fake

TO_DEVICE = {"direction": "to_device", "memory": "pinned"}


def case(name: str, matrix: list[list[str]], status: str = "Passed") -> dict[str, Any]:
    return {"name": name, "status": status, "bandwidth_matrix": matrix}


def nvbandwidth(*cases: dict[str, Any]) -> str:
    return json.dumps({"nvbandwidth": {"version": "0.8", "testcases": list(cases)}})


def cuda_bench(value: str, **state: Any) -> str:
    summary = {"tag": "nv/cold/time/gpu/mean", "data": [{"name": "value", "type": "float64", "value": value}]}
    states = [{"name": "Device=0", "summaries": [summary], **state}]
    return json.dumps({"meta": {}, "benchmarks": [{"name": "copy", "states": states}]})


def loadgen(**keys: Any) -> str:
    lines = [json.dumps({"key": key.replace("__", "."), "value": value}) for key, value in keys.items()]
    return "".join(f":::MLLOG {line}\n" for line in lines)


READ = [
    (
        nvbandwidth(case("host_to_device_memcpy_ce", [["6.0"]]), case("device_local_copy", [["N/A", "200.5"]])),
        [
            Value("nvbandwidth", "host_to_device_memcpy_ce", 6.0e9, "bytes/s", TO_DEVICE),
            Value("nvbandwidth", "device_local_copy", 200.5e9, "bytes/s"),
        ],
    ),
    (
        nvbandwidth(case("host_to_device_memcpy_ce", [], "Waived")),
        [Value("nvbandwidth", "host_to_device_memcpy_ce", 0.0, "bytes/s", TO_DEVICE, "status Waived")],
    ),
    (
        nvbandwidth(case("host_to_device_memcpy_ce", [["N/A"]])),
        [Value("nvbandwidth", "host_to_device_memcpy_ce", 0.0, "bytes/s", TO_DEVICE, "no pair of devices")],
    ),
    (cuda_bench("0.00125"), [Value("cuda-bench", "copy Device=0", 0.00125, "s")]),
    (
        loadgen(
            result_validity="VALID", result_samples_per_second=3120.5, result_99__00_percentile_latency_ns=15_000_000
        )
        + ":::MLLOG {cut off",
        [
            Value("LoadGen", "samples a second", 3120.5, "1/s"),
            Value("LoadGen", "p99 latency", pytest.approx(0.015), "s"),  # type: ignore[arg-type]
        ],
    ),
    (
        loadgen(result_validity="INVALID", result_invalid_reason="too short", result_samples_per_second=3.0),
        [Value("LoadGen", "samples a second", 3.0, "1/s", None, "LoadGen says INVALID: too short")],
    ),
]


@pytest.mark.parametrize(("text", "expected"), READ)
def test_a_tools_result_is_read(tmp_path: Path, text: str, expected: list[Value]) -> None:
    path = tmp_path / "result"
    path.write_text(text, encoding="utf-8")
    assert other_tools.read(path) == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello", "neither JSON nor LoadGen's log"),
        ("{}", "no result of nvbandwidth"),
        ("[]", "no result of nvbandwidth"),
        (cuda_bench("1", is_skipped=True), "no result of nvbandwidth"),
        (loadgen(generic_message="hello"), "no result of nvbandwidth"),
    ],
)
def test_what_is_no_result_is_refused(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "result"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=says):
        other_tools.read(path)
    with pytest.raises(UsageError, match="read "):
        other_tools.read(tmp_path / "none")


@pytest.mark.parametrize(
    ("value", "agrees"),
    [
        # The probe's 64 MiB at 6 GB/s with 10 µs before it are 5.995 GB/s.
        (Value("nvbandwidth", "x", 6.0e9, "bytes/s", TO_DEVICE), True),
        (Value("nvbandwidth", "x", 6.5e9, "bytes/s", TO_DEVICE), True),
        (Value("nvbandwidth", "x", 12e9, "bytes/s", TO_DEVICE), False),
        (Value("nvbandwidth", "x", 12e9, "bytes/s", TO_DEVICE, "status Error"), None),
        (Value("cuda-bench", "x", 1e-3, "s"), None),
        (Value("nvbandwidth", "x", 6e9, "bytes/s", {"direction": "sideways"}), None),
    ],
)
def test_two_instruments_agree_or_do_not(value: Value, agrees: bool | None) -> None:
    [found] = other_tools.compare([value], [fake.run(), fake.run(block=2)])
    assert found.agrees is agrees
    assert len(other_tools.rows([found])[0]) == 5
