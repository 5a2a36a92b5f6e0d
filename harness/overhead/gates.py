# SPDX-License-Identifier: GPL-3.0-or-later
"""pass, fail or inconclusive: several gates judged together, look after look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness import units
from harness.overhead import sequential, statistics
from harness.overhead.sequential import ALPHA, Look
from harness.overhead.statistics import FEWEST_BLOCKS, LEVEL, RATIO, Floats, Scale

UNDECIDED, PASS, FAIL = 0, 1, 2
WORDS = {UNDECIDED: "inconclusive", PASS: "pass", FAIL: "fail"}
UNIT = {"ratio": "ratio", "seconds": "s"}


@dataclass(frozen=True)
class Gate:
    """One metric of one variant: what its complete blocks say, beside what the same blocks say of native twice."""

    name: str
    objective: float
    compared: Floats
    again: Floats
    scale: Scale = RATIO


@dataclass(frozen=True)
class Decision:
    gate: Gate
    verdict: str
    reason: str
    estimate: float | None
    low: float | None
    high: float | None
    noise_floor: float | None
    blocks: int
    decided_at: int | None  # blocks at the look that decided
    more_blocks: int | None  # that would decide what is not


def decide(
    gates: Sequence[Gate],
    planned: Sequence[int] = sequential.LOOKS,
    alpha: float = ALPHA,
    resamples: int = statistics.RESAMPLES,
) -> list[Decision]:
    """All gates of one variant; each has the same complete blocks."""
    if not gates:
        return []
    complete = len(gates[0].compared)
    if complete < FEWEST_BLOCKS:
        return [_too_few(gate, complete) for gate in gates]
    looks = [look for look in sequential.looks(planned, complete, alpha) if look.blocks >= FEWEST_BLOCKS]
    codes, places = sequence(gates, looks, resamples)
    floors = [float(statistics.noise_floor(gate.again, gate.scale, resamples=resamples)) for gate in gates]
    low, high = statistics.interval(np.stack([gate.compared for gate in gates]), LEVEL, resamples=resamples)
    return [
        _decision(gate, int(codes[i]), int(places[i]), looks, floors[i], float(low[i]), float(high[i]))
        for i, gate in enumerate(gates)
    ]


def sequence(
    gates: Sequence[Gate], looks: Sequence[Look], resamples: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Verdict and look of each gate (first axis) of each experiment (axes between); blocks are the last axis.

    A verdict needs the test and the interval on the same side. What lies below the noise floor cannot pass, and only
    what is beyond it fails. The floor is that of the look's own blocks: no later block changes what was decided.
    """
    compared = np.stack([gate.compared for gate in gates])
    shape = compared.shape[:-1]
    bounds = np.stack([np.full(shape[1:], gate.scale.bound(gate.objective)) for gate in gates])
    codes, places = np.zeros(shape, dtype=np.int64), np.full(shape, -1, dtype=np.int64)
    for place, look in enumerate(looks):
        part = compared[..., : look.blocks]
        low, high = statistics.interval(part, LEVEL, resamples=resamples)
        above = np.stack([_above(gate, look.blocks, resamples) for gate in gates])
        better, _ = _tests(part, bounds)
        _, worse = _tests(part, above)
        passed = (better <= look.alpha) & (high < bounds) & (above <= bounds)
        failed = (worse <= look.alpha) & (low > above)
        for code, hit in ((PASS, passed), (FAIL, failed)):
            new = hit & (codes == UNDECIDED)
            codes[new], places[new] = code, place
    return codes, places


def _above(gate: Gate, blocks: int, resamples: int) -> Floats:
    """The bound that a failure has to be beyond: the objective, or the noise floor where that is higher."""
    floor = statistics.noise_floor(gate.again[..., :blocks], gate.scale, resamples=resamples)
    return gate.scale.bound(np.maximum(gate.objective, floor))


def _tests(part: Floats, bounds: Floats) -> tuple[Floats, Floats]:
    """p values of both sides, adjusted over the gates."""
    better, worse = statistics.one_sided(part, bounds)
    return statistics.holm(better), statistics.holm(worse)


def _too_few(gate: Gate, complete: int) -> Decision:
    estimate = float(gate.scale.told(float(gate.compared.mean()))) if complete else None
    reason = f"{complete} complete blocks of at least {FEWEST_BLOCKS} that an interval needs"
    return Decision(
        gate, WORDS[UNDECIDED], reason, estimate, None, None, None, complete, None, FEWEST_BLOCKS - complete
    )


def _decision(
    gate: Gate, code: int, place: int, looks: Sequence[Look], floor: float, low: float, high: float
) -> Decision:
    scale, complete = gate.scale, len(gate.compared)
    told = {"low": float(scale.told(low)), "high": float(scale.told(high))}
    seen = f"{show(told['low'], scale)} to {show(told['high'], scale)}"
    wanted = f"objective ≤ {show(gate.objective, scale)}"
    more: int | None = None
    if code != UNDECIDED:
        where = {PASS: "below", FAIL: "above"}[code]
        reason = f"{wanted}: the interval {seen} is {where} it; decided after {looks[place].blocks} blocks"
    elif floor > gate.objective:
        reason = f"{wanted}: noise floor {show(floor, scale)} > objective {show(gate.objective, scale)}: cannot judge"
        more = _more(0.0, gate.again, scale.bound(gate.objective), looks, complete)
    else:
        reason = f"{wanted}: the interval {seen} does not decide"
        more = _more(float(gate.compared.mean()), gate.compared, scale.bound(gate.objective), looks, complete)
    if code == UNDECIDED:
        reason += f"; about {more} more blocks would" if more else "; no number of blocks would"
    return Decision(
        gate=gate,
        verdict=WORDS[code],
        reason=reason,
        estimate=float(scale.told(float(gate.compared.mean()))),
        low=told["low"],
        high=told["high"],
        noise_floor=floor,
        blocks=complete,
        decided_at=looks[place].blocks if code != UNDECIDED else None,
        more_blocks=more,
    )


def _more(middle: float, values: Floats, bound: Floats, looks: Sequence[Look], complete: int) -> int | None:
    needed = sequential.blocks_needed(middle, float(values.std(ddof=1)), float(bound), alpha=looks[-1].alpha)
    return None if needed is None else max(1, needed - complete)


def show(value: float, scale: Scale) -> str:
    """Never rounded to nothing: a share of 0.96 % is 0.96 %."""
    return units.show(value, UNIT[scale.name])
