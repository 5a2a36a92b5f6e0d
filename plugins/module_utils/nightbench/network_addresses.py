# SPDX-License-Identifier: GPL-3.0-or-later
"""Which address each pod gets on each network, and why a set of addresses cannot carry a mesh.

Two pods with one address talk to themselves: the kernel routes to `local … dev lo`, and gigabits are measured of which
not a byte was on the wire. Pods in different subnets have no neighbour on the link at all. Both are refused here.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from .network_model import Network, Pod, told

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
#: Address of each pod on one network; None where whereabouts gives one.
Given = dict[str, Interface | None]


def assign(network: Network, pods: Sequence[Pod], problems: list[str]) -> tuple[Subnet | None, Given]:
    """The network's subnet and an address for each of its pods; what cannot be goes to `problems`."""
    fixed = _fixed(network, pods, problems)
    subnet = _subnet(network, list(fixed.values()), problems)
    if subnet is None:
        return None, {}
    for pod, one in fixed.items():
        problems += _misfits(network, pod, one, subnet)
    ranges = _ranges(network, subnet, problems)
    if network.ipam == "whereabouts":
        room = _count(subnet, ranges, len(pods))
        if room < len(pods):
            problems.append(_too_small(network, subnet, room, pods))
        return subnet, dict.fromkeys((pod.name for pod in pods), None)
    free = _free(subnet, ranges, {one.ip for one in fixed.values()})
    given: Given = dict(fixed)
    for number, name in enumerate(pod.name for pod in pods if pod.name not in fixed):
        address = next(free, None)
        if address is None:
            problems.append(_too_small(network, subnet, len(fixed) + number, pods))
            break
        given[name] = ipaddress.ip_interface(f"{address}/{subnet.prefixlen}")
    return subnet, given


def check_links(assigned: Sequence[tuple[Network, Subnet, Given]], problems: list[str]) -> None:
    """What the networks have to be together: one subnet and one MTU an interface, no address twice."""
    by_interface: dict[str, list[tuple[Network, Subnet, Given]]] = defaultdict(list)
    for one in assigned:
        by_interface[one[0].interface].append(one)
    for interface, networks in by_interface.items():
        subnets = {subnet: network.name for network, subnet, _ in networks}
        if len(subnets) > 1:
            problems.append(
                f"The pods' {interface} would be in {len(subnets)} subnets "
                f"({told(f'{name}: {subnet}' for subnet, name in subnets.items())}): no pair across them is on one "
                "link, so nothing is measured between them. Give every network of an interface the same subnet."
            )
        mtus = {network.mtu or "the default": network.name for network, _, _ in networks}
        if len(mtus) > 1:
            problems.append(
                f"The pods' {interface} would have {len(mtus)} MTUs "
                f"({told(f'{name}: {mtu}' for mtu, name in mtus.items())}): the larger packets never "
                "arrive. Give every network of an interface the same mtu."
            )
        problems += _twice(interface, networks)
    for (left, first, _), (right, second, _) in combinations(assigned, 2):
        if left.interface != right.interface and _overlap(first, second):
            problems.append(
                f"{left.interface} ({left.name}: {first}) and {right.interface} ({right.name}: {second}) overlap: the "
                "kernel sends the traffic of both out of one of them. Give each interface a subnet of its own."
            )


def check_elsewhere(network: Network, subnet: Subnet, elsewhere: Mapping[str, Subnet]) -> Iterator[str]:
    """Whether the subnet would take the way to the pods of a node; the first one that it would is told."""
    for node, used in elsewhere.items():
        if _overlap(subnet, used):
            yield (
                f"Network {network.name} ({subnet}) overlaps {used}, the pods of node {node}: pods would lose their "
                "way to them. Choose another subnet, such as one of 198.18.0.0/15 (RFC 2544)."
            )
            return


def _fixed(network: Network, pods: Sequence[Pod], problems: list[str]) -> dict[str, Interface]:
    """The addresses that the caller has chosen, those in the network's own ipam section too."""
    names = [pod.name for pod in pods]
    chosen: dict[str, str] = {}
    for pod, text in network.addresses.items():
        if pod in names:
            chosen[pod] = text
        else:
            problems.append(
                f"Network {network.name}: addresses names {pod}, which is none of its pods ({told(names)})."
            )
    for text in network.ipam_addresses:
        if len(pods) > 1:
            problems.append(
                f"Network {network.name} gives the one address {text} of its ipam_options to all of its {len(pods)} "
                f"pods ({told(names)}): each would take traffic for the others as its own, over lo. Leave "
                "ipam_options.addresses out, then every pod gets an address of its own in its annotation."
            )
        elif pods:
            chosen.setdefault(pods[0].name, text)
    found: dict[str, Interface] = {}
    for pod, text in chosen.items():
        try:
            found[pod] = ipaddress.ip_interface(text)
        except ValueError as error:
            problems.append(f"Network {network.name}: the address of {pod} cannot be: {error}.")
    return found


def _subnet(network: Network, fixed: Sequence[Interface], problems: list[str]) -> Subnet | None:
    """As given, else that of the chosen addresses where these say the length of their prefix."""
    if network.subnet:
        try:
            return ipaddress.ip_network(network.subnet)
        except ValueError as error:
            try:
                hint = f" Its network is {ipaddress.ip_interface(network.subnet).network}."
            except ValueError:
                hint = ""
            problems.append(f"Network {network.name}: the subnet cannot be: {error}.{hint}")
            return None
    subnets = {one.network for one in fixed if one.network.prefixlen < one.max_prefixlen}
    if len(subnets) > 1:
        problems.append(
            f"Network {network.name} has addresses in {len(subnets)} subnets ({told(str(one) for one in subnets)}): no "
            "pair across them is on one link. Give all pods addresses of one subnet."
        )
        return None
    if not subnets:
        if not problems:
            problems.append(f"Network {network.name} has no subnet. Give one, such as 198.19.0.0/24 (RFC 2544).")
        return None
    return next(iter(subnets))


def _misfits(network: Network, pod: str, one: Interface, subnet: Subnet) -> Iterator[str]:
    where = f"Network {network.name}: the address {one} of {pod}"
    says_length = one.network.prefixlen < one.max_prefixlen
    if one.ip not in subnet:
        yield f"{where} is outside of {subnet}: nothing on the link would answer it."
    elif says_length and one.network != subnet:
        yield f"{where} has a prefix of /{one.network.prefixlen}, and the subnet is {subnet}."
    elif one.ip in _ends(subnet):
        kind = "network" if one.ip == subnet.network_address else "broadcast"
        yield f"{where} is the {kind} address of {subnet}, which no interface can have."


def _ranges(network: Network, subnet: Subnet, problems: list[str]) -> tuple[int, int, list[Subnet]]:
    """First and last address that may be given, as numbers, and what is left out."""
    ends = [int(subnet.network_address), int(subnet.broadcast_address)]
    if _ends(subnet):
        ends = [ends[0] + 1, ends[1] - 1]
    for place, (name, text) in enumerate((("range_start", network.range_start), ("range_end", network.range_end))):
        if text:
            try:
                address = ipaddress.ip_address(text)
            except ValueError as error:
                problems.append(f"Network {network.name}: {name} cannot be: {error}.")
                continue
            if address not in subnet:
                problems.append(f"Network {network.name}: {name} {address} is outside of {subnet}.")
                continue
            ends[place] = int(address)
    excluded: list[Subnet] = []
    for text in network.exclude:
        try:
            excluded.append(ipaddress.ip_network(text))
        except ValueError as error:
            problems.append(f"Network {network.name}: exclude holds {text}, which cannot be: {error}.")
    return ends[0], ends[1], excluded


def _free(subnet: Subnet, ranges: tuple[int, int, list[Subnet]], taken: set[Address]) -> Iterator[Address]:
    first, last, excluded = ranges
    kind = type(subnet.network_address)
    for number in range(first, last + 1):
        address = kind(number)
        if address not in taken and not any(address in one for one in excluded):
            yield address


def _count(subnet: Subnet, ranges: tuple[int, int, list[Subnet]], enough: int) -> int:
    """How many addresses there are; not more than enough are counted."""
    return sum(1 for _ in zip(range(enough), _free(subnet, ranges, set()), strict=False))


def _too_small(network: Network, subnet: Subnet, room: int, pods: Sequence[Pod]) -> str:
    return (
        f"Network {network.name}: {subnet} has room for {room} pods, and {len(pods)} are on it. "
        "Give a larger subnet, or exclude less."
    )


def _ends(subnet: Subnet) -> tuple[Address, ...]:
    """Network and broadcast address, where a subnet has them (RFC 3021: /31 and /32 have none)."""
    if subnet.num_addresses <= 2:
        return ()
    if isinstance(subnet, ipaddress.IPv6Network):
        return (subnet.network_address,)
    return (subnet.network_address, subnet.broadcast_address)


def _twice(interface: str, networks: Sequence[tuple[Network, Subnet, Given]]) -> Iterator[str]:
    holders: dict[Address, list[str]] = defaultdict(list)
    for _, _, given in networks:
        for pod, one in given.items():
            if one is not None:
                holders[one.ip].append(pod)
    for address, pods in holders.items():
        if len(pods) > 1:
            yield (
                f"{address} would be the {interface} address of {len(pods)} pods ({told(pods)}): each would take "
                "traffic for the others as its own, over lo. Give every pod an address of its own."
            )


def _overlap(one: Subnet, other: Subnet) -> bool:
    return one.version == other.version and one.overlaps(other)
