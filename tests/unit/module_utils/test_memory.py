# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory over a load: the slope of a line, and what is said of processes that are gone."""

from __future__ import annotations

import os
from itertools import count

import pytest
from ansible.module_utils.nightbench import memory
from ansible.module_utils.nightbench.memory import Growth, MemorySampler
from ansible.module_utils.nightbench.process import own_identity


@pytest.mark.parametrize(
    ("sizes", "per_hour"),
    [
        ([1000 + 10 * second for second in range(20)], 36_000.0),
        ([1000] * 20, 0.0),
        ([1000 + 50 * (second % 2) for second in range(2001)], 0.0),
        ([5000 - 10 * second for second in range(20)], -36_000.0),
        ([1000] * 9, None),
    ],
    ids=["grows", "stays", "swings", "shrinks", "too few"],
)
def test_growth_is_the_slope_of_a_line_through_all_samples(sizes: list[int], per_hour: float | None) -> None:
    growth = Growth(100.0, sizes[0])
    for at, size in zip(count(100.0), sizes, strict=False):
        growth.add(at, size)
    found = growth.values()
    assert found.pop("growth_bytes_per_hour") == (None if per_hour is None else pytest.approx(per_hour, abs=5.0))
    assert found == {
        "first_bytes": sizes[0],
        "last_bytes": sizes[-1],
        "max_bytes": max(sizes),
        "samples": len(sizes),
        "seconds": len(sizes) - 1.0,
    }


def test_samples_at_one_moment_have_no_slope() -> None:
    growth = Growth(1.0, 5)
    for _ in range(20):
        growth.add(1.0, 5)
    assert growth.slope() is None


def test_only_the_process_that_is_meant_is_looked_at() -> None:
    me = own_identity()
    sampler = MemorySampler(lambda: {"me": (me.pid, me.start_time), "other": (me.pid, me.start_time - 1)})
    sampler.look(1.0)
    sampler.look(3.0)
    assert set(sampler.values()) == {"me"}
    assert (sampler.values()["me"]["samples"], sampler.values()["me"]["seconds"]) == (2, 2.0)


def test_a_process_that_is_gone_has_no_memory() -> None:
    assert memory.resident(2**22 + 1) is None
    assert (memory.resident(os.getpid()) or 0) > 1_000_000
