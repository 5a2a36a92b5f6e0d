# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for a number of a published Calico log to mean what its name says. Pure: one log, one fact."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness import units
from harness.calico_log import CalicoLog
from harness.model import Evidence

#: Masters and infrastructure that are in no label: one master and three nodes of the published clusters.
OTHER_NODES = 4
#: A test's own policies and the cluster's beside the claimed ones; the published logs have 10 to 151.
OTHER_POLICIES = 0.05
FEWEST_REQUESTS = 100
MOST_FAILED = 0.01

Check = Callable[[CalicoLog, "Expected"], Evidence]


@dataclass(frozen=True)
class Expected:
    other_nodes: int = OTHER_NODES
    fewest_requests: int = FEWEST_REQUESTS
    most_failed: float = MOST_FAILED


def one_start_up(log: CalicoLog, expected: Expected) -> Evidence:
    seen = ", ".join(f"{place} {seconds} s" for place, seconds in log.start_ups.items())
    return Evidence("start_up_is_one_number", "the same wherever it stands", seen, log.start_up is not None)


def result_follows_its_rule(log: CalicoLog, expected: Expected) -> Evidence:
    """The test's own rule, start-up below the limit; a log that is cut off has no result at all."""
    if log.succeeded is None or log.limit is None or log.start_up is None:
        seen = "the log ends without a result" if log.succeeded is None else "no limit and no start-up to compare"
        return Evidence("result_follows_its_rule", "a result, by the test's own limit", seen, False)
    word = "success" if log.succeeded else "failure"
    return Evidence(
        "result_follows_its_rule",
        f"success if and only if the start-up is below {log.limit} s",
        f"{word} with {log.start_up} s",
        log.succeeded == (log.start_up < log.limit),
    )


def nodes_as_labelled(log: CalicoLog, expected: Expected) -> Evidence:
    name, claimed = "node_count_as_labelled", log.label.nodes
    if claimed is None:
        return Evidence(name, "the nodes that the label claims", "the label claims none", True)
    wanted = claimed + expected.other_nodes
    said = f"{wanted:,} nodes ({log.label.text}, and {expected.other_nodes} others)"
    if log.nodes is None:
        return Evidence(name, said, "the log counts no nodes", False)
    off = log.nodes - wanted
    which = {True: "Ready nodes", False: "nodes, Ready or not"}.get(bool(log.nodes_are_ready), "nodes")
    seen = f"{log.nodes:,} {which}" + (f", {abs(off):,} {'more' if off > 0 else 'fewer'}" if off else "")
    return Evidence(name, said, seen, off == 0)


def policies_as_labelled(log: CalicoLog, expected: Expected) -> Evidence:
    name, claimed = "policy_count_as_labelled", log.label.policies
    if claimed is None:
        return Evidence(name, "the policies that the label claims", "the label claims none", True)
    most = claimed * (1 + OTHER_POLICIES)
    seen = "the log counts no policies" if log.policies is None else f"{log.policies:,} policies"
    holds = log.policies is not None and claimed <= log.policies <= most
    return Evidence(name, f"{claimed:,} policies ({log.label.text}) and at most {OTHER_POLICIES:.0%} more", seen, holds)


def traffic_was_measured(log: CalicoLog, expected: Expected) -> Evidence:
    total = log.total
    return Evidence(
        "traffic_was_measured",
        f"a traffic table of {expected.fewest_requests:,} or more requests",
        f"{total.requests:,} requests" if total else "no traffic table",
        total is not None and total.requests >= expected.fewest_requests,
    )


def requests_succeeded(log: CalicoLog, expected: Expected) -> Evidence:
    total = log.total
    called = (
        {True: ", called success", False: ", called failure"}.get(log.succeeded, "")
        if log.succeeded is not None
        else ""
    )
    return Evidence(
        "requests_succeeded",
        f"at most {units.show(expected.most_failed, 'ratio')} of the requests failed",
        f"{total.failed:,} of {total.requests:,} failed{called}" if total else "no traffic table",
        total is not None and total.failure_ratio <= expected.most_failed,
    )


def median_is_one_number(log: CalicoLog, expected: Expected) -> Evidence:
    name, total = "median_is_one_number", log.total
    said = f"one number, {total.median} ms of the last table" if total else "one number, of the last table"
    if not log.medians:
        return Evidence(name, said, "the summary has none", True)
    told = " and ".join(f"{value:g}" for value in log.medians)
    tables = f", one of each of {len(log.traffic)} tables" if len(log.medians) == len(log.traffic) > 1 else ""
    holds = total is not None and list(log.medians) == [total.median]
    return Evidence(name, said, f"the summary prints {told} ms{tables}", holds)


GATE: Sequence[Check] = (nodes_as_labelled, policies_as_labelled, traffic_was_measured, requests_succeeded)
#: What each metric rests on. A start-up is one of a cluster that works at the size that it claims, or it is none.
OF_METRIC: dict[str, Sequence[Check]] = {
    "calico_node_created_to_ready_seconds": (one_start_up, result_follows_its_rule, *GATE),
    "request_median_seconds": (*GATE, median_is_one_number),
    "request_mean_seconds": GATE,
    "request_max_seconds": GATE,
    "request_failure_ratio": (nodes_as_labelled, policies_as_labelled, traffic_was_measured),
}


def value(metric: str, log: CalicoLog) -> float | None:
    total = log.total
    if metric == "calico_node_created_to_ready_seconds":
        return None if log.start_up is None else float(log.start_up)
    if total is None:
        return None
    if metric == "request_failure_ratio":
        return total.failure_ratio
    return {"request_median_seconds": total.median, "request_mean_seconds": total.mean}.get(metric, total.most) / 1000


def defects(log: CalicoLog, expected: Expected) -> list[Evidence]:
    """Every fact that does not hold, once."""
    found = {
        item.name: item for checks in OF_METRIC.values() for check in checks if not (item := check(log, expected)).holds
    }
    return list(found.values())
