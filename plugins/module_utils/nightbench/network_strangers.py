# SPDX-License-Identifier: GPL-3.0-or-later
"""What of other people's is in the way of a plan of networks: it is told, and left as it is."""

from __future__ import annotations

from collections.abc import Mapping

from .network_cluster import Cluster, Object, policy_nics
from .network_model import Network
from .network_plan import NAD_KIND, Plan

RUN_LABEL = "nightbench.io/run-id"


def is_ours(item: Object, labels: Mapping[str, str]) -> bool:
    """Made by this role in this run; without a run, by one that was in none either."""
    there = (item.get("metadata") or {}).get("labels") or {}
    if any(there.get(key) != value for key, value in labels.items()):
        return False
    return RUN_LABEL in labels or RUN_LABEL not in there


def strangers(plan: Plan, cluster: Cluster) -> list[str]:
    """Objects of somebody else that have our names, our resource or our NICs."""
    problems = []
    for one in plan.networks:
        network = one.network
        kinds: list[tuple[str, dict[str, Object]]] = []
        if network.policy:
            kinds.append(("SriovNetworkNodePolicy", cluster.policies))
        if network.form == "operator":
            kinds.append(("SriovNetwork", cluster.networks))
        else:
            kinds.append((NAD_KIND, cluster.attachments))
        for kind, there in kinds:
            item = there.get(network.name)
            if item is not None and not is_ours(item, plan.place.labels):
                problems.append(_not_ours(kind, item))
        if network.form == "operator" and network.name not in cluster.networks:
            item = cluster.attachments.get(network.name)
            if item is not None:
                problems.append(_not_ours(NAD_KIND, item))
        if network.policy:
            problems += _other_policies(network, plan, cluster)
    return problems


def _not_ours(kind: str, item: Object) -> str:
    metadata = item["metadata"]
    run = (metadata.get("labels") or {}).get(RUN_LABEL)
    whose = f"of run {run}" if run else "not of this role"
    return (
        f"{kind} {metadata.get('namespace')}/{metadata['name']} is there already and {whose}; it is left as it is. "
        "Give the network another name" + (", or end that run (python -m harness clean)." if run else ".")
    )


def _other_policies(network: Network, plan: Plan, cluster: Cluster) -> list[str]:
    """The operator merges policies of one NIC: ours could take the VFs of theirs away."""
    problems = []
    theirs = {name: one for name, one in cluster.policies.items() if not is_ours(one, plan.place.labels)}
    for name, policy in theirs.items():
        if (policy.get("spec") or {}).get("resourceName") == network.resource:
            problems.append(
                f"SriovNetworkNodePolicy {name} offers resource {network.resource} already. "
                f"Leave the policy of network {network.name} out to use it, or name another resource."
            )
    if any("#" in name for name in network.policy["nicSelector"].get("pfNames") or ()):
        return problems  # a part of the VFs is meant; the operator's webhook looks whether parts overlap
    for node, nics in policy_nics(network, cluster).items():
        for nic in nics:
            others = [policy for policy in nic.policies if policy in theirs]
            if others:
                problems.append(
                    f"NIC {nic.name} of node {node} has VFs of SriovNetworkNodePolicy {', '.join(others)}: a second "
                    "policy would make them anew under the pods that have them. Choose another NIC, or a part of its "
                    f"VFs (pfNames: ['{nic.name}#8-15'])."
                )
    return problems[:10]
