# SPDX-License-Identifier: GPL-3.0-or-later
"""The comparison of dataplanes and releases as one table: for the terminal, as Markdown and in report.html."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness import cost_fit, stats, units
from harness.console import table
from harness.markdown import escape
from harness.markdown import table as markdown_table
from harness.reader import Table

Document = Mapping[str, Any]
COST_CAPTION = "What 1,000 of them cost, by a line over loads that differ in nothing else:"


def headings(document: Document) -> list[str]:
    found = ["scenario", "metric"]
    for subject in document["subjects"]:
        found.append(subject)
        if document["against"] not in (None, subject):
            found.append(f"against {document['against']}")
    return found


def rows(document: Document) -> list[list[str]]:
    return [_row(record, document) for record in document["records"]]


def remarks(document: Document) -> list[str]:
    """What has to be known of the numbers above."""
    judged = [
        cell["against"]["verdict"]
        for record in document["records"]
        for cell in record["cells"]
        if "against" in cell and cell["against"].get("p_adjusted") is not None
    ]
    found = ["Means over the repeats of all runs in which the same was asked for, and their 95 % intervals."]
    if document["against"] is None:
        found.append("Nothing is judged: no run has the control subject. --against names another baseline.")
    elif judged:
        wrong = units.show(1 - stats.LEVEL, "ratio")
        found.append(
            f"{len(judged)} comparisons, corrected by Holm: any of them is called a difference by chance in at most "
            f"{wrong} of such tables. Each interval beside a verdict is that of its comparison alone."
        )
    return found


def left_out(document: Document) -> list[str]:
    """Records that are shown and not compared, each reason once."""
    found: dict[str, dict[str, None]] = {}
    for item in document["left_out"]:
        reason = f"{item['verdict'].replace('_', ' ')}: {item['reason']}"
        found.setdefault(reason, {})[f"{item['subject']} {item['scenario']} in {item['run_id']}"] = None
    return [f"{'; '.join(names)} – {reason}" for reason, names in found.items()]


def in_words(document: Document, unequal: Sequence[str]) -> str:
    """For the terminal."""
    text = "".join(["Not under equal conditions:\n", *(f"  {line}\n" for line in unequal), "\n"]) if unequal else ""
    text += table(headings(document), rows(document))
    text += "\n" + "".join(f"{line}\n" for line in remarks(document))
    if document["cost"]:
        text += f"\n{COST_CAPTION}\n"
        text += table(
            list(document["cost"][0]), [list(row.values()) for row in document["cost"]], right=(cost_fit.COST,)
        )
    told = left_out(document)
    return text + ("\nNot compared:\n" + "".join(f"  {line}\n" for line in told) if told else "")


def tables(document: Document) -> list[Table]:
    """For report.html."""
    found = [Table("Dataplanes and releases", " ".join(remarks(document)), headings(document), rows(document))]
    return found + cost_tables(document["cost"])


def cost_tables(cost: Sequence[Mapping[str, str]]) -> list[Table]:
    if not cost:
        return []
    return [Table("What 1,000 of them cost", COST_CAPTION, list(cost[0]), [list(row.values()) for row in cost])]


def markdown(document: Document, unequal: Sequence[str]) -> str:
    names = headings(document)
    lines = ["# Dataplanes and releases", ""]
    if unequal:
        lines += ["Not under equal conditions:", "", *(f"* {escape(line)}" for line in unequal), ""]
    lines += markdown_table(names, rows(document))
    lines += ["", *(f"* {escape(line)}" for line in remarks(document))]
    if document["cost"]:
        cost = markdown_table(list(document["cost"][0]), [list(row.values()) for row in document["cost"]])
        lines += ["", COST_CAPTION, "", *cost]
    told = left_out(document)
    lines += ["", "Not compared:", "", *(f"* {escape(line)}" for line in told)] if told else []
    return "\n".join(lines) + "\n"


def _row(record: Mapping[str, Any], document: Document) -> list[str]:
    asked = ", ".join(f"{name} {value}" for name, value in record["asked"].items())
    found = [record["scenario"] + (f" ({asked})" if asked else ""), record["metric"]]
    cells = {cell["subject"]: cell for cell in record["cells"]}
    for subject in document["subjects"]:
        cell = cells.get(subject)
        found.append(_estimate(cell, record["unit"]) if cell else units.MISSING)
        if document["against"] not in (None, subject):
            found.append(_verdict(cell["against"], record["unit"]) if cell else units.MISSING)
    return found


def _estimate(cell: Mapping[str, Any], unit: str) -> str:
    """`12.3 ms (11.9 ms to 12.7 ms, n 5)`; what was not measured by its verdicts alone."""
    absent = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in cell["left_out"].items())
    if cell["value"] is None:
        return ", ".join(verdict.replace("_", " ") for verdict in cell["left_out"])
    ci, resolution = cell["ci"], cell["resolution"]
    shown = units.show(cell["value"], unit, resolution=resolution)
    around = f"{units.show(ci['low'], unit)} to {units.show(ci['high'], unit)}, " if ci else ""
    return f"{shown} ({around}n {cell['repeats']})" + (f"; {absent}" if absent else "")


def _verdict(found: Mapping[str, Any], unit: str) -> str:
    """`worse (1.8 to 2.4 ×)`, `inconclusive (2 of 3 repeats)`."""
    if found["verdict"] is None:
        return f"not compared: {found['reason']}"
    ratio, difference = found["ratio"], found["difference"]
    told = [found["reason"]] if found["reason"] else []
    if ratio is not None:
        told.append(f"{units.digits(ratio['low'])} to {units.digits(ratio['high'])} ×")
    elif difference is not None:
        told.append(f"{units.show(difference['low'], unit)} to {units.show(difference['high'], unit)} more")
    return f"{found['verdict']} ({'; '.join(told)})"
