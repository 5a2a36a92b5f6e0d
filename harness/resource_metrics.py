# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load cost as metrics, one name for one thing over all kinds of loads: so dataplanes are compared by it too."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from harness.repeat import Repeat
from harness.resources import FELIX, PODS, Use, storage, uses

NAMES = {"felix": "Felix", "api_server": "the API server", "etcd": "etcd"}
OF_FELIX = ("felix_cpu_cores", "felix_most_memory_bytes")


def _felixes(load: Repeat) -> list[Use]:
    return [use for name, use in uses(load).items() if name.startswith(FELIX)]


def _one(load: Repeat, process: str) -> Use:
    """A process of this machine, or the pods of that name in a cluster."""
    told = uses(load)
    return told.get(process) or told.get(PODS + process) or Use()


def _cores(load: Repeat, used: Sequence[float | None]) -> float | None:
    """On average over the load's window, and over those that there are; one that nobody told makes none."""
    seconds, told = load.number("window", "seconds"), [value for value in used if value is not None]
    return statistics.fmean(told) / seconds if seconds and told and len(told) == len(used) else None


def _most(sizes: Sequence[float | None]) -> float | None:
    told = [size for size in sizes if size is not None]
    return max(told) if told and len(told) == len(sizes) else None


def _in_use(load: Repeat) -> float | None:
    whole, in_use = (use.last_bytes for use in storage(load))
    return in_use / whole if whole and in_use is not None else None


VALUES: Mapping[str, Callable[[Repeat], float | None]] = {
    "felix_cpu_cores": lambda load: _cores(load, [use.cpu_seconds for use in _felixes(load)]),
    "felix_most_memory_bytes": lambda load: _most([use.most_bytes for use in _felixes(load)]),
    "api_server_cpu_cores": lambda load: _cores(load, [_one(load, "kube-apiserver").cpu_seconds]),
    "api_server_most_memory_bytes": lambda load: _one(load, "kube-apiserver").most_bytes,
    "etcd_cpu_cores": lambda load: _cores(load, [_one(load, "etcd").cpu_seconds]),
    "etcd_most_memory_bytes": lambda load: _one(load, "etcd").most_bytes,
    "etcd_storage_bytes": lambda load: storage(load)[0].last_bytes,
    "etcd_storage_in_use_ratio": _in_use,
}


def not_runnable(metric: str, loads: Sequence[Repeat]) -> str:
    """Why there is no such number: nobody ran what it is of, or nobody may be asked."""
    if metric not in VALUES or any(VALUES[metric](load) is not None for load in loads):
        return ""
    if metric in OF_FELIX and all(load.value("dataplane", "observed") == "none" for load in loads):
        return "no policy engine: no Felix ran"
    who = next(name for start, name in NAMES.items() if metric.startswith(start))
    return f"nobody told it: the process of {who}, its metrics page or a Prometheus has to be named"
