# SPDX-License-Identifier: GPL-3.0-or-later
"""What a number is really the limit of: derived from one repeat, confirmed by intervention, never guessed. Pure.

A client with a token bucket (client-go's --qps and --burst) that binds N pods with r requests each needs
(r·N − burst)/qps seconds from its first bind to its last, however fast the machine is. Numbers that fit this are
the client's limit only when two more runs agree: one of another size (the slope between them is r/qps) and one with
twice the limit (it has to be faster). A number that fits without being confirmed is claimed for nobody.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from harness import metrics, units
from harness.metrics import Metric
from harness.model import BoundBy, Evidence
from harness.pod_load import PodLoad

FITS = 0.05  # a prediction within 5 % of what was seen
SLOPE_FITS = 0.01
DOUBLED_MOVES = 1.5  # twice the limit has to bring at least so many times the throughput
CEILING_FACTOR = 3.0  # the load generator has to be able to do so many times the rate that was used
SATURATED = 0.9  # busy share of the machine, or of one core for a loop of one thread
# client-go gives these clients of their own, with limits of their own: they take no tokens from the bucket that binds.
OTHER_CLIENTS = frozenset({"events", "leases"})


@dataclass(frozen=True)
class ClientLimit:
    """A client's token bucket; qps ≤ 0 means there is none."""

    component: str
    qps: float
    burst: float
    requests_per_pod: float = 1.0

    def seconds(self, pods: float) -> float | None:
        """From the first bind to the last when nothing else is slower; None when the bucket holds nobody back."""
        beyond = self.requests_per_pod * pods - self.burst
        return beyond / self.qps if self.qps > 0 and beyond > 0 else None

    def fits(self, pods: float, seconds: float) -> bool:
        predicted = self.seconds(pods)
        return predicted is not None and abs(seconds - predicted) <= FITS * predicted

    def sustained(self, pods: float, seconds: float) -> float | None:
        """Requests a second beyond the burst: what the bucket has let through."""
        beyond = self.requests_per_pod * pods - self.burst
        return beyond / seconds if beyond > 0 and seconds > 0 else None

    @property
    def document(self) -> dict[str, float]:
        return {"qps": self.qps, "burst": self.burst, "requests_per_pod": self.requests_per_pod}


@dataclass(frozen=True)
class Size:
    """How long a load of so many pods took from its first bind to its last."""

    pods: float
    seconds: float


@dataclass(frozen=True)
class Finding:
    """bound_by is None when something is predicted but not confirmed; then `reason` says what."""

    bound_by: BoundBy | None
    reason: str
    evidence: Evidence | None = None


def derive(
    metric: Metric,
    loads: Sequence[PodLoad],
    *,
    limit: ClientLimit | None,
    ceiling: float | None,
    second_size: Sequence[PodLoad] = (),
    doubled: PodLoad | None = None,
) -> Finding:
    """What the value of this metric over these repeats is the limit of."""
    if not loads:
        return Finding(None, "")
    evidence = None
    if "client_limit" in metric.bounds and limit is not None:
        limit = replace(limit, requests_per_pod=requests_per_pod(loads, limit.component))
        sizes = [size for load in loads if (size := size_of(load)) is not None]
        if sizes and all(limit.fits(size.pods, size.seconds) for size in sizes):
            mean = _mean_size(sizes)
            evidence = confirm(limit, mean, second_size, doubled)
            predicted = limit.seconds(mean.pods)
            if not evidence.holds:
                return Finding(
                    None,
                    f"The client limit of {limit.component} predicts {units.show(predicted, 's')} from first to "
                    f"last bind and {units.show(mean.seconds, 's')} was seen, but it is not confirmed: "
                    f"{evidence.observed}.",
                    evidence,
                )
            bound = BoundBy("client_limit", limit.component, limit.document, predicted, mean.seconds)
            return Finding(bound, "", evidence)
    found = [_of_one_repeat(metric, load, ceiling) for load in loads]
    counts = Counter((item.kind, item.component) for item in found)
    most, times = counts.most_common(1)[0]
    chosen = [item for item in found if (item.kind, item.component) == most]
    # Of several repeats the one in the middle speaks for all.
    bound = sorted(chosen, key=lambda item: item.observed or 0.0)[len(chosen) // 2]
    others = ", ".join(f"{count} by {kind} ({component})" for (kind, component), count in counts.most_common()[1:])
    reason = f"{times} of {len(found)} repeats were bound by {most[0]} ({most[1]}), {others}." if others else ""
    return Finding(bound, reason, evidence)


def confirm(limit: ClientLimit, main: Size, second_size: Sequence[PodLoad], doubled: PodLoad | None) -> Evidence:
    """Two interventions: another size gives the slope r/qps, twice the limit gives more throughput."""
    others = [size for load in second_size if (size := size_of(load)) is not None]
    slope_ok, slope_text = _slope(limit, main, _mean_size(others) if others else None)
    moved_ok, moved_text = _moved(limit, main, doubled)
    return Evidence(
        "client_limit_confirmed",
        f"slope between two sizes {limit.requests_per_pod / limit.qps:.6g} s a pod within {SLOPE_FITS:.0%}; "
        f"throughput with twice the limit ≥ {DOUBLED_MOVES:g} times",
        f"{slope_text}; {moved_text}",
        slope_ok and moved_ok,
    )


def requests_per_pod(loads: Sequence[PodLoad], component: str) -> float:
    """Requests a pod that went through the client that binds, as the audit log counted them; 1 when it did not."""
    found = []
    for load in loads:
        counted, bound = load.value("audit", "requests", component), load.number("audit", "bound")
        if isinstance(counted, Mapping) and bound:
            own = sum(count for what, count in counted.items() if _resource(what) not in OTHER_CLIENTS)
            found.append(own / bound)
        elif (told := load.number("audit", "requests_per_pod", component)) is not None:
            found.append(told)
    return _mean(found) if found and _mean(found) > 0 else 1.0


def size_of(load: PodLoad) -> Size | None:
    seconds, bound = load.span("first_bind", "last_bind"), load.number("bound")
    return Size(bound, seconds) if seconds and bound else None


def ceiling_is_enough(ceiling: float | None, rate: float | None) -> bool:
    return ceiling is not None and rate is not None and ceiling >= CEILING_FACTOR * rate


def in_words(bound: BoundBy | None) -> str:
    """One sentence, with what was predicted and what was seen."""
    if bound is None:
        return "Not known."
    seconds = (units.show(bound.predicted, "s"), units.show(bound.observed, "s"))
    share = units.show(bound.observed, "ratio")
    limit = bound.limit or {}
    if bound.kind == "client_limit":
        return (
            f"The client of {bound.component} may send {units.digits(limit['qps'])} requests a second "
            f"(burst {units.digits(limit['burst'])}, {units.digits(limit['requests_per_pod'])} a pod): "
            f"that predicts {seconds[0]} from first to last bind, {seconds[1]} was seen."
        )
    if bound.kind == "probe_period":
        return f"The probe of {bound.component} looks only every {seconds[0]}; {seconds[1]} was seen."
    if bound.kind == "load_generator":
        return f"The load: {_load_generator_in_words(bound, limit)}"
    if bound.kind == "machine":
        return f"The machine: its processors were {share} busy; {bound.component} used most of them."
    if bound.observed is None:
        return f"{bound.component} itself: no limit outside it was found."
    cores = units.digits(bound.observed)
    if abs(bound.observed - 1) <= 1 - SATURATED:
        return f"{bound.component} itself: it kept one core busy ({cores}), and a loop of one thread has no more."
    return f"{bound.component} itself: no limit outside it was found ({cores} cores used)."


def _of_one_repeat(metric: Metric, load: PodLoad, ceiling: float | None) -> BoundBy:
    generated = _by_load_generator(metric, load, ceiling) if "load_generator" in metric.bounds else None
    if generated is not None:
        return generated
    busy = load.number("machine", "cpu_busy_ratio")
    if "machine" in metric.bounds and busy is not None and busy >= SATURATED:
        process = load.busiest
        return BoundBy("machine", process[0] if process else "unknown", {"cpu_busy_ratio": SATURATED}, None, busy)
    if "load_generator" in metric.bounds and _follows_creation(metric, load):
        return BoundBy("load_generator", "load generator", None, load.pods_made_rate, load.bind_rate)
    component = metric.component or load.observation.subject or "subject"
    return BoundBy("subject", component, None, None, load.cores_used(component))


def _by_load_generator(metric: Metric, load: PodLoad, ceiling: float | None) -> BoundBy | None:
    if not metric.creates_pods(load):
        return None
    rate, asked = load.creation_rate, load.number("rate_asked")
    if rate is None:
        return None
    if metric.search and (step := metrics.sent_too_slowly(load)) is not None:
        return BoundBy("load_generator", "load generator", {"rate_asked": step.rate}, step.rate, step.sent)
    # How long a pod waits under a load of a given rate is the subject's own; how many pass is the load's.
    if asked and metric.moments and (metric.milestone == "created" or _near(load.bind_rate, rate)):
        reached = rate if metric.milestone == "created" else load.bind_rate
        return BoundBy("load_generator", "load generator", {"rate_asked": asked}, asked, reached)
    if ceiling is not None and not ceiling_is_enough(ceiling, rate):
        return BoundBy("load_generator", "load generator", {"ceiling_per_second": ceiling}, CEILING_FACTOR * rate, rate)
    return None


def _follows_creation(metric: Metric, load: PodLoad) -> bool:
    return (
        metric.milestone != "created"
        and bool(metric.moments)
        and not load.held_back
        and _near(load.bind_rate, load.pods_made_rate)
    )


def _load_generator_in_words(bound: BoundBy, limit: Mapping[str, float]) -> str:
    seen = units.show(bound.observed, "1/s")
    if "rate_asked" in limit:
        return f"{units.show(limit['rate_asked'], '1/s')} were asked for, {seen} came about."
    if "ceiling_per_second" in limit:
        return (
            f"the generator alone reaches {units.show(limit['ceiling_per_second'], '1/s')}, "
            f"not {CEILING_FACTOR:g} times the {seen} that were used."
        )
    return f"pods were bound as fast as they were created ({units.show(bound.predicted, '1/s')} created, {seen} bound)."


def _slope(limit: ClientLimit, main: Size, other: Size | None) -> tuple[bool, str]:
    if other is None:
        return False, "no run of a second size"
    if other.pods == main.pods:
        return False, "the run of a second size has the same size"
    if limit.seconds(other.pods) is None:
        return False, f"the run of a second size ({other.pods:g} pods) fits into the burst"
    slope = (main.seconds - other.seconds) / (main.pods - other.pods)
    expected = limit.requests_per_pod / limit.qps
    return abs(slope - expected) <= SLOPE_FITS * expected, f"slope {slope:.6g} s a pod"


def _moved(limit: ClientLimit, main: Size, doubled: PodLoad | None) -> tuple[bool, str]:
    other = size_of(doubled) if doubled is not None else None
    if doubled is None or other is None:
        return False, "no run with twice the limit"
    raised = ClientLimit(
        limit.component,
        _parameter(doubled, "qps", 2 * limit.qps),
        _parameter(doubled, "burst", 2 * limit.burst),
        limit.requests_per_pod,
    )
    before, after = limit.sustained(main.pods, main.seconds), raised.sustained(other.pods, other.seconds)
    if before is None or after is None:
        return False, f"the run with twice the limit ({other.pods:g} pods) fits into its burst"
    return after / before >= DOUBLED_MOVES, f"throughput {after / before:.3g} times"


def _parameter(load: PodLoad, name: str, default: float) -> float:
    value = load.parameters.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else default


def _near(value: float | None, other: float | None) -> bool:
    return value is not None and other is not None and abs(value - other) <= FITS * other


def _resource(what: str) -> str:
    return what.rpartition(" ")[2].partition("/")[0]


def _mean_size(sizes: Sequence[Size]) -> Size:
    return Size(_mean([size.pods for size in sizes]), _mean([size.seconds for size in sizes]))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
