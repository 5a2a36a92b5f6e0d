# SPDX-License-Identifier: GPL-3.0-or-later
"""`clean`: end what runs left behind, by playbooks/reap.yml."""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import exit_codes, runner
from harness.attempt import shown_path
from harness.errors import HarnessError, InfrastructureError, UsageError
from harness.options import PROJECT, add_ansible_arguments, ansible_options
from harness.results import RUN_ID, find_run
from harness.runner import PlaybookRun, ansible_environment, failure_text, remove_stale_scratch
from harness.stages import Stage, stage_argv

NAME = "clean"
HELP = "end what interrupted runs left behind; results stay"
DESCRIPTION = """\
Ends processes by pid and start time, removes the state of runs whose process is gone and frees the
machine. A run that is alive is left alone. Results and cached tools stay."""
EPILOG = """\
examples:
  python -m harness clean                    every dead run
  python -m harness clean --check            only list what would be ended and removed
  python -m harness clean 20261122T183000Z-1a2b
"""


class CleanFailed(HarnessError):
    """Carries the exit code that the playbook asks for."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.exit_code = code  # type: ignore[misc]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", metavar="RUN", help="one run: run-id, its beginning, a path, or 'latest'")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the runs lie (results)")
    add_ansible_arguments(parser)


def run(args: argparse.Namespace) -> int:
    options = ansible_options(args)
    variables = {}
    if args.run:
        known = bool(RUN_ID.match(args.run))
        variables["nightbench_run_id"] = args.run if known else find_run(args.results_dir.resolve(), args.run).run_id
    scratch = [] if options.check else remove_stale_scratch()
    runs, events = _reap(replace(options, diff=False), variables)
    if options.verbosity:
        print("\n".join(events))
    for line in told(runs, [str(folder) for folder in scratch], check=options.check):
        print(line)
    return exit_codes.GOOD


def told(runs: list[dict[str, Any]], scratch: list[str], *, check: bool) -> list[str]:
    """What was done, or would be, one thing a line."""
    ends, removes, frees = ("would end", "would remove", "would free") if check else ("ended", "removed", "freed")
    lines = []
    for one in runs:
        lines += [f"{one['run_id']}: {ends} process {p['pid']}: {p['command']}" for p in one.get("processes", [])]
        lines += [f"{one['run_id']}: {removes} {path}" for path in one.get("removed", [])]
        if one.get("lease_freed"):
            lines.append(f"{one['run_id']}: {frees} the machine")
        if one.get("kubeconfig"):
            lines.append(
                f"{one['run_id']}: objects with its label in the cluster of {one['kubeconfig']} were looked for"
            )
    lines += [f"{removes} {path}" for path in scratch]
    return lines or ["nothing was left behind"]


def _reap(options: Any, variables: dict[str, str]) -> tuple[list[dict[str, Any]], list[str]]:
    playbook = PROJECT / "playbooks" / "reap.yml"
    if not playbook.is_file():
        raise UsageError(f"there is no {playbook}")
    cwd = Path(os.getcwd())
    argv = stage_argv(Stage(1, "reap", playbook), options, variables, shown_path(playbook, cwd))
    runs: dict[str, dict[str, Any]] = {}
    failures: list[tuple[str, Any]] = []
    output: list[str] = []

    def on_event(event: runner.Event) -> None:
        if event.get("stdout"):
            output.append(str(event["stdout"]))
        result = (event.get("event_data") or {}).get("res")
        if isinstance(result, dict):
            for one in result.get("runs") or []:
                if isinstance(one, dict) and one.get("run_id"):
                    runs[one["run_id"]] = {**runs.get(one["run_id"], {}), **one}
        text = failure_text(event)
        if text is not None:
            failures.append((text, result.get("exit_code") if isinstance(result, dict) else None))

    process = PlaybookRun(argv, ansible_environment(PROJECT, cwd) | {"NIGHTBENCH_PROGRESS_SECONDS": "0"}, cwd, on_event)
    process.start()
    while not process.wait(0.2):
        pass
    if process.rc != 0:
        text, code = failures[-1] if failures else ("\n".join(output[-20:]) or "ansible-playbook said nothing", None)
        raise CleanFailed(text, code if code in exit_codes.PRECEDENCE else InfrastructureError.exit_code)
    return list(runs.values()), output
