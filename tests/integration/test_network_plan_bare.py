# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_network_plan on a cluster without the operators that bring networks."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Kube

from tests.conftest import RunModule
from tests.control_plane import ControlPlane
from tests.integration.sriov_cluster import Bench, SriovCluster

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"resource": "vf", "policy": {"numVfs": 1, "nodeSelector": {"a": "b"}, "nicSelector": {"vendor": "15b3"}}},
         ["The cluster does not know NetworkAttachmentDefinition (k8s.cni.cncf.io/v1). Multus is not installed,",
          "The cluster does not know SriovNetwork (sriovnetwork.openshift.io/v1). The SR-IOV network operator is not",
          "Install it, or take form device_plugin or macvlan."]),
        ({"form": "macvlan", "options": {"master": "eth1"}, "ipam": "whereabouts"},
         ["Multus is not installed", "whereabouts is not installed. Install it, or take ipam static."]),
    ],
    ids=["operator", "whereabouts"],
)  # fmt: skip
def test_a_cluster_that_lacks_a_kind_is_told_who_brings_it(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube, namespace: str, network: Any, told: list[str]
) -> None:
    bare = SriovCluster(kube, control_plane.kubeconfig, namespace, ("a", "b"))
    given = {"name": "fast", "subnet": "198.19.0.0/24", **network}
    result = Bench(run_module, bare).plan(given, pods=[{"name": "p"}]).failed()
    assert [one for one in told if one not in result.msg] == []
    absent = Bench(run_module, bare).plan(state="absent").ok()
    assert absent["found"] == {"policies": [], "networks": [], "attachments": []}
