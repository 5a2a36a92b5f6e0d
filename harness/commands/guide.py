# SPDX-License-Identifier: GPL-3.0-or-later
"""`guide`: the selection guide of workload patterns, made of a run's records."""

from __future__ import annotations

import argparse
import sys

from harness import query
from harness.errors import ResultsError
from harness.results import find_run
from harness.workload import guide

NAME = "guide"
HELP = "the selection guide of workload patterns, out of a run's records"
DESCRIPTION = """\
Prints as Markdown what the run measured of each workload pattern (latency, throughput, GPUs, cost, complexity) with
its interval, its grade among the patterns, and what became of what the published guide claims. Cells whose value is
only what was planted say `simulated`."""
EPILOG = """\
examples:
  python -m harness guide latest
  python -m harness guide 20260101T000000Z-0a1b > guide.md
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    query.add_run(parser)
    query.add_results_dir(parser)


def run(args: argparse.Namespace) -> int:
    folder = find_run(args.results_dir, args.run)
    lines = guide.made(folder.records(), folder.observations())
    if not lines:
        raise ResultsError(
            "has no records of workload patterns",
            path=folder.path,
            hint="Run them: python -m harness run nightly --tags environment,workload_patterns",
        )
    sys.stdout.write(guide.markdown(folder.run_id, lines))
    return 0
