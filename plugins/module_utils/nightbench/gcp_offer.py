# SPDX-License-Identifier: GPL-3.0-or-later
"""Which of the caller's zones can have such hosts at all: they exist, offer it and have quota left for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from . import gcp_errors, names
from .errors import CloudError, ConfigurationError
from .gcp_client import Compute
from .gcp_errors import Kind
from .gcp_request import Request

#: Quota of the whole project over all GPUs; 0 in a new project (cloud.google.com/compute/resource-usage#gpu_quota).
GLOBAL_METRIC = "GPUS_ALL_REGIONS"


def metrics(accelerator_type: str, model: str) -> tuple[str, ...]:
    """The regional quotas that such a GPU may be counted by: spot has one of its own, and may use the usual one too."""
    name = re.sub(r"^NVIDIA_TESLA_", "NVIDIA_", accelerator_type.upper().replace("-", "_"))
    usual = f"{name}_GPUS"
    return (f"PREEMPTIBLE_{usual}", usual) if model in ("spot", "flex_start") else (usual,)


def room(quotas: Sequence[Mapping[str, Any]], metric: str) -> float | None:
    """What is left of a quota; None where the API names no such quota."""
    for quota in quotas:
        if quota.get("metric") == metric:
            return float(quota.get("limit", 0.0)) - float(quota.get("usage", 0.0))
    return None


def zones(
    compute: Compute, request: Request, asked: Sequence[str], region: str, count: int
) -> tuple[list[str], list[str]]:
    """The zones that are worth a try, in order, and why others are not; raises where none is."""
    there = compute.zones()
    unknown = names.unknown("zone", asked, there)
    if unknown:
        raise ConfigurationError(" ".join(unknown), hint="Nothing was created.")
    wanted = list(asked) or [zone for zone in there if region_of(zone) == region]
    if not wanted:
        regions = sorted({region_of(zone) for zone in there})
        raise ConfigurationError(" ".join(names.unknown("region", [region], regions)), hint="Nothing was created.")
    types = compute.machine_types(request.machine_type)
    left, why = _offering(request.machine_type, wanted, list(types))
    kind, each = request.accelerator_type, request.accelerator_count
    if each:
        left, without = _offering(kind, left, compute.accelerator_zones(kind))
        why += without
    else:
        kind, each = types[left[0]]
    return (left, why) if not each else _with_quota(compute, request.models, left, kind, each * count, why)


def _offering(what: str, wanted: Sequence[str], offered: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the zones that have it, and why the others are none; raises where none has."""
    left = [zone for zone in wanted if zone in offered]
    if not left:
        raise CloudError(
            f"place {what}: none of {', '.join(wanted)} offers it"
            + (f"; these do: {', '.join(sorted(offered))}." if offered else ", and no other zone either."),
            kind=Kind.NOT_OFFERED,
            hint="Nothing was created.",
        )
    return left, [f"{zone}: does not offer {what}" for zone in wanted if zone not in offered]


def _with_quota(
    compute: Compute, models: Sequence[str], zones: list[str], kind: str, needed: int, why: list[str]
) -> tuple[list[str], list[str]]:
    free = room(compute.project_quotas(), GLOBAL_METRIC)
    if free is not None and free < needed:
        raise _no_quota(kind, needed, f"{GLOBAL_METRIC} has {free:g} left in project {compute.project}")
    short: dict[str, str] = {}
    for region in dict.fromkeys(region_of(zone) for zone in zones):
        quotas = compute.region_quotas(region)
        rooms = {
            metric: left
            for model in models
            for metric in metrics(kind, model)
            if (left := room(quotas, metric)) is not None
        }
        if rooms and max(rooms.values()) < needed:
            short[region] = ", ".join(f"{metric} has {left:g} left in {region}" for metric, left in rooms.items())
    kept = [zone for zone in zones if region_of(zone) not in short]
    if not kept:
        raise _no_quota(kind, needed, "; ".join(short.values()))
    return kept, [*why, *(f"{region}: {text}" for region, text in short.items())]


def _no_quota(kind: str, needed: int, seen: str) -> CloudError:
    return CloudError(
        f"place {kind}: {needed} GPUs are needed, and {seen}. Nothing was created.",
        kind=Kind.QUOTA,
        hint=gcp_errors.NEXT_STEP[Kind.QUOTA],
    )


def region_of(zone: str) -> str:
    return zone.rpartition("-")[0]
