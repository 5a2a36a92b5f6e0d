# SPDX-License-Identifier: GPL-3.0-or-later
"""Experiments whose true overhead is known: noise with heavy tails, drift over the night and inside a block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.overhead import statistics
from harness.overhead.statistics import RATIO, Floats

VARIANTS = 5  # runs of one block: native, native again and three others


@dataclass(frozen=True)
class Noise:
    """Standard deviations of the logarithm of one run."""

    run: float = 0.012
    tail: float = 0.03  # of one run in twenty
    night: float = 0.004  # random walk from block to block
    block: float = 0.004  # from the first to the last run of a block: a GPU that gets warm


def experiments(
    overhead: float, count: int, blocks: int, seed: int, noise: Noise | None = None
) -> tuple[Floats, Floats]:
    """(the variant, native again), each compared with native: one row an experiment, one column a block."""
    noise = noise or Noise()
    rng = np.random.default_rng(seed)
    shape = (count, blocks, VARIANTS)
    wide = rng.random(shape) < 0.05
    logs = rng.normal(0, 1, shape) * np.where(wide, noise.tail, noise.run)
    logs += np.cumsum(rng.normal(0, noise.night, (count, blocks)), axis=1)[..., None]
    order = np.argsort(rng.random(shape), axis=-1)
    logs += noise.block * order / (VARIANTS - 1)
    logs[..., 2] += np.log1p(overhead)
    values = np.exp(logs)
    native = statistics.native_of(values[..., 0], values[..., 1], RATIO)
    return RATIO.compare(values[..., 2], native), RATIO.compare(values[..., 1], values[..., 0])
