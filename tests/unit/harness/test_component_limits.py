# SPDX-License-Identifier: GPL-3.0-or-later
"""Of several components with a client the one that is the limit is named, and none when none is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import components, judge
from harness.components import Component
from harness.model import Observation, Record
from tests.fakes.job_run_builder import JobShape, build, loads, rows
from tests.fakes.run_builder import Edit, Run

BIG = JobShape(victims=False, gangs=50, nodes=50, metrics=("bind_all_seconds", "pod_grouped_to_decided_seconds"))
BINDER = replace(BIG, qps=20.0, burst=100.0, decide_rate=2000.0)
SCHEDULER = replace(BIG, scheduler_qps=50.0, scheduler_burst=1.0, decide_rate=50.0)


def judged(tmp_path: Path, shape: JobShape, *edits: Edit) -> Record:
    return judge.records(judge.gather(build(tmp_path, shape, edits=edits)), {})[0]


def bound(record: Record) -> tuple[str, str] | None:
    assert record.verdict == "measured", record.reason
    return (record.bound_by.kind, record.bound_by.component) if record.bound_by else None


def clients(**changed: dict[str, Any]) -> Edit:
    """What the components of the subject say of their clients is something else."""

    def edit(run: Run) -> None:
        for item in run.observations:
            if item["kind"] == "subject":
                for name, values in changed.items():
                    item["values"]["components"].setdefault(name, {}).update(values)

    return edit


def counted(**requests: dict[str, int]) -> Edit:
    def edit(run: Run) -> None:
        for load in loads(run):
            for name in ("requests", "requests_in_window"):
                load["values"]["audit"][name] = load["values"]["audit"][name] | requests

    return edit


def no_audit(run: Run) -> None:
    for load in loads(run):
        load["values"]["audit"] = {"available": False, "reason": "none kept"}
    for repeat in (1, 2, 3):
        for item in rows(run, repeat):
            item |= dict.fromkeys(name for name in item if name.startswith("audit_"))


def cpu(name: str, share: float, limit: str) -> Edit:
    def edit(run: Run) -> None:
        for item in run.observations:
            if item["kind"] == "fairness":
                item["values"]["cpu"][name] = limit
        for load in loads(run):
            load["values"]["machine"]["processes"][name]["cpu_ratio_of_machine"] = share

    return edit


def cores_by_prometheus(name: str, cores: float | None, limit: str) -> Edit:
    """Of a component that no process of this machine is."""

    def edit(run: Run) -> None:
        cpu(name, 0.0, limit)(run)
        for load in loads(run):
            del load["values"]["machine"]["processes"][name]
            load["values"]["component_cores"] = {name: cores}

    return edit


CASES: list[tuple[str, JobShape, Edit, tuple[str, str] | None]] = [
    ("the binder's client", BINDER, clients(), ("client_limit", "binder")),
    ("the scheduler's client", SCHEDULER, clients(), ("client_limit", "scheduler")),
    ("none of them", BIG, clients(), ("subject", "scheduler")),
    # 400 pods, 2 requests each: (800 - 100)/20 = 35 s; the controller would need (400 - 0)/11.7 = 34.2 s.
    (
        "of two that fit the slower",
        BINDER,
        clients(podgroupcontroller={"qps": 11.7, "burst": 0, "requests_per_pod": 1}),
        ("client_limit", "binder"),
    ),
    (
        "of two that fit the slower, the other way round",
        BINDER,
        clients(podgroupcontroller={"qps": 11.2, "burst": 0, "requests_per_pod": 1}),
        ("client_limit", "podgroupcontroller"),
    ),
    # The scheduler's limit predicts the same time, but its decisions were all there after a fifth of a second.
    (
        "one whose own marks came sooner was not it",
        BINDER,
        clients(scheduler={"qps": 11.2, "burst": 0}),
        ("client_limit", "binder"),
    ),
    ("limits that are off", BIG, clients(binder={"qps": 0}), ("subject", "scheduler")),
    ("a component without a limit is looked over", BINDER, clients(podgrouper={"qps": None}), None),
    ("requests as told, without an audit log", BINDER, no_audit, ("client_limit", "binder")),
    ("a machine that was busy", replace(BIG, busy=0.95), clients(), ("machine", "kube-apiserver")),
    ("a component at its own limit of CPU", BIG, cpu("binder", 0.2, "400m"), ("subject", "binder")),
    ("a component below its own limit of CPU", BIG, cpu("binder", 0.18, "400m"), ("subject", "scheduler")),
    ("a Deployment at its own limit", BIG, cores_by_prometheus("binder", 0.4, "400m"), ("subject", "binder")),
    ("a Deployment below it", BIG, cores_by_prometheus("binder", 0.3, "400m"), ("subject", "scheduler")),
    (
        "a Deployment nobody asked about",
        BIG,
        cores_by_prometheus("binder", None, "400m"),
        ("subject", "scheduler"),
    ),
    ("a slow binder", replace(BIG, bind_after=0.9, decide_rate=300.0), clients(), ("subject", "binder")),
]


@pytest.mark.parametrize(("shape", "edit", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_a_number_is_the_limit_of(
    tmp_path: Path, shape: JobShape, edit: Edit, expected: tuple[str, str] | None
) -> None:
    found = judged(tmp_path, shape, edit)
    if expected is None:
        # Not all limits are known: then the number is nobody's.
        assert (found.verdict, "client_limits_known" in found.reason) == ("invalid", True)
        return
    assert bound(found) == expected


def test_a_claim_by_the_fit_alone_says_so_with_its_requests(tmp_path: Path) -> None:
    found = judged(tmp_path, BINDER)
    assert found.bound_by is not None
    assert found.bound_by.limit == {"qps": 20.0, "burst": 100.0, "requests_per_pod": 2.0}
    assert found.bound_by.predicted == 35.0
    assert found.reason == "By the fit alone: no run of another size or with twice the limit."


def test_requests_are_counted_in_the_window_and_only_those_of_that_client(tmp_path: Path) -> None:
    # One in twenty bindings was sent twice: 2.05 requests a pod, and the prediction still fits.
    found = judged(tmp_path, BINDER, counted(binder={"patch pods": 400, "create pods/binding": 420, "patch x": 4000}))
    assert found.bound_by is not None
    assert found.bound_by.limit is not None
    assert found.bound_by.limit["requests_per_pod"] == pytest.approx(2.05)


def test_the_time_in_which_the_scheduler_was_stopped_is_nobodys(tmp_path: Path) -> None:
    def stopped(run: Run) -> None:
        """All pods and groups were there 100 s before the scheduler was started."""
        for repeat, load in enumerate(loads(run), start=1):
            for item in rows(run, repeat):
                for name in ("posted", "created", "grouped", "audit_created", "audit_grouped"):
                    item[name] -= 100
            values = load["values"]
            values |= {"released": 0.0, "create_started": -100.0, "create_ended": -99.0}

    slow = replace(BIG, bind_after=0.9, decide_rate=300.0)
    assert bound(judged(tmp_path, slow, stopped)) == ("subject", "binder")


def confirmation(pods: int, seconds: float, **parameters: Any) -> Edit:
    def edit(run: Run) -> None:
        base = loads(run)[0]
        values = dict.fromkeys(("asked", "created", "bound"), pods) | {"failed": 0, "missing": 0}
        values |= {"create_started": 0.0, "first_bind": 1.0, "last_bind": 1.0 + seconds}
        run.observations.append(
            base | {"kind": "confirmation", "samples": None, "values": values, "parameters": parameters}
        )

    return edit


def test_where_confirmations_were_run_they_have_to_agree(tmp_path: Path) -> None:
    twice = confirmation(400, 17.5, role="doubled_limit", qps=40.0, burst=100.0)
    good = judged(tmp_path / "a", BINDER, confirmation(200, 15.0, role="second_size"), twice)
    assert bound(good) == ("client_limit", "binder")
    assert good.evidence[-1].name == "client_limit_confirmed"
    other = confirmation(200, 30.0, role="second_size", component="scheduler")
    assert bound(judged(tmp_path / "c", BINDER, other)) == ("client_limit", "binder")
    bad = judged(tmp_path / "b", BINDER, confirmation(200, 30.0, role="second_size"), twice)
    assert bad.bound_by is None
    assert "it is not confirmed: slope 0.025" in bad.reason


def test_a_time_that_fits_a_limit_by_chance_is_not_claimed(tmp_path: Path) -> None:
    # 400 pods at an even 200 a second take 2 s, as (400 - 300)/50 would: but 300 of them would have come at once.
    found = judged(tmp_path, BIG, clients(binder={"qps": 100.0, "burst": 600.0}, scheduler={"qps": 50.0, "burst": 300}))
    assert bound(found) == ("subject", "scheduler")


def observation(kind: str, values: dict[str, Any]) -> Observation:
    return Observation("20261122T183000Z-1a2b", "", "scheduler_scale", kind, values)


KNOWN = {"binder": {"qps": 20, "burst": 100}, "scheduler": {"qps": 50, "burst": 300}}


@pytest.mark.parametrize(
    ("subject", "fair", "names"),
    [
        ({"components": KNOWN}, {}, ["binder", "scheduler"]),
        ({}, {"clients": KNOWN}, ["binder", "scheduler"]),
        ({"components": {"kube-scheduler": {"qps": 1}}}, {}, []),
        ({"components": "binder"}, {"clients": None}, []),
        ({"components": {"a": 3, "b": None}}, {}, ["a", "b"]),
    ],
)
def test_components_come_from_the_subject_or_from_what_was_told_for_fairness(
    subject: dict[str, Any], fair: dict[str, Any], names: list[str]
) -> None:
    found = components.of([observation("subject", subject)], [observation("fairness", fair)])
    assert [component.name for component in found] == names
    assert components.of([], []) == ()


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (
            {"scheduler": "decided", "binder": "bound", "podgrouper": "grouped", "podgroupcontroller": ""},
            {
                "scheduler": ("grouped", "decided"),
                "binder": ("decided", "bound"),
                "podgrouper": ("created", "grouped"),
            },
        ),
        # No decision is seen: the one that binds has all of the time after the group.
        (
            {"controller": "grouped", "binds": "bound"},
            {"controller": ("created", "grouped"), "binds": ("grouped", "bound")},
        ),
        ({"binds": "bound", "other": "created", "mistyped": "bond"}, {"binds": ("created", "bound")}),
        ({}, {}),
    ],
)
def test_a_pod_waits_for_a_component_from_the_mark_before_to_its_own(
    marks: dict[str, str], expected: dict[str, tuple[str, str]]
) -> None:
    assert components.stages([Component(name, None, None, mark=mark) for name, mark in marks.items()]) == expected


def test_whose_part_of_the_way_is_whose_comes_from_the_marks_and_not_from_names(tmp_path: Path) -> None:
    def renamed(run: Run) -> None:
        for item in run.observations:
            for values in (item["values"].get("components"), item["values"].get("clients"), item["values"].get("cpu")):
                if isinstance(values, dict) and "scheduler" in values:
                    values["brain"] = values.pop("scheduler")

    assert bound(judged(tmp_path, BIG, renamed)) == ("subject", "brain")


@pytest.mark.parametrize(
    ("component", "text"),
    [
        (Component("binder", 20, 100, source="--qps"), "binder 20/s, burst 100 (--qps)"),
        (Component("binder", 20, 100, source="x" * 100), "binder 20/s, burst 100"),
        (Component("binder", None, 100), "binder not observed"),
    ],
)
def test_a_component_in_words(component: Component, text: str) -> None:
    assert components.in_words(component) == text


LATER = (
    *("decided", "bound", "running", "completed", "deleted", "scheduled", "started"),
    *("audit_decided", "audit_bound", "audit_running"),
)


def test_a_gang_waits_for_its_last_pod_and_the_one_who_groups_it_is_the_cause(tmp_path: Path) -> None:
    def late(run: Run) -> None:
        """One pod of each gang is put into its group five seconds after the others; the scheduler decides then."""
        for load in loads(run):
            own = [row for row in rows(run, load["repeat"]) if row["part"] == "measured"]
            last_of = {row["job"]: row for row in own}
            for row in own:
                row |= {name: row[name] + 6 for name in LATER if row.get(name) is not None}
            for row in last_of.values():
                row |= {name: row[name] + 5 for name in ("grouped", "audit_grouped")}
            moments = ("first_bind", "last_bind", "first_running", "last_running")
            load["values"] |= {name: load["values"][name] + 6 for name in moments}
            load["values"]["audit"] |= {name: load["values"]["audit"][name] + 6 for name in ("first_bind", "last_bind")}

    metrics = ("bind_all_seconds", "pods_bound_per_second", "pod_grouped_to_decided_seconds")
    run = build(tmp_path, replace(BIG, metrics=metrics), edits=[late])
    found = {record.metric: record for record in judge.records(judge.gather(run), {})}
    assert {name: bound(record) for name, record in found.items()} == {
        "bind_all_seconds": ("subject", "podgrouper"),
        "pods_bound_per_second": ("subject", "scheduler"),
        "pod_grouped_to_decided_seconds": ("subject", "scheduler"),
    }
    # Not the five seconds for which the others waited.
    assert found["pod_grouped_to_decided_seconds"].value == pytest.approx(1.77, abs=0.1)
