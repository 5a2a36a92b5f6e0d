# SPDX-License-Identifier: GPL-3.0-or-later
"""Role calico: a real helm, a real API server, charts that render their values, Calico's own kinds where they are."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import ROOT, eventually
from tests.control_plane import find_tool
from tests.role import CHARTS, Played, changes, golden, need_helm_collection, play_role

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

#: Calico's own kinds where a copy of them lies beside the project; no test needs it.
PUBLISHED = Path(os.environ.get("NIGHTBENCH_CALICO_DEFINITIONS_DIR") or ROOT.parent / "shared/fixtures/calico/crd")
KINDS = (
    "installations.operator.tigera.io",
    "tigerastatuses.operator.tigera.io",
    "felixconfigurations.crd.projectcalico.org",
)
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
INSTALLATION = "/apis/operator.tigera.io/v1/installations/default"
FELIX = "/apis/crd.projectcalico.org/v1/felixconfigurations/default"
PROXY = "/api/v1/namespaces/kube-system/configmaps/kube-proxy"
PROXY_SET = "/apis/apps/v1/namespaces/kube-system/daemonsets/kube-proxy"
CONFIGURATION = 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmetricsBindAddress: ""\n'
TUNED = {
    "calico_resources": {"node": {"requests": {"cpu": "1"}}, "typha": {"limits": {"memory": "1Gi"}}},
    "calico_ip_pools": [{"cidr": "10.64.0.0/10", "blockSize": 24}, {"cidr": "10.32.0.0/16", "encapsulation": "None"}],
    "calico_felix": {"logSeverityScreen": "Warning"},
    "calico_add_ons": ["apiServer"],
    "calico_policy_setup_seconds": 10,
}


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_helm_collection()
    folder = tmp_path_factory.mktemp("charts")
    for name in ("tigera-operator", "calico-kinds"):
        shutil.copytree(CHARTS / name, folder / name)
    if PUBLISHED.is_dir():
        for path in PUBLISHED.glob("*.yaml"):
            shutil.copy(path, folder / "calico-kinds" / "kinds" / path.name)
    return folder


class Role:
    """The role with what all its plays here share."""

    def __init__(self, directory: Path, kubeconfig: str, charts: Path) -> None:
        self.directory = directory
        self.variables = {
            "calico_helm_binary": find_tool("helm"),
            "calico_kubeconfig": kubeconfig,
            "calico_chart_ref": str(charts / "tigera-operator"),
            "calico_crd_chart_ref": str(charts / "calico-kinds"),
            "calico_registry": "registry.example.org/mirror",
            "calico_timeout_seconds": 60,
        }

    def play(self, *arguments: str, **variables: Any) -> Played:
        return play_role("calico", self.directory, self.variables | variables, *arguments)


@pytest.fixture
def role(tmp_path: Path, control_plane: ControlPlane, charts: Path, kube: Kube) -> Iterator[Role]:
    made = Role(tmp_path, control_plane.kubeconfig, charts)
    yield made
    if kinds(kube):
        changes(made.play(calico_state="absent"))


@pytest.fixture(params=['mode: ""\n', ""], ids=["a mode", "no mode"])
def proxy(kube: Kube, request: pytest.FixtureRequest) -> Iterator[str]:
    """kube-proxy as kubeadm has it, on no node."""
    text = CONFIGURATION + request.param
    labels = {"k8s-app": "kube-proxy"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "kube-proxy", "image": "none"}]}}
    meta = {"name": "kube-proxy", "namespace": "kube-system"}
    kube.request("POST", PROXY.rpartition("/")[0], body={"metadata": meta, "data": {"config.conf": text, "other": "1"}})
    spec = {"selector": {"matchLabels": labels}, "template": pod}
    kube.request("POST", PROXY_SET.rpartition("/")[0], body={"metadata": meta, "spec": spec})
    yield text
    for path in (PROXY, PROXY_SET):
        kube.request("DELETE", path)


def get(kube: Kube, path: str) -> Any:
    return kube.request("GET", path).json()


def kinds(kube: Kube) -> set[str]:
    return {item["metadata"]["name"] for item in kube.list_pages(CRDS)[0]} & set(KINDS)


def mode(kube: Kube) -> tuple[str, dict[str, str], dict[str, str]]:
    """What kube-proxy is told, what is remembered beside it, and what makes its pods start anew."""
    found, template = get(kube, PROXY), get(kube, PROXY_SET)["spec"]["template"]["metadata"]
    assert found["data"]["other"] == "1"
    return found["data"]["config.conf"], found["metadata"].get("annotations", {}), template.get("annotations", {})


def test_the_charts_are_installed_with_golden_values_and_removed_again_with_their_kinds(role: Role, kube: Kube) -> None:
    assert changes(role.play("--check", **TUNED)) > 0
    assert kinds(kube) == set()

    assert changes(role.play(**TUNED)) > 0
    rendered = get(kube, "/api/v1/namespaces/tigera-operator/configmaps/rendered")["data"]["values.yaml"]
    assert yaml.safe_load(rendered) == golden("calico_values.yml")
    spec = get(kube, INSTALLATION)["spec"]
    assert spec["calicoNetwork"]["linuxDataplane"] == "Iptables"
    for field in (
        "calicoNodeDaemonSet",
        "typhaDeployment",
        "csiNodeDriverDaemonSet",
        "calicoKubeControllersDeployment",
    ):
        affinity = spec[field]["spec"]["template"]["spec"]["affinity"]["nodeAffinity"]
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert terms == [{"matchExpressions": [{"key": "type", "operator": "NotIn", "values": ["kwok"]}]}]
    assert get(kube, FELIX)["spec"]["logSeverityScreen"] == "Warning"

    assert changes(role.play(**TUNED)) == 0
    assert changes(role.play(calico_state="absent")) > 0
    assert kinds(kube) == set()
    eventually(
        lambda: "tigera-operator" not in {n["metadata"]["name"] for n in kube.list_pages("/api/v1/namespaces")[0]}
    )
    assert changes(role.play(calico_state="absent")) == 0


def test_switching_the_dataplane_takes_kube_proxy_along(role: Role, kube: Kube, proxy: str) -> None:
    first = 'mode: ""' if "mode" in proxy else ""
    assert changes(role.play(calico_dataplane="nftables")) > 0
    text, remembered, template = mode(kube)
    assert yaml.safe_load(text) == {**yaml.safe_load(proxy), "mode": "nftables"}
    assert remembered == {"nightbench.io/kube-proxy-mode-before": first}
    assert template == {"nightbench.io/kube-proxy-mode": "nftables"}
    network = get(kube, INSTALLATION)["spec"]["calicoNetwork"]
    assert (network["linuxDataplane"], network["bpfNetworkBootstrap"]) == ("Nftables", "Disabled")
    assert changes(role.play(calico_dataplane="nftables")) == 0

    assert changes(role.play(calico_dataplane="ebpf")) > 0
    network = get(kube, INSTALLATION)["spec"]["calicoNetwork"]
    assert {name: network[name] for name in ("linuxDataplane", "bpfNetworkBootstrap", "kubeProxyManagement")} == {
        "linuxDataplane": "BPF",
        "bpfNetworkBootstrap": "Enabled",
        "kubeProxyManagement": "Enabled",
    }
    assert mode(kube) == (proxy, {}, {})

    played = role.play(calico_state="absent")
    assert changes(played) > 0
    assert "leave_ebpf | Ask for iptables" in played.output  # the operator alone puts kube-proxy back


@pytest.mark.parametrize("proxy", ['mode: ""\n'], indirect=True)
def test_absent_puts_the_mode_of_kube_proxy_back(role: Role, kube: Kube, proxy: str) -> None:
    assert changes(role.play(calico_dataplane="nftables")) > 0
    assert changes(role.play(calico_state="absent")) > 0
    assert mode(kube) == (proxy, {}, {})


@pytest.mark.parametrize("proxy", ['mode: ""\n'], indirect=True)
def test_a_kube_proxy_that_is_kept_is_not_touched(role: Role, kube: Kube, proxy: str) -> None:
    assert changes(role.play(calico_dataplane="ebpf", calico_kube_proxy="kept")) > 0
    assert get(kube, INSTALLATION)["spec"]["calicoNetwork"]["kubeProxyManagement"] == "Disabled"
    felix = get(kube, FELIX)["spec"]
    assert (felix["bpfKubeProxyIptablesCleanupEnabled"], felix["bpfKubeProxyHealthzPort"]) == (False, 0)
    assert mode(kube) == (proxy, {}, {})
    refused = role.play(calico_dataplane="nftables", calico_kube_proxy="kept")
    assert (refused.rc, refused.changed) == (2, 0)
    assert "Felix runs iptables without a word. calico_kube_proxy is kept" in " ".join(refused.output.split())


def test_an_operator_that_is_not_done_is_waited_for_and_named(role: Role) -> None:
    late = role.play(calico_values={"standIn": {"progressing": "True"}}, calico_timeout_seconds=3)
    assert late.rc == 2
    assert "Progressing is True" in late.output
    assert "1 of 2 nodes" in late.output


def test_kinds_of_somebody_else_stay(role: Role, kube: Kube, charts: Path) -> None:
    folder = charts / "calico-kinds" / "kinds"
    theirs = [one for path in folder.glob("*.yaml") for one in yaml.safe_load_all(path.read_text()) if one]
    for document in theirs:
        kube.request("POST", CRDS, body=document)
    try:
        assert changes(role.play()) > 0
        assert changes(role.play(calico_state="absent")) > 0
        assert kinds(kube) == set(KINDS)
    finally:
        for document in theirs:
            kube.request("DELETE", f"{CRDS}/{document['metadata']['name']}")
        eventually(lambda: not kinds(kube))


@contextlib.contextmanager
def node(kube: Kube, kernel: str, **labels: str) -> Iterator[None]:
    needed = ("machineID", "systemUUID", "bootID", "osImage", "kubeletVersion", "containerRuntimeVersion",
              "kubeProxyVersion", "operatingSystem", "architecture")  # fmt: skip
    status = {"nodeInfo": dict.fromkeys(needed, "-") | {"kernelVersion": kernel}}
    kube.request("POST", "/api/v1/nodes", body={"metadata": {"name": "old", "labels": labels}, "status": status})
    try:
        yield
    finally:
        kube.request("DELETE", "/api/v1/nodes/old")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"calico_dataplane": "vpp"}, "value of calico_dataplane must be one of"),
        ({"calico_ip_pools": []}, "needs a cidr"),
        ({"calico_encapsulation": "IPIP"}, "IPIP needs calico_bgp"),
        ({"calico_resources": {"felix": {}}}, "calico_resources names felix"),
        ({"calico_dataplane": "nftables"}, "The cluster has no kube-system/kube-proxy whose mode could be set"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(role: Role, variables: dict[str, Any], told: str) -> None:
    played = role.play(**variables)
    assert (played.rc, played.changed) == (2, 0)
    assert told in " ".join(played.output.split())


def test_a_kernel_that_is_too_old_is_named_and_that_of_a_fake_node_does_not_count(role: Role, kube: Kube) -> None:
    with node(kube, "5.4.0-generic"):
        refused = role.play("--check", calico_dataplane="ebpf")
    assert refused.rc == 2
    assert "needs Linux 5.10 or newer on every node. Older: old (5.4)" in " ".join(refused.output.split())
    with node(kube, "5.4.0-generic", type="kwok"):
        changes(role.play("--check", calico_dataplane="ebpf"))
