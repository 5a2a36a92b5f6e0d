# SPDX-License-Identifier: GPL-3.0-or-later
"""The design of an experiment: every variant once in every block, each time in another order."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import gpu_probe, gpu_service
from .errors import ConfigurationError
from .gpu_probe import Variant


def order(names: Sequence[str], seed: int, block: int) -> list[str]:
    """Known before anything runs, and the same when it runs again: what gets warm does not favour anyone."""
    drawn = sorted(names)
    random.Random(f"{seed} {block}").shuffle(drawn)
    return drawn


def check(variants: Sequence[Variant], first: int, last: int) -> None:
    names = [variant.name for variant in variants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigurationError(f"variants: {', '.join(twice)} is there twice.", hint="Give each a name of its own.")
    if len(names) < 2:
        raise ConfigurationError(f"variants: {len(names)} of them; a comparison needs two.")
    if not 1 <= first <= last:
        raise ConfigurationError(f"blocks {first} to {last}: the first is 1 or more, the last no less.")
    for variant in variants:
        if variant.counter and variant.counter.keys() != {"path", "pattern"}:
            raise ConfigurationError(f"variant {variant.name}: a counter has path and pattern, nothing else.")
        gpu_service.check(variant.name, variant.service)


def run(
    variants: Sequence[Variant],
    probe: Path,
    digest: str,
    plan: Mapping[str, Any],
    blocks: Sequence[int],
    seed: int,
    samples: Path,
    seconds: float,
    stop: Callable[[], None] = lambda: None,
    done: Callable[[], None] = lambda: None,
) -> list[dict[str, Any]]:
    """All runs of the blocks, in the order in which they were done."""
    by_name = {variant.name: variant for variant in variants}
    found = []
    for block in blocks:
        drawn = order(list(by_name), seed, block)
        for position, name in enumerate(drawn, start=1):
            stop()
            output = samples / f"{block:03d}.{position:02d}.{name}.jsonl"
            place = {"NIGHTBENCH_BLOCK": str(block), "NIGHTBENCH_POSITION": str(position)}
            variant = replace(by_name[name], environment={**by_name[name].environment, **place})
            seen = gpu_probe.run(variant, probe, plan, output, seconds, stop)
            found.append({"block": block, "position": position, "probe_sha256": digest, **seen})
            done()
    return found
