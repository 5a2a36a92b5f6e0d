# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a live object has what its manifest asks for, and where the missing fields went."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .configuration_check import Check
from .quantities import quantity, same_quantity
from .structural_schema import ALWAYS, Path, Schema, child, is_quantity, items, nearest_path

#: Of the metadata only this is the caller's.
_METADATA = ("labels", "annotations")
_MISSING = object()


class ObjectAudit:
    """One object as it was asked for and as it is; `schema` None: anything goes, or it could not be read."""

    def __init__(
        self,
        component: str,
        asked: Mapping[str, Any],
        live: Mapping[str, Any],
        schema: Schema | None,
        field_manager: str = "",
    ) -> None:
        self.component = component
        self.asked = asked
        self.live = live
        self.schema = schema
        self.field_manager = field_manager
        self.source = f"{asked.get('kind')} {(asked.get('metadata') or {}).get('name')} as the API server has it"

    def checks(self) -> Iterator[Check]:
        """One for each value that was asked for."""
        metadata = self.asked.get("metadata") or {}
        for name in _METADATA:
            if metadata.get(name):
                live = (self.live.get("metadata") or {}).get(name, _MISSING)
                yield from self._compare(metadata[name], live, None, ("metadata", name))
        for name, value in self.asked.items():
            if name not in ALWAYS:
                yield from self._field(name, value, self.live, self.schema, ())

    def _field(self, name: str, asked: Any, live: Any, schema: Schema | None, path: Path) -> Iterator[Check]:
        known, below = child(schema, name)
        here = (*path, name)
        if not known:
            yield from self._dropped(asked, here)
            return
        there = live.get(name, _MISSING) if isinstance(live, Mapping) else _MISSING
        yield from self._compare(asked, there, below, here)

    def _compare(self, asked: Any, live: Any, schema: Schema | None, path: Path) -> Iterator[Check]:
        if isinstance(asked, Mapping) and asked:
            for name, value in asked.items():
                yield from self._field(name, value, live, schema, path)
        elif isinstance(asked, list) and isinstance(live, list) and (pairs := _pairs(asked, live)) is not None:
            for name, one, other in pairs:
                yield from self._compare(one, other, items(schema), (*path[:-1], f"{path[-1]}[{name}]"))
        else:
            yield self._value(asked, live, schema, path)

    def _value(self, asked: Any, live: Any, schema: Schema | None, path: Path) -> Check:
        observed = None if live is _MISSING else live
        if asked is None:
            return self._check(path, None, observed, observed is None, "it was to be removed and is still there")
        if live is _MISSING:
            return self._check(path, asked, None, False, "the live object lacks it: never applied, or removed since")
        same = asked == live and isinstance(asked, bool) == isinstance(live, bool)
        if not same and (is_quantity(schema) or _of_resources(path)):
            same = same_quantity(asked, live)
        return self._check(path, asked, observed, same, f"the live object says {live!r}{self._owner(path)}")

    def _dropped(self, asked: Any, path: Path) -> Iterator[Check]:
        """A field that the schema does not have, value by value."""
        if isinstance(asked, Mapping) and asked:
            for name, value in asked.items():
                yield from self._dropped(value, (*path, name))
            return
        assert self.schema is not None
        near = nearest_path(self.schema, tuple(word.partition("[")[0] for word in path))
        hint = f"; the nearest field is {'.'.join(near)}" if near else ""
        reason = f"{self.asked.get('kind')} has no such field, so the API server dropped it without an error{hint}"
        yield self._check(path, asked, None, asked is None, reason)

    def _check(self, path: Path, asked: Any, observed: Any, holds: bool, reason: str) -> Check:
        key = ".".join(path)
        return Check(self.component, key, asked, observed, self.source, holds, "" if holds else reason)

    def _owner(self, path: Path) -> str:
        """Who else has set this field, as far as the object says."""
        found = [
            f"{entry.get('manager')} at {entry.get('time')}"
            for entry in (self.live.get("metadata") or {}).get("managedFields") or ()
            if entry.get("manager") != self.field_manager and _owns(entry.get("fieldsV1") or {}, path)
        ]
        return f", set by {' and '.join(found)}" if found else ""


def over_limits(component: str, source: str, document: Any, path: str = "") -> Iterator[Check]:
    """A check for every resource that has a request and a limit, wherever in the document the two stand."""
    if isinstance(document, list):
        for number, one in enumerate(document):
            name = one.get("name", number) if isinstance(one, Mapping) else number
            yield from over_limits(component, source, one, f"{path}[{name}]")
    if not isinstance(document, Mapping):
        return
    requests, limits = document.get("requests"), document.get("limits")
    if isinstance(requests, Mapping) and isinstance(limits, Mapping):
        for name in requests:
            request, limit = quantity(requests[name]), quantity(limits.get(name))
            if request is not None and limit is not None:
                reason = (
                    f"the {name} request {requests[name]} is over the limit {limits[name]}: "
                    "the API server refuses such a pod"
                )
                key = f"{path}.requests.{name} <= limits.{name}"
                holds = request <= limit
                yield Check(component, key, requests[name], limits[name], source, holds, "" if holds else reason)
    for key, value in document.items():
        if key not in ("metadata", "status"):
            yield from over_limits(component, source, value, f"{path}.{key}" if path else str(key))


def _pairs(asked: list[Any], live: list[Any]) -> list[tuple[str, Any, Any]] | None:
    """Which item belongs to which: by name where all have one, else by place; None where the lengths differ."""
    if all(isinstance(one, Mapping) and "name" in one for one in (*asked, *live)):
        by_name = {one["name"]: one for one in live}
        return [(str(one["name"]), one, by_name.get(one["name"], _MISSING)) for one in asked]
    if len(asked) != len(live):
        return None
    return [(str(number), one, other) for number, (one, other) in enumerate(zip(asked, live, strict=True))]


def _of_resources(path: Path) -> bool:
    return len(path) > 1 and path[-2] in ("requests", "limits", "capacity", "allocatable")


def _owns(fields: Mapping[str, Any], path: Path) -> bool:
    for name in path:
        below = fields.get(f"f:{name}")
        if below is None:
            return False
        fields = below
    return True
