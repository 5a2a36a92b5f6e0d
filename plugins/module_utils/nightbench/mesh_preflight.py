# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold before the first packet, out of what the agents say of themselves: else a mesh measures nothing.

Each check is {name, expected, observed, holds}; ``holds`` is None where nobody could tell.
"""

from __future__ import annotations

import functools
import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .mesh_plan import Plan

#: What one agent answered to GET /state, by the pod's name.
States = Mapping[str, Mapping[str, Any]]
Check = dict[str, Any]
SHOWN = 5


def checks(
    plan: Plan, states: States, allocatable: Mapping[str, Mapping[str, int]], known_limit: tuple[str, int] | None
) -> list[Check]:
    """All checks. ``allocatable`` is what each node offers of extended resources; ``known_limit`` a kernel's boot-id
    and the size of its neighbour table, where somebody outside of the pods could look.
    """
    names = [one.name for one in plan.profile.interfaces]
    found = [
        _no("interfaces are missing", _missing(plan, states, names)),
        _no("addresses are used twice", _duplicates(states, names)),
        _no("addresses name a whole network", _network_addresses(states, names)),
        _no("targets are not routed over the interface", _off_subnet(plan, states)),
        _no("MTUs of an interface differ", _mtus(states, names)),
        _versions(plan, states),
    ]
    found += _virtual_functions(plan, allocatable)
    return found + _neighbours(plan, states, known_limit)


def refusals(found: Iterable[Check]) -> list[str]:
    """A sentence for every check that does not hold."""
    return [
        f"{check['name']}: expected {check['expected']}, observed {check['observed']}"
        for check in found
        if check["holds"] is False
    ]


def address(state: Mapping[str, Any], interface: str) -> str | None:
    """The address that an interface is used by: its first IPv4 one, or else its first."""
    known = [str(one["address"]) for one in _addresses(state, interface)]
    return next((one for one in known if "." in one), known[0] if known else None)


@functools.cache
def parsed(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    return ipaddress.ip_address(text)


def _addresses(state: Mapping[str, Any], interface: str) -> Sequence[Mapping[str, Any]]:
    return (state["interfaces"].get(interface) or {}).get("addresses") or []


def _no(what: str, found: Sequence[str]) -> Check:
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return {"name": what, "expected": "none", "observed": "; ".join(found[:SHOWN]) + more or "none", "holds": not found}


def _missing(plan: Plan, states: States, names: Sequence[str]) -> list[str]:
    return [
        f"{pod.name} has no {name} with an address"
        for pod in plan.pods
        for name in names
        if address(states[pod.name], name) is None
    ]


def _duplicates(states: States, names: Sequence[str]) -> list[str]:
    """Both ends on one address: the kernel would carry the traffic over lo, and quickly."""
    owners: dict[str, list[str]] = defaultdict(list)
    for pod, state in states.items():
        for name in names:
            for one in _addresses(state, name):
                owners[str(one["address"])].append(f"{pod} {name}")
    return [f"{key}: {_few(who)}" for key, who in owners.items() if len(who) > 1]


def _network_addresses(states: States, names: Sequence[str]) -> list[str]:
    """The first or last address of a subnet that has room for hosts is nobody's."""
    found = []
    for pod, state in states.items():
        for name in names:
            for one in _addresses(state, name):
                network = ipaddress.ip_interface(f"{one['address']}/{one['prefix']}").network
                ends = (network.network_address, network.broadcast_address)
                if network.version == 4 and network.prefixlen < 31 and ipaddress.ip_address(one["address"]) in ends:
                    found.append(f"{pod} {name}: {one['address']}/{one['prefix']}")
    return found


def _off_subnet(plan: Plan, states: States) -> list[str]:
    """Cells whose target no route of the interface leads to."""
    routes = _all_routes(plan, states)
    found: Counter[str] = Counter()
    for cells in plan.rounds:
        for cell in cells:
            source, target = plan.pods[cell.source].name, plan.pods[cell.target].name
            to = address(states[target], cell.interface)
            if to is None or ":" in to:
                continue  # told as missing; routes of IPv6 are not read
            if _first_hop(routes[source, cell.interface], to) is None:
                found[f"{source} {cell.interface} to {to}"] += 1
    return sorted(found)


Routes = list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, str]]


def _all_routes(plan: Plan, states: States) -> dict[tuple[str, str], Routes]:
    """Network and gateway (empty where there is none) of every route, the narrowest network first."""
    return {
        (pod.name, one.name): sorted(
            (
                (ipaddress.ip_network(route.partition(" via ")[0]), route.partition(" via ")[2])
                for route in (states[pod.name]["interfaces"].get(one.name) or {}).get("routes", [])
            ),
            key=lambda route: -route[0].prefixlen,
        )
        for pod in plan.pods
        for one in plan.profile.interfaces
    }


def _first_hop(routes: Routes, to: str) -> str | None:
    """The neighbour over which an address is reached: itself or a gateway; None where no route leads to it."""
    wanted = parsed(to)
    return next((gateway or to for network, gateway in routes if wanted in network), None)


def _mtus(states: States, names: Sequence[str]) -> list[str]:
    found = []
    for name in names:
        sizes: dict[Any, list[str]] = defaultdict(list)
        for pod, state in states.items():
            sizes[(state["interfaces"].get(name) or {}).get("mtu")].append(pod)
        if len(sizes) > 1:
            found.append(f"{name}: " + ", ".join(f"{size} on {_few(who)}" for size, who in sizes.items()))
    return found


def _versions(plan: Plan, states: States) -> Check:
    """Several streams need a thread each to mean what they say."""
    wanted = plan.profile.iperf3_version
    versions = Counter(str(state.get("iperf3_version")) for state in states.values())
    old = [one for one in versions if version(one) < wanted]
    why = " (a thread for each stream)" if plan.profile.streams > 1 else ""
    return {
        "name": "iperf3 version",
        "expected": f">= {wanted[0]}.{wanted[1]}{why}",
        "observed": ", ".join(f"{one} in {count} pods" for one, count in sorted(versions.items())),
        "holds": not old,
    }


def version(text: str) -> tuple[int, ...]:
    """(3, 12) of "3.12", (3, 19, 1) of "3.19.1", and () where there is none."""
    parts = text.split("+")[0].split("-")[0].split(".")
    return tuple(int(one) for one in parts) if all(one.isdigit() for one in parts) else ()


def _virtual_functions(plan: Plan, allocatable: Mapping[str, Mapping[str, int]]) -> list[Check]:
    found = []
    pods = Counter(pod.node for pod in plan.pods)
    for one in plan.profile.interfaces:
        if one.resource:
            short = [
                f"{node}: {offered} for {count} pods"
                for node, count in sorted(pods.items())
                if (offered := allocatable.get(node, {}).get(one.resource, 0)) < count
            ]
            found.append(_no(f"nodes with fewer {one.resource} than pods", short))
    return found


def _neighbours(plan: Plan, states: States, known_limit: tuple[str, int] | None) -> list[Check]:
    """The neighbour table is one for all network namespaces of a kernel; past its limit packets are lost at random."""
    needed: Counter[str] = Counter()
    limits: dict[str, int | None] = {}
    for name, count in neighbours_needed(plan, states).items():
        state = states[name]
        boot = str(state.get("boot_id"))
        needed[boot] += count
        known = known_limit[1] if known_limit and known_limit[0] == boot else None
        limits[boot] = state.get("neighbour_limit") or limits.get(boot) or known
    return [
        {
            "name": "neighbour table (net.ipv4.neigh.default.gc_thresh3)",
            "expected": f">= {count}",
            "observed": limits[boot] if limits[boot] is not None else "not visible from inside the pods",
            "holds": None if limits[boot] is None else (limits[boot] or 0) >= count,
        }
        for boot, count in sorted(needed.items())
    ]


def neighbours_needed(plan: Plan, states: States) -> dict[str, int]:
    """Entries that each pod's namespace fills, one for every first hop to a peer; and one on the other side of the
    pod's first interface.
    """
    hops: dict[str, set[tuple[str, str]]] = {pod.name: set() for pod in plan.pods}
    routes = _all_routes(plan, states)
    for cells in plan.rounds:
        for cell in cells:
            ends = (plan.pods[cell.source].name, plan.pods[cell.target].name)
            for here, there in (ends, ends[::-1]):
                to = address(states[there], cell.interface)
                hop = _first_hop(routes[here, cell.interface], to) if to is not None and ":" not in to else None
                hops[here].add((cell.interface, hop or "gateway"))
    return {name: len(found) + 1 for name, found in hops.items()}


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
