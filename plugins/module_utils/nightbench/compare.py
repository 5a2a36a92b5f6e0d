# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two states of an object are the same, for somebody who declared it.

The API server and its controllers write into every object; a dry run even returns the old resourceVersion. What they
write is left out here: managedFields, resourceVersion, generation, and the status unless the status was declared.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

_SERVERS_METADATA = ("managedFields", "resourceVersion", "generation")
_BIRTH_METADATA = ("uid", "creationTimestamp", "selfLink")  # the same before and after: only in the way of a reader


def same(before: dict[str, Any], after: dict[str, Any], *, status: bool = False) -> bool:
    """Whether nothing that is declared differs."""
    return comparable(before, status=status) == comparable(after, status=status)


def comparable(item: dict[str, Any], *, status: bool = False) -> dict[str, Any]:
    """The object without what the server keeps for itself."""
    kept = {key: value for key, value in item.items() if key not in ("metadata", "status")}
    kept["metadata"] = {key: value for key, value in item.get("metadata", {}).items() if key not in _SERVERS_METADATA}
    if status:
        kept["status"] = item.get("status", {})
    return kept


def shown(item: dict[str, Any] | None, *, status: bool = False) -> dict[str, Any]:
    """The object in a diff; of a Secret only checksums."""
    if item is None:
        return {}
    kept = comparable(item, status=status)
    for key in _BIRTH_METADATA:
        kept["metadata"].pop(key, None)
    if item.get("kind") == "Secret":
        for part in ("data", "stringData"):
            if part in kept:
                kept[part] = {key: _checksum(value) for key, value in kept[part].items()}
        last_applied = "kubectl.kubernetes.io/last-applied-configuration"  # holds the Secret once more
        kept["metadata"].get("annotations", {}).pop(last_applied, None)
    return json.loads(json.dumps(kept))  # type: ignore[no-any-return]


def contains(whole: Any, part: Any) -> bool:
    """Whether all that `part` says is in `whole`; lists have to agree item by item."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(key in whole and contains(whole[key], part[key]) for key in part)
    if isinstance(part, list):
        return (
            isinstance(whole, list)
            and len(whole) == len(part)
            and all(contains(a, b) for a, b in zip(whole, part, strict=True))
        )
    return bool(whole == part)


def _checksum(value: Any) -> str:
    return "sha256:" + hashlib.sha256(str(value).encode()).hexdigest()[:16]
