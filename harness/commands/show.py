# SPDX-License-Identifier: GPL-3.0-or-later
"""`show`: one run in the terminal, or what a query finds in it."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from harness import fairness, presentation, query
from harness.console import records_table, unequal_conditions, wants_colour
from harness.results import RunFolder, dumps, find_run

NAME = "show"
HELP = "show the records of a run"
DESCRIPTION = """\
Prints the records of a run, what each number is the limit of, and the stages that failed. With --json or
--query the document is {run_id, exit_code, run, plan, records, observations, failures}."""
EPILOG = """\
examples:
  python -m harness show latest
  python -m harness show latest --query "records[?verdict == 'invalid'].[metric, reason]"
  python -m harness show latest --query "records[?metric == 'bind_all_seconds'].{scenario: scenario, by: bound_by}"
  python -m harness show latest --query run.tools
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    query.add_run(parser)
    query.add_results_dir(parser)
    query.add_output(parser, "the run")


def run(args: argparse.Namespace) -> int:
    folder = find_run(args.results_dir, args.run)
    if query.wants_document(args):
        query.print_document(args, document(folder))
        return 0
    records, code = folder.records(), folder.exit_code()
    sys.stdout.write(f"run {folder.run_id}\n\n")
    sys.stdout.write(unequal_conditions(fairness.between_subjects(fairness.manifests(folder.observations()))))
    sys.stdout.write(records_table(records, colour=wants_colour(sys.stdout)))
    limits = presentation.limits(records)
    sys.stdout.write("".join(f"\n{text}\n" for text in limits))
    for stage, failure in folder.failures().items():
        sys.stdout.write(f"\nstage {stage} failed: {failure.reason}\n")
    ended = presentation.headline(records, code) if code is not None else presentation.UNFINISHED
    html = folder.path / "report.html"
    sys.stdout.write(f"\n{ended}\n{f'report: {html}' if html.exists() else f'results: {folder.path}'}\n")
    return 0


def document(folder: RunFolder) -> dict[str, Any]:
    plan = folder.plan()
    found: dict[str, Any] = {
        "run_id": folder.run_id,
        "exit_code": folder.exit_code(),
        "run": folder.run(),
        "plan": asdict(plan) if plan is not None else None,
        "records": [asdict(record) for record in folder.records()],
        "observations": [asdict(observation) for observation in folder.observations()],
        "failures": {stage: asdict(failure) for stage, failure in folder.failures().items()},
    }
    # Plain JSON types: JMESPath knows no tuples.
    return dict(json.loads(dumps(found)))
