# SPDX-License-Identifier: GPL-3.0-or-later
"""What a wait knows of its objects, event by event; the waiting itself is tested on a real API server."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench.waiting import Goal, Look
from ansible.module_utils.nightbench.watch import Event


def event(kind: str, name: str, *, ready: bool = True, namespace: str = "") -> Event:
    conditions = [{"type": "Ready", "status": str(ready)}]
    metadata = {"name": name, "uid": name, **({"namespace": namespace} if namespace else {})}
    return Event(kind, {"metadata": metadata, "status": {"conditions": conditions}}, 0.0)


def look(*events: Event, **goal: Any) -> Look:
    found = Look(Goal(**{"api_version": "v1", "kind": "Node", "predicate": "node_ready", **goal}))
    found.problem = None
    for one in events:
        found.see(one)
    return found


A, B, NOT_B = event("LISTED", "a"), event("ADDED", "b"), event("ADDED", "b", ready=False)


@pytest.mark.parametrize(
    ("events", "goal", "expected"),
    [
        ([], {}, (1, 0, 0, False)),  # all of nothing is not enough
        ([A], {}, (1, 1, 1, True)),
        ([A, NOT_B], {}, (2, 2, 1, False)),
        ([A, NOT_B], {"count": 1}, (1, 2, 1, True)),
        ([], {"count": 0}, (0, 0, 0, True)),
        ([A, B], {"count": 3}, (3, 2, 2, False)),
        ([A, B], {"names": ("a",)}, (1, 1, 1, True)),
        ([A, B], {"names": ("a", "c")}, (2, 1, 1, False)),
        ([A, event("MODIFIED", "a", ready=False)], {}, (1, 1, 0, False)),
        ([NOT_B, event("MODIFIED", "b")], {}, (1, 1, 1, True)),
        ([A, event("LISTED", "a")], {}, (1, 1, 1, True)),  # a relist counts nothing twice
        ([A, B, event("DELETED", "b")], {}, (1, 1, 1, True)),
        ([event("DELETED", "never-seen")], {}, (1, 0, 0, False)),
        ([A], {"predicate": "absent"}, (0, 1, 0, False)),
        ([A, event("DELETED", "a")], {"predicate": "absent"}, (0, 0, 0, True)),
        ([event("ADDED", "a", namespace="x"), event("ADDED", "a", namespace="y")], {}, (2, 2, 2, True)),
    ],
)
def test_counts(events: list[Event], goal: dict[str, Any], expected: tuple[int, int, int, bool]) -> None:
    found = look(*events, **goal)
    assert (found.asked, found.as_json()["existing"], found.ready, found.met) == expected


def test_nothing_is_met_before_it_was_seen() -> None:
    unseen = Look(Goal("v1", "Node", "absent"))
    assert (unseen.met, unseen.told()) == (False, "Node absent: nothing has been seen yet")


def test_names_that_are_not_there_are_told_last() -> None:
    found = look(NOT_B, names=("b", "c"))
    assert found.not_ready() == [
        {"object": "b", "reason": "Ready is False"},
        {"object": "c", "reason": "it does not exist"},
    ]
    assert found.told() == "Node node_ready: 0 of 2, 1 exist. Not yet: b: Ready is False; c: it does not exist"


def test_a_hopeless_object_is_remembered() -> None:
    conditions = [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]
    failed = Event("ADDED", {"metadata": {"name": "j", "uid": "j"}, "status": {"conditions": conditions}}, 0.0)
    assert look(failed, kind="Job", predicate="job_complete").hopeless == "j: it failed (BackoffLimitExceeded)"


def test_a_failure_that_may_mend_itself_is_hopeless_when_it_has_stood_long_enough() -> None:
    def failed(seconds: float, state: str = "Failed") -> Event:
        spec = {"interfaces": [{"vfGroups": [{"policyName": "p"}]}]}
        item = {"metadata": {"name": "n", "uid": "n"}, "spec": spec, "status": {"syncStatus": state}}
        return Event("MODIFIED", item, seconds)

    def seen(seconds: float, *events: Event) -> str | None:
        parameters = {"policies": ["p"], "failed_seconds": seconds}
        return look(*events, kind="SriovNetworkNodeState", predicate="sriov_synced", parameters=parameters).hopeless

    assert seen(0, failed(0)) == "n: syncStatus is Failed: without a lastSyncError"
    assert seen(3600, failed(0), failed(1)) is None
    assert seen(0, failed(0), failed(1, "InProgress")) is None
