# SPDX-License-Identifier: GPL-3.0-or-later
"""`import calico-log`: published logs of the Calico node start-up test."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from harness import assumed_probe, calico_checks, calico_log, imported_calico, query, units
from harness.assumed_probe import ProbeAssumption
from harness.calico_checks import Expected
from harness.calico_log import CalicoLog
from harness.console import records_table, table, wants_colour
from harness.errors import UsageError
from harness.presentation import headline
from harness.report import report
from harness.results import RunFolder
from harness.state import new_run_id

HELP = "logs of a test that restarts one calico-node beside a load, one file a test"
DESCRIPTION = """\
Rebuilds the published table from the logs and names what is wrong with each: start-ups that are periods of a
readiness probe, failed requests called success, no traffic table, a median printed twice, another number of
nodes than the label claims. The probe's period is in no log: what is assumed of it is printed as assumed, and it is
named only where enough start-ups lie just behind a whole period."""
EPILOG = """\
examples:
  python -m harness import calico-log default-calico-test-run-*.log
  python -m harness import calico-log one.log --assume-probe-period 10
"""
HEADINGS = (
    "log",
    "dataplane",
    "nodes asked",
    "counted",
    "policies",
    "start-up",
    "median / mean / max",
    "failed",
    "result",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="+", metavar="FILE")
    query.add_results_dir(parser)
    group = parser.add_argument_group("what is assumed", "no log says it")
    _number(
        group, "assume-probe-period", "SECONDS", assumed_probe.PERIOD, "the period of calico-node's readiness probe"
    )
    _number(
        group, "assume-first-probe", "SECONDS", assumed_probe.FIRST_PROBE, "from the pod's creation to its first probe"
    )
    _number(
        group, "assume-other-nodes", "N", calico_checks.OTHER_NODES, "nodes that no label counts: masters and the like"
    )
    group = parser.add_argument_group("what a test that says success has to show")
    _number(group, "fewest-requests", "N", calico_checks.FEWEST_REQUESTS, "requests in its traffic table")
    _number(group, "most-failed", "RATIO", calico_checks.MOST_FAILED, "share of them that may fail")


def run(args: argparse.Namespace) -> int:
    assumption, expected = _assumptions(args)
    logs = _read(args.file)
    folder = RunFolder(args.results_dir / new_run_id())
    imported_calico.write(folder, logs, assumption, expected)
    done = report(folder)
    out = sys.stdout
    out.write(f"run {folder.run_id}, imported from {len(logs)} logs: nothing of it was measured here\n\n")
    out.write(records_table(done.records, colour=wants_colour(out)))
    out.write("\nAs published:\n\n" + table(HEADINGS, [_row(log) for log in logs], right=(2, 3, 4, 5, 6, 7)))
    out.write(f"\nAssumed, read in no log: {assumption.text}.\n")
    out.write("\n" + "".join(_defects(log, logs, assumption, expected) for log in logs))
    out.write(f"\n{headline(done.records, done.exit_code)}\nreport: {done.html}\n")
    return 0


def _read(paths: Sequence[Path]) -> list[CalicoLog]:
    logs: dict[str, CalicoLog] = {}
    for path in paths:
        log = calico_log.read(path)
        if log.sha256 in logs:
            raise UsageError(
                f"{path} is the same log as {logs[log.sha256].name}", hint="a log is one repeat: name it once"
            )
        logs[log.sha256] = log
    return list(logs.values())


def _row(log: CalicoLog) -> tuple[str, ...]:
    total = log.total
    return (
        log.label.text or log.name,
        log.dataplane or units.MISSING,
        _count(log.label.nodes),
        _count(log.nodes),
        _count(log.policies),
        " or ".join(f"{seconds} s" for seconds in sorted(set(log.start_ups.values()))),
        f"{total.median} / {total.mean} / {total.most} ms" if total else units.MISSING,
        f"{total.failed:,} of {total.requests:,}" if total else units.MISSING,
        {True: "success", False: "failure", None: units.MISSING}[log.succeeded],
    )


def _defects(log: CalicoLog, logs: Sequence[CalicoLog], assumption: ProbeAssumption, expected: Expected) -> str:
    found = [
        f"{item.name}: {item.observed} (expected {item.expected})" for item in calico_checks.defects(log, expected)
    ]
    if log.start_up is not None:
        every = [float(one.start_up) for one in logs if one.start_up is not None]
        finding = assumed_probe.derive(assumption, float(log.start_up), every)
        found += [f"start_up_is_a_probe_period: {finding.reason}"] if finding.bound_by else []
    lines = found or ["nothing found"]
    return f"{log.label.text or log.name}, {log.dataplane or 'dataplane not said'}\n" + "".join(
        f"  {one}\n" for one in lines
    )


def _assumptions(args: argparse.Namespace) -> tuple[ProbeAssumption, Expected]:
    bounds = {
        "assume_probe_period": (1.0, math.inf),
        "assume_first_probe": (0.0, args.assume_probe_period),
        "assume_other_nodes": (0.0, 1e9),
        "fewest_requests": (0.0, 1e12),
        "most_failed": (0.0, 1.0),
    }
    for name, (least, most) in bounds.items():
        value = getattr(args, name)
        if not math.isfinite(value) or not least <= value <= most:
            raise UsageError(f"--{name.replace('_', '-')} {value:g}: has to be a number from {least:g} to {most:g}")
    return (
        ProbeAssumption(period=args.assume_probe_period, first_probe=args.assume_first_probe),
        Expected(int(args.assume_other_nodes), int(args.fewest_requests), args.most_failed),
    )


def _number(group: argparse._ArgumentGroup, name: str, unit: str, default: float, what: str) -> None:
    group.add_argument(
        f"--{name}", type=float, default=float(default), metavar=unit, help=f"{what} (default: {default:g})"
    )


def _count(value: int | None) -> str:
    return units.MISSING if value is None else f"{value:,}"
