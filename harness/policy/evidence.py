# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for the time until a policy is obeyed to mean what it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness import common_checks as common
from harness import units
from harness.common_checks import Finding, plain
from harness.model import Evidence
from harness.policy.changes import OBEYED, OF_METRIC, OUTCOMES, PROBE_CPU, Changes

#: A probe that sees less than this says nothing of a dataplane: they program in milliseconds.
GAP_MOST = 0.050
PROBE_CPU_MOST = 0.05  # of a core and pair; more would be a load of its own
NO_ENGINE = "none"  # as bench_dataplane calls it
#: Metrics of a deny and of an allow.
NEW, ESTABLISHED = (
    tuple(metric for metric, (_, flow) in OF_METRIC.items() if flow == which) for which in ("new", "established")
)
#: The only outcome of each metric where policies are for new flows alone.
NEW_FLOWS_ONLY = {
    **{metric: {OBEYED} for metric in NEW},
    **dict(zip(ESTABLISHED, ({"never"}, {"not_in_force_before"}), strict=True)),
}


Context = common.Context[Changes]


def changes_accounted_for(load: Changes, context: Context) -> Finding:
    """A row for each change, pair and flow, once; and as many as the plan says."""
    asked, told = load.number("asked"), load.number("done")
    pairs, changes = load.value("plan", "pairs"), load.number("plan", "changes")
    planned = len(pairs) * changes * 2 if isinstance(pairs, list) and changes is not None else None
    keys = {(row["change"], row["pair"], row["flow"]) for row in load.rows}
    text = f"{len(load.rows)} rows, {len(keys)} of them different; {plain(asked)} asked, {plain(planned)} planned"
    holds = asked is not None and asked > 0 and asked == told == planned == len(load.rows) == len(keys)
    return Finding("a row for each change, pair and flow", text, holds)


def observation_matches_samples(load: Changes, context: Context) -> Finding:
    """What the observation counts, counted again."""
    wrong = []
    for metric, (wanted, flow) in OF_METRIC.items():
        seen = load.outcomes(metric)
        wrong += [
            f"{wanted}, {flow}: {plain(told)} {outcome}, the samples give {seen[outcome]}"
            for outcome in OUTCOMES
            if (told := load.number("changes", wanted, flow, outcome)) != seen[outcome]
        ]
    return Finding("the outcomes of the samples", "; ".join(wrong[:3]) or "the same", not wrong)


def every_change_obeyed(load: Changes, context: Context) -> Finding:
    """A mean over changes of which some never came is a mean of the quick ones."""
    seen, rows = load.outcomes(context.metric), load.of(context.metric)
    text = ", ".join(f"{count} {outcome.replace('_', ' ')}" for outcome, count in seen.most_common()) or "none"
    example = next((f": {row['reason']}" for row in rows if row["outcome"] != OBEYED and row["reason"]), "")
    return Finding("every change obeyed", text + example, bool(rows) and set(seen) == {OBEYED})


def latencies_fit_their_packets(load: Changes, context: Context) -> Finding:
    """The latency is the moment of the first packet that obeys, the resolution the gap before it."""
    bad = [row for row in load.of(context.metric) if row["outcome"] == OBEYED and not _fits(row)]
    example = f", e.g. {bad[0]['change']} of {bad[0]['pair']}" if bad else ""
    return Finding("low < high = latency, resolution = high − low", f"{len(bad)} not{example}", not bad)


def probe_saw_enough(load: Changes, context: Context) -> Finding:
    gap = load.resolution(context.metric)
    text = common.UNSEEN if gap is None else units.show(gap, "s")
    expected = f"gaps at the changes ≤ {units.show(GAP_MOST, 's')}"
    return Finding(expected, text, gap is not None and gap <= GAP_MOST)


def probe_was_cheap(load: Changes, context: Context) -> Finding:
    return common.at_most(load.number("probes", "cpu_ratio_of_core_per_pair"), PROBE_CPU_MOST, "of a core for a pair")


def enforced_by_an_engine(load: Changes, context: Context) -> Finding | None:
    """Where the nodes run nothing of Calico, a policy that is obeyed is somebody else's, and the subject another."""
    if load.value("dataplane", "observed") != NO_ENGINE:
        return None
    obeyed = sum(1 for row in load.rows if row["outcome"] == OBEYED)
    return Finding("no change obeyed without a policy engine", f"{obeyed} of {len(load.rows)}", not obeyed)


@dataclass(frozen=True)
class Row:
    name: str
    check: Callable[[Changes, Context], Finding | None]
    consequence: str = "invalid"
    of_flows: bool = True  # not for what the probe costs


TABLE: tuple[Row, ...] = (
    Row("all_repeats_present", common.all_repeats_present, of_flows=False),
    Row("same_parameters_in_every_repeat", common.same_parameters, of_flows=False),
    Row("samples_intact", common.samples_intact, of_flows=False),
    Row("dataplane_as_asked", common.dataplane_as_asked, of_flows=False),
    Row("enforced_by_an_engine", enforced_by_an_engine, of_flows=False),
    Row("changes_accounted_for", changes_accounted_for, of_flows=False),
    Row("observation_matches_samples", observation_matches_samples, of_flows=False),
    Row("every_change_obeyed", every_change_obeyed),
    Row("latencies_fit_their_packets", latencies_fit_their_packets),
    Row("probe_saw_enough", probe_saw_enough),
    Row("probe_was_cheap", probe_was_cheap),
    Row("cpu_not_stolen", common.cpu_not_stolen, of_flows=False),
)
CONSEQUENCE = {row.name: row.consequence for row in TABLE}


def collect(metric: str, loads: Sequence[Changes], repeats: int) -> tuple[Evidence, ...]:
    context = Context(metric, repeats, loads)
    flows = metric != PROBE_CPU and not without_latency(metric, loads)
    rows = [row for row in TABLE if flows or not row.of_flows]
    return common.collect(((row.name, row.check) for row in rows), loads, context)


def without_latency(metric: str, loads: Sequence[Changes]) -> str:
    """Why a policy has no latency for the flows of a metric; empty where it has to have one."""
    if metric not in OF_METRIC:
        return ""
    return without_engine(loads) or (established_flows_go_on(loads) if metric in ESTABLISHED else "")


def established_flows_go_on(loads: Sequence[Changes]) -> str:
    """Rules that accept established flows first (Calico's do) let these go on for ever, and there is nothing to time:
    said only where new flows obeyed every change and not one established flow obeyed any."""
    outcomes = {metric: sum((load.outcomes(metric) for load in loads), Counter()) for metric in OF_METRIC}
    if {metric: set(found) for metric, found in outcomes.items()} != NEW_FLOWS_ONLY:
        return ""
    (denied, denies), (allowed, allows) = (
        (outcomes[old].total(), outcomes[new].total()) for old, new in zip(ESTABLISHED, NEW, strict=True)
    )
    return (
        f"established flows go on: none of {denied} denies stopped a flow that was there before it, so none of "
        f"{allowed} allows had one to let through, while new flows obeyed all {denies + allows} changes "
        "(new_flows_only)"
    )


def without_engine(loads: Sequence[Changes]) -> str:
    """Why there is nothing to measure: nobody was there to enforce policies, and on the wire nobody did."""
    rows = [row for load in loads for row in load.rows]
    nobody = all(load.value("dataplane", "observed") == NO_ENGINE for load in loads)
    if not nobody or any(row["outcome"] == OBEYED for row in rows):
        return ""
    return (
        f"no policy engine: none of {len(rows)} changes was ever obeyed on the wire, and no node runs one of Calico's"
    )


def _fits(row: object) -> bool:
    assert isinstance(row, dict)
    low, high, latency, gap = (row[f"{name}_seconds"] for name in ("low", "high", "latency", "resolution"))
    if None in (low, high, latency, gap):
        return False
    micro = 2e-6  # they are rounded
    fits = abs(gap - (high - low)) <= micro and abs(latency - max(high, 0.0)) <= micro and low < high
    return bool(fits and row["below_resolution"] == (latency <= gap))
