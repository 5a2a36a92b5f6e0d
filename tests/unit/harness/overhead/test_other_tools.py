# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of nvbandwidth, cuda-bench and LoadGen are read, and compared with the probe where both measure the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.overhead import comparison, crosscheck, experiment, other_tools
from harness.overhead.experiment import Experiment
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
        (Value("nvbandwidth", "x", 0.0, "bytes/s", TO_DEVICE), False),
        (Value("nvbandwidth", "x", 12e9, "bytes/s", TO_DEVICE, "status Error"), None),
        (Value("cuda-bench", "x", 1e-3, "s"), None),
        (Value("nvbandwidth", "x", 6e9, "bytes/s", {"direction": "sideways"}), None),
    ],
)
def test_two_instruments_agree_or_do_not(value: Value, agrees: bool | None) -> None:
    [found] = other_tools.compare([value], [fake.run(), fake.run(block=2)])
    assert found.agrees is agrees
    assert len(other_tools.rows([found])[0]) == 5


@pytest.fixture
def built() -> Experiment:
    """The proxy is 20 % slower."""
    return experiment.build(fake.blocks(5, {"proxy": fake.slower(1.2)}))


def put(folder: Path, **files: str) -> Path:
    """VARIANT__NAME → what is in it."""
    for place, text in files.items():
        variant, name = place.split("__")
        (folder / variant).mkdir(parents=True, exist_ok=True)
        (folder / variant / name).write_text(text, encoding="utf-8")
    return folder


def rates(value: float) -> str:
    return loadgen(result_validity="VALID", result_samples_per_second=value)


OVERHEADS = [
    # of the host, of the proxy, what is said of the proxy
    ({"host__a": rates(120.0), "proxy__a": rates(100.0)}, ("LoadGen", "20 %", "agree")),
    ({"host__a": rates(120.0), "proxy__a": rates(60.0)}, ("LoadGen", "100 %", "**disagree**")),
    ({"host__a": cuda_bench("0.001"), "proxy__a": cuda_bench("0.0012")}, ("cuda-bench", "20 %", "agree")),
    ({"host__a": cuda_bench("0.001"), "proxy__a": cuda_bench("0.001")}, ("cuda-bench", "0 %", "**disagree**")),
    (
        {
            "host__a": nvbandwidth(case("host_to_device_memcpy_ce", [["6.0"]])),
            "proxy__a": nvbandwidth(case("host_to_device_memcpy_ce", [["5.0"]])),
        },
        ("nvbandwidth", "20 %", "agree"),
    ),
]


@pytest.mark.parametrize(("files", "expected"), OVERHEADS)
def test_a_tool_that_has_measured_native_too_says_what_the_variant_costs(
    tmp_path: Path, built: Experiment, files: dict[str, str], expected: tuple[str, str, str]
) -> None:
    found = crosscheck.read(put(tmp_path, **files))
    page = comparison.markdown({"isolation": built}, [], {}, others={"isolation": found})
    assert "### What other tools say of the same device" in page
    rows = [row for row in crosscheck.rows(built, found) if row[2].startswith("overhead of ")]
    assert [(row[0], row[1], row[3], row[5]) for row in rows] == [("proxy", *expected)]


@pytest.mark.parametrize(
    "files",
    [
        {"proxy__a": rates(100.0)},
        {"host__a": rates(120.0)},
        {"host__a": rates(0.0), "proxy__a": rates(100.0)},
        {"host__a": loadgen(result_validity="INVALID", result_samples_per_second=9.0), "proxy__a": rates(9.0)},
        {"host__a": rates(120.0), "proxy__a": cuda_bench("0.001")},
    ],
)
def test_without_the_same_of_native_there_is_no_overhead(
    tmp_path: Path, built: Experiment, files: dict[str, str]
) -> None:
    rows = crosscheck.rows(built, crosscheck.read(put(tmp_path, **files)))
    assert rows != [] and [row for row in rows if row[2].startswith("overhead of ")] == []


def test_a_file_that_cannot_be_read_is_told_and_a_variant_that_never_ran_has_nothing_to_agree_with(
    tmp_path: Path, built: Experiment
) -> None:
    found = crosscheck.read(put(tmp_path, host__a=rates(2.0), mig__a=rates(1.0), host__b="hello"))
    rows = {row[0]: row[5] for row in crosscheck.rows(built, found) if row[0] != "host"}
    assert rows["mig"] == "the probe has no such overhead"
    assert "neither JSON nor LoadGen's log" in rows["host/b"]
    assert not crosscheck.read(tmp_path / "none")
    assert "other tools" not in comparison.markdown({"isolation": built}, [], {}, others={})
