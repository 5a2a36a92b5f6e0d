# SPDX-License-Identifier: GPL-3.0-or-later
"""What a scenario has to be true of: gangs whole, domains, victims, waits, all from the rows of a load."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible.module_utils.nightbench import job_counts, job_facts, job_samples
from ansible.module_utils.nightbench.job_tracker import JobTracker

from tests.fakes.job_events import GROUP, bare, group, job_object, part, pod, tracker_of

END = 100.0


def gang_of(*events: tuple[str, int, dict[str, Any]], pods: int = 4, least: int = 3, **changes: Any) -> JobTracker:
    """One gang; each event is (kind, number of the pod, what is told of it), at 2.0, 3.0, …"""
    tracker = tracker_of(part(pods=pods, min_member=least, **changes))
    for at, (kind, number, told) in enumerate(events, 2):
        tracker.pod_event(kind, pod("l-gang-0", number, **told), float(at))
    return tracker


def bound(*numbers: int) -> list[tuple[str, int, dict[str, Any]]]:
    return [("ADDED", number, {"node": f"n{number}"}) for number in numbers]


def evicted(*numbers: int) -> list[tuple[str, int, dict[str, Any]]]:
    return [("DELETED", number, {"node": f"n{number}"}) for number in numbers]


def pending(*numbers: int) -> list[tuple[str, int, dict[str, Any]]]:
    return [("ADDED", number, {}) for number in numbers]


@pytest.mark.parametrize(
    ("events", "broken"),
    [
        (bound(0, 1, 2, 3), False),
        (bound(0, 1, 2), False),
        (bound(0, 1), True),
        (bound(0), True),
        (pending(0, 1, 2, 3), False),
        ([], False),
        (bound(0, 1, 2) + evicted(0), True),
        (bound(0, 1, 2, 3) + evicted(0), False),
        (bound(0, 1, 2) + evicted(0, 1, 2), False),
        (bound(0, 1, 2) + evicted(0) + bound(4), False),
        ([*bound(0, 1, 2), ("MODIFIED", 0, {"node": "n0", "phase": "Succeeded"}), *evicted(0)], False),
        ([*bound(0, 1, 2), ("MODIFIED", 0, {"node": "n0", "phase": "Failed"})], True),
    ],
    ids=["whole", "the least", "some", "one", "none", "nothing seen", "one evicted", "one more than needed evicted",
         "all evicted", "evicted and replaced", "one has completed", "one has failed"],
)  # fmt: skip
def test_a_gang_is_broken_when_some_of_it_and_too_few_hold_nodes_in_the_end(events: Any, broken: bool) -> None:
    found = job_facts.jobs(gang_of(*events), END)
    assert (found["broken"], found["broken_count"]) == ((["l-gang-0"], 1) if broken else ([], 0))


def test_deletion_by_us_breaks_no_gang() -> None:
    tracker = gang_of(*bound(0, 1, 2, 3))
    tracker.jobs["l-gang-0"].removed = 50.0
    for number in (0, 1):
        tracker.pod_event("DELETED", pod("l-gang-0", number, node="n"), 51.0)
    assert job_facts.jobs(tracker, END)["broken"] == []


def test_jobs_that_are_no_gang_cannot_break() -> None:
    tracker = tracker_of(part(pods=4))
    tracker.pod_event("ADDED", pod("l-gang-0", node="n"), 2.0)
    assert job_facts.jobs(tracker, END) == {
        "asked": 1, "gangs": 0, "gang_min_member": None, "broken": [], "broken_count": 0, "completed_by_status": 0,
        "completed_by_watch": 0, "widest_bind_seconds": 0.0,
    }  # fmt: skip


def test_gangs_of_all_parts_and_completions_of_the_measured_ones_are_counted() -> None:
    tracker = tracker_of(
        part("victims", jobs=30, pods=2, min_member=2, measured=False),
        part("gang", jobs=3, pods=2, min_member=2, until="completed"),
        part("single", form="pods", until="completed"),
    )
    for number in range(25):
        tracker.pod_event("ADDED", pod(f"l-victims-{number:02d}", node="n"), 2.0)
    for at, number in ((3.0, 0), (5.5, 1)):
        tracker.pod_event("ADDED", pod("l-gang-0", number, node="n", phase="Running"), at)
        tracker.pod_event("MODIFIED", pod("l-gang-0", number, node="n", phase="Succeeded"), 6.0)
    tracker.job_event("MODIFIED", job_object("l-gang-0", succeeded=2), 7.0)
    tracker.job_event("MODIFIED", job_object("l-gang-1", succeeded=2), 7.0)
    tracker.pod_event("ADDED", bare("l-single-0", node="n", phase="Succeeded"), 7.0)
    found = job_facts.jobs(tracker, END)
    assert len(found.pop("broken")) == 20
    assert found == {
        "asked": 4, "gangs": 33, "gang_min_member": 2, "broken_count": 25, "completed_by_status": 3,
        "completed_by_watch": 2, "widest_bind_seconds": 2.5,
    }  # fmt: skip


NODES = {f"n{number}": {"rack": f"r{number // 2}"} for number in range(4)} | {"bald": {}, "bare": {}}


@pytest.mark.parametrize(
    ("nodes", "found"),
    [
        (["n0", "n1"], {"jobs_in_one": 1, "jobs": 1, "worst": 1, "required_hits": 1}),
        (["n1", "n2"], {"jobs_in_one": 0, "jobs": 1, "worst": 2, "required_hits": 0}),
        (["n0", "bald"], {"jobs_in_one": 0, "jobs": 1, "worst": 2, "required_hits": 0}),
        (["bald", "bare"], {"jobs_in_one": 0, "jobs": 1, "worst": 2, "required_hits": 0}),
        (["bald", "bald"], {"jobs_in_one": 1, "jobs": 1, "worst": 1, "required_hits": 1}),
        (["n0", ""], {"jobs_in_one": 0, "jobs": 0, "worst": 0, "required": 0, "required_hits": 0}),
    ],
    ids=["one rack", "two racks", "a node without label", "two without", "one without, twice", "not all bound"],
)
def test_a_job_lies_in_as_many_domains_as_its_nodes_have_labels(nodes: list[str], found: dict[str, int]) -> None:
    tracker = tracker_of(part(pods=2, level="rack", placement="required"))
    for number, node in enumerate(nodes):
        tracker.pod_event("ADDED", pod("l-gang-0", number, node=node), 2.0)
    nothing = {"required": 1, "preferred": 0, "preferred_hits": 0}
    assert job_facts.domains(tracker, {"rack": "rack"}, NODES, END) == {"rack": nothing | found}


def test_a_moved_pod_counts_where_it_is_in_the_end() -> None:
    tracker = gang_of(*bound(0, 1), *evicted(1), ("ADDED", 2, {"node": "n0"}), pods=2, least=2,
                      level="rack", placement="preferred")  # fmt: skip
    assert job_facts.domains(tracker, {"rack": "rack"}, NODES, END)["rack"]["preferred_hits"] == 1


@pytest.mark.parametrize(
    ("events", "below"),
    [
        (bound(0, 1, 2, 3) + evicted(0), False),
        (bound(0, 1, 2, 3) + evicted(0, 1), True),
        (bound(0, 1, 2, 3) + evicted(0, 1) + pending(4, 5), True),
        (bound(0, 1, 2, 3) + evicted(0, 1) + bound(4), False),
        (bound(0, 1, 2, 3) + evicted(0, 1, 2, 3), False),
        (bound(0, 1), False),
    ],
    ids=["the least is left", "below", "others only wait", "replaced", "all went", "never had more"],
)
def test_a_victim_keeps_its_least_or_goes_whole(events: Any, below: bool) -> None:
    found = job_facts.victims_below_min_member(gang_of(*events, measured=False), END)
    assert found == (["l-gang-0"] if below else [])


def test_the_wait_for_the_word_begins_with_the_group_or_else_with_the_first_pod() -> None:
    with_group = tracker_of(part(jobs=2, until="unschedulable"), group=GROUP)
    with_group.pod_event("ADDED", pod("l-gang-0"), 2.0)
    with_group.group_event("ADDED", group("l-gang-0"), 2.5)
    with_group.group_event("MODIFIED", group("l-gang-0", conditions=(("Unschedulable", "True"),)), 4.0)
    assert job_facts.unschedulable_seconds(with_group) == [1.5]
    without = tracker_of(part(until="unschedulable"), part("other", until="unschedulable", measured=False))
    for name, at in (("gang", 2.0), ("other", 1.0)):
        without.pod_event("ADDED", pod(f"l-{name}-0"), at)
        without.pod_event("MODIFIED", pod(f"l-{name}-0", reason="Unschedulable"), 5.0)
    assert job_facts.unschedulable_seconds(without) == [3.0]


def test_a_sequence_has_a_time_for_every_job_that_arrived() -> None:
    tracker = tracker_of(part(jobs=3, pods=2, sequential=True), part("other", sequential=False))
    for name, at in (("l-gang-0", 3.0), ("l-other-0", 3.0)):
        for number in range(2):
            tracker.pod_event("ADDED", pod(name, number, node="n"), at + number)
    tracker.pod_event("ADDED", pod("l-gang-1", node="n"), 9.0)
    assert job_facts.sequential_seconds(tracker) == [3.0]


@pytest.mark.parametrize(
    ("until", "events", "failure", "counted"),
    [
        ("bound", bound(0, 1, 2, 3), None, (4, 0, 0, 4)),
        ("bound", bound(0, 1) + pending(2), None, (3, 0, 2, 2)),
        ("bound", bound(0, 1) + pending(2), "gave up", (3, 1, 1, 2)),
        ("bound", [], "refused", (0, 4, 0, 0)),
        ("created", pending(0, 1), None, (2, 0, 2, 0)),
        ("bound", [*bound(0, 1, 2), ("ADDED", 3, {"node": "n", "phase": "Failed"})], None, (4, 1, 0, 4)),
        ("completed", bound(0, 1, 2, 3), None, (4, 0, 4, 4)),
        ("unschedulable", pending(0, 1, 2, 3), None, (4, 0, 4, 0)),
        ("bound", [*pending(0), ("DELETED", 0, {}), *bound(1, 2, 3, 4)], None, (4, 0, 0, 3)),
    ],
    ids=["all", "some wait", "the job gave up", "refused", "two never came", "one failed", "not told by the status",
         "never told", "one was replaced"],
)  # fmt: skip
def test_every_pod_asked_for_is_seen_refused_or_missing(
    until: str, events: Any, failure: str | None, counted: tuple[int, int, int, int]
) -> None:
    tracker = gang_of(*events, until=until)
    if failure:
        tracker.failed(tracker.jobs["l-gang-0"], failure)
    found = job_counts.slot_counts(tracker.parts["gang"])
    assert (found["created"], found["failed"], found["missing"], found["bound"]) == counted
    rows = [row for row in job_samples.samples(tracker, 0.0) if not row["replacement"]]
    assert (len(rows), len({row["name"] for row in rows})) == (4, 4)
    assert sum(1 for row in rows if row["failure"] is not None) == counted[1]
    assert job_counts.unaccounted(tracker.parts.values()) == (["l-gang-0"] if counted[2] else [])


def test_a_pod_is_grouped_when_it_names_its_group_where_it_has_to() -> None:
    tracker = tracker_of(part(), group=replace(GROUP, member="metadata.annotations.group"))
    tracker.group_event("ADDED", group("l-gang-0"), 1.25)
    for number in (0, 1):
        tracker.pod_event("ADDED", pod("l-gang-0", number), 1.5)
    member = pod("l-gang-0", 1)
    member["metadata"]["annotations"] = {"group": "pg-l-gang-0"}
    tracker.pod_event("MODIFIED", member, 2.5)
    tracker.pod_event("MODIFIED", member, 3.5)
    found = {row["name"]: row["grouped"] for row in job_samples.samples(tracker, 0.0)}
    assert (found["l-gang-0-0"], found["l-gang-0-1"]) == (None, 2.5)


def test_a_sample_tells_all_that_is_known_of_a_pod() -> None:
    tracker = tracker_of(part(queue="q"), group=GROUP)
    tracker.group_event("ADDED", group("l-gang-0"), 1.5)
    tracker.pod_event("ADDED", pod("l-gang-0", node="n", gpus=2), 2.0)
    (row,) = job_samples.samples(tracker, 0.5)
    assert row == {
        "name": "l-gang-0-0", "uid": "uid-l-gang-0-0", "part": "gang", "measured": True, "job": "l-gang-0",
        "queue": "q", "replacement": False, "posted": 0.5, "answered": None, "seen": 1.5, "created": 1.5,
        "grouped": 1.5, "decided": None, "bound": 1.5, "running": None, "completed": None, "evicted": None,
        "deleted": None, "audit_created": None, "audit_grouped": None, "audit_decided": None, "audit_bound": None,
        "audit_running": None, "scheduled": None, "started": None, "node": "n", "gpus": 2, "failure": None,
        "domains": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("node", "levels", "found"),
    [
        ("n2", {"rack": "rack"}, {"rack": "r1"}),
        ("n2", {"zone": "zone", "rack": "rack"}, {"zone": None, "rack": "r1"}),
        ("bald", {"rack": "rack"}, {"rack": None}),
        ("unknown", {"rack": "rack"}, {"rack": None}),
        ("", {"rack": "rack"}, None),
        ("n2", {}, None),
    ],
    ids=["labelled", "one label of two", "without label", "a node that came later", "not bound", "no levels"],
)
def test_a_sample_holds_the_domains_of_its_node(node: str, levels: dict[str, str], found: Any) -> None:
    tracker = tracker_of(part(pods=2, level="rack" if "rack" in levels else None), labels=levels)
    tracker.pod_event("ADDED", pod("l-gang-0", node=node), 2.0)
    assert [row["domains"] for row in job_samples.samples(tracker, 0.0, NODES)] == [found, None]
