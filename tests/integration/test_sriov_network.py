# SPDX-License-Identifier: GPL-3.0-or-later
"""Role sriov_network on a real API server, with a stand-in for the operator, its daemon and Multus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Kube
from ansible.modules import bench_network_status

from tests.conftest import RunModule
from tests.control_plane import ControlPlane
from tests.definitions import installed
from tests.fakes.sriov_operator import SriovOperator, running
from tests.integration.sriov_cluster import SriovCluster, definitions, sriov_cluster
from tests.role import changes, play_role

pytestmark = pytest.mark.integration

ROLE = "sriov_network"


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


def variables(cluster: SriovCluster, *networks: dict[str, Any], **more: Any) -> dict[str, Any]:
    given = {
        "kubeconfig": cluster.kubeconfig,
        "namespace": cluster.attached,
        "operator_namespace": cluster.namespace,
        "run_id": cluster.namespace,
        "timeout_seconds": 30,
        "networks": list(networks) or [cluster.network()],
        "pods": cluster.pods(),
        **more,
    }
    return {f"{ROLE}_{name}": value for name, value in given.items()}


def test_vfs_are_made_offered_attached_and_taken_away_again(
    tmp_path: Path, cluster: SriovCluster, run_module: RunModule
) -> None:
    slow = {"name": "slow", "form": "macvlan", "interface": "net2", "subnet": "198.19.1.0/24"}
    given = variables(cluster, cluster.network(), {**slow, "options": {"master": "eth1"}})
    with running(SriovOperator(cluster.kube, cluster.namespace, {cluster.nodes[0]: "stale", cluster.nodes[1]: "late"})):
        assert changes(play_role(ROLE, tmp_path, given, "--check")) == 1
        assert not cluster.exists(f"/api/v1/namespaces/{cluster.attached}")

        played = play_role(ROLE, tmp_path, given, fact="sriov_network_session")
        assert changes(played) == 1
        assert [cluster.offered(node) for node in cluster.nodes] == ["4", "4"]
        assert sorted(cluster.names("network-attachment-definitions")) == ["fast", "slow"]
        assert changes(play_role(ROLE, tmp_path, given)) == 0

        networks = played.facts["pod_networks"]
        assert [(pod["name"], pod["addresses"], pod["resources"]) for pod in networks["pods"]] == [
            (
                f"mesh-{number}",
                {"net1": f"198.19.0.{number + 1}", "net2": f"198.19.1.{number + 1}"},
                {"openshift.io/test_vf": "1"},
            )
            for number in range(4)
        ]
        cluster.create_pods(networks["pods"], cluster.namespace)
        call = {"kubeconfig": cluster.kubeconfig, "namespace": cluster.namespace}
        # macvlan says no MTU here, and was not asked for one.
        found = run_module(bench_network_status, expected=networks["expected"], timeout_seconds=30, **call).ok()
        assert (found["holds"], found["problems"]) == (True, [])

        absent = given | {f"{ROLE}_state": "absent"}
        assert changes(play_role(ROLE, tmp_path, absent)) == 4
        assert [cluster.offered(node) for node in cluster.nodes] == ["0", "0"]
        assert (cluster.names("sriovnetworks"), cluster.names("sriovnetworknodepolicies")) == ([], [])
        assert not cluster.exists(f"/api/v1/namespaces/{cluster.attached}")
        assert changes(play_role(ROLE, tmp_path, absent)) == 0


def test_a_node_that_gets_no_vfs_is_named_with_the_reason(tmp_path: Path, cluster: SriovCluster) -> None:
    bad = cluster.nodes[1]
    with running(SriovOperator(cluster.kube, cluster.namespace, {bad: "failed"})):
        played = play_role(ROLE, tmp_path, variables(cluster, failed_seconds=0))
    told = f"{bad}: syncStatus is Failed: cannot allocate memory for VFs of 0000:18:00.0. Waiting longer is in vain."
    assert (played.rc, told in " ".join(played.output.split())) == (2, True)


def test_what_is_of_somebody_else_is_neither_taken_over_nor_removed(tmp_path: Path, cluster: SriovCluster) -> None:
    spec = {**cluster.policy(nodeSelector={"nobody": "here"}), "resourceName": "theirs"}
    theirs = {"apiVersion": "sriovnetwork.openshift.io/v1", "kind": "SriovNetworkNodePolicy", "spec": spec}
    path = cluster.path("sriovnetworknodepolicies")
    cluster.kube.request("POST", path, body={**theirs, "metadata": {"name": "fast"}})
    played = play_role(ROLE, tmp_path, variables(cluster))
    output = " ".join(played.output.split())
    assert (played.rc, played.changed) == (2, 0)
    assert f"SriovNetworkNodePolicy {cluster.namespace}/fast is there already and not of this role" in output

    absent = variables(cluster, state="absent")
    assert changes(play_role(ROLE, tmp_path, absent)) == 0
    assert cluster.kube.request("GET", f"{path}/fast").json()["spec"]["resourceName"] == "theirs"


def test_the_published_plan_is_refused_before_anything_is_made(tmp_path: Path, cluster: SriovCluster) -> None:
    """One NetworkAttachmentDefinition with one address for forty pods, and three pods in three subnets."""
    pods = [{"name": f"mesh-{number}", "group": f"mesh-{number}"} for number in range(3)]
    sriov = {"form": "device_plugin", "resource": "mlnx_sriov_netdevice", "resource_prefix": "openshift.io"}
    networks = [
        {"name": "mg", "groups": ["mg"], "ipam_options": {"addresses": [{"address": "169.30.1.10/24"}]}, **sriov}
    ]
    for number in range(3):
        address = {"addresses": [{"address": f"169.30.{number + 1}.5/24"}]}
        networks.append({"name": f"mesh-{number}", "groups": [f"mesh-{number}"], "ipam_options": address, **sriov})
    played = play_role(ROLE, tmp_path, variables(cluster, *networks, pods=pods, groups=[{"name": "mg", "count": 40}]))
    output = " ".join(played.output.split())
    assert (played.rc, played.changed) == (2, 0)
    assert "Network mg gives the one address 169.30.1.10/24 of its ipam_options to all of its 40 pods" in output
    assert "The pods' net1 would be in 3 subnets" in output
    assert not cluster.exists(f"/api/v1/namespaces/{cluster.attached}")


def test_rights_that_are_lacking_are_all_told_first(
    tmp_path: Path, cluster: SriovCluster, control_plane: ControlPlane
) -> None:
    kubeconfig = control_plane.service_account(cluster.namespace)
    played = play_role(ROLE, tmp_path, variables(cluster, kubeconfig=kubeconfig))
    output = " ".join(played.output.split())
    assert (played.rc, played.changed) == (2, 0)
    lacking = [
        "list nodes",
        f"create network-attachment-definitions.k8s.cni.cncf.io in namespace {cluster.attached}",
        f"patch sriovnetworknodepolicies.sriovnetwork.openshift.io in namespace {cluster.namespace}",
        f"watch sriovnetworknodestates.sriovnetwork.openshift.io in namespace {cluster.namespace}",
    ]
    assert [one for one in lacking if one not in output] == []
