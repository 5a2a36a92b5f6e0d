# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for a record of a mesh: every cell is accounted for, and every cell that is done is proven.

Consequence: `invalid` (the number is not published) or `told` (it is, and the reason says it). A cell that failed is
told and takes nothing from the others; one that is missing or unproven does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness import common_checks as common
from harness import units
from harness.common_checks import UNSEEN, Finding, plain
from harness.mesh import proof
from harness.mesh.cells import Mesh
from harness.mesh.proof import Check
from harness.model import Evidence

#: Of these the proof of single cells is no condition: they count cells, or have nothing to do with what moved.
WITHOUT_PROOF = frozenset(
    {"mesh_cells_proven", "mesh_wall_seconds", "mesh_control_cpu_seconds", "mesh_control_max_rss_bytes"}
)
SHOWN = 2
#: Clocks of the pods that are known worse than this cannot say what ran at the same time.
UNCERTAINTY_MOST = 0.5  # seconds


@dataclass(frozen=True)
class Context:
    """What a check needs beside its own repeat."""

    repeats: int
    loads: Sequence[Mesh]


@dataclass(frozen=True)
class Row:
    """A check returns None where there is nothing to look at."""

    name: str
    check: Callable[[Mesh, Context], Finding | None]
    consequence: str = "invalid"
    always: bool = False  # also for metrics that no cell has to be proven for


def cells_accounted_for(mesh: Mesh, context: Context) -> Finding:
    """asked = done + failed + missing, by the observation and by its samples; each cell once and on this interface."""
    states = mesh.states
    told = {name: mesh.number(name) for name in ("asked", "done", "failed", "missing")}
    seen = {"asked": len(mesh.cells), **{name: states[name] for name in ("done", "failed", "missing")}}
    wrong = [
        f"{name} is {plain(told[name])}, the samples give {seen[name]}" for name in seen if told[name] != seen[name]
    ]
    wrong += [f"{count} cells are {name}" for name, count in states.items() if name not in seen]
    keys = Counter((cell.source, cell.target, cell.direction, *cell.of_round) for cell in mesh.cells)
    twice = [key for key, count in keys.items() if count > 1]
    if twice:
        wrong.append(f"{len(twice)} cells are there twice, e.g. {twice[0][0]} → {twice[0][1]}")
    strange = [cell for cell in mesh.cells if cell.interface != mesh.interface or cell.source == cell.target]
    if strange:
        wrong.append(f"{len(strange)} cells are no cells of {mesh.interface}, e.g. {strange[0].name}")
    silent = [cell for cell in mesh.cells if not cell.done and not cell.error]
    if silent:
        wrong.append(f"{len(silent)} cells do not say why they are not done, e.g. {silent[0].name}")
    if planned := _planned(mesh):
        wrong.append(planned)
    asked = int(told["asked"] or 0)
    observed = f"{len(mesh.cells):,} cells: " + ", ".join(f"{seen[name]:,} {name}" for name in seen if name != "asked")
    return Finding(
        f"{asked:,} asked = done + failed + missing, each once, as many as planned",
        "; ".join([observed, *wrong]),
        asked > 0 and not wrong,
    )


def no_cell_missing(mesh: Mesh, context: Context) -> Finding:
    missing = mesh.states["missing"]
    return Finding("0 cells missing", _some(f"{missing:,} missing", _errors(mesh, "missing")), missing == 0)


def no_server_busy(mesh: Mesh, context: Context) -> Finding:
    """A server that was busy means that other cells ran beside those it served than the plan says."""
    busy = [cell for cell in mesh.cells if cell.error and proof.BUSY in cell.error]
    told = mesh.number("busy")
    return Finding(
        "0 cells found their server busy",
        f"{len(busy):,} of {len(mesh.cells):,} by the samples, {plain(told)} by the observation",
        not busy and told == 0,
    )


def cells_left(mesh: Mesh, context: Context) -> Finding:
    failed = mesh.states["failed"]
    return Finding(
        "0 cells failed", _some(f"{failed:,} of {len(mesh.cells):,} failed", _errors(mesh, "failed")), failed == 0
    )


def counters_match_cells(mesh: Mesh, context: Context) -> Finding:
    """The counters' rows were written from the cells that are here."""
    wrong = proof.counters_claim(mesh)
    places = Counter((row["slice"], row["round"], row["pod"], row["interface"]) for row in mesh.counters)
    twice = [place for place, count in places.items() if count > 1]
    text = f"{len(mesh.counters):,} rows"
    if wrong:
        (_, round_, pod, interface), told = wrong[0]
        text += f", {len(wrong):,} not, e.g. {interface} of {pod} in round {round_}: {told}"
    if twice:
        text += f", {len(twice):,} twice"
    return Finding("every counter's row beside the cells of its round", text, bool(mesh.counters) and not wrong + twice)


def preflight_held(mesh: Mesh, context: Context) -> Finding:
    found = mesh.value("preflight")
    expected = "duplicate addresses, subnets, MTU, versions and tables looked at before the first packet"
    if not isinstance(found, list) or not found:
        # Who takes a mesh over that runs already finds it looked at.
        taken_over = mesh.value("taken_over") is True
        return Finding(expected, "before it was taken over" if taken_over else UNSEEN, taken_over)
    refused = [item for item in found if item.get("holds") is False]
    blind = [str(item.get("name")) for item in found if item.get("holds") is None]
    text = "; ".join(f"{item.get('name')}: {item.get('observed')}" for item in refused) or f"{len(found)} checks hold"
    return Finding(expected, text + (f"; nobody could tell: {', '.join(blind)}" if blind else ""), not refused)


def clocks_known(mesh: Mesh, context: Context) -> Finding:
    uncertainty = mesh.number("clocks", "worst_uncertainty_seconds")
    return Finding(
        f"the pods' clocks known to {units.show(UNCERTAINTY_MOST, 's')} or better",
        UNSEEN if uncertainty is None else units.show(uncertainty, "s"),
        uncertainty is not None and uncertainty <= UNCERTAINTY_MOST,
    )


def _proves(check: Check) -> Row:
    def every_cell(mesh: Mesh, context: Context) -> Finding:
        done, failing = mesh.states["done"], mesh.proof.failing(check.name)
        expected = f"every cell that is done {check.expected}"
        if not failing:
            return Finding(expected, f"{done:,} of {done:,}", done > 0)
        examples = "; ".join(f"{cell.name}: {text}" for cell, text in failing[:SHOWN])
        return Finding(expected, f"{len(failing):,} of {done:,} not, e.g. {examples}", False)

    return Row(check.name, every_cell)


TABLE: tuple[Row, ...] = (
    Row("all_repeats_present", common.all_repeats_present, always=True),
    Row("same_parameters_in_every_repeat", common.same_parameters, always=True),
    Row("samples_intact", common.samples_intact, always=True),
    Row("cells_accounted_for", cells_accounted_for, always=True),
    Row("no_cell_missing", no_cell_missing),
    Row("no_server_busy", no_server_busy),
    Row("no_cell_failed", cells_left, consequence="told"),
    *(_proves(check) for check in proof.TABLE),
    Row("counters_match_cells", counters_match_cells),
    Row("preflight_held", preflight_held),
    Row("clocks_known", clocks_known),
    Row("cpu_not_stolen", common.cpu_not_stolen),
)
CONSEQUENCE = {row.name: row.consequence for row in TABLE}


def collect(metric: str, meshes: Sequence[Mesh], repeats: int) -> tuple[Evidence, ...]:
    """The evidence of one record over all its repeats."""
    context = Context(repeats, meshes)
    rows = [row for row in TABLE if row.always or metric not in WITHOUT_PROOF]
    return common.collect(((row.name, row.check) for row in rows), meshes, context)


def _planned(mesh: Mesh) -> str:
    """The plan is of all interfaces; of an endless mesh nobody knows how many slices it will have."""
    cells, directions = mesh.number("plan", "cells"), 2 if mesh.value("direction") == "both" else 1
    if mesh.value("plan", "endless") or cells is None or mesh.rows_of_all == cells * directions:
        return ""
    return f"{int(cells * directions):,} are planned on all interfaces, {mesh.rows_of_all:,} are there"


def _errors(mesh: Mesh, state: str) -> list[str]:
    found = Counter(cell.error for cell in mesh.cells if cell.state == state)
    return [f"{count:,} × {error}" for error, count in found.most_common(SHOWN)]


def _some(text: str, examples: Sequence[str]) -> str:
    return f"{text}, e.g. {'; '.join(examples)}" if examples else text
