# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrivals are those of their process or trace, come back with their seed, and tell how far they are from it."""

from __future__ import annotations

import gzip
import math
import random
import statistics
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import arrivals, arrivals_fidelity, arrivals_plan, arrivals_trace
from ansible.module_utils.nightbench.arrivals_trace import Arrival
from ansible.module_utils.nightbench.errors import ConfigurationError

from tests.conftest import ROOT

TRACES = ROOT / "tests" / "fixtures" / "traces"
AZURE = {"path": str(TRACES / "azure_llm.csv"), "format": "azure_llm"}
ALIBABA = {"path": str(TRACES / "alibaba_gpu.csv"), "format": "alibaba_gpu"}
STATES = [{"weight": 1, "seconds": 5}, {"weight": 8, "seconds": 1}]
PROCESSES: list[tuple[dict[str, Any], float]] = [
    ({"kind": "constant"}, 0.0),
    ({"kind": "poisson"}, 1.0),
    ({"kind": "gamma", "cv": 0.5}, 0.5),
    ({"kind": "gamma", "cv": 3.0}, 3.0),
    ({"kind": "markov_modulated", "states": STATES}, 1.0),
    ({"kind": "diurnal", "period_seconds": 50, "peak_to_mean": 1.9}, 1.0),
]
each_process = pytest.mark.parametrize(("item", "cv"), PROCESSES, ids=lambda value: str(value)[:40])


@each_process
def test_a_process_keeps_its_rate_and_in_its_own_time_its_law(item: dict[str, Any], cv: float) -> None:
    made = arrivals_plan.planned({**item, "rate": 40, "seconds": 500, "seed": 7})
    found = [one.at for one in made.arrivals]
    assert found[0] == 0 and found == sorted(found) and found[-1] < 500
    assert len(found) == pytest.approx(20_000, rel=0.15)
    drawn = arrivals.process({**item, "rate": 40, "seed": 7})
    own = drawn.operational(found)
    gaps = [after - before for before, after in pairwise(own)]
    assert statistics.fmean(gaps) == pytest.approx(1.0, abs=0.05)
    assert statistics.pstdev(gaps) == pytest.approx(cv, rel=0.1, abs=1e-6)
    document = made.document
    assert document["distance"] is None if cv == 0 else document["distance"] < 0.05
    assert document["distance_most"] == 0.1


@each_process
def test_arrivals_come_back_with_their_seed_and_only_with_it(item: dict[str, Any], cv: float) -> None:
    first, again, other = (
        arrivals_plan.planned({**item, "rate": 10, "seconds": 20, "seed": seed}).arrivals for seed in (1, 1, 2)
    )
    assert first == again
    assert (first == other) is (cv == 0)


def test_how_bursts_are_told() -> None:
    bursty = {"kind": "markov_modulated", "states": STATES, "rate": 40, "seconds": 500}
    seen = arrivals_plan.planned(bursty).document["planned"]
    flat = arrivals_plan.planned({"kind": "poisson", "rate": 40, "seconds": 500}).document["planned"]
    assert seen["cv"] > 1.3 > 1.05 > flat["cv"]
    assert seen["autocorrelation"] > 0.1 > abs(flat["autocorrelation"])
    daily = {"kind": "diurnal", "period_seconds": 100, "peak_to_mean": 1.8, "rate": 40, "seconds": 100}
    assert arrivals_plan.planned(daily).document["planned"]["peak_to_mean"] == pytest.approx(1.8, abs=0.2)


def test_spans_are_no_finer_than_a_service_could_see() -> None:
    seen = arrivals_plan.planned({"kind": "poisson", "rate": 2000, "seconds": 20}).document
    assert seen["planned"]["stride"] in (40, 41)
    assert seen["planned"]["cv"] == pytest.approx(1 / math.sqrt(40), rel=0.15)
    assert seen["distance"] < 0.1


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [(0, 100, 10), (2, 50, 200), (2.5, 4000, 0), (10.25, 7, 1)]),
        ({"time_scale": 10}, [(0, 100, 10), (0.2, 50, 200), (0.25, 4000, 0), (1.025, 7, 1)]),
        ({"size_scale": 0.01}, [(0, 1, 1), (2, 1, 2), (2.5, 40, 0), (10.25, 1, 1)]),
        ({"from_seconds": 1}, [(1, 50, 200), (1.5, 4000, 0), (9.25, 7, 1)]),
    ],
)
def test_a_trace_is_scaled_in_time_and_in_size_apart(options: dict[str, Any], expected: list[Any]) -> None:
    made = arrivals_plan.planned({"kind": "trace", "seconds": 60, "trace": {**AZURE, **options}})
    assert list(made.arrivals) == [Arrival(pytest.approx(at), *sizes) for at, *sizes in expected]
    assert made.document["distance"] == 0
    assert made.document["planned"]["cv"] == made.document["source"]["cv"]


def test_the_slice_is_what_fills_the_seconds() -> None:
    made = arrivals_plan.planned({"kind": "trace", "seconds": 0.3, "trace": {**AZURE, "time_scale": 10}})
    assert [one.at for one in made.arrivals] == pytest.approx([0, 0.2, 0.25])
    assert 0 < made.document["source"]["distance_of_slice_to_whole_trace"] < 1


def test_pods_of_a_trace_are_gpus_and_seconds() -> None:
    made = arrivals_plan.planned({"kind": "trace", "seconds": 10, "trace": {**ALIBABA, "time_scale": 100}})
    assert made.arrivals == (Arrival(0, 1, 1000), Arrival(6, 1, 3400), Arrival(9, 0, 0), Arrival(9, 8, 8100))


def test_a_trace_may_be_packed(tmp_path: Path) -> None:
    packed = tmp_path / "trace.csv.gz"
    packed.write_bytes(gzip.compress((TRACES / "azure_llm.csv").read_bytes()))
    assert len(arrivals_trace.read(packed.read_bytes(), "azure_llm", "x")) == 4


def test_a_process_tells_its_distance_from_the_trace_it_stands_for(tmp_path: Path) -> None:
    path, source, at = tmp_path / "trace.csv", random.Random(5), 0.0
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for _ in range(600):
        at += source.gammavariate(0.25, 0.04)
        lines.append(f"2023-11-16 18:00:{at:010.7f},1,1")
    path.write_text("\n".join(lines))
    like = {"path": str(path), "format": "azure_llm"}
    near = arrivals_plan.planned({"kind": "gamma", "cv": 2, "rate": 100, "seconds": 5, "like": like})
    far = arrivals_plan.planned({"kind": "constant", "rate": 100, "seconds": 5, "like": like})
    assert near.document["like"]["distance"] < 0.15 < 0.4 < far.document["like"]["distance"]


def test_sizes_are_drawn_by_the_seed_and_stay_within_bounds() -> None:
    sizes = {"input": {"median": 100, "sigma": 1.0, "most": 400}, "output": {"median": 3}}
    found = arrivals_plan.planned({"rate": 100, "seconds": 40}, sizes).arrivals
    inputs = [one.input for one in found]
    assert statistics.median(inputs) == pytest.approx(100, rel=0.1)
    assert (min(inputs) >= 1, max(inputs), {one.output for one in found}) == (True, 400, {3})


@pytest.mark.parametrize(("shape", "value", "expected"), [
    (1.0, 1.0, 1 - math.exp(-1)), (1.0, 30.0, 1.0), (0.5, 0.5, math.erf(math.sqrt(0.5))), (0.5, 8.0, math.erf(8**0.5)),
    (40.0, 40.0, 0.5210), (3.0, 0.0, 0.0),
])  # fmt: skip
def test_the_gamma_law(shape: float, value: float, expected: float) -> None:
    assert arrivals_fidelity.regularised_gamma(shape, value) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [1, 2, 3], 0.0),
        ([1, 2], [3, 4], 1.0),
        ([1, 2, 3, 4], [1, 2, 5, 6], 0.5),
        ([1, 1, 2], [1, 2, 2], 1 / 3),
    ],
)
def test_the_distance_of_two_samples(first: list[float], second: list[float], expected: float) -> None:
    assert arrivals_fidelity.distance(first, second) == pytest.approx(expected)


def test_another_law_is_seen() -> None:
    source = random.Random(1)
    found = [source.expovariate(1.0) for _ in range(500)]
    assert arrivals_fidelity.distance_from(found, arrivals_fidelity.gamma_law(1.0)) < arrivals_fidelity.farthest(500)
    assert arrivals_fidelity.distance_from(found, arrivals_fidelity.gamma_law(3.0)) > arrivals_fidelity.farthest(500)
    assert arrivals_fidelity.farthest(16) == pytest.approx(0.4075)


@pytest.mark.parametrize("found", [[], [0.0], [1.0, 1.0, 1.0]])
def test_what_has_no_spread_is_said_to_have_none(found: list[float]) -> None:
    seen = arrivals_fidelity.described(found)
    assert (seen["cv"], seen["peak_to_mean"], seen["autocorrelation"], seen["rate"]) == (None, None, None, None)


POISSON = {"kind": "poisson", "rate": 1, "seconds": 10}
WRONG: list[tuple[dict[str, Any], dict[str, Any] | None, str]] = [
    ({"kind": "weibull", "rate": 1, "seconds": 1}, None, "kind weibull is none of constant, poisson"),
    ({"kind": "poisson", "seconds": 1}, None, "poisson needs a rate above 0, not None"),
    ({**POISSON, "rate": 0}, None, "needs a rate above 0, not 0"),
    ({**POISSON, "seconds": 0}, None, "seconds, how long they go on"),
    ({**POISSON, "rate": 1e6}, None, "10000000 are expected; one load has at most 200000"),
    ({**POISSON, "rate": 0.001}, None, "1 in all; at least 2 make a load"),
    ({**POISSON, "burst": 3}, None, "burst is none of cv, kind"),
    ({**POISSON, "kind": "gamma"}, None, "gamma needs cv"),
    ({**POISSON, "kind": "gamma", "cv": 1e-200}, None, "above 0: 0.01 to 100, not 1e-200"),
    ({**POISSON, "kind": "gamma", "cv": 1e200}, None, "above 0: 0.01 to 100, not 1e+200"),
    ({**POISSON, "rate": "fast"}, None, "rate is a number, not 'fast'"),
    ({**POISSON, "rate": float("inf")}, None, "rate is a number, not inf"),
    ({**POISSON, "seconds": "long"}, None, "seconds is a number, not 'long'"),
    ({**POISSON, "seed": [1]}, None, "seed is a number, not [1]"),
    ({**POISSON, "kind": "markov_modulated", "states": [1, 2]}, None, "states are mappings of weight and seconds"),
    ({**POISSON, "kind": "markov_modulated", "states": [{"weight": 1, "seconds": 1e-9}] * 2}, None, "0.001 s or more"),
    ({**POISSON, "kind": "markov_modulated", "states": STATES[:1]}, None, "needs two or more states"),
    ({**POISSON, "kind": "markov_modulated", "states": [{"weight": 1}] * 2}, None, "weight and seconds above 0"),
    ({**POISSON, "kind": "diurnal", "period_seconds": 10, "peak_to_mean": 3}, None, "peak_to_mean above 1, at most 2"),
    ({**POISSON, "kind": "diurnal", "peak_to_mean": 1.5}, None, "period_seconds above 0"),
    (POISSON, {"input": {"median": 0.2}}, "sizes: input: median is at least 1"),
    ({"kind": "trace", "seconds": 5, "trace": AZURE}, {"input": {"median": 2}}, "a trace has sizes of its own"),
    ({"kind": "trace", "seconds": 5, "trace": "/a.csv"}, None, "path and format of a file, not '/a.csv'"),
    ({"kind": "trace", "seconds": 5, "trace": {**AZURE, "time_scale": 0}}, None, "and size_scale are above 0"),
    ({"kind": "trace", "seconds": 5, "trace": {**AZURE, "size_scale": "x"}}, None, "size_scale is a number, not 'x'"),
    ({"kind": "trace", "seconds": 5}, None, "no path cannot be read"),
    ({"kind": "trace", "seconds": 5, "trace": {**AZURE, "path": "/no.csv"}}, None, "cannot be read: No such file"),
    ({"kind": "trace", "seconds": 5, "trace": {**AZURE, "format": "alibaba_gpu"}}, None, "be read as alibaba_gpu"),
    ({"kind": "trace", "seconds": 5, "trace": {**AZURE, "format": "philly"}}, None, "format philly is none of"),
    ({"kind": "trace", "seconds": 5, "trace": {**AZURE, "time_scale": -1}}, None, "are above 0"),
    ({"kind": "trace", "seconds": 5, "trace": {**AZURE, "from_seconds": 11}}, None, "0 arrivals of"),
    ({"kind": "trace", "seconds": 1, "trace": {**AZURE, "from_seconds": 9}}, None, "lie in the slice, of 4 in 10 s"),
]  # fmt: skip


@pytest.mark.parametrize(("item", "sizes", "text"), WRONG, ids=[case[2][:40] for case in WRONG])
def test_what_cannot_be_a_load_is_refused(item: dict[str, Any], sizes: dict[str, Any] | None, text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"arrivals|sizes") as caught:
        arrivals_plan.planned(item, sizes)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "has 0 arrivals"),
        (b"\x1f\x8bnot gzip", "BadGzipFile"),
        (gzip.compress(b"TIMESTAMP")[:10] + b"\xff" * 30, "error: Error -3 while decompressing"),
        (gzip.compress(b"TIMESTAMP")[:20], "EOFError"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n" + b"1" * 200_000, "field larger than field limit"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00.0,-1,1\n", "a size below 0"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,1\n", "ValueError"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00.0,1\n", "TypeError"),
        (b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:00:00.0,1,1\n", "has 1 arrivals"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        arrivals_trace.read(data, "azure_llm", "the file")
    assert text in str(caught.value)


def test_a_load_of_a_number_takes_the_first_so_many() -> None:
    assert arrivals_plan.moments({"rate": 4}, 3) == [0, 0.25, 0.5]
    assert arrivals_plan.moments({"kind": "trace", "trace": {**AZURE, "from_seconds": 1}}, 2) == [0, 0.5]
    with pytest.raises(ConfigurationError, match="4 arrivals"):
        arrivals_plan.moments({"kind": "trace", "trace": AZURE}, 5)
