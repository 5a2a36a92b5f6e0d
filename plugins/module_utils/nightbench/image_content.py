# SPDX-License-Identifier: GPL-3.0-or-later
"""From an item of bench_image to the files of an image."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from . import image_python
from .errors import ConfigurationError
from .image import Entry, Image
from .image_elf import interpreter, libraries, waiting_program
from .tool_table import machine_architecture

WAIT_PATH = "/pause"
PYTHON_PATH = "/usr/bin/python3"
PROGRAMS = "/usr/bin"


def image_of(item: dict[str, Any]) -> Image:
    """The files, programs, interpreter and folders of one item, each at its path in the image."""
    architecture = machine_architecture()
    entries: dict[str, Entry] = {path: Entry(mode=0o1777) for path in item["directories"]}
    if item["waiting_program"]:
        entries[WAIT_PATH] = Entry(waiting_program(architecture), 0o755)
    for program in item["programs"]:
        source = Path(program)
        entries[f"{PROGRAMS}/{source.name}"] = _program(source)
        _add_libraries(entries, source, interpreter(source))
    if item["python"]:
        _add_python(entries, item["python"])
    for file in item["files"]:
        entries[file["path"]] = Entry(_read(Path(file["source"])), int(str(file["mode"]), 8))
    if not entries:
        raise ConfigurationError(f"image {item['name']}: it holds nothing.")
    return Image(
        repository=item["name"],
        entries=entries,
        command=item["command"],
        environment={name: str(value) for name, value in item["environment"].items()},
        architecture=architecture,
    )


def _add_python(entries: dict[str, Entry], asked: dict[str, Any]) -> None:
    scripts = [Path(script) for script in asked["scripts"]]
    asking = asked["interpreter"] or getattr(sys, "_base_executable", "") or sys.executable
    python = image_python.gather(asking, asked["modules"], scripts)
    executable = Path(python.executable)
    loader = interpreter(executable)
    entries[str(executable)] = _program(executable)
    if str(executable) != PYTHON_PATH:
        entries[PYTHON_PATH] = Entry(mode=0o777, target=str(executable))
    _add_libraries(entries, executable, loader)
    for name in python.files:
        file = Path(name)
        entries[name] = Entry(_read(file), 0o644)
        if ".so" in file.name:
            _add_libraries(entries, file, loader)
    entries.update({path: Entry(data, 0o644) for path, data in python.compiled.items()})


def _add_libraries(entries: dict[str, Entry], program: Path, loader: str | None) -> None:
    for library in libraries(program, loader):
        entries.setdefault(library, Entry(_read(Path(library)), 0o755))


def _program(source: Path) -> Entry:
    if not os.access(source, os.X_OK):
        raise ConfigurationError(f"{source} is no executable file of this machine.")
    return Entry(_read(source), 0o755)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"read {path}: {error.strerror}.") from error
