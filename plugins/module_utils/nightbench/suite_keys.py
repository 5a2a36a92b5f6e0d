# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what a scenario or a subject says is understood: its keys, and its words where only some are known. Pure.

A word that nobody reads changes nothing, so a slip of the finger would take an assertion away in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .names import unknown

#: Filled in by Ansible later: nobody knows the word yet.
TEMPLATE = "{{"


def faults(kind: str, item: Mapping[str, Any], rules: Mapping[str, Any]) -> list[str]:
    """One sentence for each key and word of `item` that the rules (files/keys.yml of a suite) do not know, or miss."""
    return list(_faults(f"{kind} '{item.get('name')}'", item, rules))


def _faults(where: str, item: Any, rules: Mapping[str, Any]) -> Iterable[str]:
    if not isinstance(item, Mapping):
        yield f"In {where} there is {item!r}; it has to be a mapping of keys."
        return
    required, choices, each = rules.get("required") or [], rules.get("choices") or {}, rules.get("each") or {}
    yield from unknown(f"key in {where}", map(str, item), [*required, *(rules.get("optional") or [])])
    yield from (f"The {where} lacks the key '{key}'." for key in required if key not in item)
    for key, known in choices.items():
        yield from unknown(f"value of {key} in {where}", _words(item.get(key)), known)
    for key, below in each.items():
        for name, one in _below(key, item.get(key)):
            yield from _faults(f"{where}, {name}", one, below)
    for key, below in (rules.get("named") or {}).items():
        several = item.get(key)
        for name, one in several.items() if isinstance(several, Mapping) else ():
            yield from _faults(f"{where}, {key} '{name}'", one, below)


def _words(value: Any) -> list[str]:
    """A word, a list of words, or of mappings whose keys are the words."""
    several = value if isinstance(value, list) else [] if value is None else [value]
    words = [word for one in several for word in (one if isinstance(one, Mapping) else [one])]
    return [str(word) for word in words if TEMPLATE not in str(word)]


def _below(key: str, value: Any) -> list[tuple[str, Any]]:
    """What lies below a key, with what it is called; nothing where Ansible fills it in."""
    if value is None or isinstance(value, str):
        return []
    if not isinstance(value, list):
        return [(key, value)]
    return [(f"{key} '{one.get('name')}'" if isinstance(one, Mapping) else key, one) for one in value]
