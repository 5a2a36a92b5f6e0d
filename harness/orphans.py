# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends what a killed ansible-playbook leaves at work: its workers and modules outlive it, in sessions of their own."""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path

from harness import processes

END_SECONDS = 10.0
# Ansible copies each module into such a folder and removes it when the module has returned.
MODULE_FOLDER = re.compile(r"/\S+/\.ansible/tmp/ansible-tmp-[^/\s']+")


def stage_mark(run_id: str, folder: str) -> str:
    """The value of NIGHTBENCH_STAGE in every process of a stage."""
    return f"{run_id}/{folder}"


def end_orphans(marks: Collection[str], run_state: str | None) -> list[processes.Process]:
    """End what carries one of the marks; the daemons that a stage was asked to start are recorded and stay."""
    wanted = [f"NIGHTBENCH_STAGE={mark}" for mark in marks]
    spare = processes.recorded(Path(run_state) / "processes") if run_state else set()
    found = [process for process in processes.with_variables(wanted) if process not in spare] if wanted else []
    if not found:
        return []
    folders = {folder for process in found for folder in MODULE_FOLDER.findall(processes.command_of(process.pid))}
    ended = processes.end(lambda: processes.with_variables(wanted), spare, END_SECONDS)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
    return ended
