# SPDX-License-Identifier: GPL-3.0-or-later
"""From packets that arrived or not: when a policy was obeyed, how exactly that is known, and when it cannot be told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.policy_latency import (
    Change,
    Probes,
    Transition,
    gaps,
    named,
    probes,
    transition,
)

INTERVAL = 0.005
DENY = Change("create-1", "deny", 0.99, 1.0)
ALLOW = Change("delete-1", "allow", 0.99, 1.0)


def flow(
    arrives: Callable[[float], bool], seconds: float = 3.0, *, without: Callable[[float], bool] | None = None
) -> Probes:
    """Packets every 5 ms; `without` are moments at which the machine was too busy to send."""
    sent = [round(index * INTERVAL, 6) for index in range(int(seconds / INTERVAL))]
    sent = [at for at in sent if without is None or not without(at)]
    return Probes("new", sent, [arrives(at) for at in sent], 0.0001)


def told(found: Transition) -> tuple[str, float | None, float | None]:
    return (
        found.outcome,
        None if found.latency is None else round(found.latency, 6),
        None if found.resolution is None else round(found.resolution, 6),
    )


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.2, 1.0])
def test_the_first_packet_that_obeys_ends_the_latency(delay: float) -> None:
    at = 1.0 + delay
    denied = transition(flow(lambda sent: sent < at), DENY, 3.0)
    allowed = transition(flow(lambda sent: sent >= at), ALLOW, 3.0)
    assert told(denied) == told(allowed) == ("obeyed", delay, INTERVAL)
    assert denied.below_resolution is allowed.below_resolution is (delay <= INTERVAL)
    assert denied.low == pytest.approx(delay - INTERVAL)
    assert denied.wrong_packets == allowed.wrong_packets == max(round(delay / INTERVAL) - 1, 0)


@pytest.mark.parametrize(("change", "first"), [(DENY, True), (ALLOW, False)])
def test_obeyed_before_the_answer_is_a_latency_of_nothing(change: Change, first: bool) -> None:
    found = transition(flow(lambda sent: (sent < 0.992) is first), change, 3.0)
    assert told(found) == ("obeyed", 0.0, INTERVAL)
    assert found.below_resolution


@pytest.mark.parametrize(("change", "first"), [(DENY, True), (ALLOW, False)])
def test_what_the_probe_did_not_send_widens_its_resolution(change: Change, first: bool) -> None:
    found = transition(flow(lambda sent: (sent < 1.2) is first, without=lambda at: 1.15 < at < 1.25), change, 3.0)
    assert told(found) == ("obeyed", 0.25, 0.1)
    assert (found.low, found.high) == (pytest.approx(0.15), pytest.approx(0.25))


NOT: list[tuple[str, Change, Callable[[float], bool], str, str]] = [
    ("never denied", DENY, lambda at: True, "never", "402 of 402 packets arrived in 1.995 s after the answer"),
    ("never allowed", ALLOW, lambda at: False, "never", "0 of 402 packets arrived"),
    ("denied before it was asked", DENY, lambda at: at < 0.5, "not_in_force_before", "0 of 60 packets arrived before"),
    (
        "allowed before it was asked",
        ALLOW,
        lambda at: at > 0.5,
        "not_in_force_before",
        "60 of 60 packets arrived before",
    ),
    ("half of them at the end", DENY, lambda at: at < 1.0 or round(at / INTERVAL) % 2 == 0, "unsettled", "20 of 40"),
    ("one gets through at the end", DENY, lambda at: at < 1.0 or at == 2.95, "unsettled", "1 of 40 packets arrived"),
]


@pytest.mark.parametrize(
    ("change", "arrives", "outcome", "reason"), [case[1:] for case in NOT], ids=[case[0] for case in NOT]
)
def test_what_is_not_obeyed_has_no_latency(
    change: Change, arrives: Callable[[float], bool], outcome: str, reason: str
) -> None:
    found = transition(flow(arrives), change, 3.0)
    assert told(found) == (outcome, None, None)
    assert found.below_resolution is False
    assert reason in found.reason


def test_too_few_packets_until_the_next_change_tell_nothing() -> None:
    found = transition(flow(lambda sent: sent < 1.0), DENY, 1.1)
    assert (found.outcome, found.reason) == ("unsettled", "only 22 packets until the next change")


def test_a_packet_lost_before_a_deny_is_no_deny_and_one_that_slips_through_later_ends_it() -> None:
    lost = transition(flow(lambda sent: sent < 1.2 and sent != 1.1), DENY, 3.0)
    slipped = transition(flow(lambda sent: sent < 1.2 or sent == 1.5), DENY, 3.0)
    assert told(lost) == ("obeyed", 0.2, INTERVAL)
    assert told(slipped) == ("obeyed", 0.505, INTERVAL)
    assert slipped.mixed_seconds == pytest.approx(0.3)  # from 1.2, the first that obeys, to 1.5, the last that does not


def test_some_packets_lost_on_a_busy_machine_are_still_allowed() -> None:
    found = transition(flow(lambda sent: sent >= 1.2 and round(sent / INTERVAL) % 20 != 0), ALLOW, 3.0)
    assert found.outcome == "obeyed"
    assert found.latency == pytest.approx(0.205)  # the packet at 1.2 is one of the lost


def ends(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    sender = {
        "end": "send",
        "token": "a",
        "sent": [0, 5_000_000, 10_000_000],
        "wall_offset_start": 7,
        "wall_offset_end": 7,
    }
    receiver = {
        "end": "receive",
        "token": "a",
        "wall_offset_start": 7,
        "wall_offset_end": 7,
        "arrived": {"new": [[0, 100], [2, 300], [9, 100]], "established": []},
    }
    return sender | changes, receiver


def test_both_ends_together_are_a_list_of_each_flow() -> None:
    established, new = probes(*ends())
    assert (established.flow, list(established.arrived), established.delay) == ("established", [False] * 3, None)
    assert (new.flow, list(new.arrived), new.delay) == ("new", [True, False, True], 3e-7)
    assert list(new.sent) == [0.0, 0.005, 0.01]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"token": "b"}, "the ends of the probe are of two pairs: b, a"),
        ({"wall_offset_end": 2_000_007}, r"the clock was set by 0.0020 s while the probe ran \(send\)"),
    ],
)
def test_ends_that_do_not_belong_together_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        probes(*ends(**changes))


def test_gaps_are_those_of_the_window() -> None:
    assert gaps([0.0, 1.0, 1.5, 1.75, 3.0], 1.0, 2.0) == [0.5, 0.25]
    assert gaps([], 0.0, 1.0) == []


NAMED = [
    (("obeyed",), ("obeyed",), "obeyed"),
    (("never",), ("never",), "never"),
    (("obeyed",), ("never",), "new_flows_only"),
    (("obeyed",), ("not_in_force_before",), "new_flows_only"),
    (("never",), ("obeyed",), "established_flows_only"),
    (("obeyed",), ("unsettled",), "mixed"),
    (("obeyed", "never"), ("obeyed",), "mixed"),
]


@pytest.mark.parametrize(("new", "established", "word"), NAMED)
def test_the_flows_of_a_change_have_one_name_together(
    new: tuple[str, ...], established: tuple[str, ...], word: str
) -> None:
    made = [("new", outcome) for outcome in new] + [("established", outcome) for outcome in established]
    found = [Transition("c", "deny", name, outcome, None, None, None, 0.0, 0) for name, outcome in made]
    assert named(found) == word
