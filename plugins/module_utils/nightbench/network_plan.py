# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of pods as a plan: the objects to apply, what every pod has to ask for, and what it has to be given."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .network_addresses import Given, Subnet, assign, check_links
from .network_model import Network, Pod, check
from .network_status import NETWORKS, selection

SRIOV_API = "sriovnetwork.openshift.io/v1"
NAD_API = "k8s.cni.cncf.io/v1"
NAD_KIND = "NetworkAttachmentDefinition"
RESOURCE_NAME = "k8s.v1.cni.cncf.io/resourceName"
CNI_VERSION = "1.0.0"
#: From the words of SriovNetwork to those of the CNI plugin (sriov-cni v2.10.0, docs/configuration-reference.md).
CNI_WORDS = {
    "spoofChk": "spoofchk",
    "linkState": "link_state",
    "minTxRate": "min_tx_rate",
    "maxTxRate": "max_tx_rate",
}


@dataclass(frozen=True)
class Place:
    """Where it all goes, and what marks it as ours."""

    namespace: str
    operator_namespace: str
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Planned:
    """One network with its pods, its subnet and their addresses."""

    network: Network
    pods: tuple[Pod, ...]
    subnet: Subnet
    given: Given


@dataclass(frozen=True)
class Plan:
    place: Place
    networks: tuple[Planned, ...]

    def objects(self) -> list[dict[str, Any]]:
        """Policies first: a network of a resource that nobody offers is of no use."""
        networks = [one.network for one in self.networks]
        return [
            *(self._policy(one) for one in networks if one.policy),
            *(self._network(one) for one in networks if one.form == "operator"),
            *(self._attachment(one) for one in networks if one.form != "operator"),
        ]

    def pods(self) -> dict[str, dict[str, Any]]:
        """By name: annotations and resources for the pod's manifest, and the addresses it will have."""
        found: dict[str, dict[str, Any]] = {}
        elements: dict[str, list[dict[str, Any]]] = {}
        resources: dict[str, Counter[str]] = {}
        for one in self.networks:
            network = one.network
            for pod in one.pods:
                address = one.given[pod.name]
                mine = found.setdefault(pod.name, {"group": pod.group, "node": pod.node, "addresses": {}})
                mine["addresses"][network.interface] = str(address.ip) if address else None
                element: dict[str, Any] = {
                    "name": network.name,
                    "namespace": self.place.namespace,
                    "interface": network.interface,
                }
                if address:
                    element["ips"] = [str(address)]
                elements.setdefault(pod.name, []).append(element)
                if network.full_resource:
                    resources.setdefault(pod.name, Counter())[network.full_resource] += 1
        for name, mine in found.items():
            mine["annotations"] = {NETWORKS: selection(elements[name])}
            mine["resources"] = {key: str(count) for key, count in resources.get(name, Counter()).items()}
        return found

    def interfaces(self) -> dict[str, dict[str, Any]]:
        """By the interface's name in the pods: what is the same for all of them."""
        found: dict[str, dict[str, Any]] = {}
        for one in self.networks:
            mine = found.setdefault(
                one.network.interface,
                {
                    "subnet": str(one.subnet),
                    "mtu": one.network.mtu or None,
                    "form": one.network.form,
                    "resources": [],
                    "networks": [],
                    "pods": 0,
                },
            )
            if one.network.full_resource and one.network.full_resource not in mine["resources"]:
                mine["resources"].append(one.network.full_resource)
            mine["networks"].append(f"{self.place.namespace}/{one.network.name}")
            mine["pods"] += len(one.pods)
        return found

    def expected(self) -> list[dict[str, Any]]:
        """For bench_network_status."""
        return [
            {
                "pod": pod.name,
                "interface": one.network.interface,
                "network": f"{self.place.namespace}/{one.network.name}",
                "address": str(address.ip) if (address := one.given[pod.name]) else None,
                "subnet": str(one.subnet),
                "mtu": one.network.mtu or None,
            }
            for one in self.networks
            for pod in one.pods
        ]

    def _metadata(self, name: str, namespace: str, **more: Any) -> dict[str, Any]:
        return {"name": name, "namespace": namespace, "labels": dict(self.place.labels), **more}

    def _policy(self, network: Network) -> dict[str, Any]:
        mtu = {"mtu": network.mtu} if network.mtu else {}
        return {
            "apiVersion": SRIOV_API,
            "kind": "SriovNetworkNodePolicy",
            "metadata": self._metadata(network.name, self.place.operator_namespace),
            "spec": {"resourceName": network.resource, **mtu, **network.policy},
        }

    def _network(self, network: Network) -> dict[str, Any]:
        return {
            "apiVersion": SRIOV_API,
            "kind": "SriovNetwork",
            "metadata": self._metadata(network.name, self.place.operator_namespace),
            "spec": {
                "resourceName": network.resource,
                "networkNamespace": self.place.namespace,
                "ipam": _json(ipam(network)),
                **({"capabilities": _json({"ips": True})} if network.ipam == "static" else {}),
                **network.options,
            },
        }

    def _attachment(self, network: Network) -> dict[str, Any]:
        resource = {"annotations": {RESOURCE_NAME: network.full_resource}} if network.full_resource else {}
        return {
            "apiVersion": NAD_API,
            "kind": NAD_KIND,
            "metadata": self._metadata(network.name, self.place.namespace, **resource),
            "spec": {"config": _json(cni_config(network))},
        }


def make(networks: Sequence[Network], pods: Sequence[Pod], place: Place, problems: list[str]) -> Plan:
    """What can be said without a cluster; what cannot be goes to `problems`, and the plan then means nothing."""
    problems += check(networks, pods)
    planned = []
    for network in networks:
        of_network = network.pods(pods)
        subnet, given = assign(network, of_network, problems)
        if subnet is not None and len(given) == len(of_network):
            planned.append(Planned(network, tuple(of_network), subnet, given))
    check_links([(one.network, one.subnet, one.given) for one in planned], problems)
    return Plan(place, tuple(planned))


def cni_config(network: Network) -> dict[str, Any]:
    """What stands as a text in spec.config; the device's address is put in by Multus."""
    plugin = "macvlan" if network.form == "macvlan" else "sriov"
    config: dict[str, Any] = {"cniVersion": CNI_VERSION, "name": network.name, "type": plugin}
    config |= {CNI_WORDS.get(key, key): value for key, value in network.options.items()}
    if network.form == "macvlan":
        config.setdefault("mode", "bridge")
        config |= {"mtu": network.mtu} if network.mtu else {}
    return config | ({"capabilities": {"ips": True}} if network.ipam == "static" else {}) | {"ipam": ipam(network)}


def ipam(network: Network) -> dict[str, Any]:
    """Each pod's own address comes with its annotation (static), or from the range (whereabouts v0.9.4)."""
    more = {key: value for key, value in network.ipam_options.items() if key != "addresses"}
    if network.ipam == "static":
        return {"type": "static", **more}
    ranged: dict[str, Any] = {"type": "whereabouts", "range": network.subnet}
    for key in ("range_start", "range_end", "exclude"):
        if getattr(network, key):
            value = getattr(network, key)
            ranged[key] = list(value) if isinstance(value, tuple) else value
    return ranged | more


def _json(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True, separators=(",", ":"))
