# SPDX-License-Identifier: GPL-3.0-or-later
"""What Felix and Typha say of themselves: their metrics by name and type, and the few that decide something. Pure.

Names and types are those of v3.32.1: felix/dataplane/linux/int_dataplane.go, felix/calc, felix/iptables/table.go,
felix/nftables/table.go,
felix/dataplane/linux/bpf_ep_mgr.go, typha/pkg/syncserver, typha/pkg/snapcache/cache.go.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import ConfigurationError
from .exposition import Family, Page

IN_SYNC = 3  # felix_resync_state: 1 waits to be ready, 2 resyncs, 3 is in sync
FELIX: dict[str, str] = {
    "felix_resync_state": "gauge",
    "felix_int_dataplane_initial_resync_time_seconds": "gauge",
    "felix_int_dataplane_apply_time_seconds": "summary",
    "felix_int_dataplane_failures": "counter",
    "felix_calc_graph_update_time_seconds": "summary",
    "felix_active_local_endpoints": "gauge",
    "felix_active_local_policies": "gauge",
    "felix_cluster_num_hosts": "gauge",
    "felix_cluster_num_policies": "gauge",
    "felix_cluster_num_workload_endpoints": "gauge",
    "felix_iptables_rules": "gauge",
    "felix_nft_rules": "gauge",
    "felix_bpf_dataplane_endpoints": "gauge",
}
TYPHA: dict[str, str] = {
    "typha_connections_accepted": "counter",
    "typha_connections_dropped": "counter",
    "typha_connections_active": "gauge",
    "typha_connections_streaming": "gauge",
    "typha_breadcrumb_seq_number": "gauge",
    "typha_next_breadcrumb_latency_secs": "summary",
    "typha_client_latency_secs": "summary",
    "typha_cache_size": "gauge",
}
#: A Felix has the gauges of the dataplane that it runs, and of others or not.
OPTIONAL = frozenset({"felix_iptables_rules", "felix_nft_rules", "felix_bpf_dataplane_endpoints"})


@dataclass(frozen=True)
class FelixState:
    resync_state: int
    in_sync: bool
    initial_resync_seconds: float
    applies: float
    apply_seconds: float
    failures: float
    endpoints: int
    active_policies: int
    cluster_hosts: int
    cluster_policies: int
    cluster_endpoints: int
    #: dataplane → its rules or endpoints; what a Felix does not say is 0.
    programmed: Mapping[str, int]


@dataclass(frozen=True)
class TyphaState:
    accepted: float
    dropped: float
    active: int
    streaming: Mapping[str, int]  # syncer → clients past the handshake
    breadcrumb: Mapping[str, int]  # syncer → sequence number
    breadcrumb_seconds: float
    breadcrumbs: float


def felix_state(page: Page, source: str) -> FelixState:
    """Raise ConfigurationError where it is no page of Felix, or one with other types than it is known to have."""
    found = _checked(page, FELIX, source)

    def number(name: str) -> float:
        family = found.get(name)
        return _finite(family.total(), name, source) if family else 0.0

    applies = found["felix_int_dataplane_apply_time_seconds"]
    state = int(number("felix_resync_state"))
    return FelixState(
        resync_state=state,
        in_sync=state == IN_SYNC,
        initial_resync_seconds=number("felix_int_dataplane_initial_resync_time_seconds"),
        applies=_finite(applies.part("_count"), applies.name, source),
        apply_seconds=_finite(applies.part("_sum"), applies.name, source),
        failures=number("felix_int_dataplane_failures"),
        endpoints=int(number("felix_active_local_endpoints")),
        active_policies=int(number("felix_active_local_policies")),
        cluster_hosts=int(number("felix_cluster_num_hosts")),
        cluster_policies=int(number("felix_cluster_num_policies")),
        cluster_endpoints=int(number("felix_cluster_num_workload_endpoints")),
        programmed={
            "iptables": int(number("felix_iptables_rules")),
            "nftables": int(number("felix_nft_rules")),
            "ebpf": int(number("felix_bpf_dataplane_endpoints")),
        },
    )


def typha_state(page: Page, source: str) -> TyphaState:
    found = _checked(page, TYPHA, source)

    def number(name: str) -> float:
        return _finite(found[name].total(), name, source)

    latency = found["typha_next_breadcrumb_latency_secs"]
    return TyphaState(
        accepted=number("typha_connections_accepted"),
        dropped=number("typha_connections_dropped"),
        active=int(number("typha_connections_active")),
        streaming=_by_syncer(found["typha_connections_streaming"], source),
        breadcrumb=_by_syncer(found["typha_breadcrumb_seq_number"], source),
        breadcrumb_seconds=_finite(latency.part("_sum"), latency.name, source),
        breadcrumbs=_finite(latency.part("_count"), latency.name, source),
    )


def _checked(page: Page, known: Mapping[str, str], source: str) -> dict[str, Family]:
    found = {name: page[name] for name in known if name in page and page[name].samples}
    missing = [name for name in known if name not in found and name not in OPTIONAL]
    if missing:
        raise ConfigurationError(
            f"{source} says nothing of {', '.join(missing[:4])}" + (" …" if len(missing) > 4 else ""),
            hint="is it the metrics port of the component that was meant, and has it started?",
        )
    for name, family in found.items():
        if family.type not in (known[name], "untyped"):
            raise ConfigurationError(f"{source}: {name} is a {family.type}, it was known as a {known[name]}")
    return found


def _by_syncer(family: Family, source: str) -> dict[str, int]:
    return {syncer: int(_finite(value, family.name, source)) for syncer, value in sorted(family.by("syncer").items())}


def _finite(value: float | None, name: str, source: str) -> float:
    if value is None or not math.isfinite(value):
        raise ConfigurationError(f"{source}: {name} is {value}, no number that can be meant")
    return value
