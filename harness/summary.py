# SPDX-License-Identifier: GPL-3.0-or-later
"""summary.md: a run on one page, for a chat, a pull request or a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

from harness import presentation
from harness.markdown import escape, row_of
from harness.model import Failure, Record
from harness.reader import Key, Section


def summary(
    run_id: str,
    records: Sequence[Record],
    failures: Mapping[str, Failure],
    code: int,
    unequal: Sequence[str] = (),
    sections: Mapping[Key, Section] | None = None,
) -> str:
    lines = [f"# Run {run_id}", "", f"**{escape(presentation.headline(records, code))}**", ""]
    if origin := presentation.origin(records):
        lines += [escape(origin), ""]
    if unequal:
        lines += ["Subjects not under equal conditions:", "", *(f"* {escape(text)}" for text in unequal), ""]
    for (suite, scenario, subject), group in groupby(records, key=lambda r: (r.suite, r.scenario, r.subject)):
        found = list(group)
        lines += [f"## {suite} · {scenario} · {subject}", ""]
        lines += ["| metric | value | 95 % interval | verdict | bound by |", "|---|---:|---|---|---|"]
        for record in found:
            cells = (
                presentation.title(record.metric),
                presentation.value(record),
                presentation.margin(record),
                record.verdict.replace("_", " "),
                presentation.bound_of(record),
            )
            lines.append(row_of(cells))
        lines.append("")
        remarks = (sections or {}).get((suite, scenario, subject), Section()).remarks
        told = [*presentation.limits(found), *remarks]
        lines += [f"* {escape(text)}" for text in told]
        lines += [""] if told else []
    lines += _reasons(records, failures)
    lines.append("Every number's evidence: report.html. The same for programs: records.jsonl.")
    return "\n".join(lines) + "\n"


def _reasons(records: Sequence[Record], failures: Mapping[str, Failure]) -> list[str]:
    lines = [f"* stage {stage} failed: {escape(failure.reason)}" for stage, failure in failures.items()]
    for reason, names in presentation.reasons(records):
        lines.append(f"* {escape('; '.join(names))} – {escape(reason)}")
    return ["## What to look at", "", *lines, ""] if lines else []
