# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes secrets out of a command line before it is written down (the callback plugin has the same rules)."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import yaml

HIDDEN = "********"
# Too wide on purpose: hiding a harmless value costs a look into the inventory, showing a secret cannot be undone.
SECRET_NAME = re.compile(r"pass|token|secret|key|credential", re.IGNORECASE)
URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
EXTRA_VARS_FLAGS = ("-e", "--extra-vars")


def redact_argv(argv: list[str]) -> list[str]:
    """The same argv with the secrets in -e values hidden; @files stay as they are."""
    shown: list[str] = []
    for position, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        if position and argv[position - 1] in EXTRA_VARS_FLAGS:
            shown.append(redact_extra_vars(word))
        elif flag == "--extra-vars" and equals:
            shown.append(f"{flag}={redact_extra_vars(value)}")
        elif word.startswith("-e") and len(word) > 2:
            shown.append("-e" + redact_extra_vars(word[2:]))
        else:
            shown.append(URL_LOGIN.sub(HIDDEN, word))
    return shown


def redact_extra_vars(value: str) -> str:
    """One -e value: `@file`, JSON or YAML, or `name=value` words."""
    if value.startswith("@"):
        return value
    if value.lstrip().startswith(("{", "[")):
        try:
            return json.dumps(_redact_tree(yaml.safe_load(value)))
        except yaml.YAMLError:
            return HIDDEN
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    if not any(_hides(word) for word in words):
        return value
    return " ".join(_redact_word(word) for word in words)


def hidden_names(value: str) -> list[str]:
    """The names in one -e value whose values redact_extra_vars hides: they must be given again to resume."""
    if value.startswith("@"):
        return []
    if value.lstrip().startswith(("{", "[")):
        try:
            tree = yaml.safe_load(value)
        except yaml.YAMLError:
            return []
        pairs = tree.items() if isinstance(tree, dict) else ()
        return [str(name) for name, below in pairs if _redact_tree({name: below}) != {name: below}]
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    return [word.partition("=")[0] for word in words if _hides(word)]


def _hides(word: str) -> bool:
    return _redact_word(word) != word


def _redact_word(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and value and SECRET_NAME.search(name):
        return f"{name}={HIDDEN}"
    return URL_LOGIN.sub(HIDDEN, word)


def _redact_tree(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: HIDDEN if _is_secret(name, value) else _redact_tree(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_redact_tree(value) for value in tree]
    return URL_LOGIN.sub(HIDDEN, tree) if isinstance(tree, str) else tree


def _is_secret(name: Any, value: Any) -> bool:
    return bool(SECRET_NAME.search(str(name))) and not isinstance(value, bool) and value is not None
