# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks over time become what was used in a window, what memory there was, and a series of bounded length."""

from __future__ import annotations

import contextlib
import threading
from typing import Any
from unittest.mock import MagicMock

import pytest
from ansible.module_utils.nightbench import resources
from ansible.module_utils.nightbench.errors import Unreachable
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.machine import MachineSampler
from ansible.module_utils.nightbench.process import own_identity
from ansible.module_utils.nightbench.resources import Look
from ansible.module_utils.nightbench.target import Target


def look(at: float, **more: Any) -> Look:
    """A process that uses half a core and grows by 10 bytes a second, a Felix of a tenth, and a storage."""
    felix = {"cpu": 5 + at / 10, "bytes": 100.0 + at, "policies": at % 7, "endpoints": 2.0}
    found = {
        "processes": {"etcd": {"cpu": at / 2, "bytes": 1000 + 10 * at}},
        "programs": {"real-0": felix},
        "storage": {"total": 4096.0 + at, "in_use": 4096.0},
    }
    return Look(at, **found | more)


def test_cpu_and_storage_are_of_the_window_and_memory_until_the_end() -> None:
    found = resources.values([look(float(at)) for at in range(10)], 2.5, 5.5)
    assert found["programs"] == {
        "real-0": {"cpu_seconds": 0.4, "first_bytes": 102.0, "max_bytes": 109.0, "last_bytes": 109.0}
    }
    assert found["storage"] == {
        "first_bytes": 4098.0, "last_bytes": 4102.0, "in_use_first_bytes": 4096.0, "in_use_last_bytes": 4096.0
    }  # fmt: skip
    assert found["memory"] == {"etcd": {"first_bytes": 1020.0, "max_bytes": 1090.0, "last_bytes": 1090.0}}
    assert found["active_policies"] == {"real-0": {"first": 2.0, "most": 6.0}}
    assert found["active_endpoints"] == {"real-0": {"first": 2.0, "most": 2.0}}
    series = found["series"]
    assert series["seconds"] == [at - 2.5 for at in range(2, 10)]
    assert series["processes"]["etcd"]["cores"] == [None, *[0.5] * 7]
    assert series["programs"]["real-0"]["bytes"] == [100.0 + at for at in range(2, 10)]
    assert series["storage"]["total_bytes"] == [4096.0 + at for at in range(2, 10)]


def test_a_long_load_is_told_in_so_many_points_and_its_cores_are_those_between_them() -> None:
    series = resources.values([look(float(at)) for at in range(1000)], 0.0, 999.0)["series"]
    assert len(series["seconds"]) <= resources.POINTS_MOST
    assert set(series["processes"]["etcd"]["cores"][1:]) == {0.5}


def test_what_is_silent_or_was_started_anew_has_no_number_there() -> None:
    silent = {"real-0": {"cpu": None, "bytes": None, "policies": None, "endpoints": None}}
    anew = {"real-0": {"cpu": 0.1, "bytes": 7.0, "policies": 1.0, "endpoints": 1.0}}
    found = resources.values([look(0.0), look(1.0, programs=silent), look(2.0, programs=anew)], 0.0, 2.0)
    assert found["programs"]["real-0"] == {
        "cpu_seconds": None, "first_bytes": 100.0, "max_bytes": 100.0, "last_bytes": 7.0
    }  # fmt: skip
    assert found["series"]["programs"]["real-0"]["cores"] == [None, None, None]
    assert found["active_policies"] == {"real-0": {"first": 0.0, "most": 1.0}}


def test_a_storage_that_nobody_may_see_has_no_size() -> None:
    found = resources.values([look(0.0, storage={}), look(1.0, storage={})], 0.0, 1.0)["storage"]
    assert set(found.values()) == {None}


def nobody() -> Kube:
    return Kube(Target("http", "127.0.0.1", 1, "", "nobody"), connect_seconds=0.0, retry_seconds=0.0)


def test_this_process_is_looked_at_from_start_to_stop() -> None:
    who = own_identity()
    machine = MachineSampler({"own": {"pid": who.pid, "start_time": who.start_time}})
    sampler = resources.ResourceSampler(nobody(), machine, {}).start()
    sampler.stop()
    found = sampler.values(0.0, 1e12)
    assert found["memory"]["own"]["max_bytes"] > 1_000_000
    assert len(found["series"]["seconds"]) >= 2
    assert found["storage"]["first_bytes"] is None


def test_a_page_that_nobody_serves_ends_it_before_it_begins() -> None:
    sampler = resources.ResourceSampler(nobody(), MachineSampler({}), {"real-0": "http://127.0.0.1:1/metrics"})
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1"):
        sampler.start()


@pytest.mark.parametrize("pages", [{}, {"real-0": "http://127.0.0.1:1/metrics"}])
def test_no_thread_and_no_connection_is_left_whether_it_ran_or_failed(
    pages: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, closed = set(threading.enumerate()), MagicMock()
    monkeypatch.setattr(Kube, "close", closed)
    sampler = resources.ResourceSampler(nobody(), MachineSampler({}), pages, "http://127.0.0.1:1/metrics")
    with contextlib.suppress(Unreachable):
        sampler.start().stop()
    assert set(threading.enumerate()) == before
    closed.assert_called_once_with()
    with pytest.raises(RuntimeError, match="shutdown"):
        sampler._pool.submit(int)
