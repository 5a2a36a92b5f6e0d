# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags are read as the programs read them."""

from __future__ import annotations

import os
import sys

import pytest
from ansible.module_utils.nightbench import command_line
from ansible.module_utils.nightbench.errors import ProcessError

LINES = [
    ("scheduler --qps=20 --burst 100 -v=3", {"qps": "20", "burst": "100", "v": "3"}),
    ("scheduler --log-json --qps=20", {"log-json": "true", "qps": "20"}),
    ("scheduler --qps=20 --qps=50", {"qps": "50"}),
    ("scheduler --period -1s --grace -60s", {"period": "-1s", "grace": "-60s"}),
    ("scheduler --last", {"last": "true"}),
    ("scheduler --a=b=c -- --qps=20", {"a": "b=c"}),
    ("python3.11 -u -X dev /bin/scheduler --qps 5", {"qps": "5"}),
    ("/usr/bin/python3 /bin/scheduler --qps 5", {"qps": "5"}),
    ("scheduler word -1 -", {}),
    ("", {}),
]


@pytest.mark.parametrize(("line", "flags"), LINES)
def test_the_flags_of_a_command_line(line: str, flags: dict[str, str]) -> None:
    assert command_line.flags_of(line.split()) == flags


PFLAG = """\
Usage of scheduler:
      --burst int             Burst to the K8s API server (default 300), see --qps
  -v, --v Level               number for the log level
      --qps int               Queries per second
"""
GO_FLAG = """\
Usage of podgrouper:
  -leader-elect
    \tEnable leader election
  -qps int
    \tQueries per second (default 50)
"""


@pytest.mark.parametrize(
    ("text", "flags"), [(PFLAG, ["burst", "qps", "v"]), (GO_FLAG, ["leader-elect", "qps"]), ("no flags", [])]
)
def test_the_flags_of_a_help_text(text: str, flags: list[str]) -> None:
    assert command_line.flags_in_help(text) == flags


def test_a_help_that_ends_with_an_error_counts_too() -> None:
    code = "import sys; print('  --qps int'); sys.exit(2)"
    assert command_line.ask_help([sys.executable, "-c", code]) == ["qps"]


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["/no/such/program", "--help"], "/no/such/program --help: No such file or directory."),
        (["/bin/true"], "/bin/true: its answer names no flag (exit code 0)."),
    ],
)
def test_a_program_that_does_not_say_is_told(argv: list[str], why: str) -> None:
    with pytest.raises(ProcessError) as raised:
        command_line.ask_help(argv)
    assert str(raised.value) == why


def test_a_program_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command_line, "HELP_SECONDS", 0.05)
    with pytest.raises(ProcessError, match=r"no answer within 0\.05 s"):
        command_line.ask_help(["/bin/sleep", "5"])


def test_the_command_line_of_a_process_and_of_none() -> None:
    assert command_line.argv_of(os.getpid())[0]
    assert command_line.argv_of(2**22 + 1) == []
