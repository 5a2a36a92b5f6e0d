# SPDX-License-Identifier: GPL-3.0-or-later
"""What the packets into a pod of a gang say: for how long what should pass did not, and what should not did. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: So many of the last packets of a stranger say whether it is kept out in the end.
SETTLED_PACKETS = 20


@dataclass(frozen=True)
class Flow:
    """Into one pod. Moments are seconds of the probe's clock."""

    sent: Sequence[float]
    arrived: frozenset[int]

    @property
    def gap(self) -> float | None:
        """The longest time in which nothing was looked at: below it nothing can be told."""
        return max((later - earlier for earlier, later in itertools.pairwise(self.sent)), default=None)

    @property
    def first(self) -> float | None:
        """When the first packet that arrived was sent."""
        return self.sent[min(self.arrived)] if self.arrived else None

    @property
    def last(self) -> float | None:
        return self.sent[max(self.arrived)] if self.arrived else None

    def false_deny(self) -> float | None:
        """The longest time in which packets within the job did not arrive; None where none ever did."""
        if not self.arrived:
            return None
        there = sorted(self.arrived)
        runs = [self.sent[after] - self.sent[before + 1] for before, after in itertools.pairwise(there)]
        tail = self.sent[-1] - self.sent[min(there[-1] + 1, len(self.sent) - 1)]
        return max([self.sent[there[0]] - self.sent[0], *runs, tail])

    def settled(self) -> bool:
        """Whether a stranger was kept out in the end."""
        return len(self.sent) >= SETTLED_PACKETS and not self.arrived & set(
            range(len(self.sent) - SETTLED_PACKETS, len(self.sent))
        )

    def false_allow(self) -> float | None:
        """From the first packet to the last one of a stranger that arrived; None where it is never kept out."""
        if not self.settled():
            return None
        return self.last - self.sent[0] if self.last is not None else 0.0


def flows(found: Mapping[str, Any]) -> dict[tuple[str, int, int], Flow]:
    """(kind, gang, pod) → flow, of the probe's file."""
    return {
        (item["kind"], item["job"], item["pod"]): Flow(
            [moment / 1e9 for moment in item["sent"]],
            frozenset(number for number in item["arrived"] if number < len(item["sent"])),
        )
        for item in found["flows"]
    }
