# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for the parts of a start to mean what they say."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness import common_checks as common
from harness import units
from harness.common_checks import Finding, plain
from harness.felix.starts import LEGS, Starts, leg
from harness.model import Evidence

Context = common.Context[Starts]
#: A look less often than this would be a part of the number.
LOOK_MOST = 0.25


def starts_accounted_for(load: Starts, context: Context) -> Finding:
    """A row for each start of each node, once; and as many as the plan says."""
    asked, done = load.number("asked"), load.number("done")
    starts, nodes = load.number("plan", "starts"), load.number("plan", "nodes")
    planned = starts * nodes if starts is not None and nodes is not None else None
    keys = {(row["start"], row["node"]) for row in load.rows}
    failure = next((f": {row['node']}: {row['failure']}" for row in load.rows if row["failure"]), "")
    text = f"{plain(done)} seen whole of {plain(asked)} asked, {len(load.rows)} rows, {len(keys)} of them different"
    holds = asked is not None and asked > 0 and asked == planned == done == len(load.rows) == len(keys)
    return Finding("every start seen whole, once", text + failure, holds and not failure)


def moments_in_order(load: Starts, context: Context) -> Finding:
    """No part of a start takes less than nothing, beyond what can be seen."""
    bad = [
        f"{metric} of {row['node']}, start {row['start']}: {units.show(length, 's')}"
        for metric in LEGS
        for row in load.rows
        if (length := leg(row, metric)) is not None and length < -load.resolution(metric)
    ]
    return Finding("each moment after the one before", "; ".join(bad[:3]) or "all", not bad)


def started_once(load: Starts, context: Context) -> Finding:
    """A Felix that found another configuration ended and began again: two starts in one."""
    more = [row for row in load.rows if row["times_started"] != 1]
    example = f", e.g. {more[0]['node']} {more[0]['times_started']} times" if more else ""
    return Finding("one start of Felix in each", f"{len(more)} with others{example}", not more)


def looked_often(load: Starts, context: Context) -> Finding:
    looks = [float(row["resolution"]) for row in load.rows if row["resolution"] is not None]
    text = units.show(max(looks), "s") if looks else common.UNSEEN
    return Finding(f"≤ {units.show(LOOK_MOST, 's')} between two looks", text, bool(looks) and max(looks) <= LOOK_MOST)


Check = Callable[[Starts, Context], Finding]
TABLE: tuple[tuple[str, Check], ...] = (
    ("all_repeats_present", common.all_repeats_present),
    ("same_parameters_in_every_repeat", common.same_parameters),
    ("samples_intact", common.samples_intact),
    ("dataplane_as_asked", common.dataplane_as_asked),
    ("starts_accounted_for", starts_accounted_for),
    ("started_once", started_once),
    ("moments_in_order", moments_in_order),
    ("looked_often", looked_often),
    ("cpu_not_stolen", common.cpu_not_stolen),
)
CONSEQUENCE = dict.fromkeys((name for name, _ in TABLE), "invalid")


def collect(metric: str, loads: Sequence[Starts], repeats: int) -> tuple[Evidence, ...]:
    return common.collect(TABLE, loads, Context(metric, repeats, loads))
