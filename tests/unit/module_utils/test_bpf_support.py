# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether eBPF works is tried, and what is missing is named with what the kernel answered."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import bpf_call, bpf_support


class Refuses:
    """A kernel that refuses one command of the system call."""

    def __init__(self, command: int) -> None:
        self._command = command

    def syscall(self, _: int, command: int, *__: Any) -> int:
        if command == self._command:
            bpf_call.ctypes.set_errno(errno.EPERM)
            return -1
        return os.open("/dev/null", os.O_RDONLY)


Plant = Callable[[pytest.MonkeyPatch, Path], None]


def refuses(command: int) -> Plant:
    return lambda monkeypatch, _: monkeypatch.setattr(bpf_call.ctypes, "CDLL", lambda *_, **__: Refuses(command))


def no_file_system(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "filesystems").write_text("nodev\ttmpfs\n\text4\n")
    monkeypatch.setattr(bpf_support, "FILE_SYSTEMS", folder / "filesystems")


def attach(*argv: str) -> Plant:
    return lambda monkeypatch, _: monkeypatch.setattr(bpf_support, "ATTACHABLE", argv)


def another_machine(monkeypatch: pytest.MonkeyPatch, _: Path) -> None:
    monkeypatch.setattr(bpf_call.platform, "machine", lambda: "riscv64")


LACKING: list[tuple[Plant, list[str]]] = [
    (refuses(99), []),
    (refuses(bpf_support.MAP_CREATE), ["a map of eBPF: Operation not permitted"]),
    (refuses(bpf_support.PROG_LOAD), ["a program for traffic control (sched_cls): Operation not permitted"]),
    (no_file_system, ["the file system of what eBPF pins: {folder}/filesystems does not name bpf"]),
    (attach("sh", "-c", "echo Unknown qdisc >&2; exit 2"),
     ["the queueing discipline clsact, to which programs are attached: Unknown qdisc"]),
    (attach("/nowhere/tc"),
     ["the queueing discipline clsact, to which programs are attached: /nowhere/tc is not there"]),
    (another_machine, [
        "a map of eBPF: the system call bpf of riscv64 is not known here",
        "a program for traffic control (sched_cls): the system call bpf of riscv64 is not known here",
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("plant", "expected"), LACKING)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plant: Plant, expected: list[str]
) -> None:
    refuses(99)(monkeypatch, tmp_path)
    (tmp_path / "known").write_text("nodev\tbpf\n")
    monkeypatch.setattr(bpf_support, "FILE_SYSTEMS", tmp_path / "known")
    monkeypatch.setattr(bpf_support, "ATTACHABLE", ("true",))
    plant(monkeypatch, tmp_path)
    assert bpf_support.lacking() == [words.format(folder=tmp_path) for words in expected]


def test_this_kernel_takes_the_program_or_says_why_not() -> None:
    found = bpf_support._program()
    assert found in ("", os.strerror(errno.EPERM), os.strerror(errno.ENOSYS))
