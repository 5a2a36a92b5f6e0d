# SPDX-License-Identifier: GPL-3.0-or-later
"""The system call bpf, without a library: linux, include/uapi/linux/bpf.h."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

#: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
NUMBERS = {"x86_64": 321, "aarch64": 280}
MAP_CREATE, PROG_LOAD, PROG_GET_FD_BY_ID, OBJ_GET_INFO_BY_FD, PROG_QUERY = 0, 5, 13, 15, 16
LEAST_BYTES = 128  # what the kernel does not know has to be zeros


def call(command: int, attributes: bytes) -> tuple[int, bytes]:
    """What the kernel returns, and the attributes as it has left them. Raise OSError where it refuses."""
    number = NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"the system call bpf of {platform.machine()} is not known here")
    libc = ctypes.CDLL(None, use_errno=True)
    given = ctypes.create_string_buffer(attributes, max(len(attributes), LEAST_BYTES))
    made = int(libc.syscall(number, command, given, len(given)))
    if made < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return made, given.raw
