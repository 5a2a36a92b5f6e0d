# SPDX-License-Identifier: GPL-3.0-or-later
"""A program of eBPF that lets everything through, attached to lo of a network namespace in the kernel's newer way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from ansible.module_utils.nightbench.bpf_call import PROG_LOAD, call

CLONE_NEWNET = 0x40000000
LINK_CREATE, SCHED_CLS, TCX_INGRESS = 28, 3, 46  # include/uapi/linux/bpf.h
LOOPBACK = 1
#: r0 = -1 (the next one decides); exit.
CODE = bytes([0xB7, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0x95, 0, 0, 0, 0, 0, 0, 0])


@contextlib.contextmanager
def attached_program(namespace: str, name: str) -> Iterator[None]:
    """For as long as the context lasts; skipped where the kernel cannot."""
    with ThreadPoolExecutor(1) as pool:
        try:
            files = pool.submit(_attach, namespace, name).result()
        except OSError as error:
            pytest.skip(f"this kernel attaches no programs to interfaces in the newer way: {error.strerror}")
    try:
        yield
    finally:
        for file in files:
            os.close(file)


def _attach(namespace: str, name: str) -> list[int]:
    with open(namespace) as file:
        assert ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) == 0
    code, license_ = ctypes.create_string_buffer(CODE), ctypes.create_string_buffer(b"GPL")
    head = struct.pack("=IIQQ", SCHED_CLS, len(CODE) // 8, ctypes.addressof(code), ctypes.addressof(license_))
    # No log of the verifier, any kernel, no flags; then its name.
    program, _ = call(PROG_LOAD, head + struct.pack("=IIQII16s", 0, 0, 0, 0, 0, name.encode()))
    link, _ = call(LINK_CREATE, struct.pack("=IIII", program, LOOPBACK, TCX_INGRESS, 0))
    return [link, program]
