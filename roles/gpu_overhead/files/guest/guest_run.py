# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one command of the probe in a guest that has the GPU for just that long: start, run, bring the output, end.

    python3 guest_run.py --form JSON -- python3 PROBE … --output FILE …

The form is data: how a guest of its kind is started, reached and ended (roles/gpu_overhead/vars/main.yml). The device
goes to the guest and comes back with it, so the next process on the host finds it again. Python 3.9 and nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from typing import Any

SECONDS, POLL_SECONDS = 300.0, 0.5
CANNOT = 125  # as env(1) and timeout(1) say that they themselves failed


class GuestError(Exception):
    """The guest is not what was asked for; the text says what was tried and what answered."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="guest_run", description=__doc__)
    parser.add_argument("--form", required=True, type=json.loads)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    args = parser.parse_args(argv)
    command = args.command[1:] if args.command[:1] == ["--"] else args.command
    try:
        return run(args.form, command)
    except GuestError as error:
        sys.stderr.write(f"guest: {error}\n")
        return CANNOT


def run(form: dict[str, Any], command: list[str]) -> int:
    """The exit code of the command in the guest."""
    probe, output = command[1], command[command.index("--output") + 1]
    for one in form.get("expect", []):
        if not re.search(one["says"], _told(one["argv"]), re.MULTILINE):
            raise GuestError(f"{shlex.join(one['argv'])}: {one['otherwise']}")
    seconds = float(form.get("seconds") or SECONDS)
    try:
        for words in form["start"]:
            _told(words)
        _until(form["ready"], "", seconds)
        _put(form, probe)
        _in_guest(form, ["mkdir", "-p", os.path.dirname(output)])
        code = subprocess.run(_words(form, command), stdin=subprocess.DEVNULL, check=False).returncode
        seen = _in_guest(form, ["cat", output])
        with open(output, "wb") as stream:
            stream.write(seen)
        return code
    finally:
        _end(form, seconds)


def _end(form: dict[str, Any], seconds: float) -> None:
    """Also of a guest that did not come up: the device has to come back. What fails is told, and the rest is done."""
    problems = []
    for words in form["stop"]:
        problems += _problem(words)
    gone = form["gone"]
    try:
        _until(gone["argv"], gone["says"], seconds)
    except GuestError as error:
        problems.append(str(error))
        for words in form.get("force", []):
            problems += _problem(words)
    for words in form.get("give_back", []):
        problems += _problem(words)
    for text in problems:
        sys.stderr.write(f"guest: {text}\n")


def _problem(words: list[str]) -> list[str]:
    try:
        _told(words)
    except GuestError as error:
        return [str(error)]
    return []


def _told(words: list[str]) -> str:
    try:
        answer = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError as error:
        raise GuestError(f"{words[0]}: {error.strerror}") from error
    if answer.returncode:
        said = (answer.stderr or answer.stdout).strip() or "nothing"
        raise GuestError(f"{shlex.join(words)} ended with {answer.returncode}; it said: {said}")
    return answer.stdout


def _until(words: list[str], pattern: str, seconds: float) -> None:
    """Until a command succeeds and says what is waited for."""
    until, said = time.monotonic() + seconds, ""
    while True:
        try:
            said = _told(words)
            if re.search(pattern, said, re.MULTILINE):
                return
        except GuestError as error:
            said = str(error)
        if time.monotonic() >= until:
            raise GuestError(f"{shlex.join(words)}: not so within {seconds:g} s; it said: {said.strip() or 'nothing'}")
        time.sleep(POLL_SECONDS)


def _words(form: dict[str, Any], command: list[str]) -> list[str]:
    """What is reached through a shell, as by ssh, needs its words quoted."""
    inside = [*form.get("inside", []), *command]
    return [*form["run"], *([shlex.join(inside)] if form.get("shell") else inside)]


def _put(form: dict[str, Any], path: str) -> None:
    target = shlex.quote(path)
    with open(path, "rb") as stream:
        _in_guest(form, ["sh", "-c", f"mkdir -p $(dirname {target}) && cat > {target}"], stream.read())


def _in_guest(form: dict[str, Any], command: list[str], given: bytes = b"") -> bytes:
    words = _words(form, command)
    answer = subprocess.run(words, input=given, capture_output=True, check=False)
    if answer.returncode:
        said = answer.stderr.decode("utf-8", "replace").strip() or "nothing"
        raise GuestError(f"{shlex.join(words)} ended with {answer.returncode}; it said: {said}")
    return answer.stdout


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
