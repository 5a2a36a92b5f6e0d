# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for what a cluster did with a workload to mean what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from harness import common_checks as common
from harness import units
from harness.common_checks import Finding, plain
from harness.model import Evidence
from harness.workload import scaling
from harness.workload.cost import prices, source
from harness.workload.steps import COSTS, MEASURES, Workload, checkpoints

Context = common.Context[Workload]


def steps_reached(load: Workload, context: Context) -> Finding:
    """Every step got what it waits for, and each is told once."""
    asked, done, told = load.number("asked"), load.number("done"), load.of("step")
    names = {row["step"] for row in told}
    late = [row["step"] for row in told if row["reached"] is None]
    waits = load.value("waited_for")
    text = f"{plain(done)} of {plain(asked)}; {len(names)} told{f', {waits[0]}' if waits else ''}"
    return Finding("every step", text, bool(asked) and asked == done == len(told) == len(names) and not late)


def rows_accounted_for(load: Workload, context: Context) -> Finding:
    """As many requests and pods in the samples as the observation counts."""
    seen = {"requests": len(load.of("request")), "pods": len(load.of("pod"))}
    told = {"requests": load.number("requests", "sent"), "pods": load.number("pods")}
    text = ", ".join(f"{seen[name]} of {plain(told[name])} {name}" for name in seen)
    return Finding("all requests and pods", text, seen == told)


def nothing_failed(load: Workload, context: Context) -> Finding:
    """Neither a request nor a Job: a workload of which a part is missing is another one."""
    requests, jobs = load.number("requests", "failed"), load.value("jobs_failed")
    failures = load.value("requests", "failures") or []
    text = f"{plain(requests)} requests, Jobs {', '.join(jobs or []) or 'none'}"
    more = f": {failures[0]}" if failures else ""
    return Finding("no request and no Job failed", text + more, requests == 0 and jobs == [])


def form_is_sound(load: Workload, context: Context) -> Finding:
    """What was run is what the catalogue says: without a finding of the linter, and taken by the API server."""
    form = str(load.parameters.get("form") or "plain")
    found, answers = load.value("forms", form, "findings"), load.value("forms", form, "api_server")
    refused = [one for one in answers or [] if not isinstance(one, Mapping) or one.get("accepted") is not True]
    problems = [*(found or []), *(f"{one.get('object')}: {one.get('message')}" for one in refused)]
    text = "; ".join(problems[:2]) or (common.UNSEEN if found is None or not answers else "sound and accepted")
    return Finding("no finding of the linter, accepted by the API server", text, not problems and bool(answers))


def nothing_planted_in_it(load: Workload, context: Context) -> Finding | None:
    """No pod with a planted lifetime ended before it ran: its stamps would be of the plan, not of the cluster."""
    if not load.value("planted"):
        return None
    wrong = [
        row["name"]
        for row in load.of("pod")
        if row["completed"] is not None and (row["running"] is None or row["completed"] < row["running"])
    ]
    return Finding("pods run before they end", f"{len(wrong)} did not" if wrong else "all did", not wrong)


#: Actions that end pods; by itself none of them fails.
ENDING = frozenset({"evict", "delete"})


def no_pod_failed_by_itself(load: Workload, context: Context) -> Finding:
    """A pod that failed before the run has ended any was replaced, and what is timed is two starts, not one."""
    first = min((row["sent"] for row in load.of("step") if row["name"] in ENDING), default=None)
    failed = [row for row in load.of("pod") if row["failed"] is not None]
    wrong = [row["name"] for row in failed if first is None or row["failed"] < first]
    expected = "no pod fails before the run ends one"
    return Finding(expected, f"{len(wrong)} failed, e.g. {wrong[0]}" if wrong else "none did", not wrong)


def no_checkpoint_after_the_failure(load: Workload, context: Context) -> Finding | None:
    """A rank that ended before the failure, or computed past the next checkpoint, lost something else than planned."""
    planted = checkpoints(load) if context.metric == "checkpoint_lost_gpu_seconds" else None
    if planted is None:
        return None
    seconds, most = planted.outlived(load), planted.following - planted.failure
    expected = f"every rank ends 0 to {units.show(most, 's')} after the failure"
    if seconds is None:
        return Finding(expected, common.UNSEEN, False)
    text = f"{units.show(min(seconds), 's')} to {units.show(max(seconds), 's')}"
    return Finding(expected, text, min(seconds) >= 0 and max(seconds) < most)


def price_has_a_source(load: Workload, context: Context) -> Finding | None:
    """A price that nobody can look up is a number out of the air."""
    if context.metric not in COSTS:
        return None
    named = source(load.parameters)
    return Finding("three prices and where they are from", named or "none", bool(named and prices(load.parameters)))


def autoscaler_decided(load: Workload, context: Context) -> Finding | None:
    """The run sets the replicas itself elsewhere; here each number has to be one that the autoscaler wanted."""
    if context.metric not in scaling.LEGS:
        return None
    found, wanted = scaling.scale_out(load), {row["replicas"] for row in load.of("wanted")}
    name, scaled = load.value("autoscaler", "name"), load.value("autoscaler", "scales")
    set_here = [row["step"] for row in load.of("request", scaling.STEP) if row["name"] == scaled]
    expected = f"replicas are changed by {name} alone, which is active"
    if found is None:
        return Finding(expected, common.UNSEEN, False)
    text = " → ".join(str(number) for number in found.replicas)
    others = [str(number) for number in found.replicas[1:] if number not in wanted]
    more = f"; nobody wanted {', '.join(others)}" if others else "; set by the run" if set_here else ""
    active = load.value("autoscaler", "active") is True
    return Finding(expected, text + more + ("" if active else "; not active"), active and not others and not set_here)


def usage_told_as_planted(load: Workload, context: Context) -> Finding | None:
    """What the metrics API tells is what the pods' annotations say: else it is somebody else's use."""
    if context.metric not in scaling.LEGS:
        return None
    planted = scaling.planted(load)
    told = max((row["cpus"] for row in scaling.usage(load)), default=0.0)
    if planted is None:
        return Finding("the planted use", common.UNSEEN, False)
    least, most = (1 - scaling.TOLERANCE) * planted[0], (1 + scaling.TOLERANCE) * planted[1]
    return Finding(f"{least:.3g} to {most:.3g} CPUs at most", f"{told:.3g}", least <= told <= most)


def has_its_samples(load: Workload, context: Context) -> Finding:
    found = load.samples(context.metric)
    return Finding("at least one value", str(len(found)), bool(found))


@dataclass(frozen=True)
class Row:
    name: str
    check: Callable[[Workload, Context], Finding | None]
    consequence: str = "invalid"


TABLE: tuple[Row, ...] = (
    Row("all_repeats_present", common.all_repeats_present),
    Row("same_parameters_in_every_repeat", common.same_parameters),
    Row("samples_intact", common.samples_intact),
    Row("steps_reached", steps_reached),
    Row("rows_accounted_for", rows_accounted_for),
    Row("nothing_failed", nothing_failed),
    Row("no_pod_failed_by_itself", no_pod_failed_by_itself),
    Row("form_is_sound", form_is_sound),
    Row("nothing_planted_in_it", nothing_planted_in_it),
    Row("no_checkpoint_after_the_failure", no_checkpoint_after_the_failure),
    Row("price_has_a_source", price_has_a_source),
    Row("autoscaler_decided", autoscaler_decided),
    Row("usage_told_as_planted", usage_told_as_planted),
    Row("has_its_samples", has_its_samples),
    Row("cpu_not_stolen", common.cpu_not_stolen),
)
CONSEQUENCE = {row.name: row.consequence for row in TABLE}


def collect(metric: str, loads: Sequence[Workload], repeats: int) -> tuple[Evidence, ...]:
    context = Context(metric, repeats, loads)
    rows = [row for row in TABLE if row.name != "has_its_samples" or metric in MEASURES]
    return common.collect(((row.name, row.check) for row in rows), loads, context)
