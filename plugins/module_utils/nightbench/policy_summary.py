# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run of policy changes gives: the values of an observation, and one sample for each flow, pair and change."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from . import policy_latency
from .machine import MachineSampler
from .policy_latency import ALLOW, DENY, NEVER, NOT_BEFORE, OBEYED, UNSETTLED, Transition
from .policy_run import Made, PolicyRun
from .udp_probe import FLOWS

OUTCOMES = (OBEYED, NEVER, UNSETTLED, NOT_BEFORE)


def values(run: PolicyRun, machine: MachineSampler) -> dict[str, Any]:
    found = [transition for _, transition in run.transitions]
    asked = len(run.plan.pairs) * 2 * run.plan.cycles * len(FLOWS)
    return {
        "plan": run.plan.document(),
        "asked": asked,
        "done": len(found),
        "missing": asked - len(found),
        "changes": {
            wanted: {
                flow: _counts([item for item in found if (item.wanted, item.flow) == (wanted, flow)]) for flow in FLOWS
            }
            | {"named": _named([item for item in found if item.wanted == wanted])}
            for wanted in (DENY, ALLOW)
        },
        "resolution": _resolution(run, found),
        "probes": _probes(run),
        "legs_seen": sorted({name for made in run.made for name in _legs(made)}),
        "clock": {"name": "one machine's monotonic clock", "wall_offset_start": run.wall_offset},
        "started": run.started,
        "ended": run.ended,
        "machine": machine.window(run.started, run.ended),
    }


def rows(run: PolicyRun) -> Iterable[dict[str, Any]]:
    """One of each flow, pair and change; moments in seconds since the API server's answer."""
    made = {item.change.name: item for item in run.made}
    for pair, item in run.transitions:
        change = made[item.change].change
        yield {
            "change": item.change,
            "wanted": item.wanted,
            "pair": pair,
            "flow": item.flow,
            "outcome": item.outcome,
            "latency_seconds": _round(item.latency),
            "low_seconds": _round(item.low),
            "high_seconds": _round(item.high),
            "resolution_seconds": _round(item.resolution),
            "below_resolution": item.below_resolution,
            "mixed_seconds": _round(item.mixed_seconds),
            "wrong_packets": item.wrong_packets,
            "reason": item.reason,
            "answered": _round(change.answered - run.started),
            "request_seconds": _round(change.answered - change.requested),
            "legs": _legs(made[item.change]),
        }


def _legs(made: Made) -> dict[str, dict[str, float]]:
    """Seconds after the answer; a watcher reads what was written before the answer has come back to the writer."""
    found = {}
    if made.watched is not None:
        found["watched"] = {"seconds": round(made.watched - made.change.answered, 6), "resolution_seconds": 1e-6}
    for name, (at, resolution) in made.moved.items():
        found[name] = {"seconds": round(at - made.change.answered, 6), "resolution_seconds": round(resolution, 6)}
    return found


def _counts(found: Sequence[Transition]) -> dict[str, Any]:
    outcomes = Counter(item.outcome for item in found)
    latencies = sorted(item.latency for item in found if item.latency is not None)
    return {
        **{outcome: outcomes[outcome] for outcome in OUTCOMES},
        "median_seconds": _round(statistics.median(latencies)) if latencies else None,
        "max_seconds": _round(latencies[-1]) if latencies else None,
        "below_resolution": sum(1 for item in found if item.below_resolution),
        "wrong_packets": sum(item.wrong_packets for item in found),
        "longest_mixed_seconds": _round(max((item.mixed_seconds for item in found), default=0.0)),
    }


def _named(found: Sequence[Transition]) -> dict[str, int]:
    """How both flows of one change behave together, counted over the changes."""
    changes = dict.fromkeys(item.change for item in found)
    return dict(Counter(policy_latency.named([item for item in found if item.change == name]) for name in changes))


def _resolution(run: PolicyRun, found: Sequence[Transition]) -> dict[str, float | None]:
    """Of the changes themselves, and between all packets of the run: measured, not the interval that was asked."""
    own = [item.resolution for item in found if item.resolution is not None]
    gaps = sorted(gap for flow in run.flows.values() for gap in policy_latency.gaps(flow.sent, run.started, run.ended))
    return {
        "largest_at_a_change_seconds": _round(max(own, default=None)),
        "gap_p50_seconds": _round(gaps[len(gaps) // 2]) if gaps else None,
        "gap_p99_seconds": _round(gaps[len(gaps) * 99 // 100]) if gaps else None,
        "gap_max_seconds": _round(gaps[-1]) if gaps else None,
    }


def _probes(run: PolicyRun) -> dict[str, Any]:
    ratios = []
    errors: Counter[str] = Counter()
    for _, sender, receiver in run.ends:
        ratios.append(sum(end["cpu_seconds"] * 1e9 / (end["ended"] - end["started"]) for end in (sender, receiver)))
        for end in (sender, receiver):
            errors.update(end["errors"])
    delays = [flow.delay for flow in run.flows.values() if flow.delay is not None]
    return {
        "sent": sum(len(sender["sent"]) for _, sender, _ in run.ends) * len(FLOWS),
        "cpu_ratio_of_core_per_pair": _round(max(ratios, default=None)),
        "scheduling": sorted({str(end["scheduling"]) for _, *ends in run.ends for end in ends}),
        "longest_delay_seconds": _round(max(delays, default=None)),
        "errors": dict(errors),
    }


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
