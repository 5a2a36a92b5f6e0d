# SPDX-License-Identifier: GPL-3.0-or-later
"""A start is told in parts, and the wait for the probe is none of Calico's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible.module_utils.nightbench.calico_startup import (
    Leg,
    Moment,
    Poll,
    StartUp,
    decompose,
    moments_of_log,
    moments_of_polls,
)

START = 1_777_943_513.0  # 2026-05-05 01:11:53 UTC
LOG = """\
bird: device1: Initializing
2026-05-05 01:11:40.000 [INFO][71] felix/daemon.go 400: Felix starting up GOMAXPROCS=2 version="v3.32.1"
2026-05-05 01:11:41.000 [INFO][71] felix/int_dataplane.go 2307: Completed first update to dataplane. secsSinceStart=1
2026-05-05 01:11:53.500 [INFO][95] felix/daemon.go 400: Felix starting up GOMAXPROCS=2 version="v3.32.1"
2026-05-05 01:11:54.100 [INFO][95] felix/async_calc_graph.go 166: First time we've been in sync
2026-05-05 01:11:54.533 [INFO][95] felix/int_dataplane.go 2307: Completed first update to dataplane. secsSinceStart=1.0
2026-05-05 01:11:59.000 [INFO][95] felix/int_dataplane.go 2307: Completed first update to dataplane. secsSinceStart=6
"""


def at(seconds: float, resolution: float = 0.001) -> Moment:
    return Moment(START + seconds, resolution, "test")


WHOLE = {
    "container_started": at(0, 1.0),
    "process_started": at(0.5),
    "in_sync": at(1.1),
    "first_apply": at(1.533),
    "answers_ready": at(1.6, 0.1),
    "ready": at(31, 1.0),
}


def rounded(found: StartUp) -> StartUp:
    """Times of the wall clock are large: their differences are good to microseconds."""
    return replace(found, legs=[replace(leg, seconds=round(leg.seconds, 6)) for leg in found.legs],
                   probe_seconds=None if found.probe_seconds is None else round(found.probe_seconds, 6))  # fmt: skip


def test_the_log_tells_of_the_last_start() -> None:
    found = moments_of_log(LOG)
    assert {name: round(moment.at - START, 3) for name, moment in found.items()} == {
        "process_started": 0.5,
        "in_sync": 1.1,
        "first_apply": 1.533,
    }
    assert {moment.resolution for moment in found.values()} == {0.001}


@pytest.mark.parametrize(
    "text", ["", "Felix starting up\n", "2026-05-05 01:11:40 [INFO][7] a.go 1: Felix starting up\n"]
)
def test_a_log_of_another_form_tells_nothing(text: str) -> None:
    assert moments_of_log(text) == {}


def test_polls_tell_when_it_was_first_seen_and_how_exactly() -> None:
    polls = [Poll(1.0, False, 1), Poll(1.1, False, 3), Poll(1.25, True, 3), Poll(1.3, False, 2), Poll(1.4, True, 3)]
    found = moments_of_polls(reversed(polls))
    assert {name: (moment.at, round(moment.resolution, 6)) for name, moment in found.items()} == {
        "in_sync": (1.1, 0.1),
        "answers_ready": (1.25, 0.15),
    }


@pytest.mark.parametrize("polls", [[], [Poll(1.0, True, 3)], [Poll(1.0, False), Poll(1.1, False)]])
def test_what_was_so_before_the_first_look_has_no_moment(polls: list[Poll]) -> None:
    assert moments_of_polls(polls) == {}


def test_a_start_in_its_parts_shows_how_much_of_it_is_the_probes() -> None:
    found = rounded(decompose(WHOLE))
    assert found == StartUp(
        legs=[
            Leg("container_started", "process_started", 0.5, 1.0),
            Leg("process_started", "in_sync", 0.6, 0.001),
            Leg("in_sync", "first_apply", 0.433, 0.001),
            Leg("first_apply", "answers_ready", 0.067, 0.1),
            Leg("answers_ready", "ready", 29.4, 1.0),
        ],
        seconds=31.0,
        probe_seconds=29.4,
        missing=[],
        problems=[],
    )
    assert found.probe_ratio == pytest.approx(0.948, abs=0.001)


def test_what_was_not_seen_is_named_and_its_neighbours_meet() -> None:
    found = decompose({name: moment for name, moment in WHOLE.items() if name not in ("in_sync", "answers_ready")})
    assert found.missing == ["in_sync", "answers_ready"]
    assert [(leg.start, leg.end) for leg in found.legs] == [
        ("container_started", "process_started"),
        ("process_started", "first_apply"),
        ("first_apply", "ready"),
    ]
    assert (found.probe_seconds, found.probe_ratio) == (None, None)


def test_nothing_seen_is_no_start() -> None:
    found = decompose({})
    assert (found.legs, found.seconds, found.probe_ratio, len(found.missing)) == ([], None, None, 6)


@pytest.mark.parametrize(("early", "problems"), [(-0.4, 0), (-1.5, 1)])
def test_a_moment_before_its_forerunner_is_a_problem_beyond_what_can_be_seen(early: float, problems: int) -> None:
    found = decompose({"container_started": at(0, 1.0), "process_started": at(early)})
    assert len(found.problems) == problems
    assert [leg.seconds for leg in found.legs] == ([] if problems else [0.0])
