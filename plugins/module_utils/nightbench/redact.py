# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes secrets out of what is written to results: command lines, variables and error messages."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

HIDDEN = "********"
# Too wide on purpose: hiding a harmless value costs a look into the inventory, showing a secret cannot be undone.
SECRET_NAME = re.compile(r"pass|token|secret|key|credential", re.IGNORECASE)
_URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_IN_TEXT = (
    (re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]+"), r"\1" + HIDDEN),
    (
        re.compile(
            r"(?i)([\w.-]*(?:password|passwd|token|secret|credential|api_?key)[\w.-]*[\"']?\s*[=:]\s*)(\"[^\"]*\"|'[^']*'|[^\s,;}]+)"
        ),
        r"\1" + HIDDEN,
    ),
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)", re.DOTALL), HIDDEN),
    (_URL_LOGIN, HIDDEN),
)
_FLAGS = ("-e", "--extra-vars")


def text(message: str) -> str:
    """A message without what looks like a secret."""
    for pattern, replacement in _IN_TEXT:
        message = pattern.sub(replacement, message)
    return message


def command(argv: Sequence[str]) -> str:
    """The command line as one could type it again, with the secrets in its variables hidden."""
    shown = []
    for position, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        if position and argv[position - 1] in _FLAGS:
            word = _variables(word)
        elif flag == "--extra-vars" and equals:
            word = f"{flag}={_variables(value)}"
        elif re.match(r"-e.", word):
            word = "-e" + _variables(word[2:])
        else:
            word = _URL_LOGIN.sub(HIDDEN, word)
        shown.append(shlex.quote(word))
    return " ".join(shown)


def given_variables(argv: Sequence[str]) -> dict[str, Any]:
    """Name and value of every variable on an ansible-playbook line, secrets hidden; a file goes by its @name."""
    given: dict[str, Any] = {}
    for value in _values(argv):
        if value.startswith("@"):
            given[value] = None
        else:
            given.update({name: tree(name, item) for name, item in _parsed(value).items()})
    return given


def tree(name: str, value: Any) -> Any:
    """A decoded value without the secrets in it; `name` is what it is known by."""
    if SECRET_NAME.search(name) and value is not None and not isinstance(value, bool):
        return HIDDEN
    if isinstance(value, dict):
        return {key: tree(str(key), item) for key, item in value.items()}
    if isinstance(value, list):
        return [tree("", item) for item in value]
    return _URL_LOGIN.sub(HIDDEN, value) if isinstance(value, str) else value


def _values(argv: Sequence[str]) -> Iterator[str]:
    for position, word in enumerate(argv):
        if position and argv[position - 1] in _FLAGS:
            yield word
        elif word.startswith("--extra-vars="):
            yield word.partition("=")[2]
        elif re.match(r"-e.", word):
            yield word[2:]


def _parsed(value: str) -> dict[str, Any]:
    if value.lstrip().startswith(("{", "[")):
        try:
            found = yaml.safe_load(value)
        except yaml.YAMLError:
            return {}
        return {str(name): item for name, item in found.items()} if isinstance(found, dict) else {}
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    return {name: item for name, equals, item in (word.partition("=") for word in words) if equals}


def _variables(value: str) -> str:
    """One -e value with its secrets hidden, in the form it was given."""
    if value.startswith("@"):
        return value
    found = _parsed(value)
    hidden = {name: tree(name, item) for name, item in found.items()}
    if value.lstrip().startswith(("{", "[")):
        return json.dumps(hidden) if found else HIDDEN
    return value if hidden == found else " ".join(f"{name}={item}" for name, item in hidden.items())
