# SPDX-License-Identifier: GPL-3.0-or-later
"""What the kernel says of this network namespace: addresses, routes, counters, sockets, limits.

Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import contextlib
import fcntl
import ipaddress
import os
import socket
import struct
from typing import Any

# linux/netlink.h and linux/rtnetlink.h
RTM_NEWADDR, RTM_GETADDR = 20, 22
NLMSG_DONE, NLMSG_ERROR = 3, 2
NLM_F_REQUEST, NLM_F_DUMP = 0x1, 0x300
IFA_ADDRESS, IFA_LOCAL = 1, 2
# linux/sockios.h
SIOCGIFMTU = 0x8921


def interfaces() -> dict[str, dict[str, Any]]:
    """Addresses with their prefix lengths, MTU and destinations that are routed over each interface."""
    found: dict[str, dict[str, Any]] = {
        name: {"addresses": [], "mtu": mtu(name), "routes": []} for _, name in socket.if_nameindex() if name != "lo"
    }
    for name, address, prefix in addresses():
        if name in found:
            found[name]["addresses"].append({"address": address, "prefix": prefix})
    for name, network in routes():
        if name in found:
            found[name]["routes"].append(network)
    return found


def addresses() -> list[tuple[str, str, int]]:
    """(interface, address, prefix length) of every address, by rtnetlink(7); link-local IPv6 left out."""
    found = []
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asked:
        header = struct.pack("=IHHII", 24, RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, 1, 0)
        asked.send(header + struct.pack("=BBBBI", socket.AF_UNSPEC, 0, 0, 0, 0))
        while True:
            data = asked.recv(65536)
            at = 0
            while at + 16 <= len(data):
                length, kind = struct.unpack_from("=IH", data, at)
                if kind in (NLMSG_DONE, NLMSG_ERROR) or length < 16:
                    return found
                if kind == RTM_NEWADDR:
                    one = _address(data[at + 16 : at + length])
                    if one is not None:
                        found.append(one)
                at += (length + 3) & ~3


def _address(message: bytes) -> tuple[str, str, int] | None:
    family, prefix, _, _, index = struct.unpack_from("=BBBBI", message)
    if family not in (socket.AF_INET, socket.AF_INET6):
        return None
    attributes, at = {}, 8
    while at + 4 <= len(message):
        length, kind = struct.unpack_from("=HH", message, at)
        if length < 4:
            break
        attributes[kind] = message[at + 4 : at + length]
        at += (length + 3) & ~3
    # On a point-to-point link IFA_ADDRESS is the other end's; IFA_LOCAL is not written for IPv6.
    packed = attributes.get(IFA_LOCAL) or attributes.get(IFA_ADDRESS)
    if packed is None:
        return None
    address = ipaddress.ip_address(packed)
    if address.is_link_local:
        return None
    try:
        return socket.if_indextoname(index), str(address), prefix
    except OSError:
        return None


def routes() -> list[tuple[str, str]]:
    """(interface, "destination" or "destination via gateway") of every IPv4 route that is up.

    /proc/net/route writes words in the host's order.
    """
    found = []
    for line in _lines("/proc/net/route")[1:]:
        fields = line.split()
        if int(fields[3], 16) & 1:
            destination, gateway, mask = (
                socket.inet_ntoa(struct.pack("=I", int(fields[column], 16))) for column in (1, 2, 7)
            )
            network = str(ipaddress.ip_network(f"{destination}/{mask}", strict=False))
            found.append((fields[0], network if gateway == "0.0.0.0" else f"{network} via {gateway}"))
    return found


def mtu(name: str) -> int | None:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        answer = fcntl.ioctl(asked, SIOCGIFMTU, struct.pack("16si12x", name.encode(), 0))
        return int(struct.unpack_from("i", answer, 16)[0])
    return None


def counters() -> dict[str, list[int]]:
    """Bytes sent and received by each interface: the columns of /proc/net/dev, all interfaces by one read."""
    found = {}
    for line in _lines("/proc/net/dev")[2:]:
        name, _, rest = line.partition(":")
        fields = rest.split()
        found[name.strip()] = [int(fields[8]), int(fields[0])]
    return found


def sockets(pid: int) -> int:
    """How many a process holds. /proc/net/tcp would tell more, at the price of the whole machine's table each time."""
    found = 0
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                found += os.readlink(f"/proc/{pid}/fd/{name}").startswith("socket:")
    return found


def neighbour_limit() -> int | None:
    """net.ipv4.neigh.default.gc_thresh3 is the machine's; most kernels show it in the first network namespace only."""
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/net/ipv4/neigh/default/gc_thresh3") as stream:
        return int(stream.read())
    return None


def boot_id() -> str:
    """Tells kernels apart: nodes that share one share its limits."""
    return "".join(_lines("/proc/sys/kernel/random/boot_id")[:1])


def _lines(path: str) -> list[str]:
    try:
        with open(path) as stream:
            return stream.read().splitlines()
    except OSError:
        return []
