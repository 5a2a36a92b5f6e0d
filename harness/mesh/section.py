# SPDX-License-Identifier: GPL-3.0-or-later
"""What report.html shows of a mesh: every cell, what was offered and came about, what is slow, what is not proven."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence

from harness import units
from harness.mesh import factors, figures, limits, metrics, proof
from harness.mesh.cells import Mesh
from harness.mesh.factors import Model, Pair
from harness.reader import Chart, Section, Table

REASONS_SHOWN = 10
POSSIBLE = {True: "yes", False: "no", None: "not known"}


def of(meshes: Sequence[Mesh], isolated: Sequence[Mesh]) -> Section:
    drawn = [mesh for mesh in meshes if mesh.cells]
    if not drawn:
        return Section()
    found = slow(drawn)
    tables = [_offered(drawn, isolated), *_slow(found), *_isolated(drawn, isolated), *_unproven(drawn)]
    return Section(_charts(drawn), tables, _remarks(drawn, isolated, found))


def slow(meshes: Sequence[Mesh]) -> Model:
    """The factor model over all repeats: of each pair, direction and round the value in the middle."""
    found: dict[tuple[str, str, str, str, str], list[float]] = defaultdict(list)
    rounds: dict[tuple[str, str, str, str, str], int] = {}
    for mesh in meshes:
        for cell in mesh.proof.proven:
            if cell.goodput_bytes_per_second is not None:
                key = (cell.sender, cell.receiver, cell.sender_node, cell.receiver_node, cell.direction)
                found[key].append(cell.goodput_bytes_per_second)
                rounds[key] = cell.round
    pairs = [
        Pair(sender, receiver, sender_node, receiver_node, statistics.median(values), rounds[key])
        for key, values in found.items()
        for sender, receiver, sender_node, receiver_node, _ in (key,)
    ]
    return factors.model(pairs)


def _charts(meshes: Sequence[Mesh]) -> list[Chart]:
    of_all = "the median of all repeats" if len(meshes) > 1 else "one repeat"
    charts = [
        Chart(
            "heatmap",
            "Goodput of every cell",
            f"Rows send, columns receive, by group; {of_all}. Grey has no proof, × failed.",
            figures.heatmap(meshes),
            wide=True,
            tall=True,
        )
    ]
    if not any(mesh.proof.proven for mesh in meshes):
        return charts
    one_at_a_time = "Cells of one round run at the same time, rounds one after the other."
    return [
        *charts,
        Chart(
            "distribution", "Goodput", "Share of proven cells that had at most so much.", figures.distribution(meshes)
        ),
        Chart("rounds", "Offered and arrived, round by round", one_at_a_time, figures.by_round(meshes)),
        Chart("retransmits", "Segments sent again", "By the pod that sent them.", figures.retransmits(meshes)),
        Chart("processors", "Processors at both ends", "Cores of iperf3, by pod.", figures.processors(meshes)),
    ]


def _offered(meshes: Sequence[Mesh], isolated: Sequence[Mesh]) -> Table:
    told = limits.offered(meshes, isolated)
    streams = int(meshes[0].number("streams") or 1)
    rows = [
        (
            "one connection",
            _rate(told.rate),
            _rate(told.achieved),
            "one stream" if streams == 1 else f"{streams} streams together",
        ),
        (
            f"{told.at_a_time:,} cells at a time",
            _rate(told.offered_at_a_time),
            _rate(told.together),
            "the fullest round; what arrives, over the whole time of a round",
        ),
        (
            f"all {told.cells:,} cells",
            _rate(told.offered_by_all),
            units.MISSING,
            "if all ran at once" if told.at_a_time < told.cells else "all run at once",
        ),
        *_of_all_interfaces(meshes[0], told.rate, told.cells),
        ("possible at all", POSSIBLE[told.possible], units.show(told.ratio, "ratio"), told.why),
    ]
    return Table("Offered and achieved", "", ("", "Offered", "Achieved", ""), rows)


def _of_all_interfaces(mesh: Mesh, rate: float | None, own: int) -> list[tuple[str, str, str, str]]:
    if mesh.rows_of_all <= own or rate is None:
        return []
    name = f"all {mesh.rows_of_all:,} cells of all interfaces"
    return [(name, _rate(metrics.capacity(mesh.rows_of_all, rate)), units.MISSING, "if all ran at once")]


def _slow(found: Model) -> list[Table]:
    if not found.factors:
        return []
    rows = [
        (f"{one.kind} {one.name}", f"{one.slower:.0%} slower", f"{one.pairs:,}", "; ".join(one.also))
        for one in found.factors
    ]
    caption = (
        "Named by a model of senders, receivers, nodes and links, only where chance is no explanation; "
        f"a single cell differs from it by {found.noise or 0.0:.1%}."
    )
    return [Table("What is slow", caption, ("", "Than the others", "Cells", "Has the same cells as"), rows)]


def _isolated(meshes: Sequence[Mesh], isolated: Sequence[Mesh]) -> list[Table]:
    ratios = [ratio for mesh in meshes for ratio in metrics.to_isolated(mesh, isolated)]
    if not ratios:
        return []
    alone = list(metrics.by_path(isolated).values())
    rows = [
        ("alone", _rate(statistics.median(alone)), f"{len(alone):,} pairs, one at a time"),
        ("beside others", _rate(limits.offered(meshes, isolated).achieved), f"{meshes[0].kind}"),
        (
            "ratio, pair by pair",
            units.show(statistics.median(ratios), "ratio"),
            f"worst {units.show(min(ratios), 'ratio')}",
        ),
    ]
    return [Table("Alone and beside others", "", ("", "Goodput", ""), rows)]


def _unproven(meshes: Sequence[Mesh]) -> list[Table]:
    """What cells are not proven for, or failed of, the most frequent first."""
    found: Counter[tuple[str, str]] = Counter()
    example: dict[tuple[str, str], str] = {}
    for mesh in meshes:
        for cell, said in mesh.proof.unproven:
            for check, text in said.items():
                found["not proven", check.replace("_", " ")] += 1
                example.setdefault(("not proven", check.replace("_", " ")), f"{cell.name}: {text}")
        for cell in mesh.cells:
            if not cell.done:
                found[cell.state, cell.error or "no reason told"] += 1
                example.setdefault((cell.state, cell.error or "no reason told"), cell.name)
    rows = [
        (state, text, f"{count:,}", example[state, text]) for (state, text), count in found.most_common(REASONS_SHOWN)
    ]
    title = f"Cells that are not proven, by reason ({len(proof.TABLE)} checks each)"
    return [Table(title, "", ("", "Reason", "Cells", "For example"), rows)] if rows else []


def _remarks(meshes: Sequence[Mesh], isolated: Sequence[Mesh], found: Model) -> list[str]:
    proven, asked = sum(len(mesh.proof.proven) for mesh in meshes), sum(len(mesh.cells) for mesh in meshes)
    remarks = [f"{proven:,} of {asked:,} cells are proven."]
    told = limits.offered(meshes, isolated)
    if told.rate is not None and told.at_a_time < told.cells:
        remarks.append(
            f"At most {told.at_a_time:,} cells ran at a time, which offered {_rate(told.offered_at_a_time)}; "
            f"all {told.cells:,} at once would be {_rate(told.offered_by_all)}, and did not run."
        )
    if found.problem:
        remarks.append(f"Nothing slow can be named: {found.problem}.")
    elif found.factors:
        remarks.append("Slow: " + "; ".join(one.in_words for one in found.factors) + ".")
    else:
        remarks.append(
            "No sender, receiver, node or link is slower than chance explains "
            f"(single cells differ by {found.noise or 0.0:.1%})."
        )
    return remarks


def _rate(value: float | None) -> str:
    return units.show(value, "bytes/s")
