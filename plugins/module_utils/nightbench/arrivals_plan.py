# SPDX-License-Identifier: GPL-3.0-or-later
"""The arrivals of one load with the sizes of each, and how far they are from what they stand for."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import arrivals, arrivals_fidelity, arrivals_trace
from .arrivals_trace import Arrival
from .errors import ConfigurationError

TRACE = "trace"
#: Rows of a load; more are no better known and have to travel.
MOST = 200_000
_TAKEN = {"kind", "rate", "seconds", "seed", "cv", "states", "period_seconds", "peak_to_mean", "trace", "like"}


@dataclass(frozen=True)
class Planned:
    """document: what the arrivals are, how they are spread, and how far from their source."""

    arrivals: tuple[Arrival, ...]
    document: dict[str, Any]


def planned(item: Mapping[str, Any], sizes: Mapping[str, Any] | None = None) -> Planned:
    """All arrivals of so many seconds; raises ConfigurationError for what cannot be one load."""
    _refuse_unknown(item)
    seconds = arrivals.number(item, "seconds")
    if not seconds > 0:
        raise ConfigurationError("arrivals: seconds, how long they go on, has to be above 0.")
    if item.get("kind") == TRACE:
        if sizes:
            raise ConfigurationError("sizes: a trace has sizes of its own; scale them by trace.size_scale.")
        return _replayed(item, seconds)
    drawn = arrivals.process(item)
    due = list(itertools.islice(itertools.takewhile(lambda at: at < seconds, drawn.moments()), MOST + 1))
    if len(due) > MOST:
        raise ConfigurationError(f"arrivals: {drawn.rate * seconds:.0f} are expected; one load has at most {MOST}.")
    seed = int(arrivals.number(item, "seed"))
    pairs = zip(_sizes(sizes, "input", seed), _sizes(sizes, "output", seed))  # noqa: B905 (both are endless)
    found = tuple(Arrival(at, *pair) for at, pair in zip(due, pairs))  # noqa: B905
    return Planned(found, {**_of_law(drawn, due), **_like(item, due, seconds)})


def moments(item: Mapping[str, Any], count: int) -> list[float]:
    """The moments of the first so many arrivals, for a load that has a number and no time."""
    _refuse_unknown(item)
    if item.get("kind") == TRACE:
        return [one.at for one in arrivals_trace.replay(item.get("trace") or {}, count=count).arrivals]
    return [at for at, _ in zip(arrivals.process(item).moments(), range(count))]  # noqa: B905 (one is endless)


def _replayed(item: Mapping[str, Any], seconds: float) -> Planned:
    trace = arrivals_trace.replay(item.get("trace") or {}, seconds=seconds)
    if len(trace.arrivals) > MOST:
        raise ConfigurationError(f"arrivals: the slice has {len(trace.arrivals)}; one load has at most {MOST}.")
    at = [one.at for one in trace.arrivals]
    step = arrivals_fidelity.stride(at)
    source, whole = arrivals_fidelity.spans(trace.source, step), arrivals_fidelity.spans(trace.whole, step)
    own = arrivals_fidelity.spans(at, step)
    document = {
        "kind": TRACE,
        "planned": arrivals_fidelity.described(at, step),
        "source": {
            "of": "the slice of the trace, in its own seconds",
            "sha256": trace.sha256,
            **arrivals_fidelity.described(trace.source, step),
            "cv_of_whole_trace": arrivals_fidelity.described(trace.whole, step)["cv"],
            "distance_of_slice_to_whole_trace": round(arrivals_fidelity.distance(source, whole), 6),
        },
        "distance": round(arrivals_fidelity.distance(own, source), 6),
        "distance_most": arrivals_fidelity.KS_MOST,
    }
    return Planned(trace.arrivals, document)


def _of_law(drawn: arrivals.Process, found: list[float]) -> dict[str, Any]:
    """The series in operational time against the law of its gaps."""
    if len(found) < 2:
        raise ConfigurationError(f"arrivals: {len(found)} in all; at least 2 make a load.", hint="Let it go on longer.")
    step = arrivals_fidelity.stride(found)
    own = arrivals_fidelity.spans(drawn.operational(found), step)
    distance = None
    if drawn.cv > 0:
        law = arrivals_fidelity.gamma_law(drawn.cv / math.sqrt(step))
        distance = round(arrivals_fidelity.distance_from(own, law), 6)
    return {
        "kind": drawn.kind,
        "planned": arrivals_fidelity.described(found, step),
        "source": {"of": "the law of the process", "rate": drawn.rate, "seed": drawn.seed, "cv_of_gaps": drawn.cv},
        "distance": distance,
        "distance_most": round(arrivals_fidelity.farthest(len(own)), 6),
    }


def _like(item: Mapping[str, Any], found: list[float], seconds: float) -> dict[str, Any]:
    """How far a process is from the trace it stands for, where one is named."""
    if not item.get("like"):
        return {}
    trace = arrivals_trace.replay(item["like"], seconds=seconds)
    at = [one.at for one in trace.arrivals]
    step = max(arrivals_fidelity.stride(at), arrivals_fidelity.stride(found))
    own, other = arrivals_fidelity.spans(found, step), arrivals_fidelity.spans(at, step)
    distance = round(arrivals_fidelity.distance(own, other), 6) if own and other else None
    return {"like": {"sha256": trace.sha256, **arrivals_fidelity.described(at, step), "distance": distance}}


def _sizes(sizes: Mapping[str, Any] | None, name: str, seed: int) -> Iterator[int]:
    """Lognormal numbers of at least 1, without end; always the median where sigma is 0."""
    item = (sizes or {}).get(name) or {}
    median, sigma, most = (
        arrivals.number(item, key, other) for key, other in (("median", 1), ("sigma", 0), ("most", 0))
    )
    if median < 1 or sigma < 0 or most < 0:
        raise ConfigurationError(f"sizes: {name}: median is at least 1, sigma and most are at least 0.")
    source = random.Random(f"{seed}/{name}")
    while True:
        drawn = max(1, round(median * math.exp(sigma * source.gauss(0.0, 1.0)))) if sigma else round(median)
        yield min(drawn, int(most)) if most else drawn


def _refuse_unknown(item: Mapping[str, Any]) -> None:
    unknown = sorted(set(item) - _TAKEN)
    if unknown:
        raise ConfigurationError(f"arrivals: {unknown[0]} is none of {', '.join(sorted(_TAKEN))}.")
