# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory of our own: files of given content, and free ports that stay the same while it is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from . import jsonfile
from .errors import ConfigurationError
from .port_choice import choose_ports

STATE_FILE = "directory.json"  # says that the directory is ours, and holds the ports


@dataclass(frozen=True)
class Plan:
    """What differs between the directory and what it should be."""

    ports: dict[str, int]
    ports_changed: bool
    files_changed: list[str]

    @property
    def changed(self) -> bool:
        return self.ports_changed or bool(self.files_changed)


def plan(directory: Path, files: Mapping[str, str], asked: Mapping[str, int]) -> Plan:
    """Port 0 in `asked` is the one that was chosen before, or a free one."""
    check_ours(directory)
    known = (jsonfile.read(directory / STATE_FILE) or {}).get("ports", {})
    ports = choose_ports(list(asked), asked, known)
    exists = (directory / STATE_FILE).exists()
    return Plan(ports, not exists or known != ports, [name for name in files if read(directory / name) != files[name]])


def carry_out(directory: Path, files: Mapping[str, str], what: Plan) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if what.ports_changed:
        jsonfile.write_atomic(directory / STATE_FILE, {"ports": what.ports}, mode=0o600)
    for name in what.files_changed:
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(files[name], encoding="utf-8")
        new.chmod(0o600)
        new.replace(path)


def remove(directory: Path) -> None:
    """Everything in it; the state file goes last, so a removal that is cut short can be repeated."""
    check_ours(directory)
    for entry in sorted(directory.iterdir(), key=lambda entry: entry.name == STATE_FILE):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    directory.rmdir()


def check_ours(directory: Path) -> None:
    if os.path.lexists(directory) and not directory.is_dir():
        raise ConfigurationError(f"{directory} is a file, and a directory is wanted.")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / STATE_FILE).exists():
        raise ConfigurationError(
            f"{directory} holds files and no {STATE_FILE}: it is none of ours.",
            hint="Name another directory; nothing in this one was touched.",
        )


def read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
