# SPDX-License-Identifier: GPL-3.0-or-later
"""`compare`: two runs side by side."""

from __future__ import annotations

import argparse
import sys

from harness import compare, fairness, query
from harness.results import find_run

NAME = "compare"
HELP = "set two runs side by side, with the ratio's interval and what bounds each number"
DESCRIPTION = """\
Compares only runs with equal parameters; otherwise it says which differ and ends with 2. The ratio's
interval is over the repeats. A number that is bound by something else in the other run is pointed out,
and so is everything else that changed between the runs: host, revision, tools, configuration. What makes
the comparison unfair (client limits, replicas, cpu, memory, webhooks, period) stands above the table."""
EPILOG = """\
examples:
  python -m harness compare 20261121T183000Z-77aa latest
  python -m harness compare A B --query "records[?change == 'worse'].[scenario, metric, ratio]"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="the run to compare with: a run-id, a folder, or latest")
    parser.add_argument("b", metavar="B", help="the run to judge")
    query.add_results_dir(parser)
    query.add_output(parser, "the comparison")


def run(args: argparse.Namespace) -> int:
    folders = [find_run(args.results_dir, name) for name in (args.a, args.b)]
    a, b = (folder.records() for folder in folders)
    told = [fairness.manifests(folder.observations()) for folder in folders]
    document = compare.compare(a, b, folders[0].run(), folders[1].run(), (told[0], told[1]))
    if query.wants_document(args):
        query.print_document(args, document)
    else:
        sys.stdout.write(compare.in_words(document, a, b))
    return 0
