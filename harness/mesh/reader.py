# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the observations `mesh`, each beside the `mesh_counters` of the same repeat and interface."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import samples, units
from harness.mesh import evidence, limits, metrics, proof, section
from harness.mesh.cells import CELLS, COUNTERS, Cell, Mesh, carried_by, owners_of
from harness.metrics import Metric
from harness.model import Observation, PlannedRecord, Record, SamplesFile
from harness.reader import Conclusion, Described, Gathered, Key, Material, Reader, Section
from harness.repeat import machine_notes, machine_parameters
from harness.stats import Decision

#: Parts of the plan that were asked for; predicted times are of the machine as well.
PLAN = ("kind", "pods", "rounds", "cells", "interfaces", "endless")
ALIKE = ("offered_bytes_per_second_per_connection", "streams", "protocol", "direction")
ASKED = (*ALIKE, "seconds")


class MeshReader(Reader):
    kind = "mesh"
    unnamed_work = "Pods and other work"
    consequences = evidence.CONSEQUENCE
    words = limits.WORDS

    def gather(self, run: Path, observations: Sequence[Observation]) -> Gathered:
        counters = {_identity(item): item for item in observations if item.kind == "mesh_counters"}
        meshes: dict[tuple[str, str, int], list[Mesh]] = defaultdict(list)
        for item in observations:
            if item.kind == self.kind:
                meshes[item.suite, item.scenario or "", item.repeat or 0].append(_read(run, item, counters))
        loads: dict[Key, list[Mesh]] = defaultdict(list)
        for (suite, scenario, _), of_all in sorted(meshes.items()):
            # Interfaces of one mesh share their pods: what one of them carries is no cell of the other.
            every = [cell for mesh in of_all for cell in mesh.cells]
            carried, owners = carried_by(every), owners_of(every)
            for mesh in of_all:
                whole = replace(mesh, carried=carried, owners=owners, rows_of_all=len(every))
                loads[suite, scenario, mesh.interface].append(replace(whole, proof=proof.of(whole)))
        return Gathered(loads)

    def describe(self, metric: Metric, planned: PlannedRecord, loads: Sequence[Mesh], material: Material) -> Described:
        alone = _isolated(loads, material)
        values = [metrics.value(metric.name, mesh, alone) for mesh in loads]
        return Described(
            values=[value for value in values if value is not None],
            pooled=metrics.pooled(metric.name, loads, alone),
            clock=metrics.clock(metric.name),
            evidence=evidence.collect(metric.name, loads, planned.repeats),
            parameters=_parameters(loads),
        )

    def conclude(
        self, metric: Metric, planned: PlannedRecord, loads: Sequence[Mesh], material: Material, value: float
    ) -> Conclusion:
        alone = _isolated(loads, material)
        return Conclusion(
            finding=limits.bound_by(metric.name, loads),
            resolution=metrics.resolution(metric.name, loads, value),
            decision=_of_a_count(metric, planned, loads),
            remarks=[*_remarks(metric.name, loads, alone), *machine_notes(loads, other=False)],
        )

    def write_parquet(self, run: Path, path: str, loads: Sequence[Mesh]) -> SamplesFile | None:
        beside = path.removesuffix(".parquet") + ".counters.parquet"
        if any(mesh.samples_problem for mesh in loads):
            (run / beside).unlink(missing_ok=True)
            return None
        sources = [(mesh.repeat, mesh.observation.samples.path) for mesh in loads if mesh.observation.samples]
        counted = [(mesh.repeat, mesh.counters_path) for mesh in loads]
        samples.write_rows(run, beside, counted, COUNTERS)
        return samples.write_rows(run, path, sources, CELLS)

    def section(self, records: Sequence[Record], loads: Sequence[Mesh], material: Material) -> Section:
        return section.of(loads, _isolated(loads, material))


def _read(run: Path, item: Observation, counters: Mapping[Any, Observation]) -> Mesh:
    cells, problem = samples.read_rows(run, item.samples, CELLS)
    beside = counters.get(_identity(item))
    rows: list[dict[str, Any]] = []
    missing = "there is no observation mesh_counters beside it"
    if beside is not None:
        rows, missing = samples.read_rows(run, beside.samples, COUNTERS)
    return Mesh(
        item,
        [Cell.from_document(row) for row in cells],
        rows,
        "; ".join(filter(None, (problem, missing))),
        counters_path=beside.samples.path if beside is not None and beside.samples is not None else "",
    )


def _identity(item: Observation) -> tuple[Any, ...]:
    return item.suite, item.scenario, item.subject, item.repeat


def _isolated(loads: Sequence[Mesh], material: Material) -> list[Mesh]:
    """Meshes of the same connections in which one pair talked at a time; none for such a mesh itself."""
    first = loads[0]
    if first.kind == "isolated":
        return []
    suite, subject = first.observation.suite, first.observation.subject
    return [
        mesh
        for key, others in material.loads.items()
        if (key[0], key[2]) == (suite, subject)
        for mesh in others
        if isinstance(mesh, Mesh)
        and mesh.kind == "isolated"
        and not mesh.samples_problem
        # Only what was asked of alike can be held against each other.
        and all(mesh.value(name) == first.value(name) for name in ALIKE)
    ]


def _parameters(loads: Sequence[Mesh]) -> dict[str, Any]:
    """What was asked for, and under the names in judge.TOLD what the run tells of itself."""
    first = loads[0]
    plan = {name: first.value("plan", name) for name in PLAN}
    asked = {name: first.value(name) for name in ASKED}
    return {
        "plan": plan,
        **asked,
        **first.parameters,
        "subject": {"iperf3_versions": first.value("iperf3_versions")},
        "machine": machine_parameters(loads),
    }


def _of_a_count(metric: Metric, planned: PlannedRecord, loads: Sequence[Mesh]) -> Decision | None:
    """How many are proven is counted, not estimated: no interval decides whether it is enough, each repeat does."""
    if metric.name != "mesh_cells_proven" or not planned.objective:
        return None
    low, high = planned.objective.get("min", 0.0), planned.objective.get("max", math.inf)
    counts = [len(mesh.proof.proven) for mesh in loads]
    wanted = " and ".join(f"{'≤' if name == 'max' else '≥'} {bound:g}" for name, bound in planned.objective.items())
    verdict = "pass" if all(low <= count <= high for count in counts) else "fail"
    return Decision(verdict, f"objective {wanted}: {', '.join(f'{count:,}' for count in counts)} were proven")


def _remarks(metric: str, loads: Sequence[Mesh], alone: Sequence[Mesh]) -> list[str]:
    failed, asked = sum(mesh.states["failed"] for mesh in loads), sum(len(mesh.cells) for mesh in loads)
    found = []
    if metric in (metrics.GOODPUT, "mesh_cells_proven"):
        proven = sum(len(mesh.proof.proven) for mesh in loads)
        found.append(f"{proven:,} of {asked:,} cells are proven" + (f", {failed:,} failed." if failed else "."))
    if metric in (metrics.GOODPUT, "mesh_offered_ratio"):
        told = limits.offered(loads, alone)
        found.append(f"Offered: {units.show(told.rate, 'bytes/s')} a connection. {told.why}" if told.rate else told.why)
    if metric == metrics.GOODPUT:
        found += [f"Slow: {factor.in_words}." for factor in section.slow(loads).factors]
    return found
