# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for KAI on a real control plane: what it does right, and that each planted fault shows."""

from __future__ import annotations

import io
import json
import subprocess
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Call, Kube

from tests.conftest import eventually
from tests.control_plane import ControlPlane, free_ports
from tests.fakes.kai_stand_in import names
from tests.fakes.kai_stand_in.install import NAMES, install, published_crds
from tests.fakes.kai_stand_in.looking import bound, groups_in, on_nodes, pods_in, reasons
from tests.fakes.kai_stand_in.running import (
    StandIn,
    apply_crds,
    make_jobs,
    make_pods,
    make_queue,
    make_topology,
    pod_template,
    remove_crds,
    stand_in,
)

pytestmark = pytest.mark.integration

Start = Callable[..., StandIn]
NODES = 4
GPUS = 8
#: Those that decide; the other two only write sums.
DECIDING = ("podgrouper", "scheduler", "binder")
TREE = {"topology": "tree"}
SCHEDULED = 'kai_podgroups_scheduled_by_action{{action="{}"}}'


@pytest.fixture(scope="module")
def executables(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nodes of 8 GPUs in two racks, the CRDs, queues and a topology; the folder of the executables.

    Nobody runs a pod on these nodes: kwok would end those of a Job at once, and what has ended needs no GPU.
    """
    folder = install(tmp_path_factory.mktemp("kai") / "bin")
    kube = control_plane.kube()
    apply_crds(kube, folder / "crds")
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": str(GPUS)}
    for index in range(NODES):
        labels = {"zone": "z0", "rack": f"r{index // 2}"}
        metadata = {"name": f"kai-{index}", "labels": labels}
        body = {"metadata": metadata, "status": {"capacity": capacity, "allocatable": capacity}}
        kube.request("POST", "/api/v1/nodes", body=body)
    objects(kube)
    yield folder
    kube.map([Call("DELETE", f"/api/v1/nodes/kai-{index}") for index in range(NODES)])
    remove_crds(kube)
    kube.close()


def objects(kube: Kube) -> None:
    """The queues and the topology that the tests use."""
    make_queue(kube, "parent", None)
    make_queue(kube, "measured")
    make_queue(kube, "sanity", quota=0, overQuotaWeight=0)
    make_queue(kube, "small", limit=3)
    make_queue(kube, "nothing", quota=0, limit=0, overQuotaWeight=0)
    make_topology(kube, "tree", "zone", "rack")


def soon(condition: Callable[[], object]) -> None:
    """What several processes do, on a machine that may be busy."""
    eventually(condition, 60)


class Shared:
    """One stand-in for all tests that want it as it should be; two at once would undo each other's faults."""

    def __init__(self, begin: Callable[[], AbstractContextManager[StandIn]]) -> None:
        self._begin = begin
        self._stack = ExitStack()
        self._running: StandIn | None = None

    def get(self) -> StandIn:
        if self._running is None:
            self._running = self._stack.enter_context(self._begin())
        return self._running

    def stop(self) -> None:
        self._running = None
        self._stack.close()


@pytest.fixture(scope="module")
def shared(
    control_plane: ControlPlane, executables: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shared]:
    """All five processes, without a fault and without limits; any number of moves is allowed."""
    flags = {"scheduler": {"max-consolidation-preemptees": -1}}

    def begin() -> AbstractContextManager[StandIn]:
        folder = tmp_path_factory.mktemp("running")
        return stand_in(control_plane.kubeconfig, folder, bin_dir=executables, flags=flags)

    holder = Shared(begin)
    yield holder
    holder.stop()


@pytest.fixture
def running(shared: Shared) -> StandIn:
    return shared.get()


@pytest.fixture
def start(control_plane: ControlPlane, executables: Path, tmp_path: Path, shared: Shared) -> Iterator[Start]:
    """Start the stand-in with flags and faults of the test's own."""
    shared.stop()
    with ExitStack() as stack:

        def begin(**options: Any) -> StandIn:
            settings = {"components": DECIDING, **options}
            return stack.enter_context(stand_in(control_plane.kubeconfig, tmp_path, bin_dir=executables, **settings))

        yield begin


@pytest.fixture
def place(kube: Kube, namespace: str) -> Iterator[str]:
    """A namespace whose Jobs and pods are gone before the next test: they share the nodes."""
    yield namespace
    jobs, pods = f"/apis/batch/v1/namespaces/{namespace}/jobs", names.pods_of(namespace)
    kube.request("DELETE", jobs, body={"propagationPolicy": "Background"})
    soon(lambda: not kube.list_pages(jobs)[0])

    def none_left() -> bool:
        kube.request("DELETE", pods, body={"gracePeriodSeconds": 0})
        return not kube.list_pages(pods)[0]

    soon(none_left)


def racks(kube: Kube, namespace: str, job: str = "") -> set[str]:
    return {f"r{int(name.removeprefix('kai-')) // 2}" for name in on_nodes(kube, namespace, job)}


def cycles(started: StandIn, count: int = 3) -> None:
    """Let the scheduler look at the cluster some times more."""
    for _ in range(count):
        before = started.metrics("scheduler")["kai_cycles_total"]
        soon(lambda before=before: started.metrics("scheduler")["kai_cycles_total"] > before)  # type: ignore[misc]


def test_it_fills_the_cluster_with_single_pods(running: StandIn, kube: Kube, place: str) -> None:
    make_pods(kube, place, "measured", NODES * GPUS)
    soon(lambda: on_nodes(kube, place) == {f"kai-{index}": GPUS for index in range(NODES)})
    requests = f"{names.BIND_REQUESTS}/namespaces/{place}/bindrequests"
    phases = lambda: Counter((one.get("status") or {}).get("phase") for one in kube.list_pages(requests)[0])  # noqa: E731
    soon(lambda: phases() == {"Succeeded": NODES * GPUS})
    decided = {one["metadata"]["name"]: one["spec"]["selectedNode"] for one in kube.list_pages(requests)[0]}
    assert decided == {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in bound(kube, place)}
    owners = {group["metadata"]["ownerReferences"][0]["name"] for group in groups_in(kube, place)}
    assert owners == set(decided)
    path = f"{names.QUEUES}/measured"
    soon(lambda: kube.request("GET", path).json()["status"].get("allocated") == {"nvidia.com/gpu": "32"})
    has = 'kai_queue_allocated_gpus{queue_display_name="",queue_metadata_name="measured",queue_name="measured"}'
    soon(lambda: running.metrics("queuecontroller")[has] == NODES * GPUS)


def test_a_job_is_one_group_and_a_gang_only_where_it_says_so(running: StandIn, kube: Kube, place: str) -> None:
    make_jobs(kube, place, "measured", 1, 5, GPUS, name="loose")
    soon(lambda: len(bound(kube, place, "loose")) == 4)
    make_jobs(kube, place, "small", 1, 3, 1, gang=3, name="gang")
    soon(lambda: len(groups_in(kube, place)) == 2)
    cycles(running)
    assert on_nodes(kube, place) == {f"kai-{index}": 1 for index in range(NODES)}
    found = {group["metadata"]["ownerReferences"][0]["name"]: group for group in groups_in(kube, place)}
    members = {name: group["spec"]["minMember"] for name, group in found.items()}
    assert members == {"loose-0": 1, "gang-0": 3}
    uid = found["gang-0"]["metadata"]["ownerReferences"][0]["uid"]
    assert found["gang-0"]["metadata"]["name"] == f"pg-gang-0-{uid}"
    assert found["gang-0"]["spec"]["queue"] == "small"


UNSCHEDULABLE: list[tuple[str, str, dict[str, Any], str]] = [
    ("a gang larger than the cluster", "measured", {"pods": 5, "gpus": 8, "gang": 5}, "Unschedulable"),
    ("a queue that may have nothing", "nothing", {}, "OverLimit"),
    ("a gang over its queue's limit", "small", {"pods": 4, "gang": 4}, "OverLimit"),
    ("a queue that does not exist", "nowhere", {}, "QueueDoesNotExist"),
    ("a level that the topology lacks", "measured", {"topology": {**TREE, "required": "row"}}, "Unschedulable"),
]


@pytest.mark.parametrize(
    ("queue", "job", "reason"), [case[1:] for case in UNSCHEDULABLE], ids=[case[0] for case in UNSCHEDULABLE]
)
def test_what_is_not_scheduled_says_why(
    running: StandIn, kube: Kube, place: str, queue: str, job: dict[str, Any], reason: str
) -> None:
    make_jobs(kube, place, queue, 1, **job)
    soon(lambda: reasons(kube, place) == [reason])
    assert bound(kube, place) == []


def test_a_condition_goes_when_the_group_is_scheduled(running: StandIn, kube: Kube, place: str) -> None:
    make_jobs(kube, place, "small", 1, 3, gang=3, name="first")
    soon(lambda: len(bound(kube, place)) == 3)
    make_jobs(kube, place, "small", 1, 1, name="second")
    soon(lambda: reasons(kube, place) == ["OverLimit"])
    kube.request("DELETE", f"/apis/batch/v1/namespaces/{place}/jobs/first-0", body={"propagationPolicy": "Background"})
    soon(lambda: len(bound(kube, place, "second")) == 1)
    soon(lambda: reasons(kube, place) == [])


@pytest.mark.parametrize(
    ("placement", "pods", "domains"), [("required", 16, 1), ("preferred", 16, 1), ("preferred", 20, 2)]
)
def test_a_gang_stays_in_its_domain(
    running: StandIn, kube: Kube, place: str, placement: str, pods: int, domains: int
) -> None:
    make_jobs(kube, place, "measured", 1, pods, gang=pods, topology={**TREE, placement: "rack"})
    soon(lambda: len(bound(kube, place)) == pods)
    assert len(racks(kube, place)) == domains


def test_a_gang_that_fits_in_no_domain_waits(running: StandIn, kube: Kube, place: str) -> None:
    make_jobs(kube, place, "measured", 1, 17, gang=17, topology={**TREE, "required": "rack"})
    soon(lambda: reasons(kube, place) == ["Unschedulable"])
    assert bound(kube, place) == []


def test_a_queue_below_its_share_takes_from_one_above(running: StandIn, kube: Kube, place: str) -> None:
    make_jobs(kube, place, "sanity", 8, 4, 1, gang=4, name="victim")
    soon(lambda: len(bound(kube, place)) == NODES * GPUS)
    before = running.metrics("scheduler").get(SCHEDULED.format("reclaim"), 0)
    make_jobs(kube, place, "measured", 1, 2, 8, gang=2, name="taker")
    soon(lambda: len(bound(kube, place, "taker")) == 2)
    assert sorted(on_nodes(kube, place, "taker").values()) == [1, 1]
    left = Counter(pod["metadata"]["labels"]["job-name"] for pod in bound(kube, place, "victim"))
    assert list(left.values()) == [4, 4, 4, 4]
    assert running.metrics("scheduler")[SCHEDULED.format("reclaim")] == before + 1


def scatter(kube: Kube, place: str) -> None:
    """Single-GPU Jobs on three GPUs of every node."""
    make_jobs(kube, place, "sanity", NODES * GPUS, name="filler")
    soon(lambda: len(bound(kube, place)) == NODES * GPUS)
    by_node: dict[str, list[str]] = {}
    for pod in bound(kube, place):
        by_node.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["labels"]["job-name"])
    gone = [job for jobs in by_node.values() for job in jobs[:5]]
    kube.map([Call("DELETE", f"/apis/batch/v1/namespaces/{place}/jobs/{job}", body={"propagationPolicy": "Background"})
              for job in gone])  # fmt: skip
    soon(lambda: on_nodes(kube, place) == {f"kai-{index}": 3 for index in range(NODES)})


def test_scattered_pods_are_moved_together_for_a_gang(running: StandIn, kube: Kube, place: str) -> None:
    scatter(kube, place)
    before = running.metrics("scheduler")
    make_jobs(kube, place, "measured", 1, 2, 6, gang=2, name="taker")
    soon(lambda: len(bound(kube, place, "taker")) == 2)
    soon(lambda: len(bound(kube, place, "filler")) == 12)
    after = running.metrics("scheduler")
    changed = {action: after.get(SCHEDULED.format(action), 0) - before.get(SCHEDULED.format(action), 0)
               for action in ("consolidation", "reclaim")}  # fmt: skip
    assert changed == {"consolidation": 1, "reclaim": 0}


def test_the_snapshot_is_a_zip_of_what_the_scheduler_sees(running: StandIn) -> None:
    with zipfile.ZipFile(io.BytesIO(running.get("scheduler", "/get-snapshot"))) as archive:
        document = json.loads(archive.read("snapshot.json"))
    seen = {node["metadata"]["name"] for node in document["nodes"]}
    assert {f"kai-{index}" for index in range(NODES)} <= seen
    assert {queue["metadata"]["name"] for queue in document["queues"]} >= {"parent", "measured", "sanity"}


def test_every_component_is_healthy_and_tells_its_memory(running: StandIn) -> None:
    assert {running.get(name, "/healthz") for name in ("scheduler", "queuecontroller")} == {b"ok"}
    assert all(running.metrics(name)["process_resident_memory_bytes"] > 1e6 for name in NAMES)


def test_a_scheduler_that_starts_later_schedules_what_waits(start: Start, kube: Kube, place: str) -> None:
    first = start()
    make_pods(kube, place, "measured", 8, name="early")
    soon(lambda: len(bound(kube, place)) == 8)
    codes = first.stop()
    assert codes == dict.fromkeys(DECIDING, 0)
    make_pods(kube, place, "measured", 8, name="late")
    start()
    soon(lambda: len(bound(kube, place)) == 16)
    assert max(on_nodes(kube, place).values()) <= GPUS


def test_a_pod_of_the_same_name_is_another_pod(running: StandIn, kube: Kube, place: str) -> None:
    for _ in range(2):
        make_pods(kube, place, "measured", 1)
        soon(lambda: len(bound(kube, place)) == 1)
        kube.request("DELETE", f"{names.pods_of(place)}/pod-0", body={"gracePeriodSeconds": 0})
        soon(lambda: not pods_in(kube, place))


def seconds_to_bind(kube: Kube, place: str, count: int) -> float:
    started = time.monotonic()
    make_pods(kube, place, "measured", count)
    soon(lambda: len(bound(kube, place)) == count)
    return time.monotonic() - started


BINDS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("a pod that is there already", "there", "kai-0", {"phase": "Succeeded"}),
    ("a pod that is elsewhere", "there", "kai-1", {"phase": "Failed", "failedAttempts": 2}),
    ("a pod that does not exist", "nobody", "kai-0", {"phase": "Failed", "reason": "the pod is gone"}),
]


@pytest.mark.parametrize(("pod", "node", "status"), [case[1:] for case in BINDS], ids=[case[0] for case in BINDS])
def test_how_a_bind_request_ends(
    start: Start, kube: Kube, place: str, pod: str, node: str, status: dict[str, Any]
) -> None:
    start(components=("binder",), flags={"binder": {"rate-limiter-base-delay": 0}})
    template = pod_template("measured", nodeName="kai-0")
    kube.request("POST", names.pods_of(place), body={"metadata": {"name": "there"}, "spec": template["spec"]})
    metadata = {"name": pod, "namespace": place}
    spec = {"podName": pod, "selectedNode": node, "backoffLimit": 2}
    body = {"apiVersion": "scheduling.run.ai/v1alpha2", "kind": "BindRequest", "metadata": metadata, "spec": spec}
    kube.request("POST", names.bind_requests_of(place), body=body)

    def written() -> dict[str, Any]:
        found = kube.request("GET", f"{names.bind_requests_of(place)}/{pod}").json().get("status") or {}
        return {name: found.get(name) for name in status}

    soon(lambda: written() == status)


LIMITS: list[tuple[str, dict[str, Any], float]] = [
    ("binder", {"qps": 10, "burst": 10}, 2.0),
    ("scheduler", {"qps": 5, "burst": 5}, 1.0),
    ("podgrouper", {"qps": 5, "burst": 5}, 1.0),
]


@pytest.mark.parametrize(("component", "limits", "requests"), LIMITS, ids=[case[0] for case in LIMITS])
def test_a_client_limit_holds_the_pods_back(
    start: Start, kube: Kube, place: str, component: str, limits: dict[str, Any], requests: float
) -> None:
    """N pods of r requests each take (r N - burst) / qps at least; what is on top is the machine's."""
    start(flags={component: limits})
    least = (requests * 20 - limits["burst"]) / limits["qps"]
    assert seconds_to_bind(kube, place, 20) >= least * 0.97


def test_fault_ignore_limit_flag(start: Start, kube: Kube, place: str) -> None:
    start(faults=("ignore_limit_flag",), flags={"binder": {"qps": 1, "burst": 1}})
    assert seconds_to_bind(kube, place, 16) < 16 * 2 - 1


def test_fault_late_binder(start: Start, kube: Kube, place: str) -> None:
    start(faults=("late_binder",))
    assert seconds_to_bind(kube, place, 4) >= 2.0


def test_fault_drop_pod(start: Start, kube: Kube, place: str) -> None:
    started = start(faults=("drop_pod",))
    make_pods(kube, place, "measured", 8)
    soon(lambda: len(bound(kube, place)) == 7)
    cycles(started)
    assert len(bound(kube, place)) == 7


def test_fault_break_gang(start: Start, kube: Kube, place: str) -> None:
    started = start(faults=("break_gang",))
    make_jobs(kube, place, "measured", 2, 4, gang=4)
    soon(lambda: len(bound(kube, place)) == 7)
    cycles(started)
    found = Counter(pod["metadata"]["labels"]["job-name"] for pod in bound(kube, place))
    assert sorted(found.values()) == [3, 4]


def test_fault_overfill_node(start: Start, kube: Kube, place: str) -> None:
    start(faults=("overfill_node",))
    make_pods(kube, place, "measured", NODES * GPUS)
    soon(lambda: len(bound(kube, place)) == NODES * GPUS)
    assert sorted(on_nodes(kube, place).values()) == [7, 8, 8, 9]


@pytest.mark.parametrize("placement", ["required", "preferred"])
def test_fault_split_domain(start: Start, kube: Kube, place: str, placement: str) -> None:
    start(faults=("split_domain",))
    make_jobs(kube, place, "measured", 1, 4, gang=4, topology={**TREE, placement: "rack"})
    soon(lambda: len(bound(kube, place)) == 4)
    assert racks(kube, place) == {"r0", "r1"}


def test_fault_exceed_queue(start: Start, kube: Kube, place: str) -> None:
    start(faults=("exceed_queue",))
    make_pods(kube, place, "small", 5)
    soon(lambda: len(bound(kube, place)) == 5)


def test_fault_evict_below_minimum(start: Start, kube: Kube, place: str) -> None:
    started = start(faults=("evict_below_minimum",))
    make_jobs(kube, place, "sanity", 8, 4, gang=4, name="victim")
    soon(lambda: len(bound(kube, place)) == NODES * GPUS)
    make_jobs(kube, place, "measured", 1, name="taker")
    soon(lambda: len(bound(kube, place, "taker")) == 1)
    cycles(started)
    left = Counter(pod["metadata"]["labels"]["job-name"] for pod in bound(kube, place, "victim"))
    assert sorted(left.values()) == [3, 4, 4, 4, 4, 4, 4, 4]


def test_fault_no_consolidation(start: Start, kube: Kube, place: str) -> None:
    started = start(faults=("no_consolidation",), flags={"scheduler": {"max-consolidation-preemptees": -1}})
    scatter(kube, place)
    make_jobs(kube, place, "measured", 1, 2, 6, gang=2, name="taker")
    soon(lambda: len(bound(kube, place, "taker")) == 2)
    figures = started.metrics("scheduler")
    assert SCHEDULED.format("consolidation") not in figures
    assert figures[SCHEDULED.format("reclaim")] == 1


def test_it_works_with_the_published_definitions(start: Start, kube: Kube, place: str) -> None:
    folder = published_crds()
    if folder is None:
        pytest.skip("KAI's own CRDs are not beside the project")
    apply_crds(kube, folder)
    objects(kube)
    start(components=NAMES)
    make_jobs(kube, place, "sanity", 4, 8, gang=8, name="victim")
    soon(lambda: len(bound(kube, place)) == NODES * GPUS)
    make_jobs(kube, place, "measured", 1, 4, 4, gang=4, name="taker", topology={**TREE, "required": "rack"})
    soon(lambda: len(bound(kube, place, "taker")) == 4)
    assert len(racks(kube, place, "taker")) == 1
    make_jobs(kube, place, "nothing", 1, name="waits")
    soon(lambda: reasons(kube, place) == ["OverLimit"])
    sums = lambda: [(group.get("status") or {}).get("resourcesStatus", {}).get("allocated")  # noqa: E731
                    for group in groups_in(kube, place)]  # fmt: skip
    soon(lambda: {"nvidia.com/gpu": "16"} in sums())


BAD: list[tuple[str, list[str], dict[str, str], int, str]] = [
    ("an unknown flag", ["--qsp=5"], {}, 2, "unknown flag: --qsp"),
    ("a flag of another component", ["--kubeconfig=x"], {}, 2, "unknown flag: --kubeconfig"),
    ("a fault that does not exist", [], {"KAI_STAND_IN_FAULTS": "sleepy"}, 2, "no fault is called sleepy"),
    ("no kubeconfig", [], {"KUBECONFIG": "/nonexistent"}, 1, "/nonexistent"),
]


@pytest.mark.parametrize(
    ("flags", "environment", "code", "text"), [case[1:] for case in BAD], ids=[case[0] for case in BAD]
)
def test_what_a_process_cannot_use_ends_it(
    executables: Path, flags: list[str], environment: dict[str, str], code: int, text: str
) -> None:
    done = subprocess.run(
        [str(executables / "scheduler"), *flags],
        env={"PATH": "/usr/bin", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, text in done.stderr) == (code, True), done.stderr


def test_a_port_that_is_taken_ends_it(control_plane: ControlPlane, executables: Path) -> None:
    kubeconfig = {"KUBECONFIG": control_plane.kubeconfig}
    plugin, port = free_ports(1)[0], control_plane.kube().target.port
    flags = [f"--listen-address=127.0.0.1:{port}", f"--plugin-server-port={plugin}"]
    done = subprocess.run(
        [str(executables / "scheduler"), *flags],
        env=kubeconfig,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"listen tcp 127.0.0.1:{port}: Address already in use" in done.stderr
