# SPDX-License-Identifier: GPL-3.0-or-later
"""Asked for, existing, Ready and streaming are four numbers; where two of them differ the run is not what it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.nightbench.calico_formulas import SYNCERS
from ansible.module_utils.nightbench.calico_metrics import TyphaState
from ansible.module_utils.nightbench.calico_nodes import Asked, count

LABEL = ("type", "kwok")


def nodes(real: int, fake: int, *, not_ready: int = 0, cordoned: int = 0) -> list[dict[str, Any]]:
    """The first ones are not Ready, or cordoned."""
    found: list[dict[str, Any]] = []
    for index in range(real + fake):
        labels = {"type": "kwok"} if index >= real else {}
        ready = "False" if index < not_ready else "True"
        conditions = [{"type": "DiskPressure", "status": "False"}, {"type": "Ready", "status": ready}]
        spec = {"unschedulable": True} if index < cordoned else {}
        found.append({"metadata": {"labels": labels}, "spec": spec, "status": {"conditions": conditions}})
    return found


def typhas(number: int, clients: int, **changes: Any) -> list[TyphaState]:
    """All of them with their share of the clients."""
    found = []
    for index in range(number):
        mine = clients // number + (index < clients % number)
        streaming = dict.fromkeys(SYNCERS, mine)
        found.append(replace(TyphaState(0, 0, 4 * mine, streaming, {}, 0.0, 0), **changes))
    return found


def test_every_column_says_what_was_asked_for() -> None:
    found = count(Asked(2, 398, 2), nodes(2, 398), typhas(4, 2), LABEL)
    assert {name: dict(row) for name, row in found.columns.items()} == {
        name: {"real": 2, "fake": 398, "all": 400} for name in ("asked", "existing", "ready", "schedulable")
    }
    assert found.streaming == dict.fromkeys(SYNCERS, 2)
    assert (found.typhas, found.expected_typhas, found.connection_limit, found.most_connections) == (4, 4, 644, 4)
    assert found.holds


UNEQUAL: list[tuple[str, Asked, list[dict[str, Any]], list[TyphaState] | None, Sequence[str]]] = [
    ("no Typha asked for", Asked(2, 8), nodes(2, 8), None, []),
    ("a node too many", Asked(2, 8), nodes(2, 9), None, ["9 fake nodes existing, 8 asked"]),
    (
        "a real one for a fake one",
        Asked(2, 8),
        nodes(3, 7),
        None,
        ["3 real nodes existing, 2 asked", "7 fake nodes existing, 8 asked"],
    ),
    (
        "not Ready",
        Asked(2, 8),
        nodes(2, 8, not_ready=3),
        None,
        ["0 real nodes ready, 2 existing", "7 fake nodes ready, 8 existing"],
    ),
    (
        "nobody streams",
        Asked(2, 8, 10),
        nodes(2, 8),
        None,
        ["10 nodes were to stream from Typha, and no Typha was looked at"],
    ),
    (
        "some stream",
        Asked(2, 8, 10),
        nodes(2, 8),
        typhas(3, 2),
        [f"2 nodes stream {syncer} from Typha, 10 were asked for" for syncer in SYNCERS],
    ),
    (
        "a Typha too few",
        Asked(2, 8, 2),
        nodes(2, 8),
        typhas(2, 2),
        ["2 Typhas, the operator wants 3 for so many nodes"],
    ),
    ("cordoned nodes count for no Typha", Asked(2, 1, 3), nodes(2, 1, cordoned=1), typhas(1, 3), []),
    (
        "more connections than a Typha takes",
        Asked(2, 8, 2),
        nodes(2, 8),
        typhas(3, 2, active=401),
        ["a Typha has 401 connections, its limit is 400"],
    ),
]


@pytest.mark.parametrize(
    ("asked", "there", "states", "problems"), [case[1:] for case in UNEQUAL], ids=[case[0] for case in UNEQUAL]
)
def test_what_differs_is_named(
    asked: Asked, there: list[dict[str, Any]], states: list[TyphaState] | None, problems: Sequence[str]
) -> None:
    found = count(asked, there, states, LABEL)
    assert list(found.problems) == list(problems)
    assert found.holds is (not problems)


def test_no_nodes_at_all_are_none() -> None:
    found = count(Asked(0, 0), [], None, LABEL)
    assert (found.columns["existing"]["all"], found.expected_typhas, found.holds) == (0, 1, True)


def test_a_node_without_labels_and_status_is_a_real_one_that_is_not_ready() -> None:
    found = count(Asked(1, 0), [{"metadata": {}}], None, LABEL)
    assert list(found.problems) == ["0 real nodes ready, 1 existing"]
