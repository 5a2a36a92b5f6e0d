# SPDX-License-Identifier: GPL-3.0-or-later
"""`import gpu-text`: a GPU benchmark's published text, what it can show and what it cannot."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness import units
from harness.console import table
from harness.errors import UsageError
from harness.overhead import text_result
from harness.overhead.text_result import TextResult

HELP = "published text results of a GPU benchmark (Throughput, Latency, Memory Bandwidth)"
DESCRIPTION = """\
Reads baseline_results.txt and its like and says of each what its numbers are and what they cannot show. With
--baseline the others are compared with it. It makes no run: one text has no samples, no repeats and no evidence."""
EPILOG = """\
examples:
  python -m harness import gpu-text baseline_results.txt
  python -m harness import gpu-text --baseline baseline_results.txt k8s-baseline-results.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", type=Path, nargs="+", metavar="FILE")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="what the files are compared with")


def run(args: argparse.Namespace) -> int:
    if args.baseline is None and len(args.files) > 1:
        raise UsageError(
            f"{len(args.files)} files and no baseline: nothing is compared with a number that nobody measured",
            hint="Say which one it is: --baseline FILE.",
        )
    baseline = text_result.read(args.baseline) if args.baseline is not None else None
    out = sys.stdout
    for path in args.files:
        result = text_result.read(path)
        out.write(_page(result))
        if baseline is not None:
            out.write(_compared(baseline, result))
    return 0


def _page(result: TextResult) -> str:
    device = f" ({result.word('device')})" if result.word("device") else ""
    parts = [f"{result.name}{device}: nothing of it was measured here\n\nIt shows:\n"]
    parts += [f"  * {line}\n" for line in text_result.shows(result)]
    parts.append("\nIt cannot show:\n")
    parts += [f"  * {line}\n" for line in text_result.cannot_show(result)]
    return "".join(parts) + "\n"


def _compared(baseline: TextResult, result: TextResult) -> str:
    found = text_result.overheads(baseline, result)
    if not found:
        raise UsageError(f"{baseline.name} and {result.name} have no number in common")
    rows = [(name, f"{before:g}", f"{after:g}", units.show(lost, "ratio")) for name, before, after, lost in found]
    text = table(("number", baseline.name, result.name, "lost"), rows, right=(1, 2, 3))
    return f"{text}\nOne run each: no interval, so no verdict.\n"
