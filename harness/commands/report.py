# SPDX-License-Identifier: GPL-3.0-or-later
"""`report`: judges what a run observed and writes its records and reports."""

from __future__ import annotations

import argparse
import sys

from harness import query
from harness.console import records_table, unequal_conditions, wants_colour
from harness.errors import UsageError
from harness.presentation import headline
from harness.report import report
from harness.results import find_run

NAME = "report"
HELP = "judge what a run observed; write records.jsonl, report.html, summary.md, junit.xml and exit_code"
DESCRIPTION = """\
Checks the observations and samples of a run, writes Parquet, computes quantiles, intervals and what each
number is bound by, judges, and writes the reports. It may be repeated at any time: it reads only what the
roles wrote. Ends with 0 when the report was written, whatever it says; `verdict` ends with the run's code."""
EPILOG = """\
examples:
  python -m harness report latest
  python -m harness report results/20261122T183000Z-1a2b
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    query.add_run(parser)
    query.add_results_dir(parser)


def run(args: argparse.Namespace) -> int:
    folder = find_run(args.results_dir, args.run)
    if not any((folder.path / name).exists() for name in ("plan.json", "observations.jsonl", "run.json", "stages")):
        raise UsageError(
            f"{folder.path} holds nothing of a run: no plan.json, observations.jsonl, run.json or stages",
            hint="remove it, or name another run; `python -m harness list` says which there are",
        )
    done = report(folder)
    sys.stdout.write(unequal_conditions(done.unequal))
    sys.stdout.write(records_table(done.records, colour=wants_colour(sys.stdout)))
    sys.stdout.write(f"\n{headline(done.records, done.exit_code)}\nreport: {done.html}\n")
    return 0
