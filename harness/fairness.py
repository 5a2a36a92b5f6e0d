# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to be equal, or be told, when schedulers are compared: clients, replicas, resources, webhooks. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from harness.model import Observation

TOPICS = ("clients", "replicas", "cpu", "memory", "webhooks", "period")
Manifest = Mapping[str, Any]


def manifests(observations: Iterable[Observation]) -> dict[str, Manifest]:
    """The manifest of each subject; of several scenarios the last one."""
    return {item.subject or "": item.values for item in observations if item.kind == "fairness"}


def between_subjects(found: Mapping[str, Manifest]) -> list[str]:
    """A line for each topic in which the subjects of one run differ."""
    lines = []
    for topic in TOPICS:
        told = {subject: _text(manifest.get(topic)) for subject, manifest in found.items()}
        if any(a != b for a, b in pairwise(told.values())):
            lines.append(f"{topic}: " + "; ".join(f"{subject} {text}" for subject, text in told.items()))
    return lines


def between_runs(a: Mapping[str, Manifest], b: Mapping[str, Manifest]) -> list[dict[str, Any]]:
    """Every setting in which a subject differs between two runs; one that only a single run tells of as a whole."""
    found = []
    for subject in dict.fromkeys((*a, *b)):
        if (subject in a) != (subject in b):
            sides = {"a": "told" if subject in a else None, "b": "told" if subject in b else None}
            found.append({"subject": subject, "name": "fairness manifest", **sides})
            continue
        left, right = ({k: v for topic in TOPICS for k, v in _flat(topic, side[subject].get(topic))} for side in (a, b))
        found += [
            {"subject": subject, "name": name, "a": left.get(name), "b": right.get(name)}
            for name in dict.fromkeys((*left, *right))
            if left.get(name) != right.get(name)
        ]
    return found


def _flat(prefix: str, value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, Mapping):
        return [(prefix, value)]
    return [pair for key, item in value.items() for pair in _flat(f"{prefix}.{key}", item)]


def _text(value: Any) -> str:
    """One line of a topic; a client as its rate and burst."""
    if isinstance(value, Mapping):
        if "qps" in value:
            return f"{_plain(value['qps'])}/s burst {_plain(value.get('burst'))}"
        texts = {str(name): _text(item) for name, item in value.items()}
        if len(set(texts.values())) == 1 and len(texts) > 1:
            return f"{next(iter(texts.values()))} for each of {', '.join(texts)}"
        return ", ".join(f"{name} {text}" for name, text in texts.items()) or "none"
    return "not told" if value is None else _plain(value)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
