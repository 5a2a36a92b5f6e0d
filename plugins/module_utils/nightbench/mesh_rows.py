# SPDX-License-Identifier: GPL-3.0-or-later
"""From what the agents hand over to one row for every cell that was asked for, and one for every counter; pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import mesh_preflight
from .mesh_agents import Clock
from .mesh_plan import Cell, Plan

#: As iperf3 says it (src/iperf_error.c, IEACCESS): one server serves one test at a time.
BUSY = "the server is busy"
MEASURES = (
    "sent_bytes",
    "received_bytes",
    "goodput_bytes_per_second",
    "retransmits",
    "rtt_seconds",
    "jitter_seconds",
    "lost_ratio",
    "sender_cpu_ratio",
    "receiver_cpu_ratio",
    "socket_bytes",
)
Row = dict[str, Any]


@dataclass
class Collected:
    """What came back: results by the pod's name, and why there is none of the others."""

    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    #: Why the rest was not waited for; their cells are missing instead of failed.
    given_up: str = ""


@dataclass(frozen=True)
class Context:
    """What rows are made with."""

    plan: Plan
    states: Mapping[str, Mapping[str, Any]]
    clocks: Mapping[str, Clock]
    #: By pod the interfaces whose bytes the NIC counts.
    vf_interfaces: Mapping[str, Collection[str]]


def rows(context: Context, collected: Collected) -> Iterator[Row]:
    """One row for every cell and direction of every step, done or not."""
    plan = context.plan
    steps = steps_of(plan, collected)
    rounds = [_by_source(cells) for cells in plan.rounds]
    for index, pod in enumerate(plan.pods):
        result = collected.results.get(pod.name)
        known = {step["step"]: step for step in (result or {}).get("steps", [])}
        for step in steps:
            wanted = rounds[step % len(rounds)].get(index, [])
            found = known.get(step, {"cells": [], "before": {}, "after": {}})
            measured = {(cell["interface"], cell["target"]): cell for cell in found["cells"]}
            loopback = _moved(found, "lo")[0]
            for cell in wanted:
                one = measured.get((cell.interface, cell.target))
                state, error = _outcome(pod.name, step, one, result, collected)
                yield from _cell_rows(context, cell, step, one or {}, state, error, loopback)


def counters(context: Context, collected: Collected, done: Iterable[Row]) -> Iterator[Row]:
    """One row for every interface of every pod in every step, with what its own cells of the step moved."""
    carried: dict[tuple[int, str, str], list[int]] = defaultdict(lambda: [0, 0])
    rounds = len(context.plan.rounds)
    for row in done:
        if row["state"] == "done":
            step = row["slice"] * rounds + row["round"]
            sender, receiver = row["source"], row["target"]
            if row["direction"] == "reverse":
                sender, receiver = receiver, sender
            carried[step, sender, row["interface"]][0] += row["sent_bytes"] or 0
            carried[step, receiver, row["interface"]][1] += row["received_bytes"] or 0
    for pod in context.plan.pods:
        for step in collected.results.get(pod.name, {}).get("steps", []):
            for name in step["after"]:
                if name != "lo":
                    sent, received = _moved(step, name)
                    cells = carried.get((step["step"], pod.name, name), [0, 0])
                    yield {
                        "slice": step["step"] // rounds,
                        "round": step["step"] % rounds,
                        "pod": pod.name,
                        "node": pod.node,
                        "interface": name,
                        "source": "vf" if name in context.vf_interfaces.get(pod.name, ()) else "kernel",
                        "tx_bytes": sent,
                        "rx_bytes": received,
                        "cells_tx_bytes": cells[0],
                        "cells_rx_bytes": cells[1],
                    }


def steps_of(plan: Plan, collected: Collected) -> Sequence[int]:
    """The steps that count: all of a finite plan; of an endless one those that were played and are still kept."""
    if not plan.profile.endless:
        return range(len(plan.rounds))
    played = [[step["step"] for step in result["steps"]] for result in collected.results.values()]
    kept = [min(steps) for steps in played if steps]
    return sorted({step for steps in played for step in steps if step >= max(kept)}) if kept else []


def counts(of: Iterable[Row]) -> dict[str, int]:
    """How many were asked for and what became of them."""
    found = {"asked": 0, "done": 0, "failed": 0, "missing": 0, "busy": 0}
    for row in of:
        found["asked"] += 1
        found[row["state"]] += 1
        found["busy"] += BUSY in (row["error"] or "")
    return found


def _by_source(cells: Iterable[Cell]) -> dict[int, list[Cell]]:
    found: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        found[cell.source].append(cell)
    return found


def _outcome(
    pod: str, step: int, one: Mapping[str, Any] | None, result: Mapping[str, Any] | None, collected: Collected
) -> tuple[str, str | None]:
    """State and reason of a cell."""
    if one is not None:
        return ("failed", str(one["error"])) if one["error"] else ("done", None)
    if result is None:
        if collected.given_up:
            return "missing", collected.given_up
        return "failed", f"no result of {pod}: {collected.reasons.get(pod, 'its agent did not answer')}"
    for first, last, why in result["gaps"]:
        if first <= step <= last:
            return "failed", str(why)
    if collected.given_up:
        return "missing", collected.given_up
    ended = result["finished"] or {}
    return "failed", f"the agent of {pod} played no such round: {ended.get('why', 'it was still at work')}"


def _cell_rows(
    context: Context, cell: Cell, step: int, one: Mapping[str, Any], state: str, error: str | None, loopback: int | None
) -> Iterator[Row]:
    plan, profile = context.plan, context.plan.profile
    source, target = plan.pods[cell.source], plan.pods[cell.target]
    offset = context.clocks[source.name].correction if source.name in context.clocks else 0.0
    flows = one.get("flows") or {}
    for direction in profile.directions:
        flow = flows.get(direction) or {}
        reason = error
        if state == "done" and not flow:
            reason = f"iperf3 told nothing of the direction {direction}"
        yield {
            "slice": step // len(plan.rounds),
            "round": step % len(plan.rounds),
            "source": source.name,
            "target": target.name,
            "source_group": source.group,
            "target_group": target.group,
            "source_node": source.node,
            "target_node": target.node,
            "interface": cell.interface,
            "direction": direction,
            "protocol": profile.protocol,
            "streams": profile.streams,
            "state": "failed" if reason and state == "done" else state,
            "error": reason,
            "started": _moment(one.get("started"), offset),
            "ended": _moment(one.get("ended"), offset),
            "seconds": flow.get("seconds"),
            "asked_bytes_per_second": profile.bits_per_second / 8 or None,
            **{name: flow.get(name) for name in MEASURES},
            "local_address": one.get("local_address"),
            "remote_address": one.get("remote_address"),
            "expected_local": _expected(context, source.name, cell.interface),
            "expected_remote": _expected(context, target.name, cell.interface),
            "remote_is_local": one.get("remote_is_local"),
            "iperf3_version": one.get("version"),
            "loopback_bytes": loopback,
        }


def _expected(context: Context, pod: str, interface: str) -> str | None:
    state = context.states.get(pod)
    return mesh_preflight.address(state, interface) if state else None


def _moment(at: float | None, offset: float) -> float | None:
    return None if at is None else round(at - offset, 6)


def _moved(step: Mapping[str, Any], interface: str) -> tuple[int | None, int | None]:
    """Bytes sent and received between the two readings; none where the interface came or went in between."""
    before, after = step["before"].get(interface), step["after"].get(interface)
    return (after[0] - before[0], after[1] - before[1]) if before and after else (None, None)
