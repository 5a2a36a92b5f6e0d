# SPDX-License-Identifier: GPL-3.0-or-later
"""From a mesh that is over to its observations and samples."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from . import mesh_rows
from .load_summary import write_samples
from .machine import MachineSampler
from .mesh_plan import Plan
from .mesh_rows import Collected, Context
from .mesh_run import Mesh


def planned(plan: Plan) -> dict[str, Any]:
    """What a plan comes to."""
    return {
        "kind": plan.profile.plan,
        "pods": len(plan.pods),
        "nodes": len({pod.node for pod in plan.pods}),
        "rounds": len(plan.rounds),
        "rounds_at_least": plan.rounds_at_least,
        "cells": plan.cells,
        "period_seconds": plan.profile.period_seconds,
        "predicted_seconds": round(plan.predicted_seconds, 1),
        "interfaces": [one.name for one in plan.profile.interfaces],
        "endless": plan.profile.endless,
    }


def sentence(plan: Plan) -> str:
    many = "each slice" if plan.profile.endless else "all of them"
    return (
        f"{plan.cells:,} cells between {len(plan.pods)} pods in {len(plan.rounds):,} rounds of "
        f"{plan.profile.period_seconds:g} s ({plan.profile.plan}); {many} will take {plan.predicted_seconds:,.0f} s."
    )


def identity(name: str, plan: Plan) -> str:
    """The same for the same mesh only: another plan of that name is another one."""
    told = repr((plan.profile, list(plan.pods), [list(cells) for cells in plan.rounds]))
    return f"{name}.{hashlib.sha256(told.encode()).hexdigest()[:12]}"


def own_limit(given: int | None) -> tuple[str, int] | None:
    """This kernel's boot-id and the size of its neighbour table, or the size that was given for it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        limit = given or int(Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3").read_text())
    except (OSError, ValueError):
        return None
    return boot, limit


def result(
    mesh: Mesh,
    collected: Collected,
    checks: list[dict[str, Any]],
    machine: MachineSampler,
    samples_path: str | None,
    name: str,
) -> dict[str, Any]:
    """What the module returns; the samples are written here."""
    assert mesh.start is not None and mesh.ended is not None
    behind = {pod: exporter.devices.keys() for pod, exporter in mesh.exporters.items()}
    context = Context(mesh.plan, mesh.states, mesh.clocks, behind)
    rows = list(mesh_rows.rows(context, collected))
    counters = list(mesh_rows.counters(context, collected, rows))
    profile = mesh.plan.profile
    whole: dict[str, Any] = {
        "plan": planned(mesh.plan),
        "started": round(mesh.start, 6),
        "ended": round(max((row["ended"] for row in rows if row["ended"]), default=mesh.ended), 6),
        "collected": round(mesh.ended, 6),
        "offered_bytes_per_second_per_connection": profile.bits_per_second / 8,
        "streams": profile.streams,
        "protocol": profile.protocol,
        "direction": profile.direction,
        "seconds": profile.seconds,
        "preflight": checks,
        "clocks": clocks(mesh),
        "taken_over": mesh.taken_over,
        "given_up": collected.given_up or None,
        "silent": collected.reasons,
        "server_restarts": sum(int(one["server_restarts"]) for one in collected.results.values()),
        "iperf3_versions": dict(Counter(str(state["iperf3_version"]) for state in mesh.states.values())),
        "machine": {"window": "preflight..collected", **machine.whole()},
    }
    whole["wall_seconds"] = round(whole["ended"] - whole["started"], 3)
    names = [one.name for one in profile.interfaces]
    own_rows = {one: [row for row in rows if row["interface"] == one] for one in names}
    cells = {one: _write(samples_path, one, name, "cells", own_rows[one]) for one in names}
    moved = {names[0]: _write(samples_path, names[0], name, "counters", counters)}
    moved |= {one: _copied(moved[names[0]], samples_path, one, name) for one in names[1:]}
    control = cost(mesh.agents.requests)
    observations: list[dict[str, Any]] = []
    for one in names:
        own = own_rows[one]
        values = {**whole, **mesh_rows.counts(own), "control": control, "failures": failures(own)}
        told = {"rows": len(counters), "source": " and ".join(sorted({row["source"] for row in counters}))}
        observations.append({"subject": one, "kind": "mesh", "values": values, "samples": cells[one]})
        observations.append({"subject": one, "kind": "mesh_counters", "values": told, "samples": moved[one]})
    return {
        "plan": planned(mesh.plan),
        "preflight": checks,
        "observations": observations,
        "taken_over": mesh.taken_over,
        "summary": _summary(mesh, rows, whole["wall_seconds"], control),
    }


def clocks(mesh: Mesh) -> dict[str, Any]:
    """How far the agents' clocks are off, and how well that is known."""
    known = mesh.clocks.values()
    return {
        "worst_offset_seconds": round(max((abs(one.offset) for one in known), default=0.0), 6),
        "worst_uncertainty_seconds": round(max((one.uncertainty for one in known), default=0.0), 6),
        "corrected": sum(one.correction != 0 for one in known),
    }


def cost(requests: int) -> dict[str, Any]:
    """What the mesh cost on this machine: this process, of which there is one."""
    times = os.times()
    return {
        "cpu_seconds": round(times.user + times.system + times.children_user + times.children_system, 3),
        "max_rss_bytes": _most_memory(),
        "requests": requests,
        "processes": 1,
    }


def failures(rows: list[dict[str, Any]]) -> dict[str, int]:
    """The most frequent reasons, with how many cells had them."""
    return dict(Counter(row["error"] for row in rows if row["error"]).most_common(10))


def _most_memory() -> int:
    """VmHWM of proc(5): ru_maxrss would be that of whoever started us, where that was more."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def _summary(mesh: Mesh, rows: list[dict[str, Any]], wall: float, control: dict[str, Any]) -> str:
    found = mesh_rows.counts(rows)
    return (
        f"{found['done']:,} of {found['asked']:,} cells done, {found['failed']} failed, {found['missing']} missing, "
        f"{found['busy']} busy, in {wall:.1f} s (predicted {mesh.plan.predicted_seconds:.1f} s); here "
        f"{control['cpu_seconds']} CPU-s, {control['max_rss_bytes'] / 1e6:.0f} MB, {control['requests']} requests"
    )


def _write(path: str | None, interface: str, name: str, what: str, rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    return None if path is None else write_samples(f"{path}.{interface}.{name}.{what}.jsonl", rows)


def _copied(samples: dict[str, Any] | None, path: str | None, interface: str, name: str) -> dict[str, Any] | None:
    """The same rows for another interface: writing them anew would cost as much as all else here."""
    if samples is None:
        return None
    target = f"{path}.{interface}.{name}.counters.jsonl"
    shutil.copyfile(samples["path"], target)
    return {**samples, "path": target}
