# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan of networks has to know of a cluster, in one list of each kind."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError, KubeError, NotFound
from .kube import Kube, Resource
from .network_model import Network
from .network_nics import Nic, nics_of, selected
from .network_plan import NAD_API, NAD_KIND, SRIOV_API, Plan
from .structural_schema import Schema, of_version

Object = dict[str, Any]
STATE_KIND = "SriovNetworkNodeState"
#: What is missing in a cluster that lacks the kind.
BROUGHT_BY = {
    SRIOV_API: "The SR-IOV network operator is not installed. Install it, or take form device_plugin or macvlan",
    NAD_API: "Multus is not installed, without which pods have one network. Install it",
    "whereabouts.cni.cncf.io/v1alpha1": "whereabouts is not installed. Install it, or take ipam static",
}


@dataclass
class Cluster:
    """What was read of it: objects by kind, then by name."""

    nodes: dict[str, Object] = field(default_factory=dict)
    states: dict[str, Object] = field(default_factory=dict)
    policies: dict[str, Object] = field(default_factory=dict)
    networks: dict[str, Object] = field(default_factory=dict)
    attachments: dict[str, Object] = field(default_factory=dict)
    schemas: dict[str, Schema] = field(default_factory=dict)
    namespace: Object | None = None
    problems: list[str] = field(default_factory=list)


def read(kube: Kube, plan: Plan) -> Cluster:
    """One list of each kind that the plan needs; a kind that is not there is a problem that says who brings it."""
    place, networks = plan.place, [one.network for one in plan.networks]
    found = Cluster()
    found.namespace = namespace(kube, place.namespace)
    wanted: list[tuple[str, str, str, dict[str, Object] | None]] = [("v1", "Node", "", found.nodes)]
    if networks:
        wanted.append((NAD_API, NAD_KIND, place.namespace, found.attachments))
    if any(one.form == "operator" for one in networks):
        wanted.append((SRIOV_API, "SriovNetwork", place.operator_namespace, found.networks))
        wanted.append((SRIOV_API, "SriovNetworkNodePolicy", place.operator_namespace, found.policies))
        wanted.append((SRIOV_API, STATE_KIND, place.operator_namespace, found.states))
        if namespace(kube, place.operator_namespace) is None:
            found.problems.append(
                f"There is no namespace {place.operator_namespace}, where the SR-IOV network operator would look for "
                "its objects. Say in which namespace it runs."
            )
    if any(one.ipam == "whereabouts" for one in networks):
        wanted.append(("whereabouts.cni.cncf.io/v1alpha1", "IPPool", "", None))
    for api_version, kind, where, into in wanted:
        try:
            resource = kube.resource(api_version, kind)
        except ConfigurationError:
            found.problems.append(f"The cluster does not know {kind} ({api_version}). {BROUGHT_BY[api_version]}.")
            continue
        if into is not None:
            path = resource.collection(where or None)
            into.update({item["metadata"]["name"]: item for item in kube.list_pages(path)[0]})
        schema = None if api_version == "v1" else _schema(kube, resource)
        if schema is not None:
            found.schemas[kind] = schema
    found.problems = list(dict.fromkeys(found.problems))
    return found


def _schema(kube: Kube, resource: Resource) -> Schema | None:
    """What the kind lets through; None where anything goes, or where we may not look."""
    group, _, version = resource.api_version.partition("/")
    try:
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{resource.plural}.{group}"
        return of_version(kube.request("GET", path).json(), version)
    except KubeError:
        return None


def namespace(kube: Kube, name: str) -> Object | None:
    try:
        return dict(kube.request("GET", f"/api/v1/namespaces/{name}").json())
    except NotFound:
        return None


def policy_nics(network: Network, cluster: Cluster) -> dict[str, list[Nic]]:
    """By node that the policy selects: the PFs that it selects there."""
    chosen = network.policy["nodeSelector"]
    found = {}
    for name, node in cluster.nodes.items():
        labels = (node.get("metadata") or {}).get("labels") or {}
        if all(labels.get(key) == value for key, value in chosen.items()):
            nics = nics_of(cluster.states.get(name) or {})
            found[name] = [nic for nic in nics if selected(nic, network.policy["nicSelector"])]
    return found
