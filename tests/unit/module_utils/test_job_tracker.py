# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracker of a load of parts: events of four watches in any order, one row a pod, every slot accounted for."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible.module_utils.nightbench.job_rows import JobRow
from ansible.module_utils.nightbench.job_tracker import JobTracker, lookup

from tests.fakes.job_events import DECISION, GROUP, bare, decision, group, job_object, part, pod, tracker_of

GANG = "l-gang-0"


def only(tracker: JobTracker) -> JobRow:
    return tracker.jobs[GANG]


def counts(tracker: JobTracker, name: str = "gang") -> tuple[int, int, int, int]:
    state = tracker.parts[name]
    return state.created, state.bound, state.running, state.completed


def test_every_milestone_is_the_first_moment_at_which_it_was_seen() -> None:
    tracker = tracker_of(part())
    running, done = pod(GANG, node="n", phase="Running"), pod(GANG, node="n", phase="Succeeded")
    for at, item in enumerate((pod(GANG), pod(GANG), pod(GANG, node="n"), running, running, done), 2):
        tracker.pod_event("MODIFIED", item, float(at))
    tracker.pod_event("DELETED", pod(GANG, node="n", phase="Succeeded"), 9.0)
    (row,) = only(tracker).pods
    assert (row.created, row.bound, row.running, row.completed, row.evicted, row.deleted) == (2, 4, 5, 7, None, 9)
    assert counts(tracker) == (1, 1, 1, 1)


EVENTS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "pod": ("pod_event", "ADDED", pod(GANG)),
    "bound": ("pod_event", "MODIFIED", pod(GANG, node="n")),
    "group": ("group_event", "ADDED", group(GANG)),
    "decision": ("decision_event", "ADDED", decision(f"{GANG}-0", "n")),
}


@pytest.mark.parametrize("order", list(itertools.permutations(["pod", "group", "decision"])))
def test_the_watches_may_tell_in_any_order(order: tuple[str, ...]) -> None:
    tracker = tracker_of(part(), group=GROUP, decision=DECISION)
    at = {}
    for moment, what in enumerate([*order, "bound"], 2):
        handle, kind, item = EVENTS[what]
        getattr(tracker, handle)(kind, item, float(moment))
        at[what] = float(moment)
    (row,) = only(tracker).pods
    assert (row.created, only(tracker).grouped, row.decided, row.bound) == (
        at["pod"], at["group"], at["decision"], at["bound"],
    )  # fmt: skip
    assert (row.decided_node, tracker.foreign_decisions, tracker.foreign_groups) == ("n", 0, 0)


@pytest.mark.parametrize(
    ("handle", "item"),
    [
        ("group_event", group(GANG, owner="another")),
        ("decision_event", decision(f"{GANG}-0", "n", owner="another")),
    ],
)
def test_an_object_of_an_earlier_load_of_the_same_name_is_not_taken_for_ours(handle: str, item: dict[str, Any]) -> None:
    tracker = tracker_of(part(), group=GROUP, decision=DECISION)
    tracker.answered(only(tracker), f"uid-{GANG}", 1.5)
    getattr(tracker, handle)("ADDED", item, 2.0)
    tracker.pod_event("ADDED", pod(GANG), 3.0)
    assert (only(tracker).grouped, only(tracker).pods[0].decided) == (None, None)


def test_what_was_there_before_the_first_request_is_nobodys() -> None:
    tracker = JobTracker(tracker_of(part(), group=GROUP, decision=DECISION).plan)
    tracker.group_event("LISTED", group(GANG), 0.5)
    tracker.decision_event("LISTED", decision(f"{GANG}-0"), 0.5)
    tracker.job_event("LISTED", job_object(GANG, succeeded=1), 0.5)
    assert (only(tracker).grouped, only(tracker).completed, tracker.foreign_decisions) == (None, None, 0)


def test_objects_of_others_are_counted() -> None:
    tracker = tracker_of(part(), group=GROUP, decision=DECISION)
    tracker.group_event("ADDED", group("theirs"), 2.0)
    tracker.decision_event("ADDED", decision("theirs-0"), 2.0)
    tracker.pod_event("ADDED", pod("theirs"), 2.0)
    tracker.pod_event("ADDED", bare(GANG), 2.0)
    assert (tracker.foreign_groups, tracker.foreign_decisions) == (1, 1)
    assert tracker.foreign == {"theirs-0", GANG}


@pytest.mark.parametrize(
    ("conditions", "status", "told"),
    [
        ([("Unschedulable", "True")], None, True),
        ([("Unschedulable", "Unknown")], None, True),
        ([("Unschedulable", "False")], None, False),
        ([("Other", "True")], None, False),
        ([], None, False),
    ],
)
def test_a_group_says_that_it_is_unschedulable(conditions: Any, status: str | None, told: bool) -> None:
    tracker = tracker_of(part(pods=2, until="unschedulable"), group=GROUP)
    tracker.group_event("ADDED", group(GANG), 2.0)
    tracker.group_event("MODIFIED", group(GANG, conditions=tuple(conditions)), 3.0)
    assert only(tracker).unschedulable == (3.0 if told else None)
    assert tracker.parts["gang"].reached("unschedulable") == int(told)


def test_without_a_group_the_pod_says_it() -> None:
    tracker = tracker_of(part(pods=2, until="unschedulable"))
    tracker.pod_event("ADDED", pod(GANG, reason="SchedulingGated"), 2.0)
    assert only(tracker).unschedulable is None
    tracker.pod_event("MODIFIED", pod(GANG, reason="Unschedulable"), 3.0)
    tracker.pod_event("ADDED", pod(GANG, 1, reason="Unschedulable"), 4.0)
    assert (only(tracker).unschedulable, tracker.parts["gang"].unschedulable) == (3.0, 1)


@pytest.mark.parametrize("how", ["asked to go", "gone at once", "gone after a relist"])
def test_a_pod_that_somebody_else_deletes_is_evicted_and_what_comes_after_it_is_a_replacement(how: str) -> None:
    tracker = tracker_of(part(pods=2))
    for number in (0, 1):
        tracker.pod_event("ADDED", pod(GANG, number, node="n"), 2.0)
    if how == "asked to go":
        tracker.pod_event("MODIFIED", pod(GANG, 1, node="n", going=True), 3.0)
    gone = {"metadata": {"name": f"{GANG}-1", "uid": f"uid-{GANG}-1"}} if how == "gone after a relist" else None
    tracker.pod_event("DELETED", gone or pod(GANG, 1, node="n"), 4.0)
    tracker.pod_event("ADDED", pod(GANG, 2), 5.0)
    first, second, third = only(tracker).pods
    assert (first.evicted, second.evicted, second.deleted) == (None, 3.0 if how == "asked to go" else 4.0, 4.0)
    assert (third.replacement, third.slot) == (True, second.slot)
    assert counts(tracker) == (2, 2, 0, 0)
    assert tracker.nodes.most == {"n": 2}


@pytest.mark.parametrize("before", ["we removed the Job", "it had completed", "it had failed"])
def test_a_pod_that_goes_for_another_reason_is_not_evicted(before: str) -> None:
    tracker = tracker_of(part())
    tracker.pod_event("ADDED", pod(GANG, node="n"), 2.0)
    if before == "we removed the Job":
        only(tracker).removed = 3.0
    else:
        tracker.pod_event("MODIFIED", pod(GANG, node="n", phase="Succeeded" if "comp" in before else "Failed"), 3.0)
    tracker.pod_event("MODIFIED", pod(GANG, node="n", going=True, phase="Succeeded" if "comp" in before else "Failed"
                                      if "fail" in before else "Running"), 4.0)  # fmt: skip
    tracker.pod_event("DELETED", pod(GANG, node="n"), 5.0)
    assert (only(tracker).pods[0].evicted, only(tracker).pods[0].deleted) == (None, 5.0)


def test_the_index_of_an_indexed_job_names_the_slot() -> None:
    tracker = tracker_of(part(pods=3))
    for number, index in enumerate((2, 0, 2)):
        tracker.pod_event("ADDED", pod(GANG, number, index=index), 2.0)
    assert [(row.slot, row.replacement) for row in only(tracker).pods] == [(2, False), (0, False), (2, True)]
    assert tracker.parts["gang"].created == 2


@pytest.mark.parametrize(
    ("watch", "status", "reached"), [(2, 2, 2), (2, 1, 0), (1, 2, 1), (0, 2, 0)], ids=["both", "no", "late", "none"]
)
def test_a_job_has_completed_when_the_watch_and_its_own_status_say_so(watch: int, status: int, reached: int) -> None:
    tracker = tracker_of(part(pods=2, until="completed"))
    for number in range(2):
        tracker.pod_event("ADDED", pod(GANG, number, node="n", phase="Running"), 2.0)
    for number in range(watch):
        tracker.pod_event("MODIFIED", pod(GANG, number, node="n", phase="Succeeded"), 3.0)
    tracker.job_event("MODIFIED", job_object(GANG, succeeded=status), 4.0)
    assert tracker.parts["gang"].reached("completed") == reached
    assert only(tracker).moment("completed") == (4.0 if reached == 2 else None)


@pytest.mark.parametrize(
    ("event", "failure"),
    [
        (("MODIFIED", job_object(GANG, failed="BackoffLimitExceeded")), "Job failed: BackoffLimitExceeded told so"),
        (("DELETED", job_object(GANG)), "the Job was deleted by somebody else"),
        (("MODIFIED", job_object(GANG, uid="another", failed="x")), None),
        (("MODIFIED", job_object(GANG, succeeded=1)), None),
    ],
)
def test_a_job_that_gives_up_is_waited_for_no_longer(event: tuple[str, dict[str, Any]], failure: str | None) -> None:
    tracker = tracker_of(part(pods=3))
    tracker.answered(only(tracker), f"uid-{GANG}", 1.5)
    tracker.pod_event("ADDED", pod(GANG, node="n"), 2.0)
    tracker.job_event(*event, 3.0)
    assert only(tracker).failure == failure
    assert tracker.parts["gang"].reached("bound") == (3 if failure else 1)


def test_a_refused_job_counts_all_its_pods_as_refused() -> None:
    tracker = tracker_of(part(jobs=2, pods=3))
    tracker.failed(tracker.jobs["l-gang-1"], "no")
    assert (tracker.parts["gang"].failed, tracker.parts["gang"].reached("created")) == (3, 3)


def test_a_bare_pod_is_one_row_whoever_tells_first() -> None:
    for steps in (("answer", "watch"), ("watch", "answer")):
        tracker = tracker_of(part("p", form="pods"))
        for at, step in enumerate(steps, 2):
            if step == "answer":
                tracker.answered(tracker.jobs["l-p-0"], "uid-l-p-0-0", float(at))
            else:
                tracker.pod_event("ADDED", bare("l-p-0", node="n"), float(at))
        (row,) = tracker.rows()
        assert (row.created, row.uid, tracker.pods, tracker.parts["p"].created) == (2.0, "uid-l-p-0-0", 1, 1)


def test_a_bare_pod_that_somebody_made_anew_is_named() -> None:
    tracker = tracker_of(part("p", form="pods"))
    tracker.pod_event("ADDED", bare("l-p-0"), 2.0)
    tracker.pod_event("DELETED", bare("l-p-0"), 3.0)
    tracker.pod_event("ADDED", bare("l-p-0", uid="new"), 4.0)
    assert tracker.replaced == {"l-p-0"}
    assert [row.uid for row in tracker.rows()] == ["uid-l-p-0-0"]


def test_a_part_is_settled_when_what_lacks_can_no_longer_come() -> None:
    tracker = tracker_of(part("p", jobs=3, form="pods"), part(jobs=2, pods=2))
    state, gang = tracker.parts["p"], tracker.parts["gang"]
    tracker.pod_event("ADDED", bare("l-p-0", node="n"), 2.0)
    tracker.pod_event("ADDED", bare("l-p-1"), 2.0)
    tracker.failed(tracker.jobs["l-p-2"], "no")
    assert (state.reached("bound"), state.settled("bound")) == (2, 2)
    tracker.pod_event("DELETED", bare("l-p-1"), 3.0)
    assert (state.reached("bound"), state.settled("bound")) == (2, 3)
    # A Job makes another pod in place of the one that it lost.
    tracker.pod_event("ADDED", pod(GANG), 4.0)
    tracker.pod_event("DELETED", pod(GANG), 5.0)
    assert gang.settled("bound") == 0


def test_the_most_gpus_of_a_queue_and_a_node_are_those_at_one_moment() -> None:
    tracker = tracker_of(part("a", jobs=2, queue="a"), part("b", jobs=2, queue="b"))
    tracker.pod_event("ADDED", pod("l-a-0", node="n", gpus=5), 2.0)
    tracker.pod_event("MODIFIED", pod("l-a-0", node="n", gpus=5, phase="Succeeded"), 3.0)
    tracker.pod_event("ADDED", pod("l-a-1", node="n", gpus=2), 4.0)
    tracker.pod_event("ADDED", pod("l-b-0", node="n", gpus=4), 5.0)
    tracker.pod_event("DELETED", pod("l-b-0", node="n", gpus=4), 6.0)
    tracker.pod_event("ADDED", pod("l-b-1", node="m", gpus=3), 7.0)
    assert dict(tracker.queues.most) == {"a": 5, "b": 4}
    assert tracker.nodes.worst() == ("n", 6)


@pytest.mark.parametrize(
    ("path", "found"),
    [("a.b", 1), ("list.1.c", 2), ("list.2.c", None), ("list.x", None), ("a.b.c", None), ("no", None)],
)
def test_a_path_leads_to_a_value_or_to_none(path: str, found: int | None) -> None:
    assert lookup({"a": {"b": 1}, "list": [{}, {"c": 2}]}, path) == found
