# SPDX-License-Identifier: GPL-3.0-or-later
"""`verdict`: ends with the exit code of a run."""

from __future__ import annotations

import argparse
import sys

from harness import judge, query
from harness.ending import write_exit_code
from harness.presentation import headline
from harness.results import find_run

NAME = "verdict"
HELP = "end with the exit code of a run, after its records and the stages that failed"
DESCRIPTION = """\
Reads records.jsonl and the stages' FAILURE files, writes exit_code and ends with it:
0 good, 1 regression or failed objective, 3 infrastructure or a broken suite, 4 invalid measurement."""
EPILOG = """\
examples:
  python -m harness verdict latest && echo good
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    query.add_run(parser)
    query.add_results_dir(parser)


def run(args: argparse.Namespace) -> int:
    folder = find_run(args.results_dir, args.run)
    records, failures = folder.records(), folder.failures()
    plan = folder.plan()
    judged = plan is not None and (bool(records) or not plan.records)
    code = judge.exit_code(records, failures, planned=judged)
    write_exit_code(folder, code)
    sys.stdout.write(f"{folder.run_id}: {headline(records, code)}\n")
    for stage, failure in failures.items():
        sys.stdout.write(f"  stage {stage} failed: {failure.reason}\n")
    return code
