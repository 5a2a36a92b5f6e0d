# SPDX-License-Identifier: GPL-3.0-or-later
"""`run`: a new run of the nightly."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from harness import runner
from harness.errors import UsageError
from harness.options import PROJECT, add_ansible_arguments, ansible_options, extra_var
from harness.processes import this_process
from harness.sequence import Sequence
from harness.stages import read_stages
from harness.state import RunState, new_run_id
from harness.words import nearest

NAME = "run"
HELP = "run the nightly: build the environment, measure, report, tear down"
DESCRIPTION = """\
Runs the stages of playbooks/nightly.yml one after another, each by one ansible-playbook line that is
kept in results/RUN/stages/NN__STAGE/command.txt. Ctrl-C stops the measuring, reports what is finished
and tears down; a second one is explained, a third one forces."""
EPILOG = """\
examples:
  python -m harness run nightly
  python -m harness run nightly -e kwok_nodes_count=100 --tags environment,scheduler_scale
  python -m harness run nightly --tags environment,traffic_mesh
  python -m harness run nightly -i inventories/cluster --limit gpu_hosts --vault-id prod@~/.vault
  python -m harness run nightly --check --diff          what would happen; needs no cluster
  python -m harness run nightly -- --become-password-file ~/.become
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("playbook", metavar="nightly", help="the list of stages: playbooks/NAME.yml, or a path")
    add_ansible_arguments(parser)


def run(args: argparse.Namespace) -> int:
    options = ansible_options(args)
    nightly = find_playbook(args.playbook)
    runner.remove_stale_scratch()
    state = RunState(
        run_id=extra_var(options.extra_vars, "nightbench_run_id") or new_run_id(),
        nightly=str(nightly),
        cwd=os.getcwd(),
        options=options,
        owner=this_process(),
    )
    return Sequence(project_of(nightly), read_stages(nightly), state, sys.stdout).run_and_tell()


def find_playbook(name: str) -> Path:
    """`nightly` is playbooks/nightly.yml of the project; anything with a suffix is a path."""
    if name.endswith((".yml", ".yaml")):
        path = Path(name).resolve()
        if not path.is_file():
            raise UsageError(f"there is no playbook {name}")
        return path
    path = PROJECT / "playbooks" / f"{name}.yml"
    if path.is_file():
        return path
    guess = nearest(name, [entry.stem for entry in (PROJECT / "playbooks").glob("*.yml")])
    hint = f"did you mean '{guess}'?" if guess else "usually: python -m harness run nightly"
    raise UsageError(f"there is no playbook '{name}' in {PROJECT / 'playbooks'}", hint=hint)


def project_of(nightly: Path) -> Path:
    """The folder whose ansible.cfg is meant: the one above playbooks/."""
    return nightly.parent.parent
