# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of one kind or, where no zone has that, of the next kind that will do too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from .errors import CloudError, ConfigurationError
from .gcp_client import Plain
from .gcp_errors import Kind
from .gcp_hosts import Hosts
from .gcp_journal import Entry

#: What another kind of host may mend; quota, rights and wrong requests stop at once.
MENDED = (Kind.CAPACITY, Kind.NOT_OFFERED)
T = TypeVar("T")


@dataclass
class Kinds:
    """One entry a kind, in the order in which they are tried; they share journal and memory."""

    hosts: Sequence[Hosts]
    #: How many hosts shall be created.
    count: int
    _zones: dict[str, list[str]] = field(default_factory=dict)

    def offered(self) -> None:
        """Raise where nothing of it can be had at all."""
        self._first_that(list(self.hosts), self._offered)

    def create(self, name: str, begun: Plain | None = None) -> Plain:
        """The host, RUNNING; raises when nothing has it, and at once when trying on cannot help."""
        earlier = self.hosts[0].open_request(name)
        if begun is not None and earlier is None:
            return self.hosts[0].await_begun(name, begun)
        order = self._begun_first(name, earlier) if earlier else list(self.hosts)
        return self._first_that(order, lambda hosts: hosts.create(name, self._offered(hosts)))

    def _begun_first(self, name: str, earlier: Entry) -> list[Hosts]:
        """A request that was left open is gone on with as it was."""
        same = [one for one in self.hosts if earlier.kind in ("", one.request.kind)]
        if not same:
            raise ConfigurationError(
                f"create {name}: an earlier call has asked for {earlier.kind} in {earlier.zone}, and nobody knows what "
                "came of it.",
                hint="Ask for the same again, or remove it with state absent first.",
            )
        return [*same, *(one for one in self.hosts if one not in same)]

    def _offered(self, hosts: Hosts) -> list[str]:
        kind = hosts.request.kind
        if kind not in self._zones:
            self._zones[kind] = hosts.offered(self.count)
        return self._zones[kind]

    def _first_that(self, left: list[Hosts], do: Callable[[Hosts], T]) -> T:
        while True:
            hosts = left.pop(0)
            try:
                return do(hosts)
            except CloudError as error:
                if error.kind not in MENDED or not left:
                    raise
                told = "no zone has it" if error.kind == Kind.CAPACITY else error.message
                hosts.tried.append(f"{hosts.request.kind}: {told}")
