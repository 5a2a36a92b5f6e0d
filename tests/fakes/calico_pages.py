# SPDX-License-Identifier: GPL-3.0-or-later
"""Pages of metrics as Felix and Typha serve them: the names and types of v3.32.1, the numbers of a test."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Values = Mapping[str, Any]

FELIX: dict[str, tuple[str, Any]] = {
    "felix_resync_state": ("gauge", 3),
    "felix_resyncs_started": ("counter", 1),
    "felix_int_dataplane_initial_resync_time_seconds": ("gauge", 1.25),
    "felix_int_dataplane_apply_time_seconds": ("summary", (12, 0.75)),
    "felix_int_dataplane_failures": ("counter", 0),
    "felix_int_dataplane_messages": ("counter", {'type="*proto.WorkloadEndpointUpdate"': 6}),
    "felix_calc_graph_update_time_seconds": ("summary", (340, 0.02)),
    "felix_active_local_endpoints": ("gauge", 6),
    "felix_active_local_policies": ("gauge", 4),
    "felix_cluster_num_hosts": ("gauge", 3402),
    "felix_cluster_num_policies": ("gauge", 10020),
    "felix_cluster_num_workload_endpoints": ("gauge", 40),
    "felix_iptables_rules": ("gauge", {'ip_version="4",table="filter"': 0}),
    "felix_nft_rules": ("gauge", {'ip_version="4",table="calico"': 120, 'ip_version="6",table="calico"': 13}),
    "process_cpu_seconds_total": ("counter", 3.5),
}
TYPHA: dict[str, tuple[str, Any]] = {
    "typha_connections_accepted": ("counter", 20),
    "typha_connections_dropped": ("counter", 1),
    "typha_connections_active": ("gauge", 16),
    "typha_connections_streaming": (
        "gauge",
        {f'syncer="{name}"': 4 for name in ("felix", "bgp", "tunnel-ip-allocation", "node-status")},
    ),
    "typha_breadcrumb_seq_number": ("gauge", {'syncer="felix"': 77, 'syncer="bgp"': 3}),
    "typha_next_breadcrumb_latency_secs": ("summary", (77, 0.154)),
    "typha_client_latency_secs": ("summary", (900, 1.5)),
    "typha_cache_size": ("gauge", {'syncer="felix"': 14444}),
}
IPTABLES = {"felix_iptables_rules": ("gauge", {'ip_version="4",table="filter"': 90}), "felix_nft_rules": ("gauge", 0)}
EBPF = {
    "felix_bpf_dataplane_endpoints": ("gauge", {'type="host"': 1, 'type="workload"': 6}),
    "felix_iptables_rules": ("gauge", {'ip_version="4",table="raw"': 14}),
    "felix_nft_rules": ("gauge", 0),
}


def page(metrics: Values, **changes: Any) -> str:
    """A change of None leaves a metric out."""
    lines = []
    for name, found in {**metrics, **changes}.items():
        if found is not None:
            kind, value = found
            lines += [f"# HELP {name} What it is.", f"# TYPE {name} {kind}", *_samples(name, kind, value)]
    return "\n".join(lines) + "\n"


def _samples(name: str, kind: str, value: Any) -> list[str]:
    if kind == "summary":
        count, total = value
        quantiles = [f'{name}{{quantile="{q}"}} {"NaN" if not count else total / count}' for q in (0.5, 0.9, 0.99)]
        return [*quantiles, f"{name}_sum {total}", f"{name}_count {count}"]
    if isinstance(value, Mapping):
        return [f"{name}{{{labels}}} {number}" for labels, number in value.items()]
    return [f"{name} {value}"]
