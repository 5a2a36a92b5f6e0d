# SPDX-License-Identifier: GPL-3.0-or-later
"""What Calico computes from the size of a cluster and from a pod's name, as its sources do it. Pure."""

from __future__ import annotations

import hashlib

#: tigera/operator, pkg/common/autoscale.go: a Typha for so many nodes, and two more.
NODES_PER_TYPHA = 200
#: One connection of each: felix, bgp, tunnel-ip-allocation, node-status (calico, typha/pkg/syncproto/sync_proto.go).
SYNCERS = ("felix", "bgp", "tunnel-ip-allocation", "node-status")
#: calico, typha/pkg/config: MaxConnectionsLowerLimit and MaxConnectionsUpperLimit.
LEAST_CONNECTIONS, MOST_CONNECTIONS = 400, 10_000
HEADROOM_PERCENT = 120
#: calico, libcalico-go/lib/backend/k8s/conversion/workload_endpoint_default.go: 15 bytes are the kernel's longest name.
INTERFACE_PREFIX, HASH_DIGITS = "cali", 11


def typha_count(nodes: int) -> int:
    """How many Typhas the operator wants for so many schedulable nodes, fake ones among them."""
    if nodes <= 2:
        return 1
    if nodes <= 4:
        return 2
    return max(3, nodes // NODES_PER_TYPHA + 2)


def typha_connection_limit(nodes: int, typhas: int) -> int:
    """How many connections one Typha accepts (calico, typha/pkg/k8s/rebalance.go), in its whole numbers."""
    if typhas <= 1:
        return MOST_CONNECTIONS
    share = nodes * HEADROOM_PERCENT // (typhas - 1) // 100
    return min(max(LEAST_CONNECTIONS, len(SYNCERS) * (1 + share)), MOST_CONNECTIONS)


def host_interface(namespace: str, pod: str, prefix: str = INTERFACE_PREFIX) -> str:
    """The host's end of a pod's veth."""
    digest = hashlib.sha1(f"{namespace}.{pod}".encode(), usedforsecurity=False).hexdigest()
    return f"{prefix}{digest[:HASH_DIGITS]}"
