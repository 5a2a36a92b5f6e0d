# SPDX-License-Identifier: GPL-3.0-or-later
"""`resume`: go on with a run that was interrupted, killed or had a stage that failed."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from harness import processes, runner
from harness.commands.run import project_of
from harness.errors import InfrastructureError, UsageError
from harness.options import add_ansible_arguments, ansible_options
from harness.orphans import end_orphans, stage_mark
from harness.results import RunFolder, drop_half_written_line, find_run
from harness.sequence import Sequence
from harness.stages import ALWAYS, ENVIRONMENT, AnsibleOptions, Stage, read_stages
from harness.state import FAILURE_FILE, STATE_FILE, RunState, load_state

NAME = "resume"
HELP = "redo only what is not finished of an interrupted run"
DESCRIPTION = """\
Goes on with a run under the same id. Stages that finished are kept, and inside a suite every repeat
whose observation is there. The environment is set up again, because what was torn down or died is not
there any more. Options are those of the run; secrets given by -e are never kept and are asked for again."""
EPILOG = """\
examples:
  python -m harness resume latest
  python -m harness resume 20261122T183000Z-1a2b -e registry_password=…
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run-id, its beginning, a path, or 'latest'")
    parser.add_argument("--results-dir", type=Path, default=Path("results"), help="where the runs lie (results)")
    add_ansible_arguments(parser)


def run(args: argparse.Namespace) -> int:
    added = ansible_options(args)
    folder = find_run(args.results_dir.resolve(), args.run)
    if not (folder.path / STATE_FILE).exists():
        return _nothing_to_resume(folder)
    state, hidden = load_state(folder.path)
    if state.owner.alive:
        raise InfrastructureError(
            f"run {state.run_id} is still running as process {state.owner.pid}",
            hint=f"wait for it, or end it in order with: kill -INT {state.owner.pid}",
        )
    options = merged(state.options, added, hidden)
    runner.remove_stale_scratch()
    stages = read_stages(Path(state.nightly))
    _end_leftovers(state, stages)
    drop_half_written_line(folder.path / "observations.jsonl")
    state = replace(state, options=options, owner=processes.this_process())
    finished = finished_stages(folder.path, stages, state.stages)
    sequence = Sequence(
        project_of(Path(state.nightly)), stages, state, sys.stdout, finished=finished, run_dir=folder.path
    )
    return sequence.run_and_tell()


def merged(before: AnsibleOptions, added: AnsibleOptions, hidden: list[str]) -> AnsibleOptions:
    """The run's options, with variables and secrets given now on top. What decides the measurement stays."""
    given = " ".join(added.extra_vars)
    missing = [name for name in hidden if f"{name}" not in given]
    if missing and not any(value.startswith("@") for value in added.extra_vars):
        raise UsageError(
            f"the run was given secrets that are not kept: {', '.join(missing)}",
            hint=f"give them again: {' '.join(f'-e {name}=…' for name in missing)}",
        )
    return replace(
        before,
        extra_vars=(*before.extra_vars, *added.extra_vars),
        inventories=added.inventories or before.inventories,
        verbosity=added.verbosity,
        vault_ids=added.vault_ids or before.vault_ids,
        vault_password_files=added.vault_password_files or before.vault_password_files,
    )


def finished_stages(run_dir: Path, stages: list[Stage], states: dict[str, str]) -> frozenset[str]:
    """Those whose playbook ended with 0 and left no FAILURE; the environment only where no suite needs it any more."""
    finished = {
        stage.name
        for stage in stages
        if states.get(stage.name) in ("finished", "kept") and ended_well(run_dir / "stages" / stage.folder)
    } - set(ALWAYS)
    suites = {stage.name for stage in stages} - set(ALWAYS) - {ENVIRONMENT}
    done = {name for name in suites if name in finished or states.get(name) == "skipped"}
    return frozenset(finished if done == suites else finished - {ENVIRONMENT})


def ended_well(folder: Path) -> bool:
    try:
        return (folder / "rc").read_text().strip() == "0" and not (folder / FAILURE_FILE).exists()
    except OSError:
        return False


def _end_leftovers(state: RunState, stages: list[Stage]) -> None:
    """Ansible and a module of the killed harness may still be at work; resumed daemons are looked after by roles."""
    running = [stage for stage in stages if state.stages.get(stage.name) == "running"]
    end_orphans([stage_mark(state.run_id, stage.folder) for stage in running], state.run_state)


def _nothing_to_resume(folder: RunFolder) -> int:
    code = folder.exit_code()
    if code is None:
        raise UsageError(
            f"run {folder.run_id} was not started by 'python -m harness run', or was killed before it had begun",
            hint=f"end what it left by 'python -m harness clean {folder.run_id}', then start a new run",
        )
    print(f"run {folder.run_id} is finished (exit code {code}); nothing to resume")
    return code
