# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for a number of nodes to be what its label says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness import common_checks as common
from harness.common_checks import Finding, plain
from harness.model import Evidence
from harness.nodes.load import Nodes

Context = common.Context[Nodes]


def nodes_accounted_for(load: Nodes, context: Context) -> Finding:
    """Every node that was asked for was created, Ready and gone, and was counted once."""
    asked, names = load.number("asked"), {row["name"] for row in load.rows}
    counts = [len(load.moments(name)) for name in ("answered", "ready", "gone")]
    failure = next((f": {row['failure']}" for row in load.rows if row["failure"]), "")
    text = f"{plain(asked)} asked, {counts[0]} created, {counts[1]} Ready, {counts[2]} gone{failure}"
    holds = asked is not None and asked > 0 and {asked} == {len(load.rows), len(names), *counts}
    return Finding("every node created, Ready and gone", text, holds)


def observation_matches_samples(load: Nodes, context: Context) -> Finding:
    again = {
        told: len(load.moments(name)) for told, name in (("created", "answered"), ("ready", "ready"), ("gone", "gone"))
    }
    wrong = [
        f"{plain(load.number(told))} {told}, the samples give {count}"
        for told, count in again.items()
        if load.number(told) != count
    ]
    return Finding("the counts of the samples", "; ".join(wrong) or "the same", not wrong)


def columns_agree(load: Nodes, context: Context) -> Finding:
    """Asked for, existing, Ready and streaming from Typha, with the number of Typhas that so many nodes need."""
    problems = load.value("problems")
    rows = {name: load.number("columns", name, "all") for name in ("asked", "existing", "ready")}
    seen = ", ".join(f"{plain(value)} {name}" for name, value in rows.items())
    told = f": {'; '.join(map(str, problems))}" if problems else ""
    holds = load.value("counts_hold") is True and None not in rows.values() and len(set(rows.values())) == 1
    return Finding("asked, existing and Ready are one number, and Typha's columns too", f"{seen}{told}", holds)


def only_ours_were_added(load: Nodes, context: Context) -> Finding:
    """Nodes that came or went beside them would be counted as ours, or hide some of ours."""
    before, after, asked = load.number("before", "all"), load.number("columns", "existing", "all"), load.number("asked")
    text = f"{plain(before)} before, {plain(after)} with {plain(asked)} more"
    if before is None or after is None or asked is None:
        return Finding("as many more as were asked for", common.UNSEEN, False)
    return Finding("as many more as were asked for", text, after == before + asked)


Check = Callable[[Nodes, Context], Finding]
TABLE: tuple[tuple[str, Check], ...] = (
    ("all_repeats_present", common.all_repeats_present),
    ("same_parameters_in_every_repeat", common.same_parameters),
    ("samples_intact", common.samples_intact),
    ("dataplane_as_asked", common.dataplane_as_asked),
    ("nodes_accounted_for", nodes_accounted_for),
    ("observation_matches_samples", observation_matches_samples),
    ("columns_agree", columns_agree),
    ("only_ours_were_added", only_ours_were_added),
    ("cpu_not_stolen", common.cpu_not_stolen),
)
CONSEQUENCE = dict.fromkeys((name for name, _ in TABLE), "invalid")


def collect(metric: str, loads: Sequence[Nodes], repeats: int) -> tuple[Evidence, ...]:
    context = Context(metric, repeats, loads)
    return common.collect(TABLE, loads, context)
