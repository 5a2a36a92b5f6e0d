# SPDX-License-Identifier: GPL-3.0-or-later
"""What a published Calico test calls itself, and the counts that this claims. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

#: The pod's name at the end of the log: `Stream closed EOF for NAMESPACE/POD (CONTAINER)`.
TRAILER = re.compile(r"^Stream closed EOF for [^/\s]+/(?P<pod>\S+)", re.MULTILINE)
#: How tests are named: the more telling first.
FORMS = (
    re.compile(r"(?P<real_nodes>\d{1,9})-real-nodes-(?P<fake_nodes>\d{1,9})-fake-nodes"),
    re.compile(r"(?P<standing>\d{1,9}k?)-standing-(?P<live>\d{1,9}k?)-live-policies"),
    re.compile(r"(?P<policies>\d{1,9}k?)-policies"),
    re.compile(r"(?P<pods_per_node>\d{1,9})-pods-per-node"),
)


@dataclass(frozen=True)
class Label:
    text: str  # empty where a test has no name that claims anything
    claims: Mapping[str, int]

    @property
    def nodes(self) -> int | None:
        """Real and fake ones; what else the cluster needs (its masters) is in no label."""
        return sum(self.claims.values()) if "fake_nodes" in self.claims else None

    @property
    def policies(self) -> int | None:
        found = [self.claims[name] for name in ("standing", "live", "policies") if name in self.claims]
        return sum(found) if found else None

    @property
    def scenario(self) -> str:
        return f"restart_{self.text.replace('-', '_')}" if self.text else "restart"


def label_of(text: str, name: str) -> Label:
    """What tells more goes first; then the log's own words, before the file's name, which anybody can change."""
    trailer = TRAILER.search(text)
    for form in FORMS:
        for place in (trailer["pod"] if trailer else "", name):
            if found := form.search(place):
                return Label(found[0], {what: _count(value) for what, value in found.groupdict().items()})
    return Label("", {})


def _count(text: str) -> int:
    return int(text.removesuffix("k")) * (1000 if text.endswith("k") else 1)
