# SPDX-License-Identifier: GPL-3.0-or-later
"""`doctor`: what this machine lacks."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from harness.doctor import CHECKS, NIGHTLY, Check, Diagnosis, diagnose, exit_code
from harness.errors import UsageError
from harness.machine import Machine
from harness.options import PROJECT
from harness.words import nearest

NAME = "doctor"
HELP = "say what this machine lacks for which suite, and the command that mends it"
DESCRIPTION = """\
Looks at this machine without changing it. Exit code 0: nothing lacks. 1: something optional, or what one
suite or an existing cluster needs. 2: the local nightly cannot run."""
EPILOG = """\
examples:
  python -m harness doctor
  python -m harness doctor --suite scheduler_scale
  KUBECONFIG=~/.kube/config python -m harness doctor --suite cluster
  python -m harness doctor --json | python -m json.tool
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="{ok, failures: [{check, suite, problem, mend}], checks}")
    parser.add_argument("--suite", metavar="NAME", help="only what this suite needs (or 'cluster', or 'nightly')")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where results will lie (results)")


def run(args: argparse.Namespace) -> int:
    machine = Machine(PROJECT, args.results_dir.absolute())
    diagnoses = diagnose(machine, checks_for(args.suite))
    print(json.dumps(as_json(diagnoses), indent=1) if args.json else as_text(diagnoses, colour=_colour()))
    return exit_code(diagnoses)


def checks_for(suite: str | None) -> list[Check]:
    """Those of the suite and of the nightly it is part of."""
    if suite is None:
        return list(CHECKS)
    known = {check.suite for check in CHECKS}
    if suite not in known:
        close = nearest(suite, known)
        hint = f"did you mean '{close}'?" if close else f"one of: {', '.join(sorted(known))}"
        raise UsageError(f"there is no suite '{suite}'", hint=hint)
    return [check for check in CHECKS if check.suite in (suite, NIGHTLY)]


def as_json(diagnoses: list[Diagnosis]) -> dict[str, Any]:
    return {
        "ok": all(diagnosis.ok for diagnosis in diagnoses),
        "failures": [
            {
                "check": diagnosis.check.name,
                "suite": diagnosis.check.suite,
                "problem": diagnosis.finding.problem,
                "mend": diagnosis.finding.mend,
            }
            for diagnosis in diagnoses
            if not diagnosis.ok
        ],
        "checks": [
            {
                "check": diagnosis.check.name,
                "suite": diagnosis.check.suite,
                "required": diagnosis.check.required,
                "ok": diagnosis.ok,
                "needed": diagnosis.finding.needed,
                "seen": diagnosis.finding.seen,
            }
            for diagnosis in diagnoses
        ],
    }


def as_text(diagnoses: list[Diagnosis], colour: bool) -> str:
    """A line a check; under one that failed what is wrong and what mends it."""
    width = max(len(diagnosis.check.name) for diagnosis in diagnoses)
    lines = []
    for diagnosis in diagnoses:
        word, code = _look(diagnosis)
        mark = f"\x1b[{code}m{word:<7}\x1b[0m" if colour else f"{word:<7}"
        lines.append(f"{mark} {diagnosis.check.name:<{width}}  {diagnosis.finding.seen}")
        if not diagnosis.ok:
            lines.append(f"{'':<{8 + width}}  {diagnosis.finding.problem} ({diagnosis.check.suite})")
            lines += [f"{'':<{8 + width}}  mend: {diagnosis.finding.mend}"] if diagnosis.finding.mend else []
    return "\n".join([*lines, "", CONCLUSIONS[exit_code(diagnoses)]])


CONCLUSIONS = {
    0: "Nothing lacks.",
    1: "The local nightly can run; something optional lacks.",
    2: "The local nightly cannot run.",
}


def _look(diagnosis: Diagnosis) -> tuple[str, str]:
    if diagnosis.ok:
        return ("ok", "32") if diagnosis.finding.needed else ("-", "36")
    return ("FAILED", "31") if diagnosis.check.required else ("lacks", "33")


def _colour() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
