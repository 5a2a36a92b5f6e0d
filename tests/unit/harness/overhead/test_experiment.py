# SPDX-License-Identifier: GPL-3.0-or-later
"""Blocks, pairs, layers and calls, over runs whose costs are known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UsageError
from harness.overhead import comparison, cost_model, experiment, measures, tails, waterfall
from harness.overhead.cost_model import Call, Line
from harness.overhead.runs import Run
from tests.fakes import overhead_runs as fake
from tests.fakes.overhead_runs import blocks, slower

GEMM = measures.BY_METRIC["gpu_gemm_overhead_ratio"]
LAUNCH = measures.BY_METRIC["gpu_launch_overhead_seconds"]
COMPUTE = {"objectives": {"compute": 0.05, "control": 5e-6}}
Changes = Callable[[list[Run]], list[Run]]


def test_a_variant_is_compared_with_both_native_runs_of_its_block() -> None:
    built = experiment.build(blocks(8, {"proxy": slower(1.03, 2e-6)}, {"proxy": COMPUTE}))
    decision = built.decisions("proxy")["gpu_gemm_overhead_ratio"]
    assert decision.verdict == "pass"
    assert decision.estimate == pytest.approx(0.031, abs=5e-4)
    launch = built.decisions("proxy")["gpu_launch_overhead_seconds"]
    assert launch.estimate == pytest.approx(4e-6 * 0.03 + 2e-6, rel=0.01)


def test_an_overhead_below_one_percent_is_printed_as_what_it_is() -> None:
    """A comparison that cuts its quotient to two places prints 0 here."""
    built = experiment.build(blocks(8, {"k8s": slower(6977 / 6910)}, {"k8s": {"objectives": {"compute": 0.01}}}))
    page = comparison.markdown({"isolation": built}, [], {})
    [row] = [line for line in page.splitlines() if line.startswith("| k8s | VM passthrough | matrix product")]
    assert "| 0.9696 % |" in row
    assert "≤ 1 %" in row


DROPPED: dict[str, tuple[Changes, dict[int, str]]] = {
    "whole": (lambda runs: runs, {}),
    "a run is missing": (
        lambda runs: [one for one in runs if (one.variant, one.block) != ("proxy", 2)],
        {2: "without proxy"},
    ),
    "a native run is missing": (
        lambda runs: [one for one in runs if (one.variant, one.block) != ("host_again", 1)],
        {1: "without host_again"},
    ),
    "a run hung": (
        lambda runs: [*runs[:-1], fake.run("proxy", 5, status="error", reason="hung: gemm")],
        {5: "proxy: hung: gemm"},
    ),
    "the host was preempted": (
        lambda runs: [*runs[:-1], fake.run("proxy", 5, boot_id="two")],
        {5: "the host was started anew in it"},
    ),
    "a block that was run again counts as the last time": (
        lambda runs: [fake.run("proxy", 3, status="error", reason="stopped"), *runs],
        {},
    ),
}


@pytest.mark.parametrize("case", DROPPED)
def test_a_block_that_is_not_whole_is_dropped_and_told(case: str) -> None:
    change, dropped = DROPPED[case]
    built = experiment.build(change(blocks(5, {"proxy": slower(1.0)})))
    assert built.dropped == dropped
    assert sorted(built.blocks) == [number for number in range(1, 6) if number not in dropped]


def test_a_variant_that_never_ran_here_drops_no_block() -> None:
    runs = blocks(5, {"proxy": slower(1.0)})
    runs += [fake.run("mig", number, status="not_runnable", reason="no MIG") for number in range(1, 6)]
    built = experiment.build(runs)
    assert (built.dropped, built.variants) == ({}, ["host_again", "proxy"])


@pytest.mark.parametrize("missing", ["host", "host_again"])
def test_without_a_baseline_there_is_an_error_and_no_constant(missing: str) -> None:
    runs = [one for one in blocks(5, {"proxy": slower(1.0)}) if one.variant != missing]
    with pytest.raises(UsageError, match=f"no run of the baseline '{missing}'"):
        experiment.build(runs)
    with pytest.raises(UsageError, match="no run of the probe"):
        experiment.build([])


def test_what_was_spent_on_dropped_blocks_was_spent() -> None:
    runs = [one for one in blocks(6, {"proxy": slower(1.0)}) if (one.variant, one.block) != ("proxy", 2)]
    built = experiment.build(runs)
    assert built.seconds == 17 * 10.0
    page = comparison.markdown({"isolation": built}, [], {})
    assert "5 whole blocks, 1 dropped; cost so far 170 s (0.17 USD); block 2 was dropped: without proxy" in page


def test_two_layers_are_their_effects_and_what_they_add_together() -> None:
    factors = {"k8s": 1.01, "proxy": 1.04, "k8s_proxy": 1.01 * 1.04 * 1.02}
    layers = {"k8s": ["k8s"], "proxy": ["proxy"], "k8s_proxy": ["k8s", "proxy"]}
    runs = blocks(
        8,
        {name: slower(factor) for name, factor in factors.items()},
        {name: {"layers": found} for name, found in layers.items()},
    )
    [fall] = waterfall.of(experiment.build(runs), GEMM)
    assert [step.name for step in fall.steps] == ["k8s", "proxy", "k8s × proxy"]
    assert [step.effect for step in fall.steps] == [pytest.approx(value, abs=1e-3) for value in (0.01, 0.04, 0.02)]
    assert fall.whole.effect == pytest.approx(1.01 * 1.04 * 1.02 - 1, abs=1e-3)
    assert all(step.low < step.effect < step.high for step in fall.steps)


def test_without_both_layers_alone_there_is_no_waterfall() -> None:
    says = {"k8s_proxy": {"layers": ["k8s", "proxy"]}, "k8s": {"layers": ["k8s"]}}
    runs = blocks(8, {"k8s": slower(1.01), "k8s_proxy": slower(1.05)}, says)
    assert waterfall.of(experiment.build(runs), GEMM) == []


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ({4.0: 1.0004e-5, 1e6: 1.1e-4, 1e8: 1.001e-2}, Line(1e-5, 1e-10)),
        ({1e6: 2e-4}, Line(2e-4, 0.0)),
        ({4.0: 3e-5, 1e3: 1e-5}, Line(2e-5, 0.0)),
        ({1e6: 1e-4, 1e8: 2e-2}, None),
    ],
)
def test_a_call_is_a_line_through_its_sizes(points: dict[float, float], expected: Line | None) -> None:
    found = cost_model.fit(points)
    assert min(found.a, found.b) >= 0
    if expected is not None:
        assert (found.a, found.b) == (pytest.approx(expected.a, rel=0.01), pytest.approx(expected.b, rel=0.01))


def test_a_programs_overhead_is_predicted_from_its_calls() -> None:
    """1,000 launches and 100 copies in a second of work: what the layer adds to each of them is what it costs."""
    built = experiment.build(blocks(8, {"proxy": slower(1.0, 2e-5)}))
    trace = [Call("launch", 0, 1000, 0), Call("copy_to_device_pinned", 1 << 20, 100, 0), Call("wait", 0, 1, 1.0)]
    found = cost_model.predict(built, "proxy", trace)
    native = 1000 * 4e-6 + 100 * (1e-5 + (1 << 20) / 6e9) + 1.0
    assert found.native_seconds == pytest.approx(native, rel=0.005)
    assert found.overhead == pytest.approx(1100 * 2e-5 / native, rel=0.02)
    assert found.low is not None and found.high is not None and found.low <= found.overhead <= found.high


def test_what_the_calls_predict_of_the_application_stands_beside_what_it_took() -> None:
    """A layer of 20 µs a call: eight calls in a step, of which the model sees six, and the wait is nobody's."""
    built = experiment.build(blocks(8, {"proxy": slower(1.0, 2e-5)}))
    trace = cost_model.application_of(built)
    assert [(call.name, call.count) for call in trace] == [
        ("copy_to_device_pinned", 1),
        ("launch", 4),
        ("copy_from_device_pinned", 1),
        ("wait", 4),
    ]
    page = comparison.markdown({"isolation": built}, [], {}).splitlines()
    place = page.index("### What the calls say of the application, and what it took")
    [row] = [line for line in page[place:] if line.startswith("| proxy |")][:1]
    predicted, measured = (float(cell.split()[0]) for cell in row.split("|")[2:4])
    assert predicted == pytest.approx(100 * 6 * 2e-5 / (4 * 2e-3 + 4 * 4e-6 + 2 * (1e-5 + (1 << 20) / 6e9)), rel=0.05)
    assert measured == pytest.approx(100 * 8 * 2e-5 / 9e-3, rel=0.05)


def test_without_an_application_there_is_nothing_to_hold_the_model_against() -> None:
    def bare(block: int) -> fake.Lines:
        return [line for line in slower(1.0)(block) if line.get("metric") not in ("application", "layer")]

    runs = [
        fake.run(name, block, made=bare(block)) for block in range(1, 6) for name in ("host", "host_again", "proxy")
    ]
    assert "of the application" not in comparison.markdown({"isolation": experiment.build(runs)}, [], {})


def test_a_prediction_of_few_blocks_has_no_interval() -> None:
    built = experiment.build(blocks(4, {"proxy": slower(1.0, 2e-5)}))
    found = cost_model.predict(built, "proxy", [Call("launch", 0, 10, 0)])
    assert (found.low, found.high) == (None, None)
    with pytest.raises(UsageError, match="no whole block has a run of mps"):
        cost_model.predict(built, "mps", [Call("launch", 0, 10, 0)])


TRACES = [
    ("call,bytes,count,seconds\nlaunch,,10,\nwait,0,1,0.5\n", [Call("launch", 0, 10, 0), Call("wait", 0, 1, 0.5)]),
    ("call,bytes,count,seconds\n\nlaunch,0,1,0\n", [Call("launch", 0, 1, 0)]),
    ("launch,0,1,0\n", "the first line has to be call,bytes,count,seconds"),
    ("", "the first line has to be call,bytes,count,seconds"),
    ("call,bytes,count,seconds\n", "there is no call in it"),
    ("call,bytes,count,seconds\nmemcpy,1,1,0\n", "2: not a call"),
    ("call,bytes,count,seconds\nlaunch,1\n", "2: not a call"),
    ("call,bytes,count,seconds\nlaunch,x,1,0\n", "could not convert"),
    ("call,bytes,count,seconds\nlaunch,0,-1,0\n", "numbers, 0 or above"),
    ("call,bytes,count,seconds\nlaunch,0,inf,0\n", "numbers, 0 or above"),
]


@pytest.mark.parametrize(("text", "expected"), TRACES)
def test_a_trace_is_read_or_refused(tmp_path: Path, text: str, expected: list[Call] | str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text, encoding="utf-8")
    if isinstance(expected, str):
        with pytest.raises(UsageError, match=expected):
            cost_model.read_trace(path)
    else:
        assert cost_model.read_trace(path) == expected


def test_a_call_that_nobody_has_measured_is_not_guessed() -> None:
    with pytest.raises(UsageError, match="no run has measured copy_to_device_pinned"):
        cost_model.seconds_of([Call("copy_to_device_pinned", 4, 1, 0)], {"launch": Line(1e-6, 0)})
    with pytest.raises(UsageError, match="read the trace"):
        cost_model.read_trace(Path("nowhere.csv"))


def test_the_pages_say_what_the_runs_say() -> None:
    built = experiment.build(blocks(8, {"proxy": slower(1.03)}, {"proxy": COMPUTE}))
    absent: Mapping[tuple[str, str], str] = {("isolation", "k8s_hypervisor"): "no guest | here"}
    page = comparison.markdown({"isolation": built}, [], absent)
    assert "native is VM passthrough; clocks" in page
    assert "| isolation | k8s_hypervisor | no guest \\| here |" in page
    assert "decided after 8 blocks" in page
    text = comparison.text_of("proxy", built.of("proxy"))
    assert "copy to_device pinned 64 MiB: 5.8" in text
    assert "GiB/s" in text and "GB/s" in text


def test_no_row_of_the_page_is_accepted_without_its_evidence() -> None:
    """Rows that are in no record too: they are judged on this page alone."""

    def zeros(block: int) -> fake.Lines:
        found = slower(1.0)(block)
        fake.of_kind(found, "integrity")["holds"] = False
        return found

    built = experiment.build(blocks(8, {"proxy": zeros, "k8s": slower(1.0)}, {"proxy": COMPUTE, "k8s": COMPUTE}))
    rows = comparison.rows("isolation", built, {})
    place = {name: number for number, name in enumerate(comparison.HEADINGS)}
    verdicts = {name: {row[place["verdict"]] for row in rows if row[0] == name} for name in ("proxy", "k8s")}
    assert verdicts == {"proxy": {"invalid"}, "k8s": {"pass", "measured"}}
    assert {row[place["evidence"]] for row in rows if row[0] == "proxy"} == {"without bytes_verified"}


def single_calls(count: int, batch: int = 1) -> list[Run]:
    """Two runs; together they have taken 1 µs, 2 µs, … for one launch."""
    halves = [range(1, count + 1, 2), range(2, count + 1, 2)]
    return [
        fake.run("host", block, made=[fake.sample("launch", one * 1e-6, batch, form="plain") for one in half])
        for block, half in enumerate(halves, start=1)
    ]


TAILS: list[tuple[int, tuple[float, float | None, float | None] | None]] = [
    # Of 1,000 the 998th lies above the p99 with 99 %; of fewer than 459 none does.
    (1000, (500.5e-6, 900.5e-6, 998e-6)),
    (100, (50.5e-6, 90.4e-6, None)),
    (20, (10.5e-6, None, None)),
    (10, None),
]


@pytest.mark.parametrize(("count", "expected"), TAILS)
def test_tails_are_of_all_runs_and_of_enough_calls(
    count: int, expected: tuple[float, float | None, float | None] | None
) -> None:
    found = tails.of(single_calls(count))
    if expected is None:
        assert found == []
    else:
        [tail] = found
        assert (tail.name, tail.samples) == ("launch plain", count)
        told = (tail.p50, tail.p90, tail.p99_at_most)
        assert [value is None for value in told] == [value is None for value in expected]
        for value, wanted in zip(told, expected, strict=True):
            assert value is None or value == pytest.approx(wanted, rel=2e-3)


def test_a_batch_has_no_tail_of_single_calls() -> None:
    assert tails.of(single_calls(1000, batch=10)) == []


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (1000, "launch plain: p50 500.5 µs, p90 900.5 µs, p99 at most 998 µs, of 1,000 calls"),
        (20, "launch plain: p50 10.5 µs, of 20 calls"),
    ],
)
def test_an_environments_page_ends_with_the_tails_that_it_can_give(count: int, says: str) -> None:
    assert comparison.text_of("host", single_calls(count)).splitlines()[-1] == says


def test_a_scenario_without_a_whole_block_compares_nothing() -> None:
    built = experiment.build([fake.run("host", 1), fake.run("host_again", 2)])
    page: Any = comparison.markdown({"isolation": built}, [], {})
    assert "No whole block, so nothing is compared" in page
