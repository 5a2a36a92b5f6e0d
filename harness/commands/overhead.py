# SPDX-License-Identifier: GPL-3.0-or-later
"""`overhead`: whether an experiment has decided everything, and what a program would cost in its variants."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from harness import units
from harness.console import table
from harness.errors import UsageError
from harness.overhead import cost_model, experiment, reader
from harness.overhead.experiment import Experiment
from harness.results import RunFolder

NAME = "overhead"
HELP = "look at an experiment with GPU variants: is it decided, what would a program cost"
DESCRIPTION = """\
decided: one line of JSON, {"decided", "undecided", "blocks", "more_blocks"}, for the role gpu_overhead, which
runs more blocks until all is decided. A variant that has no objective decides nothing.
predict: what the calls of a program take natively and in every variant, by a + b·bytes of each call as the
blocks measured it. The trace is CSV: call,bytes,count,seconds."""
EPILOG = """\
examples:
  python -m harness overhead decided results/20260101T000000Z-0a1b isolation
  python -m harness overhead predict results/20260101T000000Z-0a1b isolation trace.csv
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", choices=["decided", "predict"])
    parser.add_argument("run", type=Path, metavar="RUN", help="the results folder")
    parser.add_argument("scenario", metavar="SCENARIO")
    parser.add_argument("trace", type=Path, nargs="?", metavar="TRACE", help="for predict")


def run(args: argparse.Namespace) -> int:
    built = _experiment(args.run, args.scenario)
    if args.question == "decided":
        sys.stdout.write(json.dumps(decided(built)) + "\n")
        return 0
    if args.trace is None:
        raise UsageError("predict: which trace?", hint="Give a CSV file: call,bytes,count,seconds.")
    trace = cost_model.read_trace(args.trace)
    rows = []
    for variant in built.variants:
        found = cost_model.predict(built, variant, trace)
        ends = [units.show(end, "ratio") for end in (found.low, found.high)]
        shown = [units.show(found.native_seconds, "s"), units.show(found.seconds, "s")]
        rows.append((variant, *shown, units.show(found.overhead, "ratio"), " to ".join(ends)))
    headings = ("variant", "native", "with it", "overhead", "95 % interval")
    sys.stdout.write(table(headings, rows, right=(1, 2, 3)))
    return 0


def decided(built: Experiment) -> dict[str, object]:
    """Of all gates of all variants; without one of them there is nothing that blocks could decide."""
    decisions = [one for variant in built.variants for one in built.decisions(variant).values()]
    open_ones = [one for one in decisions if one.verdict == "inconclusive"]
    return {
        "decided": not open_ones and bool(decisions),
        "undecided": len(open_ones),
        "blocks": len(built.blocks),
        "more_blocks": max((one.more_blocks or 0 for one in open_ones), default=0),
    }


def _experiment(folder: Path, scenario: str) -> Experiment:
    if not (folder / "observations.jsonl").is_file():
        raise UsageError(f"{folder}: no observations.jsonl in it", hint="Give the folder of a run.")
    found = {name: every for (_, name), every in reader.gather(folder, RunFolder(folder).observations()).items()}
    if scenario not in found:
        known = ", ".join(found) or "none"
        raise UsageError(f"{folder}: no run of the probe in a scenario {scenario!r}", hint=f"There are: {known}.")
    return experiment.build(found[scenario])
