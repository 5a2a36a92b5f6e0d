# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for numbers of churn to mean what they say.

A start-up counts only when traffic was measured beside it and worked: failures, number of samples and number of pods
are looked at together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness import common_checks as common
from harness import units
from harness.churn.gangs import CHURN, FAILURE_RATIO, FALSE_ALLOW, OF_POLICIES, QUIET, Gangs
from harness.common_checks import Finding, plain
from harness.model import Evidence

NO_ENGINE = "none"  # as bench_dataplane calls it
FEWEST_REQUESTS = 100
MOST_FAILED = 0.01
GAP_MOST = 0.1  # of a probe that is meant to look every few hundredths of a second
PROBE_CPU_MOST = 0.5  # of a core, for all pairs together


Context = common.Context[Gangs]


def pods_accounted_for(load: Gangs, context: Context) -> Finding:
    """Every pod that was asked for came to run and is gone, and was counted once."""
    asked, names = load.number("asked"), {row["pod"] for row in load.pods}
    ran = sum(1 for row in load.pods if row["running"] is not None)
    gone = sum(1 for row in load.pods if row["gone"] is not None)
    failure = next((f": {row['failure']}" for row in load.pods if row["failure"]), "")
    text = f"{plain(asked)} asked, {len(names)} told of, {ran} ran, {gone} gone{failure}"
    holds = asked is not None and asked > 0 and asked == len(load.pods) == len(names) == ran == gone
    return Finding("every pod ran and is gone", text, holds)


def observation_matches_samples(load: Gangs, context: Context) -> Finding:
    """What the observation counts, counted again."""
    again: dict[tuple[str, ...], int] = {
        ("running",): sum(1 for row in load.pods if row["running"] is not None),
        ("gone",): sum(1 for row in load.pods if row["gone"] is not None),
        ("gangs", "reached"): sum(1 for rows in load.gangs.values() if all(row["job_arrived"] for row in rows)),
        ("gangs", "kept_apart"): _kept_apart(load),
        **{("requests", phase, "asked"): len(load.requests(phase)) for phase in (QUIET, CHURN)},
        **{
            ("requests", phase, "answered"): sum(1 for row in load.requests(phase) if not row["failure"])
            for phase in (QUIET, CHURN)
        },
    }
    wrong = [
        f"{' '.join(path)}: {plain(load.number(*path))}, the samples give {count}"
        for path, count in again.items()
        if load.number(*path) != count
    ]
    return Finding("the counts of the samples", "; ".join(wrong[:3]) or "the same", not wrong)


def every_gang_reached(load: Gangs, context: Context) -> Finding:
    """A gang of which two pods never met is no gang that started."""
    reached = sum(1 for rows in load.gangs.values() if all(row["job_arrived"] for row in rows))
    return Finding(
        "every gang reachable within itself", f"{reached} of {len(load.gangs)}", reached == len(load.gangs) > 0
    )


def traffic_was_measured(load: Gangs, context: Context) -> Finding:
    counts = [len(load.requests(phase)) for phase in (QUIET, CHURN)]
    text = f"{counts[0]} before the churn, {counts[1]} during it"
    return Finding(f"≥ {FEWEST_REQUESTS} requests in both", text, min(counts) >= FEWEST_REQUESTS)


def requests_succeeded(load: Gangs, context: Context) -> Finding | None:
    """Not of the share of failures itself, which stands whatever it is."""
    if context.metric == FAILURE_RATIO:
        return None
    ratios = [ratio for phase in (QUIET, CHURN) if (ratio := load.failure_ratio(phase)) is not None]
    return common.at_most(max(ratios, default=None), MOST_FAILED, "of the requests failed")


def strangers_kept_out(load: Gangs, context: Context) -> Finding | None:
    """A window that never closes has no length."""
    if context.metric != FALSE_ALLOW:
        return None
    kept = _kept_apart(load)
    text = f"{kept} of {len(load.gangs)} gangs"
    return Finding("strangers kept out of every gang in the end", text, kept == len(load.gangs) > 0)


def enforced_by_an_engine(load: Gangs, context: Context) -> Finding | None:
    """Where the nodes run nothing of Calico, a policy that is obeyed is somebody else's, and the subject another."""
    if load.value("dataplane", "observed") != NO_ENGINE or not load.number("plan", "policies_per_gang"):
        return None
    kept = _kept_apart(load)
    return Finding("no stranger kept out without a policy engine", f"{kept} of {len(load.gangs)} gangs", kept == 0)


def policies_were_active(load: Gangs, context: Context) -> Finding | None:
    """Policies of which no node knows are background: Felix has to have had those of the gangs at work."""
    if context.metric not in OF_POLICIES or load.value("dataplane", "observed") == NO_ENGINE:
        return None
    nodes = sorted({str(row["node"]) for row in load.pods})
    told = {name: [load.number("active_policies", name, key) for key in ("first", "most")] for name in nodes}
    text = ", ".join(f"{plain(most)} on {name}, {plain(first)} before" for name, (first, most) in told.items())
    more = [first is not None and most is not None and most > first for first, most in told.values()]
    return Finding(
        "Felix's active policies more than before on every node of the gangs", text, bool(more) and all(more)
    )


def background_as_asked(load: Gangs, context: Context) -> Finding:
    asked, there = load.number("plan", "background_policies"), load.number("background_policies")
    text = f"{plain(there)} of {plain(asked)}"
    return Finding("the policies in the background that were asked for", text, asked is not None and asked == there)


def node_count_as_asked(load: Gangs, context: Context) -> Finding:
    """Before and after: existing and Ready are one number, that of the plan where it says one."""
    asked = load.number("plan", "nodes")
    seen = [load.number("nodes", when, what) for when in ("before", "after") for what in ("existing", "ready")]
    text = "before {} existing and {} Ready, after {} and {}".format(*map(plain, seen))
    wanted = "existing and Ready nodes one number" + (f", {plain(asked)}" if asked is not None else "")
    holds = None not in seen and len({*seen, *([asked] if asked is not None else ())}) == 1
    return Finding(wanted, text, holds)


def probe_saw_enough(load: Gangs, context: Context) -> Finding:
    gap = load.number("probe", "largest_gap_seconds")
    text = common.UNSEEN if gap is None else units.show(gap, "s")
    return Finding(f"no gap above {units.show(GAP_MOST, 's')}", text, gap is not None and gap <= GAP_MOST)


def probe_was_cheap(load: Gangs, context: Context) -> Finding:
    return common.at_most(load.number("probe", "cpu_ratio_of_core"), PROBE_CPU_MOST, "of a core for all flows")


Check = Callable[[Gangs, Context], Finding | None]
TABLE: tuple[tuple[str, Check], ...] = (
    ("all_repeats_present", common.all_repeats_present),
    ("same_parameters_in_every_repeat", common.same_parameters),
    ("samples_intact", common.samples_intact),
    ("dataplane_as_asked", common.dataplane_as_asked),
    ("enforced_by_an_engine", enforced_by_an_engine),
    ("node_count_as_asked", node_count_as_asked),
    ("background_as_asked", background_as_asked),
    ("pods_accounted_for", pods_accounted_for),
    ("observation_matches_samples", observation_matches_samples),
    ("every_gang_reached", every_gang_reached),
    ("traffic_was_measured", traffic_was_measured),
    ("requests_succeeded", requests_succeeded),
    ("probe_saw_enough", probe_saw_enough),
    ("probe_was_cheap", probe_was_cheap),
    ("cpu_not_stolen", common.cpu_not_stolen),
)
#: Not where nobody enforces policies: then there is no such number.
OF_AN_ENGINE: tuple[tuple[str, Check], ...] = (
    ("strangers_kept_out", strangers_kept_out),
    ("policies_were_active", policies_were_active),
)
CONSEQUENCE = dict.fromkeys((name for name, _ in (*TABLE, *OF_AN_ENGINE)), "invalid")


def collect(metric: str, loads: Sequence[Gangs], repeats: int) -> tuple[Evidence, ...]:
    context = Context(metric, repeats, loads)
    rows = TABLE if without_engine(loads) else (*TABLE, *OF_AN_ENGINE)
    return common.collect(rows, loads, context)


def without_engine(loads: Sequence[Gangs]) -> str:
    """Why there are no windows: nobody was there to enforce policies, and on the wire nobody did."""
    if not all(load.value("dataplane", "observed") == NO_ENGINE for load in loads):
        return ""
    if any(_kept_apart(load) for load in loads):
        return ""
    gangs = sum(len(load.gangs) for load in loads)
    return f"no policy engine: strangers reached all of {gangs} gangs on the wire, and no node runs one of Calico's"


def _kept_apart(load: Gangs) -> int:
    return sum(1 for rows in load.gangs.values() if all(row["stranger_settled"] for row in rows))
