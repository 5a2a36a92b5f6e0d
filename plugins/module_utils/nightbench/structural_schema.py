# SPDX-License-Identifier: GPL-3.0-or-later
"""What a CustomResourceDefinition lets through. The API server drops every other field and says nothing about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .names import nearest

Path = tuple[str, ...]
Schema = Mapping[str, Any]
#: Every object has these, whatever its schema says.
ALWAYS = ("apiVersion", "kind", "metadata")
#: Below this depth a schema repeats what every pod has; nobody means that by a field of his own.
DEEPEST = 8


def of_version(definition: Mapping[str, Any], version: str) -> Schema | None:
    """The schema of one version of a CustomResourceDefinition; None where it lets everything through."""
    for one in definition["spec"].get("versions") or ():
        if one.get("name") == version:
            schema = (one.get("schema") or {}).get("openAPIV3Schema")
            return schema if isinstance(schema, dict) else None
    return None


def child(schema: Schema | None, name: str) -> tuple[bool, Schema | None]:
    """Whether a field may be there, and its own schema; None stands for: anything may be in it."""
    if schema is None or (schema.get("x-kubernetes-embedded-resource") and name in ALWAYS):
        return True, None
    properties = schema.get("properties") or {}
    if name in properties:
        return True, properties[name]
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        return True, more
    # Without a type of its own the field may be anything, as in a schema that only says int-or-string.
    return more is True or bool(schema.get("x-kubernetes-preserve-unknown-fields")) or "type" not in schema, None


def items(schema: Schema | None) -> Schema | None:
    """The schema of the items of a list."""
    found = (schema or {}).get("items")
    return found if isinstance(found, dict) else None


def is_quantity(schema: Schema | None) -> bool:
    return bool((schema or {}).get("x-kubernetes-int-or-string"))


def knows(schema: Schema, path: Path) -> bool:
    """Whether the API server keeps this field."""
    here: Schema | None = schema
    for name in path:
        found, here = child(here, name)
        if not found:
            return False
    return True


def unknown_fields(schema: Schema | None, document: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    """The fields of an object that the API server would drop, or refuse; what is below them is not looked at."""
    for name, value in document.items():
        if not path and name in ALWAYS:
            continue
        here = (*path, name)
        known, below = child(schema, name)
        if not known:
            yield here
            continue
        of_items = items(below)
        for one, its in [(value, below)] if isinstance(value, Mapping) else _items(value, of_items):
            yield from unknown_fields(its, one, here)


def _items(value: Any, schema: Schema | None) -> list[tuple[Mapping[str, Any], Schema | None]]:
    return [(one, schema) for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def nearest_path(schema: Schema, path: Path) -> Path | None:
    """The declared path that was most likely meant by one that is not.

    First a slip of the finger in one of its words; then the same last word elsewhere below the same parent, as in
    spec.binder.args.qps for spec.binder.service.k8sClientConfig.qps; then a word that is spelled alike.
    """
    position, parent = _first_unknown(schema, path)
    words = [word for word, _ in _children(parent)]
    near = nearest(path[position], words)
    if near is not None:
        mended = (*path[:position], near, *path[position + 1 :])
        if knows(schema, mended):
            return mended
    below = path[: max(position, min(2, len(path) - 1))]
    there = [found for found in _paths(parent, path[:position]) if found[: len(below)] == below]
    same = [found for found in there if found[-1] == path[-1]]
    if same:
        return min(same, key=lambda found: (len(found), found))
    alike = nearest(path[-1], {found[-1] for found in there})
    if alike is not None:
        return min((found for found in there if found[-1] == alike), key=lambda found: (len(found), found))
    return None


def _first_unknown(schema: Schema, path: Path) -> tuple[int, Schema]:
    """Which word of the path is not known, and the schema it was looked for in."""
    here: Schema = schema
    for position, name in enumerate(path):
        found, below = child(here, name)
        if not found or below is None:
            return position, here
        here = below
    return len(path) - 1, here


def _children(schema: Schema) -> Iterator[tuple[str, Schema]]:
    yield from ((items(schema) or schema).get("properties") or {}).items()


def _paths(schema: Schema, start: Path) -> Iterator[Path]:
    if len(start) > DEEPEST:
        return
    for name, below in _children(schema):
        yield (*start, name)
        yield from _paths(below, (*start, name))
