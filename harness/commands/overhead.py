# SPDX-License-Identifier: GPL-3.0-or-later
"""`overhead`: whether an experiment has decided everything, and what a program would cost in its variants."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from harness import exit_codes, units
from harness.console import table
from harness.errors import UsageError
from harness.overhead import cost_model, experiment, other_tools, reader
from harness.overhead.experiment import Experiment
from harness.results import RunFolder

NAME = "overhead"
HELP = "look at an experiment with GPU variants: is it decided, what would a program cost"
DESCRIPTION = """\
decided: one line of JSON, {"decided", "undecided", "blocks", "more_blocks"}, for the role gpu_overhead, which
runs more blocks until all is decided. A variant that has no objective decides nothing.
predict: what the calls of a program take natively and in every variant, by a + b·bytes of each call as the
blocks measured it. The trace is CSV: call,bytes,count,seconds.
crosscheck: what nvbandwidth -j, cuda-bench --json or LoadGen's mlperf_log_detail.txt say of the same device,
beside the probe's native runs; exit code 1 when two instruments disagree."""
EPILOG = """\
examples:
  python -m harness overhead decided results/20260101T000000Z-0a1b isolation
  python -m harness overhead predict results/20260101T000000Z-0a1b isolation trace.csv
  python -m harness overhead crosscheck results/20260101T000000Z-0a1b isolation nvbandwidth.json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("question", choices=["decided", "predict", "crosscheck"])
    parser.add_argument("run", type=Path, metavar="RUN", help="the results folder")
    parser.add_argument("scenario", metavar="SCENARIO")
    parser.add_argument("file", type=Path, nargs="?", metavar="FILE", help="the trace, or another tool's result")


def run(args: argparse.Namespace) -> int:
    built = _experiment(args.run, args.scenario)
    if args.question == "decided":
        sys.stdout.write(json.dumps(decided(built)) + "\n")
        return 0
    if args.file is None:
        raise UsageError(f"{args.question}: which file?", hint="A trace to predict from, or another tool's result.")
    if args.question == "crosscheck":
        return _crosscheck(built, args.file)
    return _predict(built, args.file)


def _crosscheck(built: Experiment, path: Path) -> int:
    found = other_tools.compare(other_tools.read(path), built.of(built.native))
    headings = ("tool", "what", "its value", "the probe's", "")
    sys.stdout.write(table(headings, other_tools.rows(found), right=(2, 3)))
    return exit_codes.REGRESSION if any(one.agrees is False for one in found) else exit_codes.GOOD


def _predict(built: Experiment, path: Path) -> int:
    trace = cost_model.read_trace(path)
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
