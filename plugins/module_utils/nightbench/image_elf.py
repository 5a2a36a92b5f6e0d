# SPDX-License-Identifier: GPL-3.0-or-later
"""What a program of this machine needs: its loader and its shared libraries. And a program that needs none."""

from __future__ import annotations

import re
import struct
import subprocess
from pathlib import Path

from .errors import ConfigurationError

# elf(5)
_MAGIC, _CLASS_64, _LITTLE_ENDIAN = b"\x7fELF", 2, 1
_PT_LOAD, _PT_INTERP = 1, 3
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_LISTED = re.compile(r"^\s*(?:\S+ => )?(?P<path>/\S+)(?: \(0x[0-9a-f]+\))?$")
_MISSING = re.compile(r"^\s*(\S+) => not found", re.MULTILINE)
LIST_SECONDS = 20

#: Waits for ever: pause(2) in a loop, or ppoll(2) without a set and a time where there is no pause.
_WAIT = {
    "amd64": (62, bytes.fromhex("b8220000000f05ebf7")),
    "arm64": (183, b"".join(struct.pack("<I", word) for word in (
        0xD2800000, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800928, 0xD4000001, 0x17FFFFFA))),
}  # fmt: skip
_BASE, _PAGE = 0x400000, 0x1000


def interpreter(program: Path) -> str | None:
    """The loader that the program names; None for one that is linked statically."""
    data = program.read_bytes()
    if data[:4] != _MAGIC or data[4] != _CLASS_64 or data[5] != _LITTLE_ENDIAN:
        raise ConfigurationError(f"{program} is no program of a 64-bit machine (ELF, little-endian).")
    header = _HEADER.unpack_from(data)
    offset, size, count = header[5], header[9], header[10]
    for index in range(count):
        segment = _SEGMENT.unpack_from(data, offset + index * size)
        if segment[0] == _PT_INTERP:
            return data[segment[2] : segment[2] + segment[5]].rstrip(b"\0").decode()
    return None


def libraries(program: Path, loader: str | None) -> list[str]:
    """Paths of all shared libraries, as the loader finds them, and of the loader."""
    if loader is None:
        return []
    done = subprocess.run(
        [loader, "--list", str(program)],
        check=False,
        capture_output=True,
        text=True,
        timeout=LIST_SECONDS,
        env={"LC_ALL": "C"},
    )
    missing = _MISSING.findall(done.stdout)
    if done.returncode or missing:
        what = f"{', '.join(missing)} is not there" if missing else (done.stderr or done.stdout).strip()
        raise ConfigurationError(
            f"{loader} --list {program}: {what}.", hint="Install what the program needs on this machine."
        )
    found = {match["path"] for line in done.stdout.splitlines() if (match := _LISTED.match(line))}
    return sorted(found | {loader})


def waiting_program(architecture: str) -> bytes:
    """A static program that does nothing until it is killed: the first process of every pod."""
    if architecture not in _WAIT:
        raise ConfigurationError(
            f"There is no waiting program for {architecture}.", hint=f"Known: {', '.join(sorted(_WAIT))}."
        )
    machine, code = _WAIT[architecture]
    start = _HEADER.size + _SEGMENT.size
    identity = _MAGIC + bytes([_CLASS_64, _LITTLE_ENDIAN, 1]) + bytes(9)
    header = _HEADER.pack(
        identity, 2, machine, 1, _BASE + start, _HEADER.size, 0, 0, _HEADER.size, _SEGMENT.size, 1, 64, 0, 0
    )
    size = start + len(code)
    return header + _SEGMENT.pack(_PT_LOAD, 5, 0, _BASE, _BASE, size, size, _PAGE) + code
