# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of the GPU probe as it would have written them, each with what a case is about."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.model import Observation
from harness.overhead.runs import Run

RUN_ID = "20260101T000000Z-0a1b"
EXPERIMENT = {"native": "host", "again": "host_again", "looks": [8, 16, 24, 32], "alpha": 0.05, "price_per_hour": 3.6}
DRIVER = {"name": "Tesla T4", "uuid": "ab" * 16, "cuda_driver_version": 12040, "clock_khz": 1590000}
DRIVER |= {"multiprocessors": 40, "memory_clock_khz": 5001000, "memory_bus_bits": 256}
DRIVER |= {"compute_major": 7, "compute_minor": 5, "memory_bytes": 16 * 10**9}
MANAGEMENT = {"virtualization_mode": 1, "driver_version": "550.54.15", "persistence": 1, "ecc_errors": 0, "mig": None}
MANAGEMENT |= {"uuid": "GPU-1", "instances": [], "link_generation": 3, "link_width": 8}
Lines = list[dict[str, Any]]
Change = Callable[[Lines], None]


def sample(metric: str, seconds: float, calls: int = 1, **parameters: Any) -> dict[str, Any]:
    found = {"kind": "sample", "metric": metric, "parameters": parameters, "calls": calls, "discarded": None}
    return {**found, "host_seconds": seconds * calls, "device_seconds": seconds * calls, "submit_seconds": None}


def lines(slower: float = 1.0, added: float = 0.0) -> Lines:
    """A device that is `slower` times slower, behind a layer that costs `added` seconds a call."""
    series = [
        sample("application", 9e-3 * slower + 8 * added, size=512, layers=4),
        sample("layer", 2e-3 * slower + added, size=512),
        sample("gemm", 2e-3 * slower + added, size=512),
        sample("device_copy", 1e-3 * slower + added, bytes=64 << 20),
        *(
            sample("copy", (1e-5 + size / 6e9) * slower + added, bytes=size, direction=direction, memory=memory)
            for size in (4, 4096, 1 << 20, 64 << 20)
            for direction in ("to_device", "from_device")
            for memory in ("pinned", "pageable")
        ),
        *(sample("allocate_free", 80e-6 * slower + added, count, bytes=1 << 20, batch=count) for count in (1, 10)),
        *(sample("synchronise", 2e-6 * slower + added, count, batch=count) for count in (1, 10)),
        *(
            sample("launch", 4e-6 * slower + added, count, form=form, batch=count)
            for count in (1, 10)
            for form in ("plain", "graph")
        ),
        sample("context", 0.1 * slower),
        sample("first_kernel", 1e-4 * slower),
        *({**sample("start", 0.2 * slower, tenants=2), "listed": True} for _ in range(2)),
    ]
    proofs = [
        {"kind": "integrity", "metric": name, "parameters": {}, "expected": 1, "found": 1, "holds": True}
        for name in ("copy", "launch", "gemm", "device_copy", "application")
    ]
    return [
        {"kind": "surroundings", "cpus": [0, 1], "cgroup": "0::/", "cpu_quota": {"throttled": 3}, "in_pod": False,
         "hypervisor": {"type": None, "flag": True}, "iommu_groups": 12, "mps": {"control": False}, "kernel": "6.1",
         "python": "3.11.2", "boot_id": "one"},
        {"kind": "device", "driver": dict(DRIVER), "management": dict(MANAGEMENT), "processes": []},
        {"kind": "attestation", "how": "pid", "own_pids": [12], "clocks": {"locked": False, "reason": "not asked for"}},
        *series,
        {"kind": "series", "metric": "gemm", "samples": 20, "kept": 20, "discarded": {}},
        *proofs,
        {"kind": "enforcement", "limit_bytes": 10**9, "asked_bytes": 2 * 10**9, "refused": True,
         "answer": "CUDA_ERROR_OUT_OF_MEMORY"},
        {"kind": "afterwards", "management": dict(MANAGEMENT), "quota": {"throttled": 3}, "processes": [12],
         "libraries": ["/lib/libc.so.6"]},
        {"kind": "end", "status": "complete", "reason": ""},
    ]  # fmt: skip


def of_kind(found: Lines, kind: str) -> dict[str, Any]:
    return next(line for line in found if line["kind"] == kind)


def run(
    variant: str = "host",
    block: int = 1,
    *,
    made: Lines | None = None,
    change: Change | None = None,
    says: Mapping[str, Any] | None = None,
    experiment: Mapping[str, Any] | None = None,
    **values: Any,
) -> Run:
    """`says` is what the variant says of itself; `change` does something to the lines."""
    written = copy.deepcopy(made if made is not None else lines())
    if change is not None:
        change(written)
    told = {"variant": variant, "block": block, "position": 1, "status": "complete", "reason": "", "seconds": 10.0}
    told |= {"boot_id": "one", "probe_sha256": "f" * 64, "counter": None, "judged": variant not in ("host",)}
    parameters = {
        "role": variant,
        "experiment": dict(experiment or EXPERIMENT),
        "variant": {"title": variant, "layers": [], "objectives": {}, "evidence": [], **(says or {})},
    }
    observation = Observation(
        run_id=RUN_ID,
        at=f"2026-01-01T00:{block:02d}:00Z",
        suite="gpu_overhead",
        scenario="isolation",
        subject=variant,
        repeat=block,
        kind="overhead",
        values={**told, **values},
        parameters=parameters,
    )
    return Run(observation, written)


def blocks(
    count: int, variants: Mapping[str, Callable[[int], Lines]], says: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Run]:
    """Native twice and the others in every block; native lies ± 0.2 % around, block by block."""
    found: list[Run] = []
    for block in range(1, count + 1):
        for name, sign in (("host", 1), ("host_again", -1)):
            found.append(run(name, block, made=lines(1 + sign * wobble(block))))
        found += [run(name, block, made=make(block), says=(says or {}).get(name)) for name, make in variants.items()]
    return found


def wobble(block: int) -> float:
    return (0.001, -0.001, 0.0005, -0.0005)[block % 4]


def slower(factor: float, added: float = 0.0) -> Callable[[int], Lines]:
    return lambda block: lines(factor * (1 + wobble(block + 1)), added)


def names(runs: Sequence[Run]) -> list[str]:
    return [one.variant for one in runs]
