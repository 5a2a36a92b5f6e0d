# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_network_plan and bench_network_status on a real API server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import MERGE_PATCH, Kube
from ansible.modules import bench_objects, bench_wait

from tests.conftest import ModuleResult, RunModule, eventually
from tests.control_plane import ControlPlane, free_ports, wait_service_account
from tests.definitions import installed
from tests.fakes.fault_proxy import Fault, fault_proxy
from tests.fakes.sriov_operator import SriovOperator, running
from tests.integration.sriov_cluster import LABELS, Bench, SriovCluster, asked_networks, definitions, sriov_cluster

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def kinds(control_plane: ControlPlane) -> Iterator[None]:
    """For all tests of this file: making them takes seconds."""
    client = control_plane.kube()
    with installed(client, definitions()):
        yield
    client.close()


@pytest.fixture
def cluster(kube: Kube, control_plane: ControlPlane, namespace: str) -> Iterator[SriovCluster]:
    with sriov_cluster(kube, control_plane.kubeconfig, namespace) as found:
        yield found


@pytest.fixture
def bench(run_module: RunModule, cluster: SriovCluster) -> Bench:
    return Bench(run_module, cluster)


MACVLAN = {"name": "slow", "form": "macvlan", "subnet": "198.19.0.0/24", "options": {"master": "eth1"}}


def test_a_plan_says_what_to_wait_for(bench: Bench, cluster: SriovCluster) -> None:
    found = bench.plan(cluster.network()).ok()
    state = {"api_version": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodeState"}
    assert found["conditions"] == {
        "synced": [
            {
                **state,
                "namespace": cluster.namespace,
                "names": list(cluster.nodes),
                "predicate": "sriov_synced",
                "parameters": {"policies": ["fast"]},
            }
        ],
        "offered": [
            {
                "kind": "Node",
                "names": list(cluster.nodes),
                "predicate": "at_least",
                "parameters": {"path": "status.allocatable['openshift.io/test_vf']", "value": "4"},
            }
        ],
        "attachable": [
            {
                "api_version": "k8s.cni.cncf.io/v1",
                "kind": "NetworkAttachmentDefinition",
                "namespace": cluster.attached,
                "names": ["fast"],
                "predicate": "field",
                "parameters": {
                    "path": "metadata.annotations['k8s.v1.cni.cncf.io/resourceName']",
                    "value": "openshift.io/test_vf",
                },
            }
        ],
        "detached": [],
        "reset": [],
    }
    assert (found["changed"], found["asked"], found["namespace"]) == (False, True, {"exists": False, "ours": False})
    assert [asked_networks(pod)[0]["ips"] for pod in found["pods"]] == [[f"198.19.0.{one}/24"] for one in range(1, 5)]


def test_vfs_are_counted_by_node_before_anything_is_made(bench: Bench, cluster: SriovCluster) -> None:
    first, second = cluster.nodes
    few = cluster.network(policy=cluster.policy(numVfs=2))
    pods = [{"name": f"p{number}", "node": first} for number in range(3)]
    told = f"Node {first} offers 2 VFs of openshift.io/test_vf, and pods that are to run there need 3."
    assert bench.plan(few, pods=pods).failed()["problems"] == [f"{told} Raise numVfs, or put fewer pods there."]
    anywhere = [{"name": f"p{number}"} for number in range(5)]
    told = f"2 nodes offer 4 VFs of openshift.io/test_vf ({first}: 2, {second}: 2), and pods need 5."
    advice = "Raise numVfs, select more nodes, or ask for fewer pods."
    assert bench.plan(few, pods=anywhere).failed()["problems"] == [f"{told} {advice}"]
    two = {**cluster.network(), "name": "more", "interface": "net2", "subnet": "198.19.1.0/24", "policy": {}}
    assert "pods that are to run there need 6" in bench.plan(cluster.network(), two, pods=pods).failed().msg
    bench.plan(few, pods=anywhere[:4]).ok()


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("more than a NIC can make", {"numVfs": 9}, "asks for 9 VFs of ens1 on node"),
    ("no node", {"nodeSelector": {"nobody": "here"}}, "selects no node (nodeSelector nobody=here,"),
    ("no NIC", {"nicSelector": {"pfNames": ["ens9"]}}, "selects no NIC on nodes"),
    ("another vendor", {"nicSelector": {"vendor": "8086"}}, "ens1 (15b3:1017)"),
]


@pytest.mark.parametrize(("change", "told"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_a_policy_that_would_come_to_nothing_is_refused(
    bench: Bench, cluster: SriovCluster, change: dict[str, Any], told: str
) -> None:
    found = bench.plan(cluster.network(policy=cluster.policy(**change))).failed()
    assert told in found.msg
    assert found.msg.startswith("Nothing was made. The networks cannot work:")
    assert found["exit_code"] == 2


def test_nodes_without_a_config_daemon_are_named(bench: Bench, cluster: SriovCluster) -> None:
    for node in cluster.nodes:
        cluster.kube.request("DELETE", cluster.path("sriovnetworknodestates", node))
    told = f"nodes {', '.join(cluster.nodes)} have no SriovNetworkNodeState: the operator's config daemon does not run"
    assert told in bench.plan(cluster.network()).failed().msg


def test_a_nic_of_another_policy_is_left_alone(bench: Bench, cluster: SriovCluster) -> None:
    spec = {**cluster.policy(), "resourceName": "theirs"}
    theirs = {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy", "spec": spec}
    body = {**theirs, "metadata": {"name": "of-theirs"}}
    cluster.kube.request("POST", cluster.path("sriovnetworknodepolicies"), body=body)
    with running(SriovOperator(cluster.kube, cluster.namespace)):
        eventually(lambda: (cluster.state(cluster.nodes[1])["spec"].get("interfaces") or [{}])[0].get("numVfs") == 4)
        eventually(lambda: (cluster.state(cluster.nodes[0])["spec"].get("interfaces") or [{}])[0].get("numVfs") == 4)
    told = f"NIC ens1 of node {cluster.nodes[0]} has VFs of SriovNetworkNodePolicy of-theirs"
    assert told in bench.plan(cluster.network()).failed().msg
    assert "offers resource theirs already" in bench.plan(cluster.network(resource="theirs")).failed().msg
    # A part of its VFs, by name, is for the operator's webhook to look at.
    part = cluster.network(policy=cluster.policy(nicSelector={"pfNames": ["ens1#2-3"]}))
    bench.plan(part).ok()


def test_networks_of_other_people_and_other_runs_are_left_alone(bench: Bench, cluster: SriovCluster) -> None:
    place = f"/apis/k8s.cni.cncf.io/v1/namespaces/{cluster.namespace}/network-attachment-definitions"
    kind = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "spec": {"config": "{}"}}
    labels = {"slow": {}, "run": LABELS | {"nightbench.io/run-id": "another"}}
    for name, one in labels.items():
        cluster.kube.request("POST", place, body={**kind, "metadata": {"name": name, "labels": one}})
    told = (
        f"NetworkAttachmentDefinition {cluster.namespace}/slow is there already and not of this role; it is left as it"
    )
    problems = bench.plan(MACVLAN, namespace=cluster.namespace).failed()["problems"]
    assert problems == [f"{told} is. Give the network another name."]
    problems = bench.plan({**MACVLAN, "name": "run"}, namespace=cluster.namespace).failed()["problems"]
    assert "is there already and of run another" in problems[0]
    absent = bench.plan(state="absent", namespace=cluster.namespace).ok()
    assert absent["found"] == {"policies": [], "networks": [], "attachments": []}


def test_a_subnet_of_the_pods_of_a_node_and_a_node_that_is_not_there_are_refused(
    bench: Bench, cluster: SriovCluster
) -> None:
    body = {"spec": {"podCIDR": "198.19.0.0/25", "podCIDRs": ["198.19.0.0/25"]}}
    path = f"/api/v1/nodes/{cluster.nodes[0]}"
    cluster.kube.request("PATCH", path, body=body, content_type=MERGE_PATCH)
    pods = [{"name": "a", "node": "nowhere"}]
    told = f"Network slow (198.19.0.0/24) overlaps 198.19.0.0/25, the pods of node {cluster.nodes[0]}: pods would lose"
    problems = bench.plan(MACVLAN, pods=pods).failed()["problems"]
    assert (problems[0][: len(told)], problems[1:]) == (
        told,
        ["Pod a is to run on node nowhere, which does not exist."],
    )


def test_an_operator_that_runs_elsewhere_is_told(bench: Bench, cluster: SriovCluster) -> None:
    found = bench.plan(cluster.network(), operator_namespace="openshift-sriov").failed()
    assert "There is no namespace openshift-sriov, where the SR-IOV network operator would look" in found.msg


def test_who_may_not_read_is_told(
    run_module: RunModule, cluster: SriovCluster, control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    wait_service_account(kube, namespace)
    kubeconfig = control_plane.service_account(namespace)
    bench = Bench(run_module, cluster)
    found = bench.plan(MACVLAN, kubeconfig=kubeconfig).failed()
    assert (found["exit_code"], "is forbidden" in found.msg) == (2, True)
    assert "is forbidden" in bench.status(kubeconfig=kubeconfig).failed().msg


@pytest.mark.usefixtures("impatient")
def test_a_cluster_that_is_still_to_come_is_planned_for_in_check_mode(
    run_module: RunModule, tmp_path: Path, cluster: SriovCluster
) -> None:
    bench = Bench(run_module, cluster)
    nowhere: dict[str, Any] = {"kubeconfig": None, "host": f"http://127.0.0.1:{free_ports(1)[0]}"}
    planned = bench.plan(MACVLAN, check=True, predict_cluster=True, **nowhere).ok()
    assert (planned["asked"], len(planned["objects"]), len(planned["pods"])) == (False, 1, 4)
    assert "no answer" in bench.plan(MACVLAN, check=True, **nowhere).failed().msg
    assert "no answer" in bench.plan(MACVLAN, predict_cluster=True, **nowhere).failed().msg
    # What is wrong without a cluster is wrong in check mode too.
    assert (
        "no subnet" in bench.plan({**MACVLAN, "subnet": ""}, check=True, predict_cluster=True, **nowhere).failed().msg
    )
    assert bench.status(check=True, predict_cluster=True, **nowhere).ok()["pods"] == {}


@pytest.mark.parametrize(
    ("fault", "patience", "told"),
    [
        ("right", 0, None),
        ("stale", 0, None),
        ("late", 0, None),
        ("mended", 60, None),
        ("failed", 0, "Waiting longer is in vain"),
        ("failed", 60, "syncStatus is Failed: cannot allocate memory for VFs of 0000:18:00.0"),
        ("never", 0, "the operator has not planned fast on it yet (syncStatus Succeeded)"),
    ],
)
def test_nodes_are_waited_for_until_they_have_their_vfs(
    run_module: RunModule, bench: Bench, cluster: SriovCluster, fault: str, patience: float, told: str | None
) -> None:
    planned = bench.plan(cluster.network(), namespace=cluster.namespace).ok()
    run_module(bench_objects, kubeconfig=cluster.kubeconfig, objects=planned["objects"]).ok()
    synced = [
        {**one, "parameters": {**one["parameters"], "failed_seconds": patience}}
        for one in planned["conditions"]["synced"]
    ]
    conditions = synced + planned["conditions"]["offered"] + planned["conditions"]["attachable"]
    bad = cluster.nodes[1]
    with running(SriovOperator(cluster.kube, cluster.namespace, {bad: fault})):
        call = {"kubeconfig": cluster.kubeconfig, "timeout_seconds": 3 if told else 30}
        ended = run_module(bench_wait, conditions=conditions, **call)
        if told is None:
            assert (ended.ok()["met"], cluster.offered(bad)) == (True, "4")
        else:
            assert f"{bad}: " in ended.failed().msg
            assert told in ended.msg
            assert cluster.nodes[0] not in ended.msg or patience


def test_a_field_that_the_cluster_does_not_know_is_refused_before_anything_is_made(
    bench: Bench, cluster: SriovCluster
) -> None:
    told = "SriovNetwork fast: the cluster's version of the kind has no field spec.vlanProto. The nearest is"
    result = bench.plan(cluster.network(options={"vlan": 5, "vlanProto": "802.1ad"})).failed()
    assert [one[: len(told)] for one in result["problems"]] == [told]


# --- what pods were given


@pytest.fixture
def planned(bench: Bench, cluster: SriovCluster) -> ModuleResult:
    found = bench.plan({**MACVLAN, "mtu": 9000}).ok()
    cluster.create_pods(found["pods"], cluster.namespace)
    return found


@pytest.mark.parametrize(
    ("fault", "kind", "reason"),
    [
        ("another address", "wrong", "net1 has 198.19.0.250, not 198.19.0.2"),
        ("other interface", "wrong", "it has no interface net1 (it has: eth0, net9)"),
        ("no entry", "wrong", "it has no interface net1 (it has: eth0)"),
        ("no ips", "wrong", "net1 has no address (no ips in its entry)"),
        ("small mtu", "wrong", "net1 has an MTU of 1500, not 9000"),
        ("broken", "broken", "k8s.v1.cni.cncf.io/network-status is not JSON"),
    ],
)
def test_a_pod_that_was_given_something_else_is_told_and_not_waited_for(
    bench: Bench, cluster: SriovCluster, planned: ModuleResult, fault: str, kind: str, reason: str
) -> None:
    with running(SriovOperator(cluster.kube, cluster.namespace, pods={"mesh-1": fault, "mesh-3": "late"})):
        eventually(lambda: bench.status(timeout_seconds=0).ok()["missing"] == [])
    found = bench.status(expected=planned["expected"], timeout_seconds=3600).ok()
    assert [(one["pod"], one["reason"][: len(reason)]) for one in found[kind]] == [("mesh-1", reason)]
    assert (found["holds"], found["missing"], len(found["problems"])) == (False, [], 1)
    assert found["problems"][0].startswith(f"pod mesh-1: {reason}")


def test_late_pods_are_waited_for(bench: Bench, cluster: SriovCluster, planned: ModuleResult) -> None:
    late = {pod["name"]: "late" for pod in planned["pods"]}
    with running(SriovOperator(cluster.kube, cluster.namespace, pods=late)):
        found = bench.status(expected=planned["expected"]).ok()
    assert (found["holds"], found["problems"]) == (True, [])
    assert found["pods"]["mesh-2"]["net1"] == {
        "network": f"{cluster.attached}/slow",
        "interface": "net1",
        "addresses": ["198.19.0.3"],
        "mac": "02:00:00:00:00:01",
        "mtu": 9000,
        "default": False,
        "device": None,
        "physical": None,
    }


def test_a_pod_that_says_nothing_and_one_that_is_not_there_are_named(
    bench: Bench, cluster: SriovCluster, planned: ModuleResult
) -> None:
    expected = [*planned["expected"], {"pod": "mesh-9", "interface": "net1"}]
    with running(SriovOperator(cluster.kube, cluster.namespace, pods={"mesh-0": "never"})):
        found = bench.status(expected=expected, timeout_seconds=2).ok()
    assert found["problems"] == [
        f"pod mesh-0: no annotation k8s.v1.cni.cncf.io/network-status (Pending on {cluster.nodes[0]})",
        "pod mesh-9: the pod does not exist",
    ]
    assert found["holds"] is False
    once = bench.status(expected=expected, timeout_seconds=3600, check=True).ok()
    assert len(once["missing"]) == 2


def test_one_address_of_two_pods_is_told_whoever_gave_it(
    bench: Bench, cluster: SriovCluster, planned: ModuleResult
) -> None:
    with running(SriovOperator(cluster.kube, cluster.namespace, pods={"mesh-2": "duplicate"})):
        eventually(lambda: bench.status(timeout_seconds=0).ok()["missing"] == [])
    found = bench.status(label_selector="app=mesh").ok()
    assert found["wrong"] == [
        {
            "pod": "mesh-0",
            "interface": "net1",
            "reason": "198.19.0.1 is the address of 2 interfaces: mesh-0/net1, mesh-2/net1",
        }
    ]


def test_a_stop_ends_the_wait_and_progress_is_written(bench: Bench, tmp_path: Path, planned: ModuleResult) -> None:
    progress = tmp_path / "progress.jsonl"
    timer = threading.Timer(1.5, (tmp_path / "stop").touch)
    timer.start()
    result = bench.status(
        expected=planned["expected"], timeout_seconds=60, run_state=str(tmp_path), progress_path=str(progress)
    ).failed()
    timer.join()
    assert "the run was asked to stop; 4 missing." in result.msg
    last = json.loads(progress.read_text().splitlines()[-1])
    assert (last["done"], last["asked"], last["unit"]) == (0, 4, "pods")


def test_an_api_server_that_stumbles_is_asked_again(
    run_module: RunModule, cluster: SriovCluster, planned: ModuleResult
) -> None:
    faults = [Fault("status", path="/pods", code=429, retry_after=0), Fault("reset", path="/pods")]
    target = cluster.kube.target
    with fault_proxy(target.host, target.port, target.context, *faults) as proxy:
        call = {"kubeconfig": None, "host": proxy.url, "timeout_seconds": 0}
        found = Bench(run_module, cluster).status(expected=planned["expected"], **call).ok()
    assert (len(found["missing"]), [fault.times for fault in faults]) == (4, [0, 0])
