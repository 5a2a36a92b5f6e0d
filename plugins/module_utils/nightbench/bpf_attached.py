# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that newer kernels attach to interfaces (tcx), which neither tc nor an older bpftool shows."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from concurrent.futures import ThreadPoolExecutor

from .bpf_call import OBJ_GET_INFO_BY_FD, PROG_GET_FD_BY_ID, PROG_QUERY, call
from .errors import ProcessError

CLONE_NEWNET = 0x40000000
#: include/uapi/linux/bpf.h: bpf_attach_type; kernels before 6.6 know neither.
HOOKS = {"ingress": 46, "egress": 47}
MOST = 64  # BPF_MPROG_MAX
#: struct bpf_prog_info: its name, and as much of it as reaches there.
NAME_AT, NAME_BYTES = 64, 16
INFO_BYTES = NAME_AT + NAME_BYTES


def attached(namespace: str = "") -> list[dict[str, str]] | None:
    """Name, interface and direction of each, in a network namespace; None where the kernel does not tell."""
    with ThreadPoolExecutor(1) as pool:  # a thread of its own, which takes the namespace along when it ends
        return pool.submit(_look, namespace).result()


def _look(namespace: str) -> list[dict[str, str]] | None:
    if namespace:
        try:
            with open(namespace) as file:
                if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        except OSError as error:
            raise ProcessError(f"{namespace} cannot be entered: {error}") from error
    found = []
    try:
        for index, interface in socket.if_nameindex():
            for direction, hook in HOOKS.items():
                names = [_name(program) for program in _programs(index, hook)]
                found += [{"name": name, "devname": interface, "kind": f"tcx/{direction}"} for name in names]
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EINVAL, errno.ENOSYS):
            return None
        raise
    return found


def _programs(index: int, hook: int) -> list[int]:
    ids = (ctypes.c_uint32 * MOST)()
    asked = struct.pack("=IIIIQII", index, hook, 0, 0, ctypes.addressof(ids), MOST, 0)
    try:
        _, told = call(PROG_QUERY, asked)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV):  # nothing was ever attached there; it has gone meanwhile
            return []
        raise
    (count,) = struct.unpack_from("=I", told, 24)
    return list(ids[:count])


def _name(program: int) -> str:
    file, _ = call(PROG_GET_FD_BY_ID, struct.pack("=III", program, 0, 0))
    try:
        info = ctypes.create_string_buffer(INFO_BYTES)
        call(OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", file, INFO_BYTES, ctypes.addressof(info)))
    finally:
        os.close(file)
    return info.raw[NAME_AT:].split(b"\0", 1)[0].decode("utf-8", "replace")
