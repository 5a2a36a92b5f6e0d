# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster can carry a plan of networks, and what has to be waited for once its objects are applied."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from .network_addresses import check_elsewhere
from .network_cluster import STATE_KIND, Cluster, Object, policy_nics
from .network_model import NAMED, Network, told
from .network_nics import Nic, capacity, nics_of
from .network_plan import NAD_API, NAD_KIND, RESOURCE_NAME, SRIOV_API, Plan
from .network_strangers import strangers
from .quantities import quantity
from .structural_schema import nearest_path, unknown_fields


def check(plan: Plan, cluster: Cluster) -> list[str]:
    """What is in the way, before anything is made."""
    if cluster.problems:
        return cluster.problems
    problems = strangers(plan, cluster) + list(_unknown_fields(plan, cluster))
    pod_networks = _pod_networks(cluster.nodes.values())
    for one in plan.networks:
        problems += check_elsewhere(one.network, one.subnet, pod_networks)
    problems += [
        f"Pod {pod} is to run on node {node}, which does not exist."
        for pod, node in {pod.name: pod.node for one in plan.networks for pod in one.pods}.items()
        if node and node not in cluster.nodes
    ]
    for resource, offered in offers(plan, cluster, problems).items():
        problems += _too_few(plan, resource, offered)
    return problems


def offers(plan: Plan, cluster: Cluster, problems: list[str]) -> dict[str, dict[str, int]]:
    """VFs by node of every resource: as the policy will make them, or as the nodes offer them already."""
    found: dict[str, dict[str, int]] = {}
    for one in plan.networks:
        network = one.network
        if network.policy:
            nics = policy_nics(network, cluster)
            problems += _policy_problems(network, nics, cluster)
            found[network.full_resource] = {node: capacity(network.policy, mine) for node, mine in nics.items() if mine}
    for one in plan.networks:
        resource = one.network.full_resource
        if resource and resource not in found:
            there = {name: _allocatable(node, resource) for name, node in cluster.nodes.items()}
            found[resource] = {name: count for name, count in there.items() if count}
    return found


def conditions(plan: Plan, cluster: Cluster) -> dict[str, list[Object]]:
    """For bench_wait: nodes that have what policies ask for, that offer the VFs, and networks that can be attached."""
    by_node: dict[str, list[str]] = defaultdict(list)
    for one in plan.networks:
        if one.network.policy:
            for node, nics in policy_nics(one.network, cluster).items():
                if nics:
                    by_node[node].append(one.network.name)
    same: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for node, policies in by_node.items():
        same[tuple(policies)].append(node)
    state = {"api_version": SRIOV_API, "kind": STATE_KIND, "namespace": plan.place.operator_namespace}
    synced = [
        {**state, "names": nodes, "predicate": "sriov_synced", "parameters": {"policies": list(policies)}}
        for policies, nodes in same.items()
    ]
    counts: dict[tuple[str, int], list[str]] = defaultdict(list)
    of_policies = {one.network.full_resource for one in plan.networks if one.network.policy}
    for resource, offered in offers(plan, cluster, []).items():
        for node, count in offered.items():
            if resource in of_policies:
                counts[resource, count].append(node)
    ready = [
        {
            "kind": "Node",
            "names": nodes,
            "predicate": "at_least",
            "parameters": {"path": f"status.allocatable['{resource}']", "value": str(count)},
        }
        for (resource, count), nodes in counts.items()
    ]
    attachable = [
        {
            "api_version": NAD_API,
            "kind": NAD_KIND,
            "namespace": plan.place.namespace,
            "names": [one.network.name],
            "predicate": "field",
            "parameters": {
                "path": f"metadata.annotations['{RESOURCE_NAME}']",
                "value": one.network.full_resource,
            },
        }
        for one in plan.networks
        if one.network.form == "operator"
    ]
    return {"synced": synced, "offered": ready, "attachable": attachable}


def _unknown_fields(plan: Plan, cluster: Cluster) -> Iterator[str]:
    """What another version of an operator would know."""
    for one in plan.objects():
        schema = cluster.schemas.get(one["kind"])
        for path in unknown_fields(schema, one):
            near = nearest_path(schema, path) if schema else None
            hint = f" The nearest is {'.'.join(near)}." if near else ""
            yield (
                f"{one['kind']} {one['metadata']['name']}: the cluster's version of the kind has no field "
                f"{'.'.join(path)}.{hint} Leave it out, or bring the operator to a version that knows it."
            )


def _policy_problems(network: Network, nics: Mapping[str, list[Nic]], cluster: Cluster) -> Iterator[str]:
    """What would let the policy come to nothing; the operator itself says so in its log alone."""
    where = f"Network {network.name}: the policy"
    stateless = [node for node in nics if node not in cluster.states]
    if not nics:
        chosen = ",".join(f"{key}={value}" for key, value in network.policy["nodeSelector"].items())
        yield f"{where} selects no node (nodeSelector {chosen}, {len(cluster.nodes)} nodes)."
    elif len(stateless) == len(nics):
        yield (
            f"{where}: nodes {told(stateless)} have no SriovNetworkNodeState: the operator's config daemon does not "
            "run there. Look at its DaemonSet sriov-network-config-daemon and at the SriovOperatorConfig's "
            "configDaemonNodeSelector."
        )
    elif not any(nics.values()):
        there = [
            f"{node} {nic.name} ({nic.vendor}:{nic.device})"
            for node in nics
            for nic in nics_of(cluster.states.get(node) or {})
        ]
        yield f"{where} selects no NIC on nodes {told(nics)}; SR-IOV NICs there: {told(there) or 'none'}."
    too_many = (
        f"{where} asks for {network.policy['numVfs']} VFs of {nic.name} on node {node}, which can make {nic.total}."
        for node, mine in nics.items()
        for nic in mine
        if network.policy["numVfs"] > nic.total
    )
    yield from islice(too_many, NAMED)


def _too_few(plan: Plan, resource: str, offered: Mapping[str, int]) -> list[str]:
    """Pods whose node is known need their VFs there; the others have to find room somewhere."""
    needed: Counter[str] = Counter()
    for one in plan.networks:
        if one.network.full_resource == resource:
            needed.update(pod.node for pod in one.pods)
    anywhere = needed.pop("", 0)
    problems = [
        f"Node {node} offers {offered.get(node, 0)} VFs of {resource}, and pods that are to run there need {count}. "
        "Raise numVfs, or put fewer pods there."
        for node, count in needed.items()
        if count > offered.get(node, 0)
    ]
    left = sum(offered.values()) - sum(min(count, offered.get(node, 0)) for node, count in needed.items())
    if anywhere > left:
        problems.append(
            f"{len(offered)} nodes offer {sum(offered.values())} VFs of {resource} "
            f"({told(f'{node}: {count}' for node, count in offered.items()) or 'no node has any'}), and pods need "
            f"{anywhere + sum(needed.values())}. Raise numVfs, select more nodes, or ask for fewer pods."
        )
    return problems


def _allocatable(node: Object, resource: str) -> int:
    count = quantity(((node.get("status") or {}).get("allocatable") or {}).get(resource, 0))
    return int(count or 0)


def _pod_networks(nodes: Iterable[Object]) -> dict[str, ipaddress.IPv4Network | ipaddress.IPv6Network]:
    """One of each node's; those that the node does not say cannot be looked at."""
    found = {}
    for node in nodes:
        for text in (node.get("spec") or {}).get("podCIDRs") or ():
            found[f"{node['metadata']['name']}"] = ipaddress.ip_network(text, strict=False)
    return found
