# SPDX-License-Identifier: GPL-3.0-or-later
"""JSON files that are never seen half-written, and JSON Lines that several processes append to."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from .errors import ConfigurationError


def write_atomic(path: str | Path, value: Any, *, mode: int = 0o644) -> None:
    """Readers see the old file or the whole new one; a full disk leaves the old one and no rubbish."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(path)  # write(2) does not know it
        raise


def read(path: str | Path) -> Any:
    """The decoded file, or None when there is none."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigurationError(
            f"read {path}: it is not valid JSON ({error})",
            hint="it was cut short or edited by hand; delete it to start anew",
        ) from error


def append_line(path: str | Path, value: Any) -> None:
    """Append one JSON line; writers exclude each other, and the torn line of a killed writer is cut away first."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    line = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode() + b"\n"
    try:
        with open(path, "ab+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(_mend_tail(stream.fileno()) + line)
    except OSError as error:
        error.filename = str(path)
        raise


def read_lines(path: str | Path) -> list[Any]:
    """Every whole line of a JSON Lines file; a last line that is still being written is left out."""
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        return []
    values = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise ConfigurationError(f"read {path}: line {number} is not valid JSON ({error})") from error
    return values


def _mend_tail(descriptor: int) -> bytes:
    """What has to stand before the next line: nothing, or the newline that a whole last line lacks."""
    end = os.fstat(descriptor).st_size
    if end == 0 or os.pread(descriptor, 1, end - 1) == b"\n":
        return b""
    start = end
    while start and b"\n" not in (piece := os.pread(descriptor, min(start, 65536), max(0, start - 65536))):
        start -= len(piece)
    if start:
        start = max(0, start - 65536) + piece.rindex(b"\n") + 1
    try:
        json.loads(os.pread(descriptor, end - start, start))
    except ValueError:
        os.ftruncate(descriptor, start)
        return b""
    return b"\n"
