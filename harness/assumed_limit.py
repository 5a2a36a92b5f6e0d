# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a client's limit that nobody read, only assumed, explains times that somebody else has published. Pure.

A published time begins when the scheduler is switched on, so it holds the scheduler's start-up beside what the limit
predicts. A size alone may fit by chance; two sizes have to give the slope r/qps, in which the start-up is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.bound_by import FITS, SLOPE_FITS, ClientLimit, Finding, Size
from harness.model import BoundBy, Evidence

START_UP = 5.0  # seconds that a published time may hold beside the limit's; an assumption as well


@dataclass(frozen=True)
class Assumption:
    limit: ClientLimit
    requests: str = ""
    start_up: float = START_UP

    @property
    def text(self) -> str:
        limit = self.limit
        what = f" ({self.requests})" if self.requests else ""
        return (
            f"{limit.component}: {units.digits(limit.qps)} requests a second, burst {units.digits(limit.burst)}, "
            f"{units.digits(limit.requests_per_pod)} requests a pod{what}, "
            f"up to {units.show(self.start_up, 's')} of start-up"
        )

    def fits(self, size: Size) -> bool:
        predicted = self.limit.seconds(size.pods)
        if predicted is None:
            return False
        beside = size.seconds - predicted
        return -FITS * predicted <= beside <= max(FITS * predicted, self.start_up)


def derive(assumption: Assumption, size: Size, others: Sequence[Size]) -> Finding:
    """What this time is the limit of, beside the other times of the same file."""
    limit, predicted = assumption.limit, assumption.limit.seconds(size.pods)
    pods = units.digits(size.pods)
    if predicted is None:
        return Finding(None, f"The assumed limit of {limit.component} says nothing of {pods} pods: they fit its burst.")
    said = (
        f"The assumed limit of {limit.component} predicts {units.show(predicted, 's')} for {pods} pods, "
        f"{units.show(size.seconds, 's')} was published"
    )
    if not assumption.fits(size):
        return Finding(None, f"{said}: it is not what held this back.")
    evidence = confirm(assumption, size, others)
    if evidence is not None and not evidence.holds:
        return Finding(None, f"{said}, but it is not confirmed: {evidence.observed}.", evidence)
    bound = BoundBy("client_limit", limit.component, limit.document, predicted, size.seconds)
    shown = evidence.observed if evidence else "the file has no second size that would confirm it"
    return Finding(bound, f"{said}; {shown}.", evidence)


def confirm(assumption: Assumption, size: Size, others: Sequence[Size]) -> Evidence | None:
    """The slope to the other size that lies furthest away; None when no other size fits the limit at all."""
    fitting = [other for other in others if other.pods != size.pods and assumption.fits(other)]
    if not fitting:
        return None
    furthest = max(fitting, key=lambda other: abs(other.pods - size.pods)).pods
    seconds = [other.seconds for other in fitting if other.pods == furthest]
    slope = (size.seconds - sum(seconds) / len(seconds)) / (size.pods - furthest)
    expected = assumption.limit.requests_per_pod / assumption.limit.qps
    low, high = sorted((size.pods, furthest))
    return Evidence(
        "client_limit_confirmed",
        f"slope between two sizes {expected:.6g} s a pod within {SLOPE_FITS:.0%}",
        f"slope {slope:.6g} s a pod between {units.digits(low)} and {units.digits(high)} pods",
        abs(slope - expected) <= SLOPE_FITS * expected,
    )
