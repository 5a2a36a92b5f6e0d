# SPDX-License-Identifier: GPL-3.0-or-later
"""The results folder of a mesh that never ran: every pair of pods on every interface, counters that fit its cells.

Faults are planted by edits, as in run_builder.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.results import RunFolder
from tests.fakes import run_builder
from tests.fakes.run_builder import RUN_ID, Edit, Run

SUITE = "traffic_mesh"
RINGS, ISOLATED = "rings_local", "isolated_local"
METRICS = (
    *("goodput_bytes_per_second", "mesh_cells_proven", "mesh_wall_seconds", "mesh_offered_ratio"),
    "mesh_concurrent_goodput_bytes_per_second",
    *("mesh_control_cpu_seconds", "mesh_control_max_rss_bytes"),
)
Slow = Callable[[str, str, str, str], float]  # sender, receiver and their nodes → share that is left


def at_full_speed(sender: str, receiver: str, sender_node: str, receiver_node: str) -> float:
    return 1.0


@dataclass(frozen=True)
class MeshShape:
    """What the imaginary mesh is like; rates in bytes a second of one connection."""

    groups: Sequence[tuple[str, int]] = (("mesh", 2), ("lb-bgp", 3), ("mg", 7))
    nodes: int = 2
    interfaces: Sequence[str] = ("eth0", "net1")
    idle: Sequence[str] = ("net2",)
    scenarios: Sequence[str] = (RINGS,)
    repeats: int = 1
    asked: float | None = 1.25e6
    reached: float = 0.998
    alone: float = 0.999
    slow: Slow = at_full_speed
    noise: float = 0.002
    headers: float = 1.045
    streams: int = 1
    seconds: float = 1.0
    period: float = 1.5
    direction: str = "forward"
    busy: float = 0.71
    cpu: float = 0.02
    version: str = "3.12"
    metrics: Sequence[str] = METRICS
    objectives: Sequence[tuple[str, dict[str, float]]] = ()

    @property
    def pods(self) -> list[tuple[str, str, str]]:
        """(name, group, node)."""
        names = [(f"{group}-{number}", group) for group, count in self.groups for number in range(count)]
        return [(name, group, f"real-{place * self.nodes // len(names)}") for place, (name, group) in enumerate(names)]


#: The groups of the 49 pods that carry 4,704 connections.
FULL = (("mesh", 3), ("lb-bgp", 6), ("mg", 40))


def build(
    root: Path,
    shape: MeshShape | None = None,
    *,
    edits: Sequence[Edit] = (),
    tampering: Sequence[Callable[[Path], None]] = (),
    run_id: str = RUN_ID,
) -> RunFolder:
    wanted = shape or MeshShape()

    def replace_all(run: Run) -> None:
        _imagine(run, wanted)
        for edit in edits:
            edit(run)

    nothing = run_builder.Shape(scenarios=(), ceiling=None)
    return run_builder.build(root, nothing, edits=[replace_all], tampering=tampering, run_id=run_id)


def mesh(run: Run, subject: str = "eth0", repeat: int = 1, scenario: str = RINGS, kind: str = "mesh") -> dict[str, Any]:
    """The observation of one interface and repeat."""
    wanted = (kind, scenario, subject, repeat)
    names = ("kind", "scenario", "subject", "repeat")
    return next(item for item in run.observations if tuple(item[name] for name in names) == wanted)


def cells(run: Run, subject: str = "eth0", repeat: int = 1, scenario: str = RINGS) -> list[dict[str, Any]]:
    return run.rows_of(mesh(run, subject, repeat, scenario))


def counters(run: Run, subject: str = "eth0", repeat: int = 1, scenario: str = RINGS) -> list[dict[str, Any]]:
    return run.rows_of(mesh(run, subject, repeat, scenario, "mesh_counters"))


def recount(run: Run, subject: str = "eth0", repeat: int = 1, scenario: str = RINGS) -> None:
    """Make counts and the counters' account of the cells fit the cells again, as a role that saw this would."""
    every = [row for name in _subjects(run) for row in cells(run, name, repeat, scenario)]
    told = _carried(every)
    for name in _subjects(run):
        rows = cells(run, name, repeat, scenario)
        values = mesh(run, name, repeat, scenario)["values"]
        values |= _counts(rows)
        for row in counters(run, name, repeat, scenario):
            key = (row["round"], row["pod"], row["interface"])
            row["cells_tx_bytes"], row["cells_rx_bytes"] = told.get(key, (0, 0))


def fail(row: dict[str, Any], why: str, state: str = "failed") -> None:
    """A cell that came to nothing."""
    measured = ("sent_bytes", "received_bytes", "goodput_bytes_per_second", "seconds", "socket_bytes", "retransmits")
    row |= {"state": state, "error": why, **dict.fromkeys((*measured, "local_address", "remote_address"))}


def _subjects(run: Run) -> list[str]:
    return list(dict.fromkeys(item["subject"] for item in run.observations if item["kind"] == "mesh"))


def _imagine(run: Run, shape: MeshShape) -> None:
    assert run.plan is not None
    objectives = dict(shape.objectives)
    for stage in run.plan["stages"]:
        if stage["name"] == run_builder.SUITE:
            stage |= {"name": SUITE, "folder": f"03__{SUITE}", "playbook": f"{SUITE}.yml"}
    run.plan["records"] = [
        {
            "suite": SUITE,
            "scenario": scenario,
            "subject": interface,
            "metric": metric,
            "repeats": shape.repeats,
            "objective": objectives.get(metric),
        }
        for scenario in shape.scenarios
        for interface in shape.interfaces
        for metric in shape.metrics
        if not (scenario == ISOLATED and metric == "mesh_concurrent_to_isolated_ratio")
    ]
    run.observations.clear()
    for scenario in shape.scenarios:
        for repeat in range(1, shape.repeats + 1):
            made = {name: _cells(shape, scenario, name, repeat) for name in shape.interfaces}
            counted = _counters(shape, [row for rows in made.values() for row in rows])
            for name, rows in made.items():
                _add(run, scenario, name, repeat, "mesh", _values(shape, scenario, made, name), rows)
                own = [dict(row) for row in counted]
                _add(run, scenario, name, repeat, "mesh_counters", {"rows": len(own), "source": "kernel"}, own)


def _cells(shape: MeshShape, scenario: str, interface: str, repeat: int) -> list[dict[str, Any]]:
    """Rings: in round r every pod sends to the r-th after it. Isolated: one cell a round."""
    chance = random.Random(f"{scenario}{interface}{repeat}")
    pods, alone = shape.pods, scenario == ISOLATED
    directions = ("forward", "reverse") if shape.direction == "both" else (shape.direction,)
    found: list[dict[str, Any]] = []
    for distance in range(1, len(pods)):
        for place, source in enumerate(pods):
            target = pods[(place + distance) % len(pods)]
            number = distance - 1 if not alone else (distance - 1) * len(pods) + place
            for direction in directions:
                found.append(_cell(shape, source, target, interface, direction, number, alone, chance))
    return found


def _cell(
    shape: MeshShape,
    source: tuple[str, str, str],
    target: tuple[str, str, str],
    interface: str,
    direction: str,
    number: int,
    alone: bool,
    chance: random.Random,
) -> dict[str, Any]:
    sender, receiver = (source, target) if direction != "reverse" else (target, source)
    left = shape.slow(sender[0], receiver[0], sender[2], receiver[2])
    share = (shape.alone if alone else shape.reached) * left * (1 + chance.gauss(0, shape.noise))
    received = int((shape.asked or 1.25e6) * share * shape.seconds)
    sent = received + 4096
    started = 1_795_285_800.0 + number * shape.period + 0.01 * chance.random()
    ends = {"local": address(shape, source[0], interface), "remote": address(shape, target[0], interface)}
    return {
        "slice": 0,
        "round": number,
        "source": source[0],
        "target": target[0],
        "source_group": source[1],
        "target_group": target[1],
        "source_node": source[2],
        "target_node": target[2],
        "interface": interface,
        "direction": direction,
        "protocol": "tcp",
        "streams": shape.streams,
        "state": "done",
        "error": None,
        "started": round(started, 6),
        "ended": round(started + shape.seconds + 0.02, 6),
        "seconds": shape.seconds,
        "asked_bytes_per_second": shape.asked,
        "sent_bytes": sent,
        "received_bytes": received,
        "goodput_bytes_per_second": received / shape.seconds,
        "retransmits": chance.randrange(3),
        "rtt_seconds": 0.0002,
        "jitter_seconds": None,
        "lost_ratio": None,
        "sender_cpu_ratio": shape.cpu,
        "receiver_cpu_ratio": shape.cpu,
        "local_address": ends["local"],
        "remote_address": ends["remote"],
        "expected_local": ends["local"],
        "expected_remote": ends["remote"],
        "remote_is_local": False,
        "socket_bytes": received if direction == "reverse" else sent,
        "iperf3_version": shape.version,
        "loopback_bytes": 0,
    }


def address(shape: MeshShape, pod: str, interface: str) -> str:
    place = [name for name, _, _ in shape.pods].index(pod)
    return f"198.18.{shape.interfaces.index(interface)}.{place + 10}"


def _counters(shape: MeshShape, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the kernel counts: the cells with their headers, acknowledgements the other way, a little talk."""
    told = _carried(rows)
    rounds = max(row["round"] for row in rows) + 1
    found = []
    for number in range(rounds):
        for name, _, node in shape.pods:
            for interface in (*shape.interfaces, *shape.idle):
                sent, received = told.get((number, name, interface), (0, 0))
                found.append(
                    {
                        "slice": 0,
                        "round": number,
                        "pod": name,
                        "node": node,
                        "interface": interface,
                        "source": "kernel",
                        "tx_bytes": int(sent * shape.headers + received * 0.01) + 700,
                        "rx_bytes": int(received * shape.headers + sent * 0.01) + 700,
                        "cells_tx_bytes": sent,
                        "cells_rx_bytes": received,
                    }
                )
    return found


def _carried(rows: Sequence[dict[str, Any]]) -> dict[tuple[int, str, str], tuple[int, int]]:
    found: dict[tuple[int, str, str], list[int]] = defaultdict(lambda: [0, 0])
    for row in rows:
        if row["state"] == "done":
            ends = (row["source"], row["target"])
            sender, receiver = ends if row["direction"] != "reverse" else ends[::-1]
            found[row["round"], sender, row["interface"]][0] += row["sent_bytes"]
            found[row["round"], receiver, row["interface"]][1] += row["received_bytes"]
    return {key: (sent, received) for key, (sent, received) in found.items()}


def _counts(rows: Sequence[dict[str, Any]]) -> dict[str, int]:
    counts = {state: sum(row["state"] == state for row in rows) for state in ("done", "failed", "missing")}
    busy = sum("the server is busy" in (row["error"] or "") for row in rows)
    return {"asked": len(rows), **counts, "busy": busy}


def _values(shape: MeshShape, scenario: str, made: dict[str, list[dict[str, Any]]], name: str) -> dict[str, Any]:
    rows = made[name]
    rounds, directions = max(row["round"] for row in rows) + 1, 2 if shape.direction == "both" else 1
    started, ended = min(row["started"] for row in rows), max(row["ended"] for row in rows)
    return {
        "plan": {
            "kind": "isolated" if scenario == ISOLATED else "rings",
            "pods": len(shape.pods),
            "nodes": shape.nodes,
            "rounds": rounds,
            "rounds_at_least": rounds,
            "cells": sum(len(of) for of in made.values()) // directions,
            "period_seconds": shape.period,
            "predicted_seconds": 1.0 + rounds * shape.period,
            "interfaces": list(shape.interfaces),
            "endless": False,
        },
        **_counts(rows),
        "started": started,
        "ended": ended,
        "collected": ended + 0.4,
        "wall_seconds": round(ended - started, 3),
        "control": {"cpu_seconds": 0.61, "max_rss_bytes": 41_000_000, "requests": 320, "processes": 1},
        "offered_bytes_per_second_per_connection": shape.asked or 0,
        "streams": shape.streams,
        "protocol": "tcp",
        "direction": shape.direction,
        "seconds": shape.seconds,
        "preflight": [
            {"name": "addresses are used twice", "expected": "none", "observed": "none", "holds": True},
            {"name": "MTUs of an interface differ", "expected": "none", "observed": "none", "holds": True},
        ],
        "clocks": {"worst_offset_seconds": 0.0001, "worst_uncertainty_seconds": 0.002, "corrected": 0},
        "taken_over": False,
        "given_up": None,
        "silent": {},
        "server_restarts": 0,
        "iperf3_versions": {shape.version: len(shape.pods)},
        "failures": {},
        "machine": {
            "window": "preflight..collected",
            "seconds": 20.0,
            "cpus": 2,
            "cpu_busy_ratio": shape.busy,
            "steal_ratio": 0.0,
            "pressure": {"cpu": 0.3, "io": 0.0, "memory": 0.0},
            "throttled_seconds": None,
            "processes": {"load generator": {"cpu_seconds": 0.4, "cpu_ratio_of_machine": 0.01}},
            "other_cpu_ratio": shape.busy - 0.01,
        },
    }


def _add(
    run: Run, scenario: str, subject: str, repeat: int, kind: str, values: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    path = f"samples/{SUITE}/{scenario}.{repeat}.{subject}.{'cells' if kind == 'mesh' else 'counters'}.jsonl"
    run.rows[path] = rows
    assert run.plan is not None
    run.observations.append(
        {
            "schema_version": 1,
            "run_id": run.plan["run_id"],
            "at": f"2026-11-22T18:31:{len(run.observations):02d}.000000Z",
            "suite": SUITE,
            "scenario": scenario,
            "subject": subject,
            "kind": kind,
            "repeat": repeat,
            "parameters": {"profile": scenario},
            "values": values,
            "samples": {"path": path},
        }
    )
