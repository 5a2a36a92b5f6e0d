# SPDX-License-Identifier: GPL-3.0-or-later
"""A benchmark's published text: what is read out of it, and what it is told not to show."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.overhead import text_result

# The published form, in our own words and with its figures.
PUBLISHED = """\
=== Baseline ===
GPU: Tesla T4 (14.56 GB)
Location: GCP us-central1-a
Test Size: 100 MB
Host to Device: 4.31 GB/s
Device to Host: 4.53 GB/s
expected for PCIe 3.0 x4
Allocation Size: 1 MB
Iterations: 1,000
Throughput: 6,977 ops/sec
Average Latency: 0.14 ms (140 microseconds)
Samples: 500
p50 (median): 0.135 ms
p90: 0.153 ms
p99: 0.198 ms
Acceptable:
- Throughput: > 6,628 ops/sec
"""
ON_CPU = "Throughput: 17.97 samples/second\n- Execution: CPU (CUDA incompatibility)\n"


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    path = tmp_path / "baseline_results.txt"
    path.write_text(PUBLISHED, encoding="utf-8")
    return path


def test_the_published_numbers_are_read(baseline: Path) -> None:
    found = text_result.read(baseline)
    assert found.numbers == {
        "throughput": 6977.0,
        "mean_milliseconds": 0.14,
        "p50_milliseconds": 0.135,
        "p90_milliseconds": 0.153,
        "p99_milliseconds": 0.198,
        "to_device": 4.31,
        "from_device": 4.53,
        "copied_megabytes": 100.0,
        "allocated_megabytes": 1.0,
        "iterations": 1000.0,
        "samples": 500.0,
    }


#: The same numbers as the page about them has them.
PAGE = """\
### 1. Baseline (Bare Metal)
**File**: `baseline_results.txt`
**Location**: Local (manually created from GCP output)
**Environment**: Direct GPU access, no virtualization

**Key Metrics**:
- Throughput: 6,977 ops/sec
- Average Latency: 0.14 ms (140 microseconds)
- p99 Latency: 0.198 ms
- Memory Bandwidth: 4.31 GB/s (H2D), 4.53 GB/s (D2H)

grep "Throughput:" mlperf-benchmark/results/baseline_results.txt
"""


def test_the_page_about_the_numbers_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(PAGE, encoding="utf-8")
    found = text_result.read(path)
    assert found.numbers == {
        "throughput": 6977.0,
        "mean_milliseconds": 0.14,
        "p99_milliseconds": 0.198,
        "to_device": 4.31,
        "from_device": 4.53,
    }
    told = " ".join(text_result.cannot_show(found))
    assert "no kernel is launched" in told and "one copy each way, pageable" in told
    assert "How many samples the quantiles are of: the text does not say." in told
    assert "is a rented VM" in told


def test_what_they_are_is_said(baseline: Path) -> None:
    shown = text_result.shows(text_result.read(baseline))
    assert shown[0] == "6,977 allocations of 1 MB with their release a second (1,000 in one interval)"
    assert shown[1] == "one pageable copy of 100 MB to the device: 4.31 as printed, 4.63 GB/s"


CANNOT = [
    (PUBLISHED, "no kernel is launched"),
    (PUBLISHED, "the mean of 0.14 ms is 1 / 6,977 s"),
    (PUBLISHED, "pageable and not warmed up"),
    (PUBLISHED, "it carries 3.94 GB/s at most, and 4.86 GB/s were copied"),
    (PUBLISHED, "needs 662 samples and is of 500. With 95 % confidence it lies between sample 490 and sample 500"),
    (PUBLISHED, "GCP us-central1-a is a rented VM"),
    (PUBLISHED, "one run has no interval"),
    ("p99: 0.2 ms\n", "How many samples the quantiles are of"),
    ("p99: 0.2 ms\n", "only NVML's virtualization mode says that"),
    (ON_CPU, "it ran on the CPU (CUDA incompatibility)"),
]


@pytest.mark.parametrize(("text", "says"), CANNOT)
def test_what_a_text_cannot_show_is_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "result.txt"
    path.write_text(text, encoding="utf-8")
    assert [line for line in text_result.cannot_show(text_result.read(path)) if says in line] != []


NOT_SAID = [
    (PUBLISHED.replace("x4", "x16"), "at most, and"),
    (PUBLISHED.replace("Samples: 500", "Samples: 1,000"), "needs 662"),
    (PUBLISHED.replace("0.14 ms", "0.5 ms"), "the same interval again"),
    (PUBLISHED, "it ran on the"),
    (ON_CPU, "no kernel is launched"),
]


@pytest.mark.parametrize(("text", "says"), NOT_SAID)
def test_what_does_not_apply_is_not_said(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "result.txt"
    path.write_text(text, encoding="utf-8")
    assert [line for line in text_result.cannot_show(text_result.read(path)) if says in line] == []


def test_less_than_one_percent_is_not_printed_as_nothing(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "k8s-baseline-results.txt"
    other.write_text(PUBLISHED.replace("6,977", "6,910"), encoding="utf-8")
    assert main(["import", "gpu-text", "--baseline", str(baseline), str(other)]) == 0
    [row] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("throughput")]
    assert row.split() == ["throughput", "6977", "6910", "0.9696", "%"]


def test_a_missing_baseline_is_an_error(baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.txt"
    other.write_text(PUBLISHED, encoding="utf-8")
    assert main(["import", "gpu-text", str(baseline), str(other)]) == 2
    assert "2 files and no baseline" in capsys.readouterr().err
    assert main(["import", "gpu-text", "--baseline", str(tmp_path / "none.txt"), str(other)]) == 2
    assert "none.txt" in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"", b"Throughput: fast\n", b"\xff\xfe"])
def test_a_text_without_a_number_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "result.txt"
    path.write_bytes(data)
    with pytest.raises(UsageError):
        text_result.read(path)


def test_texts_without_a_common_number_are_not_compared(
    baseline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "model.txt"
    other.write_text(ON_CPU, encoding="utf-8")
    assert main(["import", "gpu-text", "--baseline", str(baseline), str(other)]) == 2
    assert "have no number in common" in capsys.readouterr().err


def test_the_page_is_printed(baseline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "gpu-text", str(baseline)]) == 0
    assert capsys.readouterr().out.startswith(
        "baseline_results.txt (Tesla T4 (14.56 GB)): nothing of it was measured here"
    )
