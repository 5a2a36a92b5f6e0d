# SPDX-License-Identifier: GPL-3.0-or-later
"""What a number is the limit of when several components stand between a pod and its node. Pure.

Each component's client may be it: of those whose prediction fits in every repeat the slowest is named. A component that
also leaves a mark of its own on every pod (its group, its decision) has to have needed that long for its marks as well.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness import bound_by, units
from harness.bound_by import FITS, OTHER_CLIENTS, ClientLimit, Finding, Size
from harness.components import Component, stages
from harness.metrics import Metric
from harness.model import BoundBy
from harness.pod_load import PodLoad

CPU_SATURATED = 0.95  # of the component's own limit
LATE_MOST = 1.0  # seconds from a decision to its bind, of the quickest pod: without a queue before it a bind takes ms
PACE_PODS = 20  # fewer beyond the burst show no pace
PACE_FITS = 0.10


def derive(
    metric: Metric,
    loads: Sequence[PodLoad],
    components: Sequence[Component],
    *,
    ceiling: float | None,
    second_size: Sequence[PodLoad] = (),
    doubled: Sequence[PodLoad] = (),
) -> Finding:
    """As bound_by.derive, with a limit for every component."""
    limits = fitting(loads, components) if loads and "client_limit" in metric.bounds else []
    if limits:
        limit = limits[0]
        mean = Size(
            statistics.fmean(size.pods for load in loads if (size := bound_by.size_of(load))),
            statistics.fmean(size.seconds for load in loads if (size := bound_by.size_of(load))),
        )
        second_size, doubled = (_of_component(limit.component, several) for several in (second_size, doubled))
        twice = doubled[0] if doubled else None
        evidence = bound_by.confirm(limit, mean, second_size, twice) if second_size or doubled else None
        predicted = limit.seconds(mean.pods)
        if evidence is not None and not evidence.holds:
            text = (
                f"The client limit of {limit.component} predicts {units.show(predicted, 's')} from first to last bind "
                f"and {units.show(mean.seconds, 's')} was seen, but it is not confirmed: {evidence.observed}."
            )
            return Finding(None, text, evidence)
        others = ", ".join(other.component for other in limits[1:])
        reason = f"The limit of {others} fits as well and is faster." if others else ""
        if evidence is None:
            reason = f"{reason} By the fit alone: no run of another size or with twice the limit.".strip()
        bound = BoundBy("client_limit", limit.component, limit.document, predicted, mean.seconds)
        return Finding(bound, reason, evidence)
    found = bound_by.derive(metric, loads, limit=None, ceiling=ceiling)
    if found.bound_by is None or found.bound_by.kind != "subject" or metric.component:
        return found
    return _by_component(metric, loads, components, found)


def fitting(loads: Sequence[PodLoad], components: Sequence[Component]) -> list[ClientLimit]:
    """The limits that explain every repeat, the slowest first."""
    found = []
    for component in components:
        limit = limit_of(component, loads)
        sizes = [size for load in loads if (size := bound_by.size_of(load)) is not None]
        if limit is None or len(sizes) < len(loads) or not all(limit.fits(size.pods, size.seconds) for size in sizes):
            continue
        if all(_own_mark_fits(limit, component.mark, load) for load in loads):
            found.append((limit.seconds(sizes[0].pods) or 0.0, limit))
    return [limit for _, limit in sorted(found, key=lambda item: -item[0])]


def limit_of(component: Component, loads: Sequence[PodLoad]) -> ClientLimit | None:
    if component.qps is None or component.burst is None:
        return None
    return ClientLimit(component.name, component.qps, component.burst, requests_per_pod(component, loads))


def requests_per_pod(component: Component, loads: Sequence[PodLoad]) -> float:
    """As counted by the audit log in the window of the binds; else as told, else each request once."""
    counted = [value for load in loads if (value := _counted(component, load)) is not None]
    if counted and (mean := statistics.fmean(counted)) > 0:
        return mean
    return component.requests_per_pod or float(len(component.requests) or 1)


def ignored_limits(load: PodLoad, components: Sequence[Component]) -> list[str]:
    """Components whose client did not keep to the limit that was set: what it did, in words."""
    size, found = bound_by.size_of(load), []
    if size is None:
        return []
    for component in components:
        limit = limit_of(component, [load])
        if limit is None or _counted(component, load) is None:
            continue
        rate = limit.sustained(size.pods, size.seconds)
        if limit.qps > 0 and rate is not None and rate > limit.qps * (1 + FITS):
            found.append(
                f"{component.name} sent {units.digits(rate)} requests a second beyond its burst, "
                f"its limit is {units.digits(limit.qps)}"
            )
        elif _held_by_default(component, limit, load, size):
            found.append(
                f"{component.name} was as slow as its default of {units.digits(component.default_qps or 0)} requests a "
                f"second (burst {units.digits(component.default_burst or 0)}) makes it, its limit is set to "
                f"{units.digits(limit.qps)}"
            )
    return found


def quickest_bind(load: PodLoad) -> tuple[str, float] | None:
    """The pod that was bound soonest after its decision."""
    waits = [(s.bound - s.decided, s.name) for s in load.samples if s.decided is not None and s.bound is not None]
    if not waits:
        return None
    seconds, name = min(waits)
    return name, seconds


def shares(loads: Sequence[PodLoad], components: Sequence[Component]) -> dict[str, float]:
    """Which share of the way from created to bound lies before the mark of which component."""
    spent: dict[str, float] = {}
    for name, (begin, end) in stages(components).items():
        waits = [
            # While the subject was stopped nobody took any time.
            max(0.0, last - max(first, _released(load)))
            for load in loads
            for sample in load.samples
            if (first := load.stamp(sample, begin, audited=False)) is not None
            and (last := load.stamp(sample, end, audited=False)) is not None
        ]
        if waits:
            spent[name] = statistics.fmean(waits)
    total = sum(spent.values())
    return {name: seconds / total for name, seconds in spent.items()} if total > 0 else {}


def _marks_after_first_bind(mark: str, load: PodLoad) -> bool:
    """Who was done before the first bind has no part in the time from there on."""
    begin = min(load.stamps("bound"), default=math.inf)
    moments = (load.stamp(sample, mark, audited=False) for sample in load.samples)
    return any(moment is not None and moment > begin for moment in moments)


def _of_component(name: str, loads: Sequence[PodLoad]) -> list[PodLoad]:
    """Confirmations that say they are of this component, or of none in particular."""
    return [load for load in loads if load.parameters.get("component", name) == name]


def _released(load: PodLoad) -> float:
    released = load.number("released")
    return -math.inf if released is None else released


def _by_component(metric: Metric, loads: Sequence[PodLoad], components: Sequence[Component], found: Finding) -> Finding:
    for component in components:
        used = [cores for load in loads if (cores := load.cores_used(component.name)) is not None]
        limit = component.cpu_cores
        if limit and len(used) == len(loads) and min(used) >= CPU_SATURATED * limit:
            bound = BoundBy("subject", component.name, {"cpu_cores": limit}, None, statistics.fmean(used))
            return replace(found, bound_by=bound)
    between = stages(components)
    own = next((item for item, stage in between.items() if tuple(metric.distribution) == stage), "")
    parts = shares(loads, components)
    if "first_bind" in metric.moments[:1]:
        parts = {
            name: share
            for name, share in parts.items()
            if any(_marks_after_first_bind(between[name][1], one) for one in loads)
        }
    late = [wait for load in loads if (wait := quickest_bind(load)) is not None]
    if own and own in parts:
        name = own
    elif late and len(late) == len(loads) and min(wait for _, wait in late) > LATE_MOST:
        name = next((item for item, (_, mark) in between.items() if mark == "bound"), "")
    else:
        name = max(parts, key=lambda item: parts[item], default="")
    if not name:
        return found
    busy = [value for load in loads if (value := load.cores_used(name)) is not None]
    bound = BoundBy("subject", name, None, None, statistics.fmean(busy) if busy else None)
    told = ", ".join(f"{item} {units.show(round(share, 3), 'ratio')}" for item, share in parts.items())
    return replace(found, bound_by=bound, reason=f"{found.reason} Of a pod's way to its node took {told}.".strip())


def _own_mark_fits(limit: ClientLimit, mark: str, load: PodLoad) -> bool:
    """A component was not the limit when its own marks were there sooner, or came at another pace than its tokens."""
    moments = sorted(load.stamps(mark)) if mark else []
    if len(moments) < 2:
        return _paced(limit, sorted(load.stamps("bound")))
    return limit.fits(len(moments), moments[-1] - moments[0]) and _paced(limit, moments)


def _paced(limit: ClientLimit, moments: Sequence[float]) -> bool:
    """Whether what lies beyond the burst came as evenly as tokens do; a time alone may fit by chance."""
    first = math.ceil(limit.burst / limit.requests_per_pod)
    beyond = moments[first:]
    if len(beyond) < PACE_PODS or beyond[-1] <= beyond[0]:
        return True
    rate = (len(beyond) - 1) / (beyond[-1] - beyond[0]) * limit.requests_per_pod
    return abs(rate - limit.qps) <= PACE_FITS * limit.qps


def _held_by_default(component: Component, limit: ClientLimit, load: PodLoad, size: Size) -> bool:
    if component.default_qps is None or component.default_burst is None:
        return False
    default = replace(limit, qps=component.default_qps, burst=component.default_burst)
    if (default.qps, default.burst) == (limit.qps, limit.burst) or limit.fits(size.pods, size.seconds):
        return False
    allowed = limit.seconds(size.pods) or 0.0
    return (
        default.fits(size.pods, size.seconds)
        and allowed < size.seconds
        and _own_mark_fits(default, component.mark, load)
    )


def _counted(component: Component, load: PodLoad) -> float | None:
    """Requests a pod, from the requests and the binds of the same time."""
    for requests, binds in (("requests_in_window", "binds_in_window"), ("requests", "bound")):
        counted, bound = load.value("audit", requests, component.name), load.number("audit", binds)
        if isinstance(counted, Mapping) and bound:
            own = [
                count
                for what, count in counted.items()
                if (what in component.requests if component.requests else _resource(what) not in OTHER_CLIENTS)
            ]
            return float(sum(own)) / bound
    return None


def _resource(what: str) -> str:
    return what.rpartition(" ")[2].partition("/")[0]
