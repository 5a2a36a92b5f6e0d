# SPDX-License-Identifier: GPL-3.0-or-later
"""`doctor`: what this machine lacks, or why a pod of a cluster is pending."""

from __future__ import annotations

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.doctor import CHECKS, NIGHTLY, Check, Diagnosis, diagnose, exit_code
from harness.errors import UsageError
from harness.machine import Machine
from harness.options import PROJECT
from harness.pending import Answer, explain
from harness.words import nearest

NAME = "doctor"
HELP = "say what this machine lacks for which suite and what mends it, or why a pod is pending"
DESCRIPTION = """\
Looks at this machine without changing it. Exit code 0: nothing lacks. 1: something optional, or what one
suite or an existing cluster needs. 2: the local nightly cannot run.

With --pending it looks at one pod of a cluster instead. Exit code 0: it is not pending, or the cause is said.
1: it is pending, and no cause was found. 2: it could not be looked at."""
EPILOG = """\
examples:
  python -m harness doctor
  python -m harness doctor --suite scheduler_scale
  python -m harness doctor --suite traffic_mesh
  KUBECONFIG=~/.kube/config python -m harness doctor --suite cluster
  python -m harness doctor --json | python -m json.tool
  python -m harness doctor --pending default/job-x1 --kubeconfig ~/.kube/config
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="{ok, failures: [{check, suite, problem, mend}], checks}")
    parser.add_argument("--suite", metavar="NAME", help="only what this suite needs (or 'cluster', or 'nightly')")
    parser.add_argument("--pending", metavar="NAMESPACE/POD", help="say why this pod is pending; made for KAI's pods")
    parser.add_argument("--kubeconfig", metavar="FILE", help="of the pod's cluster (KUBECONFIG, ~/.kube/config)")
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where results will lie (results)")


def run(args: argparse.Namespace) -> int:
    if args.pending is not None:
        return _pending(args)
    if args.kubeconfig or args.context:
        raise UsageError(
            "--kubeconfig and --context belong to --pending NAMESPACE/POD", hint="KUBECONFIG=FILE is looked at"
        )
    machine = Machine(PROJECT, args.results_dir.absolute())
    diagnoses = diagnose(machine, checks_for(args.suite))
    print(json.dumps(as_json(diagnoses), indent=1) if args.json else as_text(diagnoses, colour=_colour()))
    return exit_code(diagnoses)


def _pending(args: argparse.Namespace) -> int:
    # Imported only here: the kubernetes package takes its time.
    from harness.pending_look import Cluster, look, parse_name

    if args.suite:
        raise UsageError("--pending is about one pod and --suite about this machine", hint="give one of them")
    namespace, name = parse_name(args.pending)
    answer = explain(look(Cluster(args.kubeconfig, args.context), namespace, name))
    print(json.dumps(pending_as_json(answer), indent=1) if args.json else pending_as_text(answer))
    return answer.exit_code


def pending_as_json(answer: Answer) -> dict[str, Any]:
    return {
        "ok": answer.exit_code == 0,
        "pod": answer.pod,
        "pending": answer.pending,
        "said": answer.said,
        "causes": [asdict(cause) for cause in answer.causes],
        "not_read": list(answer.not_read),
    }


def pending_as_text(answer: Answer) -> str:
    """What the pod is, then every cause with what mends it."""
    lines = [f"{answer.pod}: {answer.said}"]
    for cause in answer.causes:
        lines += ["", f"{cause.check}: {'' if cause.certain else 'probably '}{cause.problem}"]
        lines += [f"  mend: {cause.mend}"] if cause.mend else []
    if answer.exit_code:
        lines += ["", "No cause was found: nothing of what a scheduler needs is missing, and none has said a word."]
    lines += [f"not read: {one}" for one in answer.not_read]
    return "\n".join(lines)


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
