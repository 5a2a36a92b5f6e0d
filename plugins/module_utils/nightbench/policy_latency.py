# SPDX-License-Identifier: GPL-3.0-or-later
"""When a policy began to be obeyed, from probes on the wire. Pure.

A probe is one packet: sent at a moment, and arrived or not. The change lies between the last packet of the old
behaviour and the first of the new: that gap is the resolution, measured and not promised. Nothing below it is claimed.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConfigurationError
from .udp_probe import FLOWS

ALLOW, DENY = "allow", "deny"
#: What a flow does after a change: as it should; as before, for as long as it was looked at; or neither.
OBEYED, NEVER, UNSETTLED, NOT_BEFORE = "obeyed", "never", "unsettled", "not_in_force_before"
#: So long before the request the opposite has to have held.
BEFORE_SECONDS = 0.3
#: So many of the last packets that were looked at say what holds in the end.
SETTLED_PACKETS = 40
#: Of packets that are let through some may be lost on a busy machine, and still they are let through.
LOST_AT_MOST = 0.1
#: A wall clock that was set by more than this during the probe makes its stamps worthless.
MOST_SHIFT_SECONDS = 0.001


@dataclass(frozen=True)
class Change:
    """A policy written: when the request was sent and when the API server had answered, on the probes' clock."""

    name: str
    wanted: str  # allow or deny
    requested: float
    answered: float


@dataclass(frozen=True)
class Probes:
    """One flow of one pair: when each packet was sent, and which arrived."""

    flow: str
    sent: Sequence[float]
    arrived: Sequence[bool]
    delay: float | None  # how long packets were on their way: the median


@dataclass(frozen=True)
class Transition:
    """How a flow followed a change. latency lies in (low, high]; high is the first packet that obeys.

    mixed_seconds: from the first packet that obeys to the last one that does not; 0 where the change is sharp.
    """

    change: str
    wanted: str
    flow: str
    outcome: str
    low: float | None
    high: float | None
    resolution: float | None
    mixed_seconds: float
    wrong_packets: int  # after the answer, of the old behaviour: false allows or false denies
    reason: str = ""

    @property
    def latency(self) -> float | None:
        """None unless it was obeyed; what is not above the resolution cannot be told from nothing."""
        return max(self.high, 0.0) if self.outcome == OBEYED and self.high is not None else None

    @property
    def below_resolution(self) -> bool:
        return self.latency is not None and self.resolution is not None and self.latency <= self.resolution


def probes(sender: Mapping[str, Any], receiver: Mapping[str, Any]) -> list[Probes]:
    """Both files of a pair as one list a flow. Raise ConfigurationError where they are not of one pair and clock."""
    if sender.get("token") != receiver.get("token"):
        raise ConfigurationError(
            f"the ends of the probe are of two pairs: {sender.get('token')}, {receiver.get('token')}"
        )
    for end in (sender, receiver):
        shift = (end["wall_offset_end"] - end["wall_offset_start"]) / 1e9
        if abs(shift) > MOST_SHIFT_SECONDS:
            raise ConfigurationError(f"the clock was set by {shift:.4f} s while the probe ran ({end.get('end')})")
    sent = [moment / 1e9 for moment in sender["sent"]]
    found = []
    for flow in FLOWS:
        arrived = [False] * len(sent)
        delays = []
        for number, delay in receiver["arrived"][flow]:
            # A packet of which the sender knows nothing was sent when it ended.
            if number < len(arrived):
                arrived[number] = True
                delays.append(delay / 1e9)
        delays.sort()
        found.append(Probes(flow, sent, arrived, delays[len(delays) // 2] if delays else None))
    return found


def transition(flow: Probes, change: Change, until: float) -> Transition:
    """What became of this flow between a change and the next one."""
    first, last = bisect_left(flow.sent, change.requested), bisect_left(flow.sent, until)
    before = flow.arrived[bisect_left(flow.sent, change.requested - BEFORE_SECONDS) : first]
    after, sent = flow.arrived[first:last], flow.sent[first:last]
    made = _Made(change, flow.flow)
    opposite = DENY if change.wanted == ALLOW else ALLOW
    if not _holds(before, opposite):
        return made.failed(NOT_BEFORE, f"{_counted(before)} before the request, {opposite} was to hold")
    if len(after) < SETTLED_PACKETS:
        return made.failed(UNSETTLED, f"only {len(after)} packets until the next change")
    end = after[-SETTLED_PACKETS:]
    if _holds(end, opposite):
        wrong = _wrong(after, sent, change)
        return made.failed(NEVER, f"{_counted(after)} in {sent[-1] - change.answered:.3f} s after the answer", wrong)
    if not _holds(end, change.wanted):
        return made.failed(UNSETTLED, f"{_counted(end)} at the end of the time that was looked at")
    # Nothing that is denied arrives; of what is allowed a packet may get lost: so denied packets end with the last that
    # arrived, and allowed ones begin with the first that did.
    if change.wanted == DENY:
        place = len(after) - after[::-1].index(True) if True in after else 0
        obeys = after.index(False)
    else:
        place = obeys = after.index(True)
    old = flow.sent[first + place - 1] if first + place else math.nan
    low, high = old - change.answered, flow.sent[first + place] - change.answered
    mixed = max(sent[place - 1] - sent[obeys], 0.0) if change.wanted == DENY and obeys < place else 0.0
    return Transition(
        change.name, change.wanted, flow.flow, OBEYED, low, high, high - low, mixed, _wrong(after[:place], sent, change)
    )


def gaps(sent: Sequence[float], start: float, end: float) -> list[float]:
    """Between packets that follow each other in this window: what the probe could see there."""
    there = sent[bisect_left(sent, start) : bisect_left(sent, end)]
    return [later - earlier for earlier, later in itertools.pairwise(there)]


def named(found: Sequence[Transition]) -> str:
    """One word for how the flows of one change behave together; `mixed` where pairs differ."""
    outcomes = {flow: {item.outcome for item in found if item.flow == flow} for flow in FLOWS}
    new, established = (
        next(iter(outcomes[flow])) if len(outcomes[flow]) == 1 else "mixed" for flow in ("new", "established")
    )
    if new == established:
        return new
    # What was never denied is not denied before it is allowed either.
    if new == OBEYED and established in (NEVER, NOT_BEFORE):
        return "new_flows_only"
    if established == OBEYED and new in (NEVER, NOT_BEFORE):
        return "established_flows_only"
    return "mixed"


@dataclass(frozen=True)
class _Made:
    change: Change
    flow: str

    def failed(self, outcome: str, reason: str, wrong: int = 0) -> Transition:
        change = self.change
        return Transition(change.name, change.wanted, self.flow, outcome, None, None, None, 0.0, wrong, reason)


def _holds(arrived: Sequence[bool], what: str) -> bool:
    if not arrived:
        return False
    lost = arrived.count(False) / len(arrived)
    return lost <= LOST_AT_MOST if what == ALLOW else lost == 1.0


def _wrong(arrived: Sequence[bool], sent: Sequence[float], change: Change) -> int:
    bad = change.wanted == DENY
    return sum(1 for one, at in zip(arrived, sent, strict=False) if one == bad and at > change.answered)


def _counted(arrived: Sequence[bool]) -> str:
    return f"{sum(arrived)} of {len(arrived)} packets arrived"
