# SPDX-License-Identifier: GPL-3.0-or-later
"""`dataplanes`: what several runs of calico_scale measured, dataplane by dataplane and release by release."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from harness import cost_fit, dataplanes, dataplanes_table, query
from harness.results import dumps, find_run

NAME = "dataplanes"
HELP = "set dataplanes and releases of Calico side by side, over any number of runs"
DESCRIPTION = """\
One table over all runs: a row for each metric, a column for each dataplane that nodes were seen to run with the
release that it stated, each with mean and interval, and a verdict against the control subject. Repeats of runs in
which the same was asked for are pooled; other numbers of nodes, other loads stand in rows of their own. A verdict
needs three repeats on both sides; where the interval cannot decide it is inconclusive. What is invalid or could
not be run is shown with its reason and never compared. Of runs that differ in nothing but the number of nodes,
policies or endpoints, three numbers or more, what 1,000 of them cost stands below the table. With --json or
--query the document is {against, subjects, records, left_out, conditions, cost}."""
EPILOG = """\
examples:
  python -m harness dataplanes 20261121T183000Z-77aa 20261122T183000Z-1c0d latest
  python -m harness dataplanes A B C --against "calico_iptables v3.32.1"
  python -m harness dataplanes A B C --markdown > dataplanes.md
  python -m harness dataplanes A B --query "records[].[metric, cells[].against.verdict]"
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", metavar="RUN", nargs="+", help="a run-id or its beginning, the path of a run's folder, or latest"
    )
    parser.add_argument(
        "--against",
        metavar="SUBJECT",
        default=dataplanes.CONTROL,
        help=f"the subject that the others are judged by (default: {dataplanes.CONTROL})",
    )
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    query.add_results_dir(parser)
    query.add_output(parser, "the comparison")


def run(args: argparse.Namespace) -> int:
    folders = {folder.path: folder for folder in (find_run(args.results_dir, name) for name in args.run)}.values()
    unequal = dataplanes.conditions([folder.run() for folder in folders])
    records = [record for folder in folders for record in folder.records()]
    observations = [item for folder in folders for item in folder.observations()]
    cost = cost_fit.document(observations, records)
    document: dict[str, Any] = dataplanes.compare(records, args.against) | {"conditions": unequal, "cost": cost}
    if query.wants_document(args):
        query.print_document(args, json.loads(dumps(document)))
    elif args.markdown:
        sys.stdout.write(dataplanes_table.markdown(document, unequal))
    else:
        sys.stdout.write(dataplanes_table.in_words(document, unequal))
    return 0
