# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes down how a run ended: the file exit_code, and the same number in run.json."""

from __future__ import annotations

from harness.results import RunFolder, dumps, read_json, write_atomic


def write_exit_code(folder: RunFolder, code: int) -> None:
    write_atomic(folder.path / "exit_code", f"{code}\n")
    path = folder.path / "run.json"
    if path.exists():
        document = read_json(path, hint="restore run.json or remove it: a report can do without it")
        if document.get("exit_code") != code:
            write_atomic(path, dumps({**document, "exit_code": code}) + "\n")
