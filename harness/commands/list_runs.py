# SPDX-License-Identifier: GPL-3.0-or-later
"""`list`: the runs there are."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from harness import presentation, query
from harness.console import table
from harness.errors import ResultsError
from harness.results import RunFolder, runs

NAME = "list"
HELP = "list the runs, newest last"
DESCRIPTION = "One line a run: when it began, its exit code, and how many records have which verdict."
EPILOG = """\
examples:
  python -m harness list
  python -m harness list --query "[?exit_code != \\`0\\`].run_id"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    query.add_results_dir(parser)
    query.add_output(parser, "the list of runs")


def run(args: argparse.Namespace) -> int:
    found = [_described(folder) for folder in runs(args.results_dir)]
    if query.wants_document(args):
        query.print_document(args, found)
    elif not found:
        sys.stdout.write(f"no runs under {args.results_dir}\n")
    else:
        rows = [
            (
                item["run_id"],
                item["started_at"],
                str(item["exit_code"]) if item["exit_code"] is not None else presentation.UNFINISHED,
                item["problem"] or _counts(item["verdicts"]),
            )
            for item in found
        ]
        sys.stdout.write(table(("run", "started", "exit code", "records"), rows))
    return 0


def _described(folder: RunFolder) -> dict[str, Any]:
    """A folder that cannot be read is listed with the reason; the others are listed all the same."""
    document: dict[str, Any] = {
        "run_id": folder.run_id,
        "path": str(folder.path),
        "started_at": "",
        "exit_code": folder.exit_code(),
        "verdicts": {},
        "failed_stages": list(folder.failures()),
        "problem": "",
    }
    try:
        document["started_at"] = folder.run()["started_at"]
        document["verdicts"] = dict(presentation.counts(folder.records()))
    except ResultsError as error:
        document["problem"] = error.message
    return document


def _counts(verdicts: dict[str, int]) -> str:
    return ", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in verdicts.items()) or "none yet"
