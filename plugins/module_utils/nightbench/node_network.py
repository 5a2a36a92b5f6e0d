# SPDX-License-Identifier: GPL-3.0-or-later
"""Which addresses real nodes and their pods have. Everything follows from one range and the number of a node.

The range is cut into equal parts: the first for the nodes themselves, one more for each interface of the pods. Each
node has the part of an interface that its number says, so that every route is known before any node is there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError

from .errors import ConfigurationError

BENCHMARKS = IPv4Network("198.18.0.0/15")  # set aside for tests of networks (RFC 2544, RFC 6890)
RANGE_PREFIX = 20  # 32 of them
FIRST_NODE = 16  # the addresses before are those of the machine and the bridge


@dataclass(frozen=True)
class NodeNetwork:
    """The addresses of one set of nodes."""

    whole: IPv4Network
    interfaces: int
    pod_prefix: int

    @property
    def parts(self) -> list[IPv4Network]:
        bits = self.interfaces.bit_length()  # parts for the nodes and each interface
        return list(self.whole.subnets(prefixlen_diff=bits))

    @property
    def nodes(self) -> IPv4Network:
        return self.parts[0]

    @property
    def machine(self) -> IPv4Address:
        return self.nodes[1]

    @property
    def router(self) -> IPv4Address:
        return self.nodes[2]

    @property
    def capacity(self) -> int:
        """How many nodes there are addresses for."""
        bits = self.pod_prefix - self.parts[1].prefixlen
        return int(min(2**bits if bits >= 0 else 0, self.nodes.num_addresses - 2 * FIRST_NODE))

    def node(self, index: int) -> IPv4Address:
        return self.nodes[FIRST_NODE + index]

    def interface(self, number: int) -> IPv4Network:
        return self.parts[1 + number]

    def pods(self, number: int, index: int) -> IPv4Network:
        """The pods' addresses of one interface on one node."""
        part = self.interface(number)
        first = int(part.network_address) + index * 2 ** (32 - self.pod_prefix)
        return IPv4Network((first, self.pod_prefix))

    def routes(self, *, but: int | None = None) -> list[tuple[str, str]]:
        """To the pods of every node there may be, through that node; without those of the node `but`."""
        return [
            (str(self.pods(number, index)), str(self.node(index)))
            for index in range(self.capacity)
            if index != but
            for number in range(self.interfaces)
        ]


def parse(text: str) -> IPv4Network:
    """A range out of the one for benchmarks: no other address can be taken without harm to somebody."""
    try:
        found = IPv4Network(text)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise ConfigurationError(f"{text!r} is no range of IPv4 addresses ({error}).") from error
    if not found.subnet_of(BENCHMARKS):
        raise ConfigurationError(
            f"{found} is not inside {BENCHMARKS}.", hint="That range is set aside for tests and in use nowhere else."
        )
    return found


def candidates(seed: str, taken: Iterable[IPv4Network]) -> list[IPv4Network]:
    """Ranges that nobody uses, in an order that differs from run to run."""
    ranges = list(BENCHMARKS.subnets(new_prefix=RANGE_PREFIX))
    first = int.from_bytes(hashlib.sha256(seed.encode()).digest()[:4], "big") % len(ranges)
    used = [network for network in taken if network.overlaps(BENCHMARKS)]
    return [one for one in ranges[first:] + ranges[:first] if not any(one.overlaps(network) for network in used)]


def check(network: NodeNetwork, count: int, max_pods: int) -> None:
    """Refuse what has no room, before anything is started."""
    if network.capacity < count:
        raise ConfigurationError(
            f"{network.whole} has addresses for {network.capacity} nodes with {network.interfaces} interfaces a pod "
            f"(/{network.pod_prefix} for the pods of a node); {count} nodes are asked for.",
            hint="Give a larger range, fewer nodes, or fewer addresses a node.",
        )
    room = 2 ** (32 - network.pod_prefix) - 3  # the network's own, the broadcast's and the gateway's
    if max_pods > room:
        raise ConfigurationError(
            f"A node with /{network.pod_prefix} has addresses for {room} pods, and {max_pods} are allowed on it.",
            hint="Lower the number of pods or the length of the prefix.",
        )


def taken(routes: Sequence[dict[str, str]], addresses: Sequence[dict[str, object]]) -> list[IPv4Network]:
    """What `ip -json route show table all` and `ip -json address` show to be in use."""
    texts = [route["dst"] for route in routes if route.get("dst") not in (None, "default")]
    for link in addresses:
        for one in link.get("addr_info") or []:  # type: ignore[attr-defined]
            texts.append(f"{one['local']}/{one['prefixlen']}")
    found = []
    for text in texts:
        try:
            found.append(IPv4Network(text, strict=False))
        except ValueError:
            continue  # not IPv4
    return found
