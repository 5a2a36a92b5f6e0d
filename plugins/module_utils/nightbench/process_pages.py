# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs say of themselves on their metrics pages, and how large etcd's storage is and how much of it is in use.

Names: prometheus/client_golang, collectors.NewProcessCollector; projectcalico/calico, felix/calc/stats_collector.go;
etcd-io/etcd, server/storage/mvcc/metrics.go; kubernetes, staging/src/k8s.io/apiserver, storage/etcd3/metrics (the
whole size on disk, what was freed and not given back included).
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping
from dataclasses import replace

from .calico_look import page_of
from .errors import ConfigurationError, NightbenchError
from .exposition import parse
from .kube import Kube

#: What is read of a program's page, and under which name it is told.
OF_PROGRAM: Mapping[str, str] = {
    "cpu": "process_cpu_seconds_total",
    "bytes": "process_resident_memory_bytes",
    "policies": "felix_active_local_policies",
    "endpoints": "felix_active_local_endpoints",
}
OF_ETCD: Mapping[str, str] = {
    "total": "etcd_mvcc_db_total_size_in_bytes",
    "in_use": "etcd_mvcc_db_total_size_in_use_in_bytes",
}
OF_API_SERVER: Mapping[str, str] = {"total": "apiserver_storage_size_bytes"}
Told = dict[str, float | None]


def program(url: str) -> Told:
    """Raises Unreachable where nobody answers; a number that the page does not have is None."""
    page = page_of(url)
    return {name: page[metric].total() if metric in page else None for name, metric in OF_PROGRAM.items()}


def etcd_of(kube: Kube, url: str) -> Kube:
    """etcd with the client's certificate of the kubeconfig, and never with its token."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"etcd_url: {url!r} is no URL of etcd.", hint="Like https://127.0.0.1:2379/metrics.")
    target = replace(
        kube.target, scheme=parts.scheme, host=parts.hostname, port=parts.port or 2379, base_path="", where=url,
        context=kube.target.context if parts.scheme == "https" else None, server_name=None, configuration=None,
        _headers={}, _headers_until=0.0,
    )  # fmt: skip
    return Kube(target, retry_seconds=0.0, timeout=5.0)


def storage(kube: Kube, etcd: Kube | None) -> Told:
    """By etcd itself, else by the API server, which does not know what is in use; None for what nobody lets us see."""
    empty: Told = dict.fromkeys(OF_ETCD)
    return empty | (_numbers(etcd, OF_ETCD) if etcd is not None else _numbers(kube, OF_API_SERVER))


def _numbers(kube: Kube, names: Mapping[str, str]) -> Told:
    """Such a page has up to tens of thousands of lines, of which two are wanted."""
    try:
        text = kube.request("GET", "/metrics").data.decode("utf-8", "replace")
        wanted = tuple(names.values())
        page = parse("\n".join(line for line in text.splitlines() if line.startswith(wanted)), kube.target.where)
    except NightbenchError:
        return {}
    return {name: page[metric].total() if metric in page else None for name, metric in names.items()}
