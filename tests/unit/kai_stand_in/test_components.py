# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in's parts that need no API server: command lines, client limits, groups, nodes, faults, definitions."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.fakes.kai_stand_in import crds, faults, flags, names, snapshot
from tests.fakes.kai_stand_in.allocate import Session, allocate
from tests.fakes.kai_stand_in.components import COMPONENTS
from tests.fakes.kai_stand_in.install import NAMES, install, published_crds
from tests.fakes.kai_stand_in.limits import TokenBucket
from tests.fakes.kai_stand_in.model import Amount
from tests.fakes.kai_stand_in.nodes import shape_of, usable_nodes
from tests.fakes.kai_stand_in.podgrouper import group_of
from tests.fakes.kai_stand_in.sabotage import Sabotage
from tests.fakes.kai_stand_in.store import WorkQueue
from tests.fakes.kai_stand_in.telemetry import Metrics
from tests.unit.kai_stand_in.clusters import A, group, nodes, session

ACCEPTED: list[tuple[str, list[str], dict[str, Any]]] = [
    ("scheduler", [], {"qps": 50, "burst": 300, "max-consolidation-preemptees": 16, "schedule-period": 1.0}),
    ("binder", [], {"qps": 50.0, "burst": 300, "max-concurrent-reconciles": 10, "metrics-bind-address": ":8080"}),
    ("scheduler", ["--qps=7", "--burst", "9", "--schedule-period=250ms"], {"qps": 7, "burst": 9,
                                                                          "schedule-period": 0.25}),
    ("scheduler", ["--default-staleness-grace-period=-1m30s", "--log-json"],
     {"default-staleness-grace-period": -90.0, "log-json": True}),
    ("binder", ["--qps=2.5", "--leader-elect=false", "word", "--burst=1"], {"qps": 2.5, "leader-elect": False,
                                                                            "burst": 1}),
    ("podgrouper", ["-qps=3", "--search-legacy-pg=false"], {"qps": 3, "search-legacy-pg": False}),
    ("queuecontroller", ["--enable-webhook=0", "--kubeconfig=x"], {"enable-webhook": False, "kubeconfig": "x"}),
    ("podgroupcontroller", ["--burst=5", "--", "--not-a-flag"], {"burst": 5}),
]  # fmt: skip


@pytest.mark.parametrize(("component", "arguments", "expected"), ACCEPTED)
def test_a_command_line_is_read_as_go_reads_it(component: str, arguments: list[str], expected: dict[str, Any]) -> None:
    values = flags.parse(component, arguments)
    assert {name: values[name] for name in expected} == expected


REFUSED: list[tuple[str, list[str], str]] = [
    ("scheduler", ["--max-number-consolidation-preemptees=5"], "unknown flag: --max-number-consolidation-preemptees"),
    ("scheduler", ["--kubeconfig=x"], "unknown flag: --kubeconfig"),
    ("scheduler", ["-qps=5"], "unknown shorthand flag: 'q' in -qps=5"),
    ("scheduler", ["--qps"], "flag needs an argument: --qps"),
    ("scheduler", ["--qps=many"],
     'invalid argument "many" for "--qps" flag: strconv.ParseInt: parsing "many": invalid syntax'),
    ("scheduler", ["--schedule-period=soon"],
     'invalid argument "soon" for "--schedule-period" flag: time: invalid duration "soon"'),
    ("binder", ["--listen-address=:1"], "unknown flag: --listen-address"),
    ("podgrouper", ["--enable-webhook=false"], "flag provided but not defined: -enable-webhook"),
    ("podgrouper", ["--burst=x"], 'invalid value "x" for flag -burst: parse error'),
    ("queuecontroller", ["--metrics-bind-address=:1"], "flag provided but not defined: -metrics-bind-address"),
    ("podgroupcontroller", ["--leader-elect=perhaps"], 'invalid value "perhaps" for flag -leader-elect: parse error'),
    ("podgroupcontroller", ["-qps"], "flag needs an argument: -qps"),
]  # fmt: skip


@pytest.mark.parametrize(("component", "arguments", "text"), REFUSED)
def test_what_go_refuses_is_refused_in_its_words(component: str, arguments: list[str], text: str) -> None:
    with pytest.raises(flags.FlagError) as error:
        flags.parse(component, arguments)
    assert str(error.value) == text


BUCKETS: list[tuple[float, int, int, float]] = [
    (20, 100, 4000, (4000 - 100) / 20),
    (50, 300, 300, 0.0),
    (10, 1, 11, 1.0),
    (0, 0, 20, (20 - 10) / 5),
    (-1, 0, 1000, 0.0),
]


@pytest.mark.parametrize(("qps", "burst", "requests", "seconds"), BUCKETS)
def test_requests_take_what_their_bucket_says(qps: float, burst: int, requests: int, seconds: float) -> None:
    """All asked for at once: the last one waits (requests - burst) / qps."""
    bucket = TokenBucket(qps, burst)
    waits = [bucket.reserve(100.0) for _ in range(requests)]
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(seconds)


def test_a_bucket_fills_again_but_never_over_its_burst() -> None:
    bucket = TokenBucket(10, 2)
    assert [bucket.reserve(at) for at in (0.0, 0.0, 0.0)] == pytest.approx([0.0, 0.0, 0.1])
    assert [bucket.reserve(at) for at in (100.0, 100.0, 100.0)] == pytest.approx([0.0, 0.0, 0.1])


def test_a_queue_hands_each_key_to_one_worker_and_again_when_it_changed_meanwhile() -> None:
    queue, key = WorkQueue(), ("default", "x")
    for _ in range(3):
        queue.add(key)
    queue.add(("default", "later"), delay=3600)
    assert (queue.take(), len(queue)) == (key, 1)
    queue.add(key)
    queue.add(("default", "y"))
    assert queue.take() == ("default", "y")
    queue.done(key)
    assert queue.take() == key


def test_a_queue_tries_what_failed_later_and_later() -> None:
    queue, key = WorkQueue(base_delay=100, max_delay=300), ("default", "x")
    assert [queue.failed(key) for _ in range(3)] == [1, 2, 3]
    queue.forget(key)
    assert queue.failed(key) == 1


def pod(**changes: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "default", "uid": "u1", "labels": changes.pop("labels", {})}
    return {"metadata": metadata, "spec": {"schedulerName": "kai-scheduler", **changes}}


def job(annotations: dict[str, str] | None = None, labels: dict[str, str] | None = None) -> dict[str, Any]:
    metadata = {"name": "j", "uid": "u2", "annotations": annotations or {}, "labels": labels or {}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata}


GROUPS: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ("nothing said", pod(), job(), {"minMember": 1, "queue": "default-queue", "priorityClassName": "train"}),
    ("all of it on the Job", pod(labels={names.QUEUE_LABEL: "other"}),
     job({names.MIN_MEMBER: "4", "kai.scheduler/topology": "t", "kai.scheduler/topology-required-placement": "rack"},
         {names.QUEUE_LABEL: "q", names.PRIORITY_LABEL: "build", names.PREEMPTIBILITY_LABEL: "non-preemptible"}),
     {"minMember": 4, "queue": "q", "priorityClassName": "build", "preemptibility": "non-preemptible",
      "topologyConstraint": {"topology": "t", "requiredTopologyLevel": "rack"}}),
    ("the pod's label and class", pod(labels={names.PROJECT_LABEL: "p"}, priorityClassName="inference"), job(),
     {"minMember": 1, "queue": "p", "priorityClassName": "inference"}),
]  # fmt: skip


@pytest.mark.parametrize(("one", "owner", "spec"), [case[1:] for case in GROUPS], ids=[case[0] for case in GROUPS])
def test_what_group_a_pod_gets(one: dict[str, Any], owner: dict[str, Any], spec: dict[str, Any]) -> None:
    made = group_of(one, owner)
    assert made is not None
    assert (made["metadata"]["name"], made["spec"]) == ("pg-j-u2", spec)
    assert made["metadata"]["ownerReferences"] == [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u2"}]


def test_a_job_whose_minimum_is_no_number_gets_no_group() -> None:
    assert group_of(pod(), job({names.MIN_MEMBER: "all"})) is None


def node(name: str, labels: dict[str, str] | None = None, **changes: Any) -> dict[str, Any]:
    ready = changes.pop("ready", "True")
    conditions = [{"type": "Ready", "status": ready}]
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": changes, "status": {"conditions": conditions}}


def affinity(*expressions: dict[str, Any]) -> dict[str, Any]:
    term = {"nodeSelectorTerms": [{"matchExpressions": list(expressions)}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}}


FLEET = [
    node("plain"),
    node("fake", {"type": "kwok", "size": "8"}, taints=[{"key": "kwok", "value": "fake", "effect": "NoSchedule"}]),
    node("soft", {"size": "4"}, taints=[{"key": "any", "effect": "PreferNoSchedule"}]),
    node("cordoned", unschedulable=True),
    node("down", ready="False"),
]
TOLERANT = {"tolerations": [{"operator": "Exists"}]}
USABLE: list[tuple[str, dict[str, Any], set[str]]] = [
    ("nothing asked", {}, {"plain", "soft"}),
    ("all taints tolerated", TOLERANT, {"plain", "soft", "fake"}),
    ("the taint tolerated by value", {"tolerations": [{"key": "kwok", "value": "fake", "effect": "NoSchedule"}]},
     {"plain", "soft", "fake"}),
    ("another value tolerated", {"tolerations": [{"key": "kwok", "value": "real"}]}, {"plain", "soft"}),
    ("another effect tolerated", {"tolerations": [{"key": "kwok", "operator": "Exists", "effect": "NoExecute"}]},
     {"plain", "soft"}),
    ("a selector", {**TOLERANT, "nodeSelector": {"type": "kwok"}}, {"fake"}),
    ("In", {**TOLERANT, **affinity({"key": "type", "operator": "In", "values": ["kwok"]})}, {"fake"}),
    ("NotIn", {**TOLERANT, **affinity({"key": "type", "operator": "NotIn", "values": ["kwok"]})}, {"plain", "soft"}),
    ("Exists", {**TOLERANT, **affinity({"key": "size", "operator": "Exists"})}, {"fake", "soft"}),
    ("DoesNotExist", {**TOLERANT, **affinity({"key": "size", "operator": "DoesNotExist"})}, {"plain"}),
    ("Gt", {**TOLERANT, **affinity({"key": "size", "operator": "Gt", "values": ["4"]})}, {"fake"}),
    ("Lt", {**TOLERANT, **affinity({"key": "size", "operator": "Lt", "values": ["8"]})}, {"soft"}),
    ("an empty term", affinity(), set()),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), [case[1:] for case in USABLE], ids=[case[0] for case in USABLE])
def test_which_nodes_a_pod_may_use(spec: dict[str, Any], expected: set[str]) -> None:
    assert usable_nodes(FLEET, shape_of(spec)) == expected


QUANTITIES = [("8", 8), ("100m", 0.1), ("1k", 1000), ("256Gi", 256 * 2**30), ("1.5G", 1.5e9), (3, 3)]


@pytest.mark.parametrize(("text", "number"), QUANTITIES)
def test_a_quantity_is_a_number(text: str | int, number: float) -> None:
    assert snapshot.quantity(text) == pytest.approx(number)


def test_a_pod_asks_for_the_sum_of_its_containers_and_a_limit_counts_where_no_request_is_set() -> None:
    containers = [
        {"resources": {"limits": {"nvidia.com/gpu": "2", "cpu": "2"}, "requests": {"cpu": "500m"}}},
        {"resources": {"limits": {"nvidia.com/gpu": "1", "memory": "3M"}}},
        {},
    ]
    assert snapshot.request_of({"containers": containers}) == Amount(3, 500, 3)


def test_the_faults_are_one_table_and_an_unknown_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(faults.VARIABLE, " drop_pod,break_gang, ")
    assert faults.planted() == {"drop_pod", "break_gang"}
    monkeypatch.setenv(faults.VARIABLE, "drop_pods")
    with pytest.raises(ValueError, match="no fault is called drop_pods; there are break_gang, drop_pod"):
        faults.planted()


def spoiled(fault: str, *found: Any, count: int = 4) -> Iterator[Session]:
    """Cycle after cycle over the same pods; what was bound stays bound."""
    sabotage = Sabotage(frozenset({fault}))
    while True:
        one = session(nodes(count), A)
        for each in found:
            copy = group(each.name, 0)
            copy.pods, copy.min_member, copy.created = list(each.pods), each.min_member, each.created
            copy.topology, copy.required = each.topology, each.required
            one.cluster.groups[copy.key] = copy
        sabotage.cluster(one.cluster)
        allocate(one)
        sabotage.decisions(one)
        yield one


def test_the_dropped_pod_is_the_first_of_the_oldest_and_stays_dropped() -> None:
    cycles = spoiled("drop_pod", group("b", 1, created=2), group("a", 2, created=1), group("g", 2, min_member=2))
    for _ in range(2):
        bound = {one.uid for _, one in next(cycles).binds}
        assert bound <= {"a-1", "b-0", "g-0", "g-1"}
        assert "a-0" not in bound


def test_one_gang_is_broken_and_no_other() -> None:
    one = next(spoiled("break_gang", group("g", 3, min_member=3, created=1), group("h", 3, min_member=3, created=2)))
    assert sorted(pod.uid for _, pod in one.binds) == ["g-0", "g-1", "h-0", "h-1", "h-2"]


def test_one_node_is_overfilled_by_one() -> None:
    one = next(spoiled("overfill_node", group("a", 16), count=2))
    assert sorted(node.used.gpu for node in one.cluster.nodes.values()) == [7, 9]


def test_a_gang_is_split_by_one_pod() -> None:
    one = next(spoiled("split_domain", group("g", 4, min_member=4, topology="tree", required="rack")))
    racks = [one.cluster.nodes[pod.node or ""].labels["rack"] for _, pod in one.binds]
    assert sorted(racks.count(rack) for rack in set(racks)) == [1, 3]


def test_figures_are_printed_as_prometheus_reads_them() -> None:
    metrics = Metrics()
    metrics.add("done_total", action="reclaim")
    metrics.add("done_total", 2, action="reclaim")
    metrics.set("depth", 4)
    metrics.observe("took", 7)
    lines = metrics.text().decode().splitlines()
    assert {'done_total{action="reclaim"} 3', "depth 4", "# TYPE took histogram"} <= set(lines)
    buckets = {'took_bucket{le="5"} 0', 'took_bucket{le="10"} 1', 'took_bucket{le="+Inf"} 1'}
    assert buckets | {"took_count 1", "took_sum 7"} <= set(lines)
    assert any(line.startswith("process_cpu_seconds_total ") for line in lines)


def test_the_installed_folder_is_as_kai_scheduler_bin_dir_wants_it(tmp_path: Path) -> None:
    install(tmp_path / "bin")
    files = sorted(path.name for path in (tmp_path / "bin").iterdir())
    assert files == sorted([*NAMES, "crds"])
    assert sorted(COMPONENTS) == sorted(flags.FLAGS) == sorted(NAMES)
    assert all((tmp_path / "bin" / name).stat().st_mode & stat.S_IXUSR for name in NAMES)
    written = [yaml.safe_load(path.read_text()) for path in sorted((tmp_path / "bin" / "crds").iterdir())]
    assert sorted(one["metadata"]["name"] for one in written) == sorted(
        one["metadata"]["name"] for one in crds.documents()
    )


def test_each_field_of_the_definitions_is_one_of_the_published() -> None:
    folder = published_crds()
    if folder is None:
        pytest.skip("KAI's own CRDs are not beside the project")
    files = [yaml.load(path.read_text(), Loader=yaml.CSafeLoader) for path in folder.glob("*.yaml")]
    found = {one["metadata"]["name"]: one for one in files}
    for ours in crds.documents():
        theirs = found[ours["metadata"]["name"]]
        assert ours["spec"]["names"] == theirs["spec"]["names"]
        assert ours["spec"]["scope"] == theirs["spec"]["scope"]
        version, published = ours["spec"]["versions"][0], theirs["spec"]["versions"][0]
        assert (version["name"], version.get("subresources")) == (published["name"], published.get("subresources"))
        assert list(differences(schema_of(version), schema_of(published))) == []


def schema_of(version: dict[str, Any]) -> dict[str, Any]:
    return dict(version["schema"]["openAPIV3Schema"])


def differences(ours: dict[str, Any], theirs: dict[str, Any], path: str = "") -> Iterator[str]:
    """Fields that the published definition lacks or that have another type there."""
    if ours.get("type") != theirs.get("type"):
        yield f"{path}: {ours.get('type')}, published {theirs.get('type')}"
    for name, field in (ours.get("properties") or {}).items():
        if name not in (theirs.get("properties") or {}):
            yield f"{path}.{name}"
        else:
            yield from differences(field, theirs["properties"][name], f"{path}.{name}")
    for nested in ("items", "additionalProperties"):
        if nested in ours:
            yield from differences(ours[nested], theirs.get(nested) or {}, f"{path}[{nested}]")
