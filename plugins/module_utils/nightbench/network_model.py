# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of pods as they are asked for, converted once and checked word by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .names import unknown

FORMS = ("operator", "device_plugin", "macvlan")
#: Where the resource of a form is offered unless somebody has configured another prefix: the defaults of
#: sriov-network-operator v1.6.0 and sriov-network-device-plugin v3.11.0.
PREFIXES = {"operator": "openshift.io", "device_plugin": "intel.com"}
NAMED = 5  # names that are told of many
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_INTERFACE = re.compile(r"[^\s/:]{1,15}")  # Linux: IFNAMSIZ, dev_valid_name
_RESOURCE = re.compile(r"[A-Za-z0-9_]+")
MTU = (68, 65_535)  # RFC 791; what the field of an IPv4 packet can say


@dataclass(frozen=True)
class Pod:
    name: str
    group: str = ""
    node: str = ""


@dataclass(frozen=True)
class Network:
    """One network; `options` in the words of SriovNetwork, or of the CNI plugin macvlan."""

    name: str
    form: str = "operator"
    interface: str = "net1"
    groups: tuple[str, ...] = ()
    subnet: str = ""
    ipam: str = "static"
    ipam_options: Mapping[str, Any] = field(default_factory=dict)
    addresses: Mapping[str, str] = field(default_factory=dict)
    range_start: str = ""
    range_end: str = ""
    exclude: tuple[str, ...] = ()
    mtu: int = 0
    resource: str = ""
    resource_prefix: str = ""
    policy: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def full_resource(self) -> str:
        """What a pod asks for; empty where it needs no device."""
        return f"{self.resource_prefix or PREFIXES[self.form]}/{self.resource}" if self.form in PREFIXES else ""

    @property
    def ipam_addresses(self) -> list[str]:
        """Addresses in the ipam section, which all pods of the network would share."""
        found = self.ipam_options.get("addresses") or ()
        return [str(one.get("address") if isinstance(one, Mapping) else one) for one in found]

    def pods(self, pods: Sequence[Pod]) -> list[Pod]:
        return [pod for pod in pods if not self.groups or pod.group in self.groups]


def told(names: Iterable[str]) -> str:
    """The first few of many."""
    every = [str(name) for name in names]
    more = f" and {len(every) - NAMED} more" if len(every) > NAMED else ""
    return ", ".join(every[:NAMED]) + more


def network_of(given: Mapping[str, Any], problems: list[str]) -> Network:
    """From the options of a module; the values of `policy` and `options` converted to what the API takes."""
    values = {key: value for key, value in given.items() if value is not None}
    name = values.get("name", "")
    for key in ("groups", "exclude"):
        values[key] = tuple(values.get(key) or ())
    words = MACVLAN if values.get("form") == "macvlan" else SRIOV
    values["options"] = _converted(f"Network {name}: options", values.get("options") or {}, words, problems)
    values["policy"] = _converted(f"Network {name}: policy", values.get("policy") or {}, POLICY, problems)
    nic = values["policy"].get("nicSelector") or {}
    if nic:
        values["policy"]["nicSelector"] = _converted(f"Network {name}: policy.nicSelector", nic, NIC, problems)
    return Network(**values)


def check(networks: Sequence[Network], pods: Sequence[Pod]) -> list[str]:
    """What is wrong before anybody asks a cluster or counts addresses."""
    problems = [
        f"There is more than one {what} {name}."
        for what, names in (("network", [one.name for one in networks]), ("pod", [one.name for one in pods]))
        for name, count in Counter(names).items()
        if count > 1
    ]
    if not pods:
        problems.append("There are no pods: say which (name, and group and node where you know them).")
    groups = {pod.group for pod in pods}
    for one in networks:
        where = f"Network {one.name}"
        if not _LABEL.fullmatch(one.name):
            problems.append(f"{where}: the name has to be small letters, digits and hyphens, 63 at most.")
        if not _INTERFACE.fullmatch(one.interface) or one.interface in (".", "..", "eth0", "lo"):
            problems.append(f"{where}: interface {one.interface!r} cannot be; up to 15 characters, not eth0 or lo.")
        problems += [f"{where}: {sentence}" for sentence in unknown("group", one.groups, groups)]
        if one.mtu and not MTU[0] <= one.mtu <= MTU[1]:
            problems.append(f"{where}: mtu {one.mtu} is not between {MTU[0]} and {MTU[1]}.")
        problems += [f"{where}: {sentence}" for sentence in _of_form(one)]
    return problems + _twice_on_an_interface(networks, pods) + _policies(networks)


def _of_form(one: Network) -> list[str]:
    problems = []
    if one.form == "macvlan":
        if one.policy or one.resource:
            problems.append("form macvlan has no policy and no resource; use form operator for VFs.")
        if not one.options.get("master"):
            problems.append("form macvlan needs options.master, the interface of the nodes that it hangs on.")
    elif not one.resource:
        problems.append(f"form {one.form} needs the name of the resource that its VFs are.")
    elif "-" in one.resource:
        better = one.resource.replace("-", "_")
        problems.append(
            f"resource {one.resource!r} has a hyphen, which the SR-IOV device plugin refuses; call it {better!r}."
        )
    elif not _RESOURCE.fullmatch(one.resource):
        problems.append(f"resource {one.resource!r} may have letters, digits and underscores; the prefix stands apart.")
    if one.policy and one.form != "operator":
        problems.append(f"a policy is for form operator, not {one.form}.")
    low, high = int(one.options.get("minTxRate") or 0), int(one.options.get("maxTxRate") or 0)
    if high and low > high:
        problems.append(f"minTxRate {low} is over maxTxRate {high}.")
    if one.ipam == "whereabouts" and (one.addresses or one.ipam_addresses):
        problems.append("with ipam whereabouts nobody chooses addresses; leave them out, or take ipam static.")
    if one.policy:
        for key in ("numVfs", "nicSelector", "nodeSelector"):
            if not one.policy.get(key):
                problems.append(f"the policy needs {key}; without it the operator would take every NIC or node.")
        if one.policy.get("deviceType") == "vfio-pci":
            problems.append("deviceType vfio-pci gives pods no interface that could carry traffic.")
    return problems


def _twice_on_an_interface(networks: Sequence[Network], pods: Sequence[Pod]) -> list[str]:
    found = []
    for pod in pods:
        mine = [one for one in networks if pod in one.pods(pods)]
        for interface, count in Counter(one.interface for one in mine).items():
            if count > 1:
                names = [one.name for one in mine if one.interface == interface]
                found.append(f"Pod {pod.name} is on {count} networks of {interface}: {', '.join(names)}.")
                if len(found) >= NAMED:
                    return found
    return found


def _policies(networks: Sequence[Network]) -> list[str]:
    """Two policies for one resource would each take the other's VFs into its pool."""
    counts = Counter(one.resource for one in networks if one.policy)
    return [
        f"Resource {name} has {count} policies; give it with one network, and only its name with the others."
        for name, count in counts.items()
        if count > 1
    ]


# --- the words of the kinds, and what their values have to be

Convert = Callable[[Any], Any]


def _whole(low: int, high: int) -> Convert:
    def convert(value: Any) -> int:
        text = str(value).strip()
        if not re.fullmatch(r"-?[0-9]+", text) or not low <= int(text) <= high:
            raise ValueError(f"has to be a whole number from {low} to {high}")
        return int(text)

    return convert


def _one_of(*choices: str) -> Convert:
    def convert(value: Any) -> str:
        # YAML takes on and off for truth values.
        text = {"True": "on", "False": "off"}.get(str(value), str(value)) if "on" in choices else str(value)
        if text not in choices:
            raise ValueError(f"has to be one of {', '.join(choices)}")
        return text

    return convert


def _truth(value: Any) -> bool:
    text = str(value).lower()
    if text not in ("true", "false", "yes", "no"):
        raise ValueError("has to be true or false")
    return text in ("true", "yes")


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError("has to be a mapping")
    return dict(value)


def _labels(value: Any) -> dict[str, str]:
    # "true" as a label's value is a text; YAML without quotes makes a truth value of it.
    return {str(key): str(one).lower() if isinstance(one, bool) else str(one) for key, one in _mapping(value).items()}


def _texts(value: Any) -> list[str]:
    if not isinstance(value, (list, tuple)):
        raise ValueError("has to be a list")
    return [str(one) for one in value]


RATE = 2**31 - 1
#: SriovNetwork of sriovnetwork.openshift.io/v1 (sriov-network-operator v1.6.0), what this project does not set itself.
SRIOV: dict[str, Convert] = {
    "vlan": _whole(0, 4094),
    "vlanQoS": _whole(0, 7),
    "vlanProto": _one_of("802.1q", "802.1Q", "802.1ad", "802.1AD"),
    "spoofChk": _one_of("on", "off"),
    "trust": _one_of("on", "off"),
    "linkState": _one_of("auto", "enable", "disable"),
    "minTxRate": _whole(0, RATE),
    "maxTxRate": _whole(0, RATE),
    "logLevel": _one_of("panic", "error", "warning", "info", "debug"),
    "logFile": str,
    "metaPlugins": str,
}
#: The CNI plugin macvlan (containernetworking/plugins v1.9.1).
MACVLAN: dict[str, Convert] = {
    "master": str,
    "mode": _one_of("bridge", "private", "vepa", "passthru"),
    "linkInContainer": _truth,
    "bcqueuelen": _whole(-1, RATE),
}
#: SriovNetworkNodePolicy, but resourceName and mtu, which the network says.
POLICY: dict[str, Convert] = {
    "nodeSelector": _labels,
    "nicSelector": _mapping,
    "numVfs": _whole(1, 4096),
    "priority": _whole(0, 99),
    "deviceType": _one_of("netdevice", "vfio-pci"),
    "isRdma": _truth,
    "needVhostNet": _truth,
    "linkType": _one_of("eth", "ETH", "ib", "IB"),
    "eSwitchMode": _one_of("legacy", "switchdev"),
    "vdpaType": _one_of("virtio", "vhost"),
    "externallyManaged": _truth,
    "excludeTopology": _truth,
    "bridge": _mapping,
}
NIC: dict[str, Convert] = {
    "vendor": str,
    "deviceID": str,
    "rootDevices": _texts,
    "pfNames": _texts,
    "netFilter": str,
}


def _converted(
    where: str, given: Mapping[str, Any], words: Mapping[str, Convert], problems: list[str]
) -> dict[str, Any]:
    problems += [f"{where}: {sentence}" for sentence in unknown("field", given, list(words))]
    found = {}
    for name, value in given.items():
        if name in words:
            try:
                found[name] = words[name](value)
            except ValueError as error:
                problems.append(f"{where}.{name} {error}, and is {value!r}.")
    return found
