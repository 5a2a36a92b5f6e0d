# SPDX-License-Identifier: GPL-3.0-or-later
"""Every planted fault is named by the evidence that it breaks; a clean run stays clean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import evidence, judge
from harness.common_checks import broken as unproven
from harness.evidence_checks import most_gpus
from harness.model import Record
from harness.pod_load import PodSample
from harness.results import RunFolder
from tests.fakes.run_builder import OFF, ON, Run, Shape, build

SMALL = Shape(pods=80, nodes=10, scenarios=(OFF, ON))
Value = tuple[str, ...]


def judged(run: RunFolder) -> list[Record]:
    return judge.records(judge.gather(run), {})


def record(run: RunFolder, metric: str = "bind_all_seconds", scenario: str = OFF) -> Record:
    return next(r for r in judged(run) if (r.metric, r.scenario) == (metric, scenario))


def broken(found: Record) -> dict[str, str]:
    return {item.name: item.observed for item in found.evidence if not item.holds}


def say(**values: Any) -> Callable[[Run], None]:
    """The second repeat's observation says something else (a__b for values.a.b)."""

    def edit(run: Run) -> None:
        for path, value in values.items():
            *way, last = path.split("__")
            target = run.loads()[1]["values"]
            for key in way:
                target = target[key]
            target[last] = value

    return edit


def of_kind(kind: str, **values: Any) -> Callable[[Run], None]:
    """Every observation of a kind says something else; None takes it out."""

    def edit(run: Run) -> None:
        for item in run.observations:
            if item["kind"] == kind:
                item["values"] = {k: v for k, v in (item["values"] | values).items() if v is not None}

    return edit


def without(kind: str) -> Callable[[Run], None]:
    def edit(run: Run) -> None:
        run.observations = [item for item in run.observations if item["kind"] != kind]

    return edit


def sample(index: int, **values: Any) -> Callable[[Run], None]:
    """A pod of the second repeat's samples is another one, with a sha256 that fits: the file alone looks right."""

    def edit(run: Run) -> None:
        run.rows_of(run.loads()[1])[index] |= values

    return edit


def double_bound(run: Run) -> None:
    """A ninth pod on a node, and the watch that saw it live."""
    rows = run.rows_of(run.loads()[1])
    rows[1]["node"] = rows[0]["node"]
    run.loads()[1]["values"] |= {"max_gpus_on_a_node": 9, "max_gpus_at_node": rows[0]["node"]}


def missing_pod(run: Run) -> None:
    """A pod that was asked for and of which nothing was ever seen; the observation says so."""
    rows = run.rows_of(run.loads()[1])
    rows[7] |= dict.fromkeys(GONE)
    values = run.loads()[1]["values"]
    for name in ("created", "bound", "running", "deleted"):
        values[name] -= 1
    values |= {"missing": 1, "unaccounted": ["fill-00007"]}
    values["audit"] |= {name: values["audit"][name] - 1 for name in ("bound", "running")}


def hidden_missing_pod(run: Run) -> None:
    """The same, and the observation claims that all is well."""
    del run.rows_of(run.loads()[1])[7]


def refused_pod(run: Run) -> None:
    rows = run.rows_of(run.loads()[1])
    rows[3] |= dict.fromkeys(GONE)
    rows[3]["failure"] = "403 Forbidden: exceeded quota"
    values = run.loads()[1]["values"]
    for name in ("created", "bound", "running", "deleted"):
        values[name] -= 1
    values["failed"] = 1
    values["audit"] |= {name: values["audit"][name] - 1 for name in ("bound", "running")}


def bound_before_release(run: Run) -> None:
    item = run.loads()[1]
    early = round(item["values"]["released"] - 0.2, 6)
    run.rows_of(item)[0] |= {"bound": early, "audit_bound": early, "scheduled": early - 0.4}
    item["values"] |= {"bound_before_release": 1, "first_bind": early}
    item["values"]["audit"]["first_bind"] = early


GONE = (
    *("uid", "created", "bound", "running", "deleted", "node"),
    *("audit_created", "audit_bound", "audit_running", "scheduled", "started"),
)


def relisted(run: Run) -> None:
    """A relist that stamped binds long after they were."""
    item = run.loads()[1]
    item["values"]["relists"] = 1
    for row in run.rows_of(item):
        row["audit_bound"] -= 0.5
        row["scheduled"] -= 1
    item["values"]["audit"] |= {name: item["values"]["audit"][name] - 0.5 for name in ("first_bind", "last_bind")}


def lost_repeat(run: Run) -> None:
    run.observations.remove(run.loads()[1])


def other_connections(run: Run) -> None:
    run.loads()[2]["parameters"]["connections"] = 64


PODS_BOUND = 79
FAULTS: list[tuple[str, Callable[[Run], None], dict[str, str]]] = [
    (
        "double-bound",
        double_bound,
        {"no_node_over_its_gpus": "repeat 2: 9 by the samples, 9 by the watch: node node-0000 after 2.442 s"},
    ),
    (
        "over capacity only live",
        say(max_gpus_on_a_node=9, max_gpus_at_node="node-0003"),
        {"no_node_over_its_gpus": "repeat 2: 8 by the samples, 9 by the watch: node node-0003"},
    ),
    (
        "over capacity only in the samples",
        sample(1, node="node-0000"),
        {"no_node_over_its_gpus": "repeat 2: 9 by the samples, 8 by the watch: node node-0000 after 2.442 s"},
    ),
    (
        "a watch that saw less than the samples",
        say(max_gpus_on_a_node=7),
        {"no_node_over_its_gpus": "repeat 2: 8 by the samples, 7 by the watch"},
    ),
    (
        "missing pod",
        missing_pod,
        {
            "all_pods_accounted_for": "repeat 2: 80 = 79 seen + 0 failed + 1 missing, 79 uids; "
            "1 missing by the observation; e.g. fill-00007",
            "every_pod_bound": "repeat 2: 79 pods bound",
        },
    ),
    (
        "missing pod, not admitted",
        hidden_missing_pod,
        {
            "all_pods_accounted_for": "repeat 2: 80 = 79 seen + 0 failed + 1 missing, 79 uids",
            "every_pod_bound": "repeat 2: 79 pods bound",
            "observation_matches_samples": "repeat 2: created is 80, the samples give 79; bound is 80, the samples "
            "give 79; running is 80, the samples give 79; audit.bound is 80, the samples give 79; "
            "audit.running is 80, the samples give 79",
        },
    ),
    (
        "refused pod",
        refused_pod,
        {
            "all_pods_accounted_for": "repeat 2: 80 = 79 seen + 1 failed + 0 missing, 79 uids; "
            "1 failed by the observation",
            "every_pod_bound": "repeat 2: 79 pods bound",
        },
    ),
    (
        "a uid twice",
        sample(4, uid="00000000-0000-4000-8000-000000000005"),
        {"all_pods_accounted_for": "repeat 2: 80 = 80 seen + 0 failed + 0 missing, 79 uids; 1 uids twice"},
    ),
    (
        "a name twice",
        sample(4, name="fill-00005"),
        {"all_pods_accounted_for": "repeat 2: 80 = 80 seen + 0 failed + 0 missing, 80 uids; 1 names twice"},
    ),
    (
        "a pod without uid",
        sample(4, uid=""),
        {"all_pods_accounted_for": "repeat 2: 80 = 80 seen + 0 failed + 0 missing, 79 uids; 1 without uid"},
    ),
    (
        "replaced pod",
        say(replaced=1),
        {
            "all_pods_accounted_for": "repeat 2: 80 = 80 seen + 0 failed + 0 missing, 80 uids; "
            "1 replaced by the observation"
        },
    ),
    (
        "altered sample",
        sample(79, bound=1.9, running=1.95),
        {
            "observation_matches_samples": "repeat 2: first_bind is 2.172857, the samples give 1.9; last_bind is "
            "2.476703, the samples give 2.472857; last_running is 2.518135, the samples give 2.50861"
        },
    ),
    (
        "running before bound",
        sample(40, running=0.3),
        {"milestones_in_order": "repeat 2: 1 pods not, e.g. fill-00040"},
    ),
    ("created before sent", sample(40, posted=9.0), {"milestones_in_order": "repeat 2: 1 pods not, e.g. fill-00040"}),
    (
        "bound before the release",
        bound_before_release,
        {"none_bound_before_release": "repeat 2: 1 by the samples, 1 by the watch, 1 by the audit log"},
    ),
    (
        "bound before the release, by the watch alone",
        say(bound_before_release=2),
        {"none_bound_before_release": "repeat 2: 0 by the samples, 2 by the watch, 0 by the audit log"},
    ),
    (
        "a node not ready",
        of_kind("nodes", ready=9),
        {"nodes_as_asked": "10 asked, 10 existing, 9 ready, 10 with GPUs, 8 GPUs each"},
    ),
    (
        "a node too many",
        of_kind("nodes", existing=11),
        {"nodes_as_asked": "10 asked, 11 existing, 10 ready, 10 with GPUs, 8 GPUs each"},
    ),
    (
        "nodes never looked at",
        without("nodes"),
        {"nodes_as_asked": "not observed", "no_node_over_its_gpus": "the nodes' GPUs were not observed"},
    ),
    ("another version", of_kind("subject", version="v1.36.2"), {"version_as_asked": "version 1.36.2"}),
    ("a version nobody told", of_kind("subject", version=None), {"version_as_asked": "version not observed"}),
    (
        "subject never asked",
        without("subject"),
        {"version_as_asked": "not observed", "client_limits_known": "not observed"},
    ),
    (
        "limits not read back",
        of_kind("subject", qps=None, source="flags"),
        {"client_limits_known": "qps unknown, burst 10000, parallelism 16 (flags)"},
    ),
    (
        "the audit log disagrees on the number",
        say(audit__bound=81),
        {
            "second_witness_agrees": "repeat 2: 1.327 s by the conditions, 1.802 s by the audit log "
            "(0 pods earlier in it), 1.804 s by the watch; 80 and 81 bound",
            "observation_matches_samples": "repeat 2: audit.bound is 81, the samples give 80",
        },
    ),
    (
        "no clock",
        say(clock={}),
        {
            "clock_known": "repeat 2: not observed, resolution not observed",
            "wall_clock_did_not_step": "repeat 2: not observed",
        },
    ),
    ("a clock step", say(clock__wall_offset_end=1795285801.0), {"wall_clock_did_not_step": "repeat 2: 1 s apart"}),
    (
        "a relist that lost events",
        relisted,
        {
            "no_event_lost": "repeat 2: 1 relists; 80 of 80 binds in the audit log, up to 502 ms apart",
        },
    ),
    (
        "a relist without a second witness",
        say(relists=2, audit={"available": False, "reason": "none kept"}),
        {"no_event_lost": "repeat 2: 2 relists; 80 of 80 binds in the audit log, up to 2 ms apart"},
    ),
    ("relists not counted", say(relists=None), {"no_event_lost": "repeat 2: not observed"}),
    ("a busy neighbour", say(machine__other_cpu_ratio=0.3), {"machine_was_quiet": "repeat 2: 30 %"}),
    ("stolen time", say(machine__steal_ratio=0.2), {"cpu_not_stolen": "repeat 2: 20 %"}),
    (
        "a machine nobody watched",
        say(machine=None),
        {"machine_was_quiet": "repeat 2: not observed", "cpu_not_stolen": "repeat 2: not observed"},
    ),
    ("a repeat lost", lost_repeat, {"all_repeats_present": "repeats 1, 3"}),
    (
        "other parameters",
        other_connections,
        {"same_parameters_in_every_repeat": "repeat 3: connections is 64, not 16"},
    ),
]
HARMLESS = {"a relist without a second witness"}


@pytest.mark.parametrize(("edit", "expected"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_makes_the_record_invalid_and_is_named(
    tmp_path: Path, edit: Callable[[Run], None], expected: dict[str, str], request: pytest.FixtureRequest
) -> None:
    found = record(build(tmp_path, SMALL, edits=[edit]))
    if request.node.callspec.id in HARMLESS:
        assert (found.verdict, broken(found)) == ("measured", {})
        return
    assert broken(found) == expected
    assert (found.verdict, found.value, found.bound_by, found.ci, found.repeats) == ("invalid", None, None, None, ())
    assert all(f"{name}: {observed}" in found.reason for name, observed in expected.items())


def test_a_version_that_nobody_asked_for_has_only_to_be_told(tmp_path: Path) -> None:
    found = record(build(tmp_path, SMALL, edits=[of_kind("subject", asked_version=None)]))
    proof = next(item for item in found.evidence if item.name == "version_as_asked")
    assert (proof.expected, proof.observed, proof.holds) == ("any version, told by the subject", "version 1.36.3", True)


def test_a_clean_run_stays_clean(tmp_path: Path) -> None:
    found = judged(build(tmp_path, SMALL))
    assert {r.verdict for r in found} == {"measured"}
    assert [broken(r) for r in found] == [{}] * len(found)
    assert all(r.value is not None and r.bound_by is not None for r in found)


def test_the_evidence_of_a_record_is_the_table(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL)
    # Rows of what only loads of several parts and subjects of several components have find nothing to look at here.
    of_parts = {
        *("parts_accounted_for", "every_pod_grouped", "every_pod_decided", "every_pod_completed", "gangs_atomic"),
        *("one_domain_per_job", "queues_within_limits", "victims_keep_min_member", "consolidation_ran"),
        *("search_matches_steps", "client_limits_in_effect", "configuration_took_effect", "binds_follow_decisions"),
    }
    table = [row for row in evidence.TABLE if row.name not in of_parts]
    every = [row.name for row in table]
    of_running = ("every_pod_ran", "pods_say_when_they_ran")
    of_the_load = [row.name for row in table if "created" in row.milestones]
    names = {
        (r.scenario, r.metric): [item.name for item in r.evidence]
        for r in judged(run)
        if r.metric in ("run_all_seconds", "bind_all_seconds", "pods_created_per_second")
    }
    assert names == {
        (OFF, "run_all_seconds"): every,
        (ON, "run_all_seconds"): [name for name in every if name != "none_bound_before_release"],
        (OFF, "bind_all_seconds"): [name for name in every if name not in of_running],
        (ON, "bind_all_seconds"): [n for n in every if n not in (*of_running, "none_bound_before_release")],
        (OFF, "pods_created_per_second"): of_the_load,
        (ON, "pods_created_per_second"): of_the_load,
    }


def test_a_pod_that_never_ran_spoils_only_what_is_said_of_running(tmp_path: Path) -> None:
    def edit(run: Run) -> None:
        item = run.loads()[1]
        run.rows_of(item)[0] |= {"running": None, "deleted": None}
        item["values"]["running"] -= 1

    verdicts = {r.metric: r.verdict for r in judged(build(tmp_path, SMALL, edits=[edit])) if r.scenario == OFF}
    assert {metric for metric, verdict in verdicts.items() if verdict == "invalid"} == {
        "run_all_seconds",
        "pod_bound_to_running_seconds",
    }


def test_too_low_a_ceiling_is_shown_and_makes_no_record_invalid(tmp_path: Path) -> None:
    run = build(tmp_path, Shape(pods=80, nodes=10, ceiling=1500.0))
    for scenario, kind in ((OFF, "subject"), (ON, "load_generator")):
        found = record(run, scenario=scenario)
        assert broken(found) == {"load_generator_ceiling": "1,500/s"}
        assert found.verdict == "measured"
        assert found.bound_by is not None
        assert found.bound_by.kind == kind
        assert "The load generator's ceiling is below 3 times the rate used." in found.reason


def test_a_ceiling_that_nobody_measured_is_said(tmp_path: Path) -> None:
    found = record(build(tmp_path, SMALL, edits=[without("calibration")]), scenario=ON)
    assert broken(found) == {"load_generator_ceiling": "not measured in this run"}


NOTES = [
    (say(machine__other_cpu_ratio=0.1), "Other work took up to 10 % of the machine."),
    (say(machine__steal_ratio=0.05), "Up to 5 % of the processors' time was stolen."),
    (say(machine__throttled_seconds=0.25), "The cgroup's quota held processes back for up to 250 ms."),
    (
        say(audit={"available": False, "reason": "the log was rotated away"}),
        "No second witness: the log was rotated away.",
    ),
]


@pytest.mark.parametrize(("edit", "note"), NOTES)
def test_what_a_reader_should_know_is_said(tmp_path: Path, edit: Callable[[Run], None], note: str) -> None:
    def silent(run: Run) -> None:
        edit(run)
        if "second witness" in note:
            for row in run.rows_of(run.loads()[1]):
                row["audit_bound"] = None

    found = record(build(tmp_path, SMALL, edits=[silent]))
    assert (found.verdict, found.reason) == ("measured", note)


def tampered(change: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: change(folder / "samples/scheduler_scale/fill_scheduler_off.kube-scheduler.2.jsonl")


def replace_in(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new, 1))


def cut(path: Path, characters: int) -> None:
    path.write_text(path.read_text()[:-characters])


TAMPERED: list[tuple[str, Callable[[Path], None], str]] = [
    ("altered", tampered(lambda p: replace_in(p, '"bound": 2', '"bound": 1')), "has sha256"),
    ("half written", tampered(lambda p: cut(p, 40)), "has sha256"),
    ("gone", tampered(lambda p: p.unlink()), "cannot be read: No such file or directory"),
    ("empty", tampered(lambda p: p.write_text("")), "has sha256"),
]


@pytest.mark.parametrize(("tamper", "text"), [case[1:] for case in TAMPERED], ids=[case[0] for case in TAMPERED])
def test_samples_that_are_not_what_the_role_wrote_are_found(
    tmp_path: Path, tamper: Callable[[Path], None], text: str
) -> None:
    found = record(build(tmp_path, SMALL, tampering=[tamper]))
    assert found.verdict == "invalid"
    assert text in broken(found)["samples_intact"]


def test_samples_of_too_few_rows_are_found_although_the_sha256_fits(tmp_path: Path) -> None:
    def claim_more(folder: Path) -> None:
        path = folder / "observations.jsonl"
        path.write_text(path.read_text().replace('"rows": 80', '"rows": 81'))

    found = record(build(tmp_path, SMALL, tampering=[claim_more]))
    assert "has 80 rows, its observation says 81" in broken(found)["samples_intact"]


def pod(name: str, node: str, bound: float, deleted: float | None, gpus: float = 1) -> PodSample:
    return PodSample(name, name, 0.0, 0.0, bound, None, deleted, node, gpus, None, None, None)


FULL = [
    ([], (0.0, "", 0.0)),
    ([pod("a", "n1", 1, 5), pod("b", "n1", 2, 6), pod("c", "n2", 3, None)], (2.0, "n1", 2)),
    # Given back and taken at the same moment: never both.
    ([pod("a", "n1", 1, 5), pod("b", "n1", 5, None)], (1.0, "n1", 1)),
    ([pod("a", "n1", 1, None), pod("b", "n1", 5, None)], (2.0, "n1", 5)),
    ([pod("a", "n1", 1, 2, 8), pod("b", "n1", 3, 4, 8)], (8.0, "n1", 1)),
    ([pod("a", "", 1, None)], (0.0, "", 0.0)),
]


@pytest.mark.parametrize(("samples", "expected"), FULL)
def test_the_fullest_moment_of_a_node(samples: list[PodSample], expected: tuple[float, str, float]) -> None:
    assert most_gpus(samples) == expected


def test_evidence_that_nobody_knows_has_to_hold(tmp_path: Path) -> None:
    stranger = evidence.Evidence("from_a_later_version", "x", "y", False)
    assert unproven([stranger], evidence.CONSEQUENCE) == [stranger]
    assert json.dumps(evidence.CONSEQUENCE)
