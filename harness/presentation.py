# SPDX-License-Identifier: GPL-3.0-or-later
"""How records are put into words and numbers that people read; shared by every report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from harness import exit_codes, metrics, readers, units
from harness.bound_by import in_words
from harness.model import BoundBy, Record

# The order in which a reader wants to know of them.
VERDICTS = (
    "error",
    "invalid",
    "fail",
    "regression",
    "inconclusive",
    "not_runnable",
    "improvement",
    "pass",
    "measured",
)
UNFINISHED = "not finished"
# Ansible's own colours: red failed, magenta unreliable, yellow needs a look, cyan left out, green ok.
COLOURS = {
    "error": "31",
    "fail": "31",
    "regression": "31",
    "invalid": "35",
    "inconclusive": "33",
    "not_runnable": "36",
    "improvement": "32",
    "pass": "32",
    "measured": "32",
}


def title(metric: str) -> str:
    known = metrics.table().get(metric)
    return known.title if known else metric


def value(record: Record) -> str:
    return units.show(record.value, record.unit, resolution=record.resolution)


def margin(record: Record) -> str:
    """Half the interval, as people write it behind a value."""
    if record.ci is None or record.value is None:
        return ""
    half = (record.ci.high - record.ci.low) / 2
    return f"± {units.show_margin(half, record.value, record.unit, resolution=record.resolution)}"


def objective(record: Record) -> str:
    names = {"max": "≤", "min": "≥"}
    return " and ".join(f"{names[k]} {units.show(v, record.unit)}" for k, v in (record.objective or {}).items())


def bound_of(record: Record) -> str:
    """In three or four words; a limit that nobody read, only assumed, says so."""
    return bound(record.bound_by) + (" (assumed)" if assumed(record) else "")


def bound_in_words(record: Record) -> str:
    """In one sentence, with what was predicted and what was seen."""
    told = readers.words(record.bound_by)
    if told is not None and record.bound_by is not None:
        return told.sentence(record.bound_by)
    if not assumed(record):
        return in_words(record.bound_by)
    # Its time begins with the switch of the scheduler, not with the first bind.
    text = in_words(record.bound_by).replace(" from first to last bind,", ",").replace(" was seen.", " was published.")
    return f"Assumed, not read anywhere: {text[0].lower()}{text[1:]}"


def assumed(record: Record) -> bool:
    return record.bound_by is not None and "assumed" in record.parameters


def origin(records: Iterable[Record]) -> str:
    """Where the numbers are from when they are not our own; empty when they are."""
    every = [r.parameters["imported"] for r in records if "imported" in r.parameters]
    if not every:
        return ""
    found = every[0]
    files = list(dict.fromkeys(str(item.get("file")) for item in every))
    more = f" and {len(files) - 1} more" if len(files) > 1 else ""
    told = [str(found[name]) for name in ("published_at", "commit") if found.get(name)]
    published = f", published {' at commit '.join(told)}" if told else ""
    return f"Imported from {files[0]}{more}{published}. Nothing of it was measured by this program."


def bound(found: BoundBy | None) -> str:
    """In three or four words; `bound_by.in_words` has the sentence."""
    if found is None:
        return units.MISSING
    told = readers.words(found)
    if told is not None:
        return told.short(found)
    limit = found.limit or {}
    if found.kind == "client_limit":
        return f"client limit: {found.component} {units.digits(limit['qps'])}/s"
    if found.kind == "machine":
        return f"machine: {found.component}"
    if found.kind == "subject":
        return f"subject: {found.component}"
    return found.kind.replace("_", " ")


def counts(records: Iterable[Record]) -> list[tuple[str, int]]:
    """(verdict, how many), the gravest first."""
    found = Counter(record.verdict for record in records)
    return [(verdict, found[verdict]) for verdict in VERDICTS if found[verdict]]


def headline(records: Sequence[Record], code: int) -> str:
    """`exit code 4 (invalid measurement): 3 invalid, 12 measured`."""
    told = ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts(records)) or "no records"
    return f"exit code {code} ({exit_codes.MEANING.get(code, 'unknown')}): {told}"


def limits(records: Iterable[Record]) -> list[str]:
    """Which numbers are the limit of what, each thing said once; properties of the load itself left out."""
    found: dict[str, dict[str, None]] = {}
    for record in records:
        if record.bound_by is not None and record.direction != "none":
            found.setdefault(bound_in_words(record), {})[title(record.metric)] = None
    return [f"{', '.join(titles)}: {text}" for text, titles in found.items()]


def reasons(records: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """(verdict and reason, "case: metrics" it is given for), each reason said once; all of a case go by its name."""
    cases = case_names(records)
    sizes = Counter(cases[key_of(record)] for record in records)
    found: dict[str, dict[str, list[str]]] = {}
    for record in troubled(records):
        of_reason = found.setdefault(f"{record.verdict.replace('_', ' ')}: {record.reason}", {})
        of_reason.setdefault(cases[key_of(record)], []).append(record.metric)
    return [
        (reason, [name if len(of[name]) == sizes[name] > 1 else f"{name}: {', '.join(of[name])}" for name in of])
        for reason, of in found.items()
    ]


def key_of(record: Record) -> tuple[str, str, str]:
    return record.suite, record.scenario, record.subject


def case_names(records: Iterable[Record]) -> dict[tuple[str, str, str], str]:
    """By suite, scenario and subject: the scenario, with the subject where it has more than one."""
    keys = list(dict.fromkeys(key_of(record) for record in records))
    subjects = Counter((suite, scenario) for suite, scenario, _ in keys)
    return {
        (suite, scenario, subject): f"{scenario} {subject}" if subjects[suite, scenario] > 1 else scenario
        for suite, scenario, subject in keys
    }


def troubled(records: Iterable[Record]) -> list[Record]:
    """The records that say why they carry no number or a bad one."""
    return [record for record in records if record.verdict not in ("measured", "pass", "improvement")]
