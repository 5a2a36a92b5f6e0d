# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 at any request, and the reaper leaves nothing: no instance, no disk, no address, none that comes later.

A schedule is a call of bench_gcp_instance in a process of its own, which the stand-in kills before or after it has
carried out one of its requests, with other faults beside it; then the reaper runs. The processes are forked from one
that has everything loaded, so a schedule takes some tenths of a second.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from ansible.modules import bench_gcp_instance, bench_gcp_reaper
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.forked import forked

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi

RUN = "20260101T000000Z-0a1b"
NOTHING = {"instances": [], "disks": [], "addresses": []}
INSERT = "compute.instances.insert"
#: Faults that a schedule may have beside its kill.
OTHERS: tuple[dict[str, Any], ...] = (
    {"at": INSERT, "do": "stockout", "hint": ["us-central1-f"]},
    {"at": INSERT, "do": "stockout", "model": "SPOT", "times": 2},
    {"at": INSERT, "do": "leave_disk"},
    {"at": INSERT, "do": "preempt", "stage": "PROVISIONING"},
    {"at": INSERT, "do": "preempt", "stage": "STAGING"},
    {"at": INSERT, "do": "preempt", "stage": "RUNNING"},
    {"at": INSERT, "do": "lost"},
    {"at": "compute.*", "do": "status", "code": 503, "skip": 3},
    {"at": "compute.instances.delete", "do": "lost"},
    {"at": INSERT, "do": "status", "code": 429},
    {"at": INSERT, "do": "status", "code": 409, "reason": "alreadyExists"},
    {"at": INSERT, "do": "error", "code": "INTERNAL_ERROR"},
    {"at": INSERT, "do": "error", "code": "QUOTA_EXCEEDED", "message": "Quota 'GPUS_ALL_REGIONS' exceeded."},
    {"at": "compute.*", "do": "status", "code": 500, "skip": 5, "times": 2},
    {"at": INSERT, "do": "reset"},
)
#: An operation that does not go on for as long as anybody waits; it comes to something in the end.
STUCK = {"at": INSERT, "do": "stuck", "after": 1}
STUCK_SECONDS = 0.2


@dataclass(frozen=True)
class Schedule:
    """What happens: which request is the last one, before or after it was carried out, and what goes wrong besides.

    `doing`: what is killed, the creation of hosts, their removal or the reaper.
    """

    request: int
    moment: str
    doing: str = "present"
    hosts: int = 1
    others: tuple[int, ...] = ()
    stuck: bool = False
    looks: int = 1
    skew: int = 0
    again: bool = False
    left_behind: bool = False

    @property
    def script(self) -> list[dict[str, Any]]:
        return [*([STUCK] if self.stuck else []), *(OTHERS[number] for number in self.others)]


schedules = st.builds(
    Schedule,
    request=st.integers(0, 17),
    moment=st.sampled_from(["before", "after"]),
    doing=st.sampled_from(["present", "present", "present", "absent", "reap"]),
    hosts=st.integers(1, 2),
    others=st.lists(st.integers(0, len(OTHERS) - 1), max_size=2, unique=True).map(tuple),
    stuck=st.integers(0, 19).map(lambda drawn: drawn == 19),
    looks=st.integers(0, 3),
    skew=st.sampled_from([0, 0, -7 * 86400, 3 * 86400]),
    again=st.booleans(),
    left_behind=st.booleans(),
)


@pytest.fixture(scope="module")
def world(compute_api_process: ComputeApi) -> Iterator[ComputeApi]:
    yield compute_api_process
    compute_api_process.reset()


def killed_while(world: ComputeApi, schedule: Schedule, folder: Path) -> None:
    """Run the module until the stand-in kills it; where it is through before that, again at an earlier request."""
    # A removal has fewer requests than a creation.
    first = schedule.request if schedule.doing == "present" else schedule.request // 2
    for request in (first, first // 2, 0):
        if killed_at(world, schedule, request, folder):
            return
    raise AssertionError("it was through before its first request")


def killed_at(world: ComputeApi, schedule: Schedule, request: int, folder: Path) -> bool:
    reading, writing = os.pipe()
    module, arguments = call(world, schedule, folder)
    pid = forked(module, arguments, folder / "killed.json", wait_for=reading)
    os.close(reading)
    end = {"do": "kill", "pid": pid, "skip": request, "moment": schedule.moment}
    world.faults(end, *schedule.script)
    os.write(writing, b"x")
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def call(world: ComputeApi, schedule: Schedule, folder: Path) -> tuple[ModuleType, dict[str, Any]]:
    """What is killed."""
    if schedule.doing == "reap":
        return bench_gcp_reaper, reaper(world, schedule, folder)
    return bench_gcp_instance, instance(world, schedule, folder, state=schedule.doing)


def through(module: ModuleType, arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Run the module to its end; its answer."""
    path = folder / f"{module.__name__}.json"
    _, status = os.waitpid(forked(module, arguments, path), 0)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    assert os.WIFEXITED(status), found
    return found


def instance(world: ComputeApi, schedule: Schedule, folder: Path, state: str = "present") -> dict[str, Any]:
    return {
        "names": [f"gpu-{number}" for number in range(schedule.hosts)],
        "run_id": RUN,
        "state": state,
        "zones": ["us-central1-a", "us-central1-b", "us-central1-f"],
        "provisioning_models": ["spot", "standard"],
        **common(world, schedule, folder),
    }


def reaper(world: ComputeApi, schedule: Schedule, folder: Path) -> dict[str, Any]:
    return {"run_ids": [RUN], "dry_run": False, **common(world, schedule, folder)}


def common(world: ComputeApi, schedule: Schedule, folder: Path) -> dict[str, Any]:
    limit = {"operation_seconds": STUCK_SECONDS} if schedule.stuck else {}
    return {"pause_seconds": 0.001, "timeout_seconds": 30, "journal_dir": str(folder / "gcp"), **limit, **world.access}


def check(world: ComputeApi, schedule: Schedule) -> None:
    world.reset(operation_looks=schedule.looks, skew_seconds=schedule.skew)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if schedule.left_behind:
            ours = {"managed_by": "nightbench", "run_id": RUN.lower(), "expires": "9999999999"}
            world.put("address", "us-central1", "address", **ours)
            world.put("disk", "europe-west4-b", "extra", **ours)
        if schedule.doing != "present":
            through(bench_gcp_instance, instance(world, schedule, folder), folder)
        killed_while(world, schedule, folder)
        world.faults()
        if schedule.again and schedule.doing == "present":
            # The next night begins with the same call: it goes on with what was left, and makes nothing twice.
            answer = through(bench_gcp_instance, instance(world, schedule, folder), folder)
            # A request that is gone on with may still bring back an operation without quota: that stops at once.
            if not schedule.stuck and answer.get("kind") != "quota":
                assert not answer.get("failed"), answer["msg"]
                assert len(world.state["instances"]) == schedule.hosts
            # A preemption that was under way may come only now; a second host may not.
            assert len(world.settled()["instances"]) <= schedule.hosts
        if schedule.stuck:
            # What nobody could wait for is told, and comes to something later.
            told = through(bench_gcp_reaper, reaper(world, schedule, folder), folder).get("msg", "does not go on")
            assert "does not go on" in told
            world.control("unstick")
        reaped = through(bench_gcp_reaper, reaper(world, replace(schedule, stuck=False), folder), folder)
        assert not reaped.get("failed"), reaped["msg"]
        assert world.settled() == NOTHING
        assert world.state["violations"] == []


relaxed = settings(
    deadline=None,
    database=None,
    derandomize=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@settings(relaxed, max_examples=300)
@given(schedule=schedules)
def test_whenever_it_is_killed_the_reaper_leaves_nothing(world: ComputeApi, schedule: Schedule) -> None:
    check(world, schedule)


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
@settings(relaxed, max_examples=250)
@given(schedule=schedules)
def test_a_thousand_times_it_is_killed_and_nothing_is_left(world: ComputeApi, part: int, schedule: Schedule) -> None:
    check(world, schedule)


@pytest.mark.parametrize("doing", ["present", "absent", "reap"])
def test_every_request_of_a_plain_call_is_survived(world: ComputeApi, doing: str) -> None:
    """Not by chance: each request in turn, before and after it is carried out, until none is left to be killed at."""
    for moment in ("before", "after"):
        killed, request = True, 0
        while killed:
            schedule = Schedule(request, moment, doing)
            world.reset()
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if doing != "present":
                    through(bench_gcp_instance, instance(world, schedule, folder), folder)
                killed = killed_at(world, schedule, request, folder)
                world.faults()
                through(bench_gcp_reaper, reaper(world, schedule, folder), folder)
            assert world.settled() == NOTHING, (request, moment)
            request += 1
        assert request > 8, "a call has more requests than that"
