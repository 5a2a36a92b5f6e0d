# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks behind the table of evidence. Pure: one repeat and its context in, one finding out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from harness import bound_by, component_limits, units
from harness.common_checks import UNSEEN, Finding, is_number, plain
from harness.components import Component, in_words
from harness.metrics import Metric
from harness.model import Observation
from harness.pod_load import PodLoad, PodSample

ROUNDING = 2e-6  # samples are written in microseconds


@dataclass(frozen=True)
class Context:
    """What a check needs beside its own repeat."""

    repeats: int
    loads: tuple[PodLoad, ...]
    nodes: tuple[Observation, ...] = ()
    subjects: tuple[Observation, ...] = ()
    configurations: tuple[Observation, ...] = ()
    components: tuple[Component, ...] = ()
    metric: Metric | None = None
    ceiling: float | None = None

    @property
    def gpus_per_node(self) -> float | None:
        found = [item.values.get("gpus_per_node") for item in self.nodes]
        return float(found[0]) if found and isinstance(found[0], (int, float)) else None


def all_pods_accounted_for(load: PodLoad, context: Context) -> Finding:
    asked = load.pods
    names = {sample.name for sample in load.samples}
    uids = [sample.uid for sample in load.samples if sample.uid]
    failed = sum(1 for sample in load.samples if sample.failure is not None)
    seen = sum(1 for sample in load.samples if sample.failure is None and sample.created is not None)
    missing = asked - seen - failed
    claimed = {name: int(load.number(name) or 0) for name in ("failed", "missing", "foreign", "replaced")}
    wrong = [f"{claimed[name]} {name} by the observation" for name in claimed if claimed[name]]
    if len(names) != len(load.samples):
        wrong.append(f"{len(load.samples) - len(names)} names twice")
    if len(set(uids)) != len(uids):
        wrong.append(f"{len(uids) - len(set(uids))} uids twice")
    if len(uids) < seen:
        wrong.append(f"{seen - len(uids)} without uid")
    observed = f"{asked} = {seen} seen + {failed} failed + {missing} missing, {len(set(uids))} uids"
    unaccounted = load.value("unaccounted")
    if isinstance(unaccounted, list) and unaccounted:
        wrong.append(f"e.g. {', '.join(map(str, unaccounted[:3]))}")
    holds = asked > 0 and failed == 0 and missing == 0 and not wrong
    return Finding(
        f"{asked} asked = {asked} seen + 0 failed + 0 missing, every uid once",
        "; ".join([observed, *wrong]),
        holds,
    )


def every_pod_bound(load: PodLoad, context: Context) -> Finding:
    return _reached(load, "bound")


def every_pod_grouped(load: PodLoad, context: Context) -> Finding:
    return _reached(load, "grouped")


def every_pod_decided(load: PodLoad, context: Context) -> Finding:
    return _reached(load, "decided")


def every_pod_ran(load: PodLoad, context: Context) -> Finding:
    return _reached(load, "running")


def observation_matches_samples(load: PodLoad, context: Context) -> Finding:
    """The observation's counts and moments, recomputed from its samples."""
    bound, running = load.stamps("bound"), load.stamps("running")
    recomputed: dict[str, float | None] = {
        "created": len(load.stamps("created")),
        "bound": len(bound),
        "first_bind": min(bound, default=None),
        "last_bind": max(bound, default=None),
    }
    if load.number("running") is not None:
        recomputed["running"] = len(running)
        recomputed["last_running"] = max(running, default=None)
    if load.value("audit", "available") is True:
        audited, ran = load.stamps("audit_bound"), load.stamps("audit_running")
        recomputed["audit.bound"] = len(audited)
        recomputed["audit.first_bind"] = min(audited, default=None)
        recomputed["audit.last_bind"] = max(audited, default=None)
        if load.number("audit", "running") is not None:
            recomputed["audit.running"] = len(ran)
            recomputed["audit.last_running"] = max(ran, default=None)
    wrong = []
    for name, value in recomputed.items():
        claimed = load.number(*name.split("."))
        if not _same(claimed, value):
            wrong.append(f"{name} is {plain(claimed)}, the samples give {plain(value)}")
    return Finding("counts and moments as in the samples", "; ".join(wrong) or "the same", not wrong)


def milestones_in_order(load: PodLoad, context: Context) -> Finding:
    wrong = [sample.name for sample in load.every_sample if not _in_order(sample)]
    text = f"{len(wrong)} pods not, e.g. {', '.join(wrong[:3])}" if wrong else "all pods"
    return Finding("created ≤ bound ≤ running ≤ deleted", text, not wrong)


def no_node_over_its_gpus(load: PodLoad, context: Context) -> Finding:
    """At any moment: by the samples, and by what the watch saw live."""
    limit, live = context.gpus_per_node, load.number("max_gpus_on_a_node")
    expected = f"≤ {plain(limit)} GPUs in use on every node at any moment"
    if limit is None:
        return Finding(expected, "the nodes' GPUs were not observed", False)
    most, node, at = most_gpus(load.every_sample)
    observed = f"{plain(most)} by the samples, {plain(live)} by the watch"
    if most > limit:
        return Finding(expected, f"{observed}: node {node} after {units.show(at, 's')}", False)
    if live is None or live > limit:
        return Finding(expected, f"{observed}: node {load.value('max_gpus_at_node')}", False)
    # The watch may see more than the samples (two events in one microsecond), never less.
    return Finding(expected, observed, live >= most)


def none_bound_before_release(load: PodLoad, context: Context) -> Finding | None:
    released = load.number("released")
    if released is None:
        return None
    early = sum(1 for moment in load.stamps("bound") if moment < released)
    claimed = load.number("bound_before_release")
    audited = sum(1 for sample in load.samples if sample.audit_bound is not None and sample.audit_bound < released)
    return Finding(
        "0 pods bound before the scheduler was started",
        f"{early} by the samples, {plain(claimed)} by the watch, {audited} by the audit log",
        early == 0 and claimed == 0 and audited == 0,
    )


def nodes_as_asked(load: PodLoad, context: Context) -> Finding:
    expected = "nodes asked = existing = Ready = with all their GPUs"
    if not context.nodes:
        return Finding(expected, UNSEEN, False)
    names = ("asked", "existing", "ready", "with_gpus")
    bad = [item for item in context.nodes if len({item.values.get(name) for name in names}) != 1]
    shown = (bad or list(context.nodes))[0].values
    counts = ", ".join(f"{shown.get(name)} {name.replace('_gpus', ' GPUs')}" for name in names)
    some = isinstance(shown.get("asked"), int) and shown["asked"] > 0 and context.gpus_per_node is not None
    return Finding(expected, f"{counts}, {plain(context.gpus_per_node)} GPUs each", not bad and some)


def version_as_asked(load: PodLoad, context: Context) -> Finding:
    pairs = {
        (_version(item.values.get("asked_version")), _version(item.values.get("version"))) for item in context.subjects
    }
    if not pairs:
        return Finding("the version asked for, as the subject reports it", UNSEEN, False)
    asked = ", ".join(sorted({pair[0] for pair in pairs if pair[0]}))
    told = ", ".join(sorted({pair[1] or UNSEEN for pair in pairs}))
    # An existing cluster has the version it has: nobody asked for one.
    holds = all(version is not None and wanted in (None, version) for wanted, version in pairs)
    return Finding(f"version {asked}" if asked else "any version, told by the subject", f"version {told}", holds)


def client_limits_known(load: PodLoad, context: Context) -> Finding:
    if context.components:
        told = "; ".join(in_words(component) for component in context.components)
        return Finding(
            "QPS and burst of every component that has a client", told, all(c.known for c in context.components)
        )
    expected = "QPS, burst and parallelism as the subject itself reports them"
    names = ("qps", "burst", "parallelism")
    subject = context.subjects[-1].values if context.subjects else {}
    told = ", ".join(f"{name} {plain(subject.get(name))}" for name in names) if subject else UNSEEN
    source = f" ({subject['source']})" if subject.get("source") else ""
    return Finding(expected, told + source, all(is_number(subject.get(name)) for name in names))


def load_generator_ceiling(load: PodLoad, context: Context) -> Finding:
    rate, factor = load.creation_rate, bound_by.CEILING_FACTOR
    wanted = units.show(factor * rate, "1/s") if rate is not None else "the rate used"
    shown = units.show(context.ceiling, "1/s") if context.ceiling is not None else "not measured in this run"
    return Finding(
        f"≥ {wanted} ({factor:g} times the rate used)",
        shown,
        bound_by.ceiling_is_enough(context.ceiling, rate),
    )


def client_limits_in_effect(load: PodLoad, context: Context) -> Finding | None:
    """What the audit log counts against what was set: a flag that is ignored shows in what the client does."""
    if not context.components or load.value("audit", "available") is not True:
        return None
    ignored = component_limits.ignored_limits(load, context.components)
    return Finding("every client keeps to the limit that was set", "; ".join(ignored) or "all of them", not ignored)


def binds_follow_decisions(load: PodLoad, context: Context) -> Finding | None:
    quickest = component_limits.quickest_bind(load)
    if quickest is None:
        return None
    name, seconds = quickest
    return Finding(
        f"the quickest pod bound ≤ {units.show(component_limits.LATE_MOST, 's')} after its decision",
        f"{units.show(seconds, 's')} ({name})",
        seconds <= component_limits.LATE_MOST,
    )


def most_gpus(samples: Iterable[PodSample]) -> tuple[float, str, float]:
    """The most GPUs in use on one node at one moment, which node, and when. A pod holds them from bound to its end."""
    changes: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for sample in samples:
        if sample.node and sample.bound is not None and sample.gpus:
            changes[sample.node].append((sample.bound, sample.gpus))
            if (end := sample.released) is not None:
                changes[sample.node].append((end, -sample.gpus))
    most, where, when = 0.0, "", 0.0
    for node, moments in changes.items():
        used = 0.0
        # What is given back at a moment is free for who comes at the same moment: -1 sorts before 1.
        for at, gpus in sorted(moments):
            used += gpus
            if used > most:
                most, where, when = used, node, at
    return most, where, when


def _reached(load: PodLoad, milestone: str) -> Finding:
    count, asked = len(load.stamps(milestone)), load.pods
    # Whoever schedules may move a pod that waits; what its Job makes in its place is another pod, and maybe much later.
    moved = sum(1 for item in load.samples if getattr(item, milestone) is None and item.evicted is not None)
    told = f", {moved} evicted before they were" if moved else ""
    return Finding(f"{asked} pods {milestone}", f"{count} pods {milestone}{told}", count == asked > 0)


def _in_order(sample: PodSample) -> bool:
    way = (sample.created, sample.bound, sample.running, sample.completed, sample.deleted)
    moments = [moment for moment in way if moment is not None]
    # A pod cannot run unbound, nor exist before it was sent.
    complete = sample.running is None or sample.bound is not None
    sent = sample.posted is None or sample.created is None or sample.posted <= sample.created + ROUNDING
    return complete and sent and all(a <= b + ROUNDING for a, b in pairwise(moments))


def _same(claimed: float | None, value: float | None) -> bool:
    if claimed is None or value is None:
        return claimed is None and value is None
    return abs(claimed - value) <= ROUNDING


def _version(value: Any) -> str | None:
    return str(value).removeprefix("v") if value else None
