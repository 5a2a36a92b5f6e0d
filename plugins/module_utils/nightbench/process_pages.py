# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs say of their own CPU and memory on their metrics pages, and the API server of the size of its storage.

Names: prometheus/client_golang, collectors.NewProcessCollector; kubernetes, staging/src/k8s.io/apiserver,
storage/etcd3/metrics (the database's whole size on disk, what was freed and not given back included).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .calico_look import page_of
from .errors import NightbenchError
from .exposition import Page, parse
from .kube import Kube

CPU, RESIDENT = "process_cpu_seconds_total", "process_resident_memory_bytes"
STORAGE = "apiserver_storage_size_bytes"


def look(kube: Kube, pages: Mapping[str, str]) -> dict[str, Any]:
    """``pages``: name → URL. What is not told is None: a cluster may not let us see its API server's page."""
    return {
        "storage_bytes": _storage(kube),
        "programs": {name: _program(page_of(url)) for name, url in pages.items()},
    }


def between(first: Mapping[str, Any], last: Mapping[str, Any]) -> dict[str, Any]:
    """Of two looks: CPU that was used, and memory and storage before and after."""
    programs = {}
    for name, after in last["programs"].items():
        before = first["programs"][name]
        used = None if None in (before["cpu"], after["cpu"]) else round(after["cpu"] - before["cpu"], 3)
        programs[name] = {"cpu_seconds": used, "first_bytes": before["bytes"], "last_bytes": after["bytes"]}
    return {
        "programs": programs,
        "storage": {"first_bytes": first["storage_bytes"], "last_bytes": last["storage_bytes"]},
    }


def _program(page: Page) -> dict[str, float | None]:
    return {"cpu": _total(page, CPU), "bytes": _total(page, RESIDENT)}


def _storage(kube: Kube) -> float | None:
    """Its page has tens of thousands of lines, of which one is wanted."""
    try:
        text = kube.request("GET", "/metrics").data.decode("utf-8", "replace")
        own = "\n".join(line for line in text.splitlines() if line.startswith(STORAGE))
        return _total(parse(own, "the API server's page"), STORAGE)
    except NightbenchError:
        return None


def _total(page: Page, name: str) -> float | None:
    return page[name].total() if name in page else None
