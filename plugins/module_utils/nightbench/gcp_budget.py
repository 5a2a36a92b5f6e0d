# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host may cost at most, and whether a run may still spend that: price an hour x the server's time limit.

The table is data: list prices of us-central1 in USD an hour, rounded up, as vm-instance-pricing, gpus-pricing
and disks-image-pricing below cloud.google.com/compute show them. Other regions and contracts differ, so the caller's
own prices win. Spot never costs more than standard, so both are counted as standard: a budget is a limit, no forecast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from .errors import ConfigurationError

#: A month is 730 hours in Google's price lists.
MONTH_HOURS = 730
MACHINE_TYPES: dict[str, float] = {
    **{f"n1-standard-{cpus}": 0.0475 * cpus for cpus in (1, 2, 4, 8, 16, 32, 64, 96)},
    **{f"n1-highmem-{cpus}": 0.0592 * cpus for cpus in (2, 4, 8, 16, 32, 64, 96)},
    # These come with their GPUs.
    "g2-standard-4": 0.71,
    "g2-standard-8": 0.86,
    "g2-standard-12": 1.00,
    "g2-standard-16": 1.15,
    "g2-standard-32": 1.74,
    "a2-highgpu-1g": 3.68,
    "a2-highgpu-2g": 7.35,
    "a2-highgpu-4g": 14.70,
    "a2-highgpu-8g": 29.39,
    "a2-ultragpu-1g": 5.07,
}
ACCELERATORS: dict[str, float] = {
    "nvidia-tesla-t4": 0.35,
    "nvidia-tesla-p4": 0.60,
    "nvidia-tesla-p100": 1.46,
    "nvidia-tesla-v100": 2.48,
}
DISK_GB_MONTH: dict[str, float] = {"pd-standard": 0.04, "pd-balanced": 0.10, "pd-ssd": 0.17}


def own_prices(given: Mapping[str, Any]) -> dict[str, float]:
    """The caller's prices as numbers; one that is none, or less than nothing, would make every budget hold."""
    found: dict[str, float] = {}
    for name, price in given.items():
        try:
            found[name] = math.nan if isinstance(price, bool) else float(price)
        except (TypeError, ValueError):
            found[name] = math.nan
    wrong = [f"prices: {name} is {given[name]!r}" for name, price in found.items() if not 0 <= price < math.inf]
    if wrong:
        raise ConfigurationError(f"{'; '.join(wrong)}; every price is a number in USD, 0 or more. Nothing was created.")
    return found


def price_per_hour(
    machine_type: str,
    accelerator_type: str,
    accelerator_count: int,
    disk_type: str,
    disk_gb: int,
    own: Mapping[str, float],
) -> tuple[float, list[str]]:
    """USD an hour of one host, and the names that have no price."""
    known = {**MACHINE_TYPES, **ACCELERATORS, **DISK_GB_MONTH, **own}
    parts = [(machine_type, 1.0), (disk_type, disk_gb / MONTH_HOURS)]
    if accelerator_type and accelerator_count:
        parts.append((accelerator_type, float(accelerator_count)))
    missing = [name for name, _ in parts if name not in known]
    return sum(known.get(name, 0.0) * count for name, count in parts), missing


def check(budget: float, reserved: float, price: float, seconds: float, names: list[str]) -> None:
    """Raise where hosts of this price could take the run over its budget; nothing is created then."""
    if not 0 <= budget < math.inf:
        raise ConfigurationError(f"budget_usd is {budget:g}; it has to be a number of USD, 0 or more.")
    asked = price * seconds / 3600 * len(names)
    if reserved + asked > budget + 1e-9:
        raise ConfigurationError(
            f"create {', '.join(names)}: at most {asked:.2f} USD ({len(names)} x {price:.2f} USD/h x "
            f"{seconds / 3600:g} h), and {reserved:.2f} USD are taken by what this run has asked for; "
            f"its budget is {budget:.2f} USD. "
            "Nothing was created.",
            hint="Shorten max_run_seconds, take fewer or smaller hosts, or raise budget_usd.",
        )
