# SPDX-License-Identifier: GPL-3.0-or-later
"""When to look, what a look may cost, and how many more blocks would decide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

ALPHA = 0.05
POWER = 0.8
LOOKS = (8, 16, 24, 32)
MOST_BLOCKS = 10_000


@dataclass(frozen=True)
class Look:
    blocks: int
    alpha: float  # the share of the error that this look may spend


def looks(planned: Sequence[int], complete: int, alpha: float = ALPHA) -> list[Look]:
    """The looks that `complete` blocks allow, each with what it spends.

    The error is spent evenly over the blocks (Kim and DeMets' power family with exponent 1); the parts add up, so
    that no look has to know how it hangs together with those before. A run that ended between two planned looks is
    looked at once more where it ended.
    """
    last = max(planned)
    moments = [count for count in sorted(set(planned)) if count <= complete]
    if complete < last and complete not in moments:
        moments.append(complete)
    spent, found = 0.0, []
    for count in moments:
        through = alpha * count / last
        found.append(Look(count, through - spent))
        spent = through
    return found


def blocks_needed(middle: float, spread: float, bound: float, alpha: float = ALPHA, power: float = POWER) -> int | None:
    """Blocks, as much apart as those so far, that would tell this middle from the bound; none when none would."""
    distance = abs(middle - bound)
    if distance == 0 or not math.isfinite(spread):
        return None
    if spread == 0:
        return 2
    counts = np.unique(np.geomspace(2, MOST_BLOCKS, 4000).astype(int))
    wanted = (stdtrit(counts - 1, 1 - alpha) + stdtrit(counts - 1, power)) * spread / np.sqrt(counts)
    enough = counts[wanted <= distance]
    return int(enough[0]) if enough.size else None
