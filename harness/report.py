# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges a run and writes all that is derived from it; doing so again gives the same files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness import fairness, judge, kai_output, readers, report_html
from harness.junit import junit
from harness.model import Record, SamplesFile
from harness.overhead import output as overhead_output
from harness.reader import Key, Material, Section
from harness.results import RunFolder, write_atomic
from harness.summary import summary


@dataclass(frozen=True)
class Report:
    records: list[Record]
    exit_code: int
    html: Path
    unequal: list[str]


def report(run: RunFolder) -> Report:
    material = judge.gather(run)
    document = run.run()
    records = judge.records(material, write_samples(run, material))
    code = judge.exit_code(records, material.failures, material.plan is not None)
    run.write_records(records)
    shown = sections(material, records)
    unequal = fairness.between_subjects(fairness.manifests(material.observations))
    stages = [folder.name.split("__", 1)[1] for folder in run.stage_folders()]
    html = run.path / "report.html"
    write_atomic(html, report_html.render(material, document, records, stages, code, shown))
    write_atomic(run.path / "summary.md", summary(run.run_id, records, material.failures, code, unequal, shown))
    write_atomic(run.path / "junit.xml", junit(run.run_id, document["started_at"], records, material.failures))
    kai_output.write(run.path, material, document, records)
    overhead_output.write(run.path, material, records)
    write_atomic(run.path / "exit_code", f"{code}\n")
    return Report(records, code, html, unequal)


def sections(material: Material, records: list[Record]) -> dict[Key, Section]:
    """What the reader of each scenario and subject has to show of it."""
    found: dict[Key, Section] = {}
    for key, loads in material.loads.items():
        own = [record for record in records if (record.suite, record.scenario, record.subject) == key]
        found[key] = readers.of(loads).section(own, loads, material)
    return found


def write_samples(run: RunFolder, material: Material) -> dict[Key, SamplesFile]:
    """One Parquet file a scenario and subject; none of samples that are not what the role wrote."""
    files = {}
    for key, loads in material.loads.items():
        suite, scenario, subject = key
        path = f"samples/{suite}/{scenario}.{subject}.parquet"
        file = readers.of(loads).write_parquet(run.path, path, loads)
        if file is not None:
            files[key] = file
        else:
            (run.path / path).unlink(missing_ok=True)
    return files
