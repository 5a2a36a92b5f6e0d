# SPDX-License-Identifier: GPL-3.0-or-later
"""The two annotations by which pods and Multus speak of networks: what a pod asks for, and what it was given.

What was given is read from `k8s.v1.cni.cncf.io/network-status`, never by a command in the pod. Shapes as in the
NetworkStatus and NetworkSelectionElement of k8snetworkplumbingwg/network-attachment-definition-client v1.7.7.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .errors import ConfigurationError

NETWORKS = "k8s.v1.cni.cncf.io/networks"
NETWORK_STATUS = "k8s.v1.cni.cncf.io/network-status"
#: The default entry of the AWS VPC CNI is called so and names an interface dummy…, which no pod has: it is eth0.
AWS_NAME, AWS_INTERFACE = "aws-cni", "dummy"
DEFAULT_INTERFACE = "eth0"
SHOWN = 80  # characters of a broken annotation that are told


@dataclass(frozen=True)
class Attachment:
    """One interface of a pod as it was given; what the entry does not say is empty or None."""

    network: str
    interface: str | None
    addresses: tuple[str, ...] = ()
    mac: str | None = None
    mtu: int | None = None
    default: bool = False
    device: str | None = None  # PCI address of the VF
    physical: str | None = None  # PCI address of the PF that the VF is of

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "addresses": list(self.addresses)}


@dataclass(frozen=True)
class Wanted:
    """What an interface of a pod should be; without an address any of the subnet will do."""

    pod: str
    interface: str
    address: str | None = None
    subnet: str | None = None
    network: str | None = None
    mtu: int | None = None

    def __post_init__(self) -> None:
        where = f"{self.pod}/{self.interface}"
        try:
            if self.address is not None:
                ipaddress.ip_address(self.address)
            if self.subnet is not None:
                ipaddress.ip_network(self.subnet)
        except ValueError as error:
            raise ConfigurationError(f"What is expected of {where} cannot be: {error}.") from error


def selection(elements: Iterable[Mapping[str, Any]]) -> str:
    """The annotation `networks` of one pod: name, namespace, interface and ips of each network, in this order."""
    chosen = []
    for element in elements:
        one = {key: element[key] for key in ("name", "namespace", "interface") if element.get(key)}
        if element.get("ips"):
            one["ips"] = list(element["ips"])
        chosen.append(one)
    return json.dumps(chosen, separators=(",", ":"))


def parse(text: str) -> list[Attachment]:
    """The entries of `network-status`; raises ConfigurationError for what Multus would never write.

    Entries may lack interface and ips (a network without IPAM, a device that is no network interface).
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ConfigurationError(f"{NETWORK_STATUS} is not JSON ({error}): {_shown(text)}") from error
    if not isinstance(document, list):
        raise ConfigurationError(f"{NETWORK_STATUS} is {_kind(document)}, not a list: {_shown(text)}")
    return [_entry(number, one) for number, one in enumerate(document)]


def of_pod(pod: Mapping[str, Any]) -> list[Attachment] | None:
    """What the pod was given; None as long as nobody has said so."""
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    text = annotations.get(NETWORK_STATUS)
    return parse(text) if text else None


def problem(wanted: Wanted, given: Iterable[Attachment]) -> str | None:
    """Why what was given is not what was wanted; None when it is."""
    attachments = list(given)
    found = [one for one in attachments if one.interface == wanted.interface]
    if not found:
        nameless = [one.network for one in attachments if one.interface is None]
        there = ", ".join(sorted({one.interface for one in attachments if one.interface})) or "none"
        more = f"; {', '.join(nameless)} without an interface's name" if nameless else ""
        return f"it has no interface {wanted.interface} (it has: {there}{more})"
    if len(found) > 1:
        return f"it has {wanted.interface} {len(found)} times"
    return _differs(wanted, found[0])


def same_addresses(given: Mapping[str, Iterable[Attachment]]) -> dict[str, list[str]]:
    """Pod/interface of every address that more than one of them has."""
    holders: dict[str, list[str]] = {}
    for pod, attachments in given.items():
        for one in attachments:
            for address in one.addresses:
                holders.setdefault(address, []).append(f"{pod}/{one.interface}")
    return {address: sorted(there) for address, there in holders.items() if len(there) > 1}


def _differs(wanted: Wanted, one: Attachment) -> str | None:
    if wanted.network is not None and one.network != wanted.network:
        return f"{wanted.interface} is of network {one.network}, not {wanted.network}"
    if not one.addresses:
        return f"{wanted.interface} has no address (no ips in its entry)"
    parsed = [ipaddress.ip_address(address) for address in one.addresses]
    if wanted.address is not None and ipaddress.ip_address(wanted.address) not in parsed:
        return f"{wanted.interface} has {', '.join(one.addresses)}, not {wanted.address}"
    if wanted.subnet is not None and not any(address in ipaddress.ip_network(wanted.subnet) for address in parsed):
        return f"{wanted.interface} has {', '.join(one.addresses)}, outside of {wanted.subnet}"
    # An entry that does not say its MTU is no mismatch: not every CNI plugin reports it.
    if wanted.mtu is not None and one.mtu is not None and one.mtu != wanted.mtu:
        return f"{wanted.interface} has an MTU of {one.mtu}, not {wanted.mtu}"
    return None


def _entry(number: int, one: Any) -> Attachment:
    where = f"{NETWORK_STATUS}[{number}]"
    if not isinstance(one, dict):
        raise ConfigurationError(f"{where} is {_kind(one)}, not a mapping: {_shown(json.dumps(one))}")
    name = _value(one, "name", str, where)
    interface = _value(one, "interface", str, where) or None
    if name == AWS_NAME and (interface is None or interface.startswith(AWS_INTERFACE)):
        interface = DEFAULT_INTERFACE
    info = _value(one, "device-info", dict, where) or {}
    pci = _value(info, "pci", dict, f"{where}.device-info") or {}
    return Attachment(
        network=name or "",
        interface=interface,
        addresses=tuple(_address(text, where) for text in _value(one, "ips", list, where) or ()),
        mac=_value(one, "mac", str, where) or None,
        mtu=_value(one, "mtu", int, where) or None,
        default=bool(_value(one, "default", bool, where)),
        device=_value(pci, "pci-address", str, f"{where}.device-info.pci") or None,
        physical=_value(pci, "pf-pci-address", str, f"{where}.device-info.pci") or None,
    )


def _value(one: Mapping[str, Any], key: str, kind: type, where: str) -> Any:
    """The value of a key that may be left out, if it is what it has to be."""
    value = one.get(key)
    if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        return value
    raise ConfigurationError(f"{where}.{key} is {_kind(value)}, not {_NAMES[kind]}: {_shown(json.dumps(value))}")


def _address(text: Any, where: str) -> str:
    if not isinstance(text, str):
        raise ConfigurationError(f"{where}.ips holds {_kind(text)}, not texts: {_shown(json.dumps(text))}")
    try:
        return str(ipaddress.ip_interface(text).ip)  # some CNI plugins leave the length of the prefix on
    except ValueError as error:
        raise ConfigurationError(f"{where}.ips: {error}.") from error


_NAMES: dict[type, str] = {
    str: "a text",
    dict: "a mapping",
    list: "a list",
    int: "a whole number",
    bool: "true or false",
}


def _kind(value: Any) -> str:
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)


def _shown(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
