# SPDX-License-Identifier: GPL-3.0-or-later
"""Flags as Go programs take them: --qps=20, --qps 20, -qps=20 and --verbose; the last one of a name counts."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence

from .errors import ProcessError

#: Words that start another program: its flags begin after its own path.
_INTERPRETERS = re.compile(r"(python|bash|sh|perl|node)[\d.]*")
#: A line of a help text that begins with a flag, with or without a short form before it.
_HELP_LINE = re.compile(r"^\s*(?:-\w, )?--?([A-Za-z][\w.-]*)", re.MULTILINE)
HELP_SECONDS = 10.0
HELP_BYTES = 2**20


def flags_of(argv: Sequence[str]) -> dict[str, str]:
    """Name and value of every flag on a command line, the program's own name left out."""
    words = list(argv[1:])
    if argv and _INTERPRETERS.fullmatch(os.path.basename(argv[0])):
        script = next((number for number, word in enumerate(words) if not word.startswith("-")), len(words))
        words = words[script + 1 :]
    found: dict[str, str] = {}
    for position, word in enumerate(words):
        if word == "--":
            break
        if not re.match(r"--?[A-Za-z]", word):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals:
            following = words[position + 1] if position + 1 < len(words) else "-"
            # -1 is a value, -v is the next flag.
            value = "true" if re.match(r"-($|-|[A-Za-z])", following) else following
        found[name] = value
    return found


def argv_of(pid: int) -> list[str]:
    """The command line of a process; empty when it has ended or belongs to the kernel."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            words = stream.read().split(b"\0")
    except OSError:
        return []
    return [word.decode(errors="replace") for word in words[:-1]]


def flags_in_help(text: str) -> list[str]:
    """The flags that a help text of Go's flag or pflag names."""
    return sorted(set(_HELP_LINE.findall(text)))


def ask_help(argv: Sequence[str]) -> list[str]:
    """The flags that a program says it knows; raises ProcessError when it does not say."""
    shown = " ".join(argv)
    try:
        done = subprocess.run(
            list(argv), stdin=subprocess.DEVNULL, capture_output=True, timeout=HELP_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"{shown}: no answer within {HELP_SECONDS:g} s.") from error
    except OSError as error:
        raise ProcessError(f"{shown}: {error.strerror or error}.") from error
    # pflag ends with 2 after its help, so the exit code says nothing.
    found = flags_in_help((done.stdout + done.stderr)[:HELP_BYTES].decode(errors="replace"))
    if not found:
        raise ProcessError(f"{shown}: its answer names no flag (exit code {done.returncode}).")
    return found
