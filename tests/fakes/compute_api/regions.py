# SPDX-License-Identifier: GPL-3.0-or-later
"""The small world of the stand-in: one project, two regions, where which GPU is offered, and how many one may have."""

from __future__ import annotations

PROJECT = "nightbench-test"
REGIONS = {"us-central1": "abcf", "europe-west4": "abc"}
ZONES = {f"{region}-{letter}": region for region, letters in REGIONS.items() for letter in letters}
ACCELERATORS = {
    "nvidia-tesla-t4": ["us-central1-a", "us-central1-b", "us-central1-c", "us-central1-f", "europe-west4-b"],
    "nvidia-l4": ["us-central1-a", "us-central1-b", "europe-west4-a"],
}
#: By name: where it is offered, and the GPUs that it brings along itself.
MACHINE_TYPES: dict[str, tuple[list[str], dict[str, int]]] = {
    "n1-standard-4": (list(ZONES), {}),
    "n1-standard-8": (list(ZONES), {}),
    "g2-standard-4": (["us-central1-a", "us-central1-b", "europe-west4-a"], {"nvidia-l4": 1}),
}
_REGION = {"CPUS": 72.0, "NVIDIA_T4_GPUS": 4.0, "PREEMPTIBLE_NVIDIA_T4_GPUS": 4.0, "NVIDIA_L4_GPUS": 1.0}
#: By place ("" is the whole project), metric and limit.
QUOTAS: dict[str, dict[str, float]] = {"": {"GPUS_ALL_REGIONS": 4.0}, **{name: dict(_REGION) for name in REGIONS}}
