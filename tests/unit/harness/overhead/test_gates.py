# SPDX-License-Identifier: GPL-3.0-or-later
"""pass, fail, inconclusive: what is said, and how often it is wrong where the truth is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from harness.overhead import gates, sequential, statistics
from harness.overhead.gates import FAIL, PASS, Gate
from harness.overhead.statistics import SECONDS
from tests.conftest import ROOT
from tests.fakes.overhead_experiments import experiments

EXPERIMENTS = 2000
SHARES = (0.0, 0.5, 1.0, 1.5)
PAGE = ROOT / "docs" / "gpu_overhead.md"
OBJECTIVE = 0.01
FEW = {"resamples": 999}


def gate(overhead: float, objective: float, blocks: int, spread: float = 0.005, floor: float = 0.0) -> Gate:
    """Blocks that lie around the overhead, evenly to both sides."""
    around = np.resize([1.0, -1.0], blocks)
    return Gate("compute", objective, np.log1p(overhead) + around * spread, around * (floor or spread))


DECIDED = [
    # overhead, objective, blocks, spread, A/A's spread, verdict, what the reason says
    (0.0, 0.05, 32, 0.01, 0.01, "pass", "is below it; decided after 8 blocks"),
    (0.0096, 0.05, 8, 0.001, 0.001, "pass", "0.8698 % to 1.05 %"),
    (0.10, 0.05, 32, 0.01, 0.01, "fail", "is above it; decided after 8 blocks"),
    (0.048, 0.05, 16, 0.01, 0.01, "inconclusive", "more blocks would"),
    (0.05, 0.05, 32, 0.01, 0.01, "inconclusive", "does not decide"),
    (0.0, 0.01, 16, 0.002, 0.05, "inconclusive", "> objective 1 %: cannot judge"),
    (0.30, 0.01, 16, 0.002, 0.05, "fail", "is above it"),
    (0.03, 0.01, 16, 0.002, 0.08, "inconclusive", "cannot judge"),
    (0.0, 0.05, 4, 0.01, 0.01, "inconclusive", "4 complete blocks of at least 5"),
]


@pytest.mark.parametrize(("overhead", "objective", "blocks", "spread", "floor", "verdict", "says"), DECIDED)
def test_a_verdict_and_its_reason(
    overhead: float, objective: float, blocks: int, spread: float, floor: float, verdict: str, says: str
) -> None:
    [decision] = gates.decide([gate(overhead, objective, blocks, spread, floor)], **FEW)
    assert decision.verdict == verdict, decision.reason
    assert says in decision.reason


def test_no_block_at_all_is_no_estimate() -> None:
    [decision] = gates.decide([gate(0.0, 0.05, 0)], **FEW)
    assert (decision.verdict, decision.estimate, decision.more_blocks) == ("inconclusive", None, 5)
    assert gates.decide([]) == []


def test_a_verdict_stays_when_more_blocks_come() -> None:
    """What an earlier look has decided is decided: its error is spent."""
    values = np.concatenate([np.resize([0.001, -0.001], 8), np.resize([0.3, 0.28], 24)])
    found = Gate("compute", 0.05, values, np.resize([0.001, -0.001], 32))
    [decision] = gates.decide([found], **FEW)
    assert (decision.verdict, decision.decided_at) == ("pass", 8)


def test_costs_of_single_calls_are_judged_in_seconds() -> None:
    around = np.resize([1.0, -1.0], 16) * 1e-7
    [decision] = gates.decide([Gate("launch", 5e-6, 2e-6 + around, around, SECONDS)], **FEW)
    assert decision.verdict == "pass"
    assert "objective ≤ 5 µs: the interval 1.9" in decision.reason
    assert decision.estimate == pytest.approx(2e-6)


def test_many_gates_pay_for_each_other() -> None:
    """One that passes alone by a hair does not among ten."""
    alone = gate(0.0305, 0.05, 8, 0.0145)
    assert [one.verdict for one in gates.decide([alone], **FEW)] == ["pass"]
    assert {one.verdict for one in gates.decide([alone] * 10, **FEW)} == {"inconclusive"}


@pytest.fixture(scope="module")
def rates() -> dict[float, dict[str, int]]:
    """How often each verdict came, by the true overhead as a share of the objective; two gates at a time.

    The whole rule: looks, Holm, intervals, and the noise floor of native against native in the same blocks. At the
    objective itself also what the tests would say without the floor, for that is where their error shows.
    """
    found = {}
    for number, share in enumerate(SHARES):
        # Experiments of its own for each truth: the same noise four times would be one answer told four times.
        drawn = [experiments(share * OBJECTIVE, EXPERIMENTS, 32, seed) for seed in (2 * number + 11, 2 * number + 12)]
        asked = [Gate(f"gate {place}", OBJECTIVE, *values) for place, values in enumerate(drawn)]
        low, high = statistics.interval(asked[0].compared, resamples=999)
        true = np.log1p(share * OBJECTIVE)
        found[share] = {"held": int(((low <= true) & (true <= high)).sum()), **verdicts(asked)}
        if share == 1.0:
            quiet = [replace(one, again=np.zeros_like(one.again)) for one in asked]
            found[share] |= {f"{name} without a floor": count for name, count in verdicts(quiet).items()}
    return found


def verdicts(asked: Sequence[Gate]) -> dict[str, int]:
    codes, _ = gates.sequence(asked, sequential.looks(sequential.LOOKS, 32), 499)
    return {
        "passed": int((codes[0] == PASS).sum()),
        "failed": int((codes[0] == FAIL).sum()),
        "any passed": int((codes == PASS).any(axis=0).sum()),
        "any failed": int((codes == FAIL).any(axis=0).sum()),
    }


def bounds_of(count: int, confidence: float = 0.999) -> tuple[float, float]:
    """Where the true rate lies; with a confidence of 99.9 % one test in a thousand may be wrong."""
    found = binomtest(count, EXPERIMENTS).proportion_ci(confidence, method="exact")
    return float(found.low), float(found.high)


@pytest.mark.parametrize("share", SHARES)
def test_intervals_hold_the_truth_as_often_as_they_say(rates: dict[float, dict[str, int]], share: float) -> None:
    low, high = bounds_of(rates[share]["held"])
    assert low <= 0.95 <= high or 0.95 < low < 0.985, (low, high)


@pytest.mark.parametrize(
    ("share", "wrong"),
    [(0.0, "any failed"), (0.5, "any failed"), (1.0, "any failed"), (1.0, "any passed"), (1.5, "any passed")],
)
def test_a_wrong_verdict_is_no_more_frequent_than_the_error(
    rates: dict[float, dict[str, int]], share: float, wrong: str
) -> None:
    """Of two gates together, over all four looks."""
    low, high = bounds_of(rates[share][wrong])
    assert high <= sequential.ALPHA, (low, high)


@pytest.mark.parametrize("wrong", ["any failed", "any passed"])
def test_the_tests_spend_the_error_that_they_may_and_no_more(rates: dict[float, dict[str, int]], wrong: str) -> None:
    """At the bound itself and without the floor the rate comes up to the error; the floor only takes verdicts away."""
    alone = rates[1.0][f"{wrong} without a floor"]
    low, high = bounds_of(alone)
    assert low <= sequential.ALPHA and high > sequential.ALPHA / 2, (low, high)
    assert rates[1.0][wrong] < alone


def test_a_right_verdict_is_found(rates: dict[float, dict[str, int]]) -> None:
    """Statistics that never decide would never be wrong either."""
    assert bounds_of(rates[0.0]["passed"])[0] > 0.45
    assert rates[1.5]["failed"] > 5 * rates[1.0]["failed"]
    assert rates[0.5]["passed"] > 5 * rates[1.0]["passed"]


def test_a_verdict_stays_when_native_gets_quiet_or_noisy_later() -> None:
    """The floor is that of the look's own blocks: later ones neither make an old look pass nor take its word back."""
    values, quiet, noisy = np.resize([0.001, -0.001], 16), np.resize([0.001, -0.001], 8), np.resize([0.3, -0.3], 8)
    for again, verdict in ((np.concatenate([quiet, noisy]), "pass"), (np.concatenate([noisy, quiet]), "inconclusive")):
        [decision] = gates.decide([Gate("compute", 0.05, values, again)], (8, 16), **FEW)
        assert decision.verdict == verdict, decision.reason


WRONG = {0.0: ("failed",), 0.5: ("failed",), 1.0: ("passed", "failed"), 1.5: ("passed",)}
RIGHT = {0.0: "passed", 0.5: "passed", 1.5: "failed"}
TRUTH = {0.0: "0", 0.5: "0.5 × objective", 1.0: "1 × objective", 1.5: "1.5 × objective"}
HEADING = "| true overhead | interval holds it | wrong verdict among both gates | right verdict of one gate |"


def told(count: int) -> str:
    """A rate with its own interval, at 95 %."""
    low, high = bounds_of(count, 0.95)
    return f"{100 * count / EXPERIMENTS:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def wrong_ones(found: dict[str, int], words: Sequence[str], without: str = "") -> str:
    return ", ".join(f"{word.removesuffix('ed')} {told(found[f'any {word}{without}'])}" for word in words)


def test_the_rates_that_the_docs_print_are_those_of_these_experiments(rates: dict[float, dict[str, int]]) -> None:
    rows = []
    for share in SHARES:
        right = f"{RIGHT[share].removesuffix('ed')} {told(rates[share][RIGHT[share]])}" if share in RIGHT else "–"
        rows.append(
            f"| {TRUTH[share]} | {told(rates[share]['held'])} | {wrong_ones(rates[share], WRONG[share])} | {right} |"
        )
    alone = wrong_ones(rates[1.0], WRONG[1.0], " without a floor")
    rows.append(f"| 1 × objective, without the noise floor | as above | {alone} | – |")
    page = PAGE.read_text(encoding="utf-8").splitlines()
    first = page.index(HEADING) + 2
    assert page[first : first + len(rows)] == rows
