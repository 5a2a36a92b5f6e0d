# SPDX-License-Identifier: GPL-3.0-or-later
"""Who a run belongs to: the harness, or the ansible-playbook process that this module runs under."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from .errors import ConfigurationError
from .process import Identity, all_processes, identity

OWNER_VARIABLE = "NIGHTBENCH_OWNER_PID"
_ANSIBLE = ("ansible-playbook", "ansible")


def find_owner(environ: Mapping[str, str], pid: int | None = None) -> Identity:
    """The process whose end is the end of the run."""
    named = environ.get(OWNER_VARIABLE)
    if named is None:
        found = ansible_process(pid)
        if found is None:
            raise ConfigurationError(
                "No process was found that this run could belong to: none of the parents is ansible-playbook.",
                hint=f"Give the pid of one in the environment variable {OWNER_VARIABLE}.",
            )
        return found
    who = identity(int(named)) if named.isdigit() else None
    if who is None:
        raise ConfigurationError(
            f"{OWNER_VARIABLE} is '{named}', and no such process runs.",
            hint="Unset it to let the run belong to this ansible-playbook.",
        )
    return who


def ansible_process(pid: int | None = None) -> Identity | None:
    """The ansible-playbook that a module runs under: of the unbroken line of such parents (its workers) the first."""
    found = None
    for parent in ancestors(pid or os.getpid()):
        if is_ansible(argv_of(parent)):
            found = parent
        elif found is not None:
            break
    return identity(found) if found else None


def protected(pid: int | None = None) -> set[int]:
    """Nothing that cleans up may end these: itself, its parents, and the workers of its ansible-playbook."""
    own = pid or os.getpid()
    kept = {own, *ancestors(own)}
    playbook = ansible_process(own)
    if playbook is None:
        return kept
    argv = argv_of(playbook.pid)
    workers = {one.pid for one in all_processes() if parent_of(one.pid) == playbook.pid and argv_of(one.pid) == argv}
    return kept | workers


def ancestors(pid: int) -> Iterator[int]:
    """The parents of a process, the nearest first."""
    while (parent := parent_of(pid)) > 0:
        yield parent
        pid = parent


def parent_of(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[1])  # the command's name may hold blanks and brackets


def argv_of(pid: int) -> list[str]:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
    return words[:-1]


def is_ansible(argv: list[str]) -> bool:
    """The program itself, or a Python that runs it."""
    return any(os.path.basename(word) in _ANSIBLE for word in argv[:2])
