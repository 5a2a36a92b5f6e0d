# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for a record of a pod load to mean what it says: one table, one check a row.

Every check looks at one repeat and recomputes from the samples what the observation claims. What an observation does
not say cannot hold. Consequence: `invalid` (the number is not published), `bound_by` (the number is, as somebody
else's), `note` (the reason says it).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness import bound_by, components, domain_checks
from harness import common_checks as common
from harness import evidence_checks as checks
from harness import scenario_checks as scenarios
from harness import stamp_checks as stamps
from harness.common_checks import Finding
from harness.evidence_checks import Context
from harness.metrics import Metric
from harness.model import Evidence, Observation
from harness.pod_load import PodLoad
from harness.repeat import machine_notes

Check = Callable[[PodLoad, Context], Finding | None]


EVERY = frozenset({"created", "grouped", "decided", "bound", "running", "completed", "unschedulable"})
BOUND = frozenset({"bound", "running", "completed"})


@dataclass(frozen=True)
class Row:
    """A check returns (expected, observed, holds), or None where there is nothing to look at."""

    name: str
    check: Check
    consequence: str = "invalid"
    milestones: frozenset[str] = EVERY
    stamp: str = ""  # only for metrics made of this stamp

    def concerns(self, metric: Metric) -> bool:
        return metric.milestone in self.milestones and (not self.stamp or self.stamp in metric.distribution)


TABLE: tuple[Row, ...] = (
    Row("all_repeats_present", common.all_repeats_present),
    Row("same_parameters_in_every_repeat", common.same_parameters),
    Row("samples_intact", common.samples_intact),
    Row("all_pods_accounted_for", checks.all_pods_accounted_for),
    Row("parts_accounted_for", scenarios.parts_accounted_for),
    Row("every_pod_grouped", checks.every_pod_grouped, stamp="grouped"),
    Row("every_pod_decided", checks.every_pod_decided, stamp="decided"),
    Row("every_pod_bound", checks.every_pod_bound, milestones=BOUND),
    Row("every_pod_ran", checks.every_pod_ran, milestones=frozenset({"running"})),
    Row("every_pod_completed", scenarios.every_pod_completed),
    Row("observation_matches_samples", checks.observation_matches_samples),
    Row("milestones_in_order", checks.milestones_in_order),
    Row("no_node_over_its_gpus", checks.no_node_over_its_gpus, milestones=BOUND),
    Row("gangs_atomic", scenarios.gangs_atomic),
    Row("one_domain_per_job", domain_checks.one_domain_per_job),
    Row("queues_within_limits", scenarios.queues_within_limits),
    Row("victims_keep_min_member", scenarios.victims_keep_min_member),
    Row("consolidation_ran", scenarios.consolidation_ran),
    Row("search_matches_steps", scenarios.search_matches_steps),
    Row("none_bound_before_release", checks.none_bound_before_release, milestones=BOUND),
    Row("nodes_as_asked", checks.nodes_as_asked),
    Row("version_as_asked", checks.version_as_asked),
    Row("client_limits_known", checks.client_limits_known),
    Row("client_limits_in_effect", checks.client_limits_in_effect, milestones=BOUND),
    Row("configuration_took_effect", scenarios.configuration_took_effect),
    Row("binds_follow_decisions", checks.binds_follow_decisions, consequence="bound_by", milestones=BOUND),
    Row("load_generator_ceiling", checks.load_generator_ceiling, consequence="bound_by"),
    Row("second_witness_agrees", stamps.second_witness_agrees, milestones=BOUND),
    Row("pods_say_when_they_ran", stamps.pods_say_when_they_ran, milestones=frozenset({"running"})),
    Row("clock_known", stamps.clock_known),
    Row("wall_clock_did_not_step", stamps.wall_clock_did_not_step),
    Row("no_event_lost", stamps.no_event_lost),
    Row("machine_was_quiet", common.machine_was_quiet),
    Row("cpu_not_stolen", common.cpu_not_stolen),
)
CONSEQUENCE = {row.name: row.consequence for row in TABLE} | {"client_limit_confirmed": "note"}


def collect(metric: Metric, loads: Sequence[PodLoad], context: Context) -> tuple[Evidence, ...]:
    """The evidence of one record over all its repeats."""
    rows = (row for row in TABLE if row.concerns(metric))
    context = replace(context, metric=metric)
    return common.collect(((row.name, row.check) for row in rows), loads, context)


def notes(loads: Sequence[PodLoad], context: Context) -> list[str]:
    """What a reader should know of a number although its evidence holds."""
    found = machine_notes(loads)
    silent = [load for load in loads if load.value("audit", "available") is not True]
    if silent:
        why = silent[0].value("audit", "reason") or "the observation names no audit log"
        found.append(f"No second witness: {why}.")
    if context.ceiling is not None and not all(
        bound_by.ceiling_is_enough(context.ceiling, load.creation_rate) for load in loads
    ):
        found.append(f"The load generator's ceiling is below {bound_by.CEILING_FACTOR:g} times the rate used.")
    return found


def context_of(observations: Sequence[Observation], loads: Sequence[PodLoad], repeats: int) -> Context:
    """What the checks need beside the repeats: the nodes, the subject and the load generator's ceiling."""
    if not loads:
        return Context(repeats=repeats, loads=tuple(loads))
    of = loads[0].observation

    def fitting(kind: str) -> list[Observation]:
        there = [
            item
            for item in observations
            if item.kind == kind
            and item.suite == of.suite
            and item.scenario in (of.scenario, None)
            and (item.subject in (of.subject, None) or kind in ("nodes", "calibration"))
            and item.role is None
        ]
        own = [item for item in there if item.scenario == of.scenario]
        if own:
            return own
        # Nodes and the generator's ceiling belong to the whole suite: any scenario's observation of them will do.
        return there or [
            item for item in observations if kind != "subject" and item.kind == kind and item.suite == of.suite
        ]

    ceilings = [
        value
        for item in fitting("calibration")
        if isinstance(value := item.values.get("ceiling_per_second"), (int, float))
    ]
    return Context(
        repeats=repeats,
        loads=tuple(loads),
        nodes=tuple(fitting("nodes")),
        subjects=tuple(fitting("subject")),
        configurations=tuple(_of_kind(observations, "configuration", of)),
        components=components.of(fitting("subject"), _of_kind(observations, "fairness", of)),
        ceiling=min(ceilings, default=None),
    )


def _of_kind(observations: Sequence[Observation], kind: str, of: Observation) -> list[Observation]:
    """Those of this scenario and subject, or that say nothing of which they are."""
    return [
        item
        for item in observations
        if item.kind == kind
        and item.suite == of.suite
        and item.scenario in (of.scenario, None)
        and item.subject in (of.subject, None)
    ]
