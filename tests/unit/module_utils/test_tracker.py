# SPDX-License-Identifier: GPL-3.0-or-later
"""The tracker: watch events in, one row a pod out, and how full each node ever was."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench.tracker import PodTracker, gpus_of


def pod(name: str = "a", uid: str = "", node: str = "", phase: str = "Pending", gpus: int = 1) -> dict[str, Any]:
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}} if gpus else {}
    return {
        "metadata": {"name": name, "uid": uid or f"uid-{name}"},
        "spec": {"nodeName": node, "containers": [{"name": "main", "resources": resources}]},
        "status": {"phase": phase},
    }


def tracked(*events: tuple[str, dict[str, Any], float], names: str = "ab") -> PodTracker:
    tracker = PodTracker(names)
    for kind, item, at in events:
        tracker.event(kind, item, at)
    return tracker


def test_every_milestone_is_the_first_moment_at_which_it_was_seen() -> None:
    tracker = tracked(
        ("ADDED", pod(), 1.0),
        ("MODIFIED", pod(node="n1"), 2.0),
        ("MODIFIED", pod(node="n1"), 2.5),
        ("MODIFIED", pod(node="n1", phase="Running"), 3.0),
        ("MODIFIED", pod(node="n1", phase="Running"), 4.0),
        ("DELETED", pod(node="n1", phase="Running"), 5.0),
        names="a",
    )
    (sample,) = tracker.samples(zero=0.5)
    assert sample == {
        "name": "a",
        "uid": "uid-a",
        "posted": None,
        "answered": None,
        "seen": 0.5,
        "created": 0.5,
        "bound": 1.5,
        "running": 2.5,
        "deleted": 4.5,
        "node": "n1",
        "gpus": 1,
        "audit_created": None,
        "audit_bound": None,
        "audit_running": None,
        "scheduled": None,
        "started": None,
        "failure": None,
    }
    assert tracker.counts == {"created": 1, "bound": 1, "running": 1, "deleted": 1, "failed": 0}


@pytest.mark.parametrize(
    ("answered", "seen", "created"),
    [(1.0, 2.0, 1.0), (2.0, 1.0, 1.0)],
    ids=["the answer came first", "the watch came first"],
)
def test_created_is_the_earlier_of_the_answer_and_the_watch(answered: float, seen: float, created: float) -> None:
    tracker = PodTracker("a")
    steps = [
        (answered, lambda: tracker.answered("a", "uid-a", answered)),
        (seen, lambda: tracker.event("ADDED", pod(), seen)),
    ]
    for _, step in sorted(steps, key=lambda item: item[0]):
        step()
    row = tracker.rows["a"]
    assert (row.created, row.answered, row.seen, tracker.counts["created"]) == (created, answered, seen, 1)


def test_an_answer_that_arrives_after_the_watch_has_seen_the_binding_still_gives_created_before_bound() -> None:
    tracker = PodTracker("a")
    tracker.event("ADDED", pod(node="n1"), 1.0)
    tracker.answered("a", "uid-a", 3.0)
    assert (tracker.rows["a"].created, tracker.rows["a"].bound) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("events", "most"),
    [
        ([("ADDED", pod("a", node="n1", gpus=8), 1.0)], (8, "n1")),
        ([("ADDED", pod("a", node="n1", gpus=8), 1.0), ("ADDED", pod("b", node="n1"), 2.0)], (9, "n1")),
        ([("ADDED", pod("a", node="n1"), 1.0), ("ADDED", pod("b", node="n2", gpus=3), 2.0)], (3, "n2")),
        (
            [
                ("ADDED", pod("a", node="n1", gpus=8), 1.0),
                ("DELETED", pod("a", node="n1", gpus=8), 2.0),
                ("ADDED", pod("b", node="n1", gpus=8), 3.0),
            ],
            (8, "n1"),
        ),
        (
            [
                ("ADDED", pod("a", node="n1", gpus=8), 1.0),
                ("MODIFIED", pod("a", node="n1", gpus=8, phase="Succeeded"), 2.0),
                ("ADDED", pod("b", node="n1", gpus=8), 3.0),
            ],
            (8, "n1"),
        ),
    ],
    ids=["exactly full", "over by one for a moment", "two nodes", "freed by deletion", "freed by its end"],
)
def test_the_fullest_moment_of_any_node_is_remembered(events: list[Any], most: tuple[int, str]) -> None:
    tracker = tracked(*events)
    assert (tracker.max_gpus_on_a_node, tracker.max_gpus_at_node) == most


def test_a_refused_pod_counts_as_settled_and_says_why() -> None:
    tracker = PodTracker("ab")
    tracker.failed("a", "403 Forbidden: quota")
    tracker.answered("b", "uid-b", 1.0)
    assert tracker.counts == {"created": 1, "bound": 0, "running": 0, "deleted": 0, "failed": 1}
    assert tracker.rows["a"].failure == "403 Forbidden: quota"
    assert (tracker.reached("created"), tracker.reached("deleted"), tracker.settled("bound")) == (2, 0, 1)
    assert tracker.missing("bound") == ["b"]


def test_a_refusal_after_the_watch_has_seen_the_pod_is_none() -> None:
    tracker = tracked(("ADDED", pod(), 1.0), names="a")
    tracker.failed("a", "a second try met 409")
    assert (tracker.counts["failed"], tracker.rows["a"].failure) == (0, None)


def test_a_pod_that_vanished_before_it_was_bound_is_settled_and_not_bound() -> None:
    tracker = tracked(("ADDED", pod(), 1.0), ("DELETED", pod(), 2.0), names="a")
    assert (tracker.settled("bound"), tracker.reached("bound")) == (1, 0)


def test_a_pod_made_anew_under_the_same_name_does_not_mix_its_stamps_with_the_first() -> None:
    tracker = tracked(("ADDED", pod(), 1.0), ("ADDED", pod(uid="other", node="n1"), 2.0), names="a")
    assert tracker.replaced == {"a"}
    assert tracker.rows["a"].bound is None


def test_pods_that_are_not_of_the_load_are_told() -> None:
    tracker = tracked(("ADDED", pod("stranger"), 1.0))
    assert (tracker.foreign, tracker.counts["created"]) == ({"stranger"}, 0)


def test_a_relist_after_a_lost_watch_stamps_what_was_missed_and_counts_nothing_twice() -> None:
    tracker = tracked(
        ("ADDED", pod("a"), 1.0),
        ("LISTED", pod("a", node="n1", phase="Running"), 5.0),
        ("LISTED", pod("b", node="n1"), 5.0),
        ("DELETED", {"metadata": {"name": "a", "uid": "uid-a", "namespace": "x"}}, 6.0),
    )
    assert tracker.counts == {"created": 2, "bound": 2, "running": 1, "deleted": 1, "failed": 0}
    assert (tracker.rows["a"].bound, tracker.rows["b"].created) == (5.0, 5.0)


def test_a_pod_that_failed_on_its_node_says_so() -> None:
    item = pod(node="n1", phase="Failed")
    item["status"] |= {"reason": "OutOfgpu", "message": "no device"}
    tracker = tracked(("MODIFIED", item, 1.0), names="a")
    assert tracker.rows["a"].failure == "phase Failed: OutOfgpu no device"


@pytest.mark.parametrize(
    ("resources", "gpus"),
    [
        ([{}], 0),
        ([{"limits": {"nvidia.com/gpu": "2"}}], 2),
        ([{"requests": {"nvidia.com/gpu": "3"}}], 3),
        ([{"limits": {"nvidia.com/gpu": 4}, "requests": {"nvidia.com/gpu": 4}}], 4),
        ([{"limits": {"nvidia.com/gpu": "1"}}, {"limits": {"cpu": "1"}}, {"limits": {"nvidia.com/gpu": "1"}}], 2),
    ],
)
def test_gpus_are_the_requests_or_else_the_limits_of_all_containers(resources: list[Any], gpus: int) -> None:
    assert gpus_of({"spec": {"containers": [{"resources": one} for one in resources]}}) == gpus
