# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether this kernel does what Calico's eBPF dataplane needs: tried, not guessed from its version."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from .bpf_call import MAP_CREATE, PROG_LOAD, call

#: include/uapi/linux/bpf.h: bpf_map_type and bpf_prog_type.
HASH, SCHED_CLS = 1, 3
#: r0 = 0; exit.
PROGRAM = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
LICENSE = b"GPL\0"
FILE_SYSTEMS = Path("/proc/filesystems")
#: A namespace of its own, so that nothing of the machine is touched.
ATTACHABLE = ("unshare", "--net", "--", "tc", "qdisc", "add", "dev", "lo", "clsact")


def lacking() -> list[str]:
    """What is missing, in words with what the kernel answered; empty where eBPF works."""
    return [f"{what}: {why}" for what, try_it in TRIES.items() if (why := try_it())]


def _map() -> str:
    return _call(MAP_CREATE, struct.pack("=IIIII", HASH, 4, 8, 16, 0))


def _program() -> str:
    code, license_ = ctypes.create_string_buffer(PROGRAM), ctypes.create_string_buffer(LICENSE)
    places = ctypes.addressof(code), ctypes.addressof(license_)
    return _call(PROG_LOAD, struct.pack("=IIQQIIQI", SCHED_CLS, len(PROGRAM) // 8, *places, 0, 0, 0, 0))


def _call(command: int, attributes: bytes) -> str:
    """Why the kernel refuses; empty where it does it. What it makes goes with its file."""
    try:
        made, _ = call(command, attributes)
    except OSError as error:
        return str(error.strerror)
    os.close(made)
    return ""


def _file_system() -> str:
    known = FILE_SYSTEMS.read_text(encoding="utf-8").split()
    return "" if "bpf" in known else f"{FILE_SYSTEMS} does not name bpf"


def _attachable() -> str:
    try:
        done = subprocess.run(ATTACHABLE, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return f"{error.filename} is not there"
    return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""


TRIES: Mapping[str, Callable[[], str]] = {
    "a map of eBPF": _map,
    "a program for traffic control (sched_cls)": _program,
    "the file system of what eBPF pins": _file_system,
    "the queueing discipline clsact, to which programs are attached": _attachable,
}
