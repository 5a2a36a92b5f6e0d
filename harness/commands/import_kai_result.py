# SPDX-License-Identifier: GPL-3.0-or-later
"""`import kai-result`: what the KAI project's scale suite has written."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

from harness import assumed_limit, imported_kai, kai_result, query, units
from harness.assumed_limit import Assumption
from harness.bound_by import ClientLimit
from harness.console import records_table, table, wants_colour
from harness.errors import UsageError
from harness.model import Record
from harness.presentation import headline
from harness.report import report
from harness.results import RunFolder
from harness.state import new_run_id

HELP = "kwok_scale_test.json of the KAI project's scale suite, or its dashboard's wrapper of it"
DESCRIPTION = """\
Such a file holds no client limits: those that are assumed are printed as assumed, with what they predict beside
what was published. A result of which the file says that it failed, or did not complete, is invalid."""
EPILOG = """\
examples:
  python -m harness import kai-result kwok_scale_test.json
  python -m harness import kai-result results.json --assume-qps 50 --assume-burst 300
"""
# A binder of an operator's installation that nobody has tuned.
COMPONENT, QPS, BURST, REQUESTS_PER_POD = "binder", 20.0, 100.0, 2.0
REQUESTS = "PATCH pod, POST binding"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE")
    query.add_results_dir(parser)
    group = parser.add_argument_group("what is assumed of the client that binds", "the file does not say it")
    group.add_argument("--assume-component", default=COMPONENT, metavar="NAME", help=f"default: {COMPONENT}")
    group.add_argument("--assume-qps", type=float, default=QPS, metavar="N", help=f"default: {QPS:g}")
    group.add_argument("--assume-burst", type=float, default=BURST, metavar="N", help=f"default: {BURST:g}")
    group.add_argument(
        "--assume-requests-per-pod",
        type=float,
        default=REQUESTS_PER_POD,
        metavar="N",
        help=f"default: {REQUESTS_PER_POD:g} ({REQUESTS})",
    )
    group.add_argument(
        "--assume-start-up",
        type=float,
        default=assumed_limit.START_UP,
        metavar="SECONDS",
        help=f"how much of a time may be the scheduler's start (default: {assumed_limit.START_UP:g})",
    )


def run(args: argparse.Namespace) -> int:
    assumption = _assumption(args)
    result = kai_result.read(args.file)
    folder = RunFolder(args.results_dir / new_run_id())
    imported_kai.write(folder, result, args.file.name, assumption)
    done = report(folder)
    out = sys.stdout
    out.write(f"run {folder.run_id}, imported from {args.file}: nothing of it was measured here\n\n")
    out.write(records_table(done.records, colour=wants_colour(out)))
    out.write(f"\nAssumed, not read from the file: {assumption.text}.\n")
    out.write(_predictions(done.records, assumption))
    if result.unknown:
        out.write(f"\nNot imported, no scenario has that name: {', '.join(map(repr, result.unknown))}\n")
    out.write(f"\n{headline(done.records, done.exit_code)}\nreport: {done.html}\n")
    return 0


def _assumption(args: argparse.Namespace) -> Assumption:
    for name, least in (("qps", 0.0), ("requests_per_pod", 0.0), ("burst", -1.0), ("start_up", -1.0)):
        value = getattr(args, f"assume_{name}")
        if not math.isfinite(value) or value <= least or value < 0:
            bound = "above 0" if least == 0 else "0 or above"
            raise UsageError(f"--assume-{name.replace('_', '-')} {value:g}: has to be a number {bound}")
    limit = ClientLimit(args.assume_component, args.assume_qps, args.assume_burst, args.assume_requests_per_pod)
    ours = (limit.component, limit.requests_per_pod) == (COMPONENT, REQUESTS_PER_POD)
    return Assumption(limit, REQUESTS if ours else "", args.assume_start_up)


def _predictions(records: list[Record], assumption: Assumption) -> str:
    """What the assumption predicts for every time that ends with a bind, beside what was published."""
    rows = []
    for record in records:
        pods = record.parameters.get("pods")
        if "assumed" not in record.parameters or record.value is None or pods is None:
            continue
        predicted = assumption.limit.seconds(pods)
        explains = record.bound_by is not None
        rows.append(
            (
                record.scenario,
                units.digits(pods),
                units.show(predicted, "s"),
                units.show(record.value, "s"),
                f"{record.value / predicted:.3f}" if predicted else units.MISSING,
                f"client limit of {assumption.limit.component} (assumed)" if explains else "something else",
            )
        )
    headings = ("scenario", "pods", "predicted", "published", "ratio", "bound by")
    return "\n" + table(headings, rows, right=(1, 2, 3, 4)) if rows else ""
