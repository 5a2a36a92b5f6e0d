# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of a mesh as plain data; "--NAME" stands for a colour of the page."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness import units
from harness.figures import DASHES, thin
from harness.mesh import metrics
from harness.mesh.cells import Cell, Mesh

#: Of the scales that every eye can read one without grey: that is for what has no proof.
SCALE = "Viridis"
MARKERS_MOST = 4000


@dataclass(frozen=True)
class Pods:
    """Pods in the order of the charts: group by group, in each by name and number."""

    names: Sequence[str]
    groups: Sequence[tuple[str, int, int]]  # name, first, last

    @property
    def ticks(self) -> dict[str, Any]:
        return {
            "tickvals": [(first + last) / 2 for _, first, last in self.groups],
            "ticktext": [name for name, _, _ in self.groups],
            "showgrid": False,
            "zeroline": False,
            "range": [-0.5, len(self.names) - 0.5],
        }

    @property
    def borders(self) -> list[dict[str, Any]]:
        found = []
        end = len(self.names) - 0.5
        for _, _, last in self.groups[:-1]:
            line = {"type": "line", "line": {"color": "--page", "width": 2}}
            found.append({**line, "x0": last + 0.5, "x1": last + 0.5, "y0": -0.5, "y1": end})
            found.append({**line, "y0": last + 0.5, "y1": last + 0.5, "x0": -0.5, "x1": end})
        return found


def pods_of(meshes: Iterable[Mesh]) -> Pods:
    """Groups in the order in which they are met, the pods of each in theirs."""
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for mesh in meshes:
        for cell in mesh.cells:
            groups[cell.source_group or ""][cell.source] = None
            groups[cell.target_group or ""][cell.target] = None
    names: list[str] = []
    bounds = []
    for group, members in groups.items():
        first = len(names)
        names += sorted(members, key=lambda name: (len(name), name))
        bounds.append((group or "pods", first, len(names) - 1))
    return Pods(names, bounds)


def heatmap(meshes: Sequence[Mesh]) -> dict[str, Any]:
    """Senders down, receivers across; grey is a pair without proof, × one that failed."""
    pods = pods_of(meshes)
    index = {name: place for place, name in enumerate(pods.names)}
    size = len(pods.names)
    proven: dict[tuple[int, int], list[Cell]] = defaultdict(list)
    said: dict[tuple[int, int], str] = {}
    failed: set[tuple[int, int]] = set()
    for mesh in meshes:
        for cell in mesh.proof.proven:
            proven[index[cell.sender], index[cell.receiver]].append(cell)
        for cell, problems in mesh.proof.unproven:
            said[index[cell.sender], index[cell.receiver]] = f"not proven: {next(iter(problems.values()))}"
        for cell in mesh.cells:
            if not cell.done:
                failed.add((index[cell.sender], index[cell.receiver]))
                said[index[cell.sender], index[cell.receiver]] = f"{cell.state}: {cell.error}"
    goodputs = {
        pair: statistics.median(cell.goodput_bytes_per_second or 0.0 for cell in cells)
        for pair, cells in proven.items()
        if pair not in said
    }
    factor, unit = units.scale(statistics.median(goodputs.values()) if goodputs else 1.0, "bytes/s")
    values: list[list[float | None]] = [[None] * size for _ in range(size)]
    texts = [[""] * size for _ in range(size)]
    for (row, column), goodput in goodputs.items():
        values[row][column] = float(f"{goodput / factor:.4g}")
        texts[row][column] = _told(proven[row, column])
    for (row, column), text in said.items():
        texts[row][column] = text[:160]
    for row in range(size):
        for column in range(size):
            texts[row][column] = f"{pods.names[row]} → {pods.names[column]}<br>{_plain(texts[row][column])}"
        texts[row][row] = ""
    shown = [value for row in values for value in row if value is not None]
    middle = statistics.median(shown) if shown else 1.0
    data: list[dict[str, Any]] = [
        {
            "type": "heatmap",
            "z": values,
            "text": texts,
            "colorscale": SCALE,
            "zmin": min([0.5 * middle, *shown]),
            "zmax": max([1.1 * middle, *shown]),
            "hovertemplate": f"%{{z}}{unit}<br>%{{text}}<extra></extra>",
            "hoverongaps": False,
            "colorbar": {"title": {"text": unit.strip()}, "outlinewidth": 0, "thickness": 12},
        }
    ]
    for name, pairs, symbol, colour in (
        ("failed", failed, "x-thin", "--bad"),
        ("not proven", set(said) - failed, "square", "--soft"),
    ):
        ordered = sorted(pairs)[:MARKERS_MOST]
        if ordered:
            data.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": name,
                    "x": [column for _, column in ordered],
                    "y": [row for row, _ in ordered],
                    "text": [texts[row][column] for row, column in ordered],
                    "marker": {"symbol": symbol, "size": 6, "color": colour, "line": {"color": colour, "width": 2}},
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
    return {
        "kind": "figure",
        "data": data,
        "x": "to",
        "y": "from",
        "layout": {
            "plot_bgcolor": "--line",
            "showlegend": len(data) > 1,
            "shapes": pods.borders,
            "xaxis": {**pods.ticks, "constrain": "domain"},
            "yaxis": {**pods.ticks, "autorange": "reversed", "scaleanchor": "x", "constrain": "domain"},
        },
    }


def distribution(meshes: Sequence[Mesh]) -> dict[str, Any]:
    """Which share of the proven cells had at most so much; a line a repeat."""
    every = [goodput for mesh in meshes for goodput in metrics.goodputs(mesh)]
    factor, unit = units.scale(statistics.median(every), "bytes/s")
    traces = []
    for index, mesh in enumerate(meshes):
        x, y = thin(sorted(goodput / factor for goodput in metrics.goodputs(mesh)))
        count = y[-1] if y else 1
        traces.append(
            {
                "x": x,
                "y": [round(one / count, 5) for one in y],
                "name": f"repeat {mesh.repeat}",
                "colour": "bound",
                "dash": DASHES[index % len(DASHES)],
                "group": f"repeat {mesh.repeat}",
                "legend": True,
                "hover": f"repeat {mesh.repeat}: %{{y:.1%}} at most %{{x:.4g}}{unit}",
            }
        )
    return {"traces": traces, "x": unit.strip(), "y": "share of cells", "zero": False, "share": True}


def by_round(meshes: Sequence[Mesh]) -> dict[str, Any]:
    """What each round offered at a time, and what arrived in it."""
    rounds = [metrics.together(mesh) for mesh in meshes]
    peak = max((value for found in rounds for value in found.values()), default=1.0)
    factor, unit = units.scale(peak, "bytes/s")
    data: list[dict[str, Any]] = []
    for index, (mesh, found) in enumerate(zip(meshes, rounds, strict=True)):
        line = {"dash": DASHES[index % len(DASHES)], "width": 1.75}
        order = list(mesh.rounds)
        x = [order.index(one) + 1 for one in found]
        rate = mesh.asked_rate
        if rate and index == 0:
            offered = [float(f"{metrics.capacity(len(mesh.rounds[one]), rate) / factor:.5g}") for one in order]
            data.append(_line(list(range(1, len(order) + 1)), offered, "offered", {**line, "color": "--soft"}, unit))
        achieved = [float(f"{value / factor:.5g}") for value in found.values()]
        data.append(_line(x, achieved, f"arrived, repeat {mesh.repeat}", {**line, "color": "--created"}, unit))
    return {
        "kind": "figure",
        "data": data,
        "x": "round",
        "y": unit.strip(),
        "layout": {"yaxis": {"rangemode": "tozero"}},
    }


def retransmits(meshes: Sequence[Mesh]) -> dict[str, Any]:
    """Segments sent again, of all proven cells of a sender; the mean over the repeats."""
    pods = pods_of(meshes)
    found: dict[str, float] = defaultdict(float)
    for mesh in meshes:
        for cell in mesh.proof.proven:
            found[cell.sender] += (cell.retransmits or 0) / len(meshes)
    heights = [round(found.get(name, 0.0), 1) for name in pods.names]
    return _bars(pods, [("sent again", heights, "--running")], "segments")


def processors(meshes: Sequence[Mesh]) -> dict[str, Any]:
    """Cores that iperf3 used at each end, of the cell in the middle of each pod."""
    pods = pods_of(meshes)
    ends: dict[str, dict[str, list[float]]] = {"sending": defaultdict(list), "receiving": defaultdict(list)}
    for mesh in meshes:
        for cell in mesh.proof.proven:
            for end, pod, ratio in (
                ("sending", cell.sender, cell.sender_cpu_ratio),
                ("receiving", cell.receiver, cell.receiver_cpu_ratio),
            ):
                if ratio is not None:
                    ends[end][pod].append(ratio)
    series = [
        (end, [round(statistics.median(of[name]), 4) if of.get(name) else 0.0 for name in pods.names], colour)
        for (end, of), colour in zip(ends.items(), ("--created", "--bound"), strict=True)
    ]
    return _bars(pods, series, "cores")


def _bars(pods: Pods, series: Sequence[tuple[str, list[float], str]], what: str) -> dict[str, Any]:
    axis = pods.ticks
    return {
        "kind": "figure",
        "data": [
            {
                "type": "bar",
                "name": name,
                "x": list(range(len(pods.names))),
                "y": heights,
                "text": list(pods.names),
                "textposition": "none",
                "marker": {"color": colour},
                "hovertemplate": f"%{{text}}: %{{y}} {what} {name}<extra></extra>",
            }
            for name, heights, colour in series
        ],
        "x": "",
        "y": what,
        "layout": {"barmode": "group", "showlegend": len(series) > 1, "xaxis": axis},
    }


def _line(x: list[int], y: list[float], name: str, line: dict[str, Any], unit: str) -> dict[str, Any]:
    hover = f"round %{{x}}: %{{y:.4g}}{unit} {name}<extra></extra>"
    return {"type": "scatter", "mode": "lines", "x": x, "y": y, "name": name, "line": line, "hovertemplate": hover}


def _told(cells: Sequence[Cell]) -> str:
    """The proof of a pair, of the last of its cells."""
    cell = cells[-1]
    busy = [units.show(ratio, "ratio") for ratio in (cell.sender_cpu_ratio, cell.receiver_cpu_ratio)]
    return (
        f"{cell.local_address} → {cell.remote_address}, {len(cells)} proven<br>"
        f"{units.show(cell.received_bytes, 'bytes')} in {units.show(cell.seconds, 's')}, "
        f"{units.MISSING if cell.retransmits is None else cell.retransmits} sent again<br>"
        f"CPU {busy[0]} and {busy[1]}, round {cell.round}"
    )


def _plain(text: str) -> str:
    """Plotly reads a few tags in a text; a reason is none but for our own line breaks."""
    return text.replace("<br>", "\0").replace("&", "&amp;").replace("<", "&lt;").replace("\0", "<br>")
