# SPDX-License-Identifier: GPL-3.0-or-later
"""The form process of role calico on real nodes: with stand-ins for its binaries, and with Calico's own where given."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench import process
from ansible.module_utils.nightbench.calico_look import page_of
from ansible.module_utils.nightbench.calico_metrics import typha_state
from ansible.module_utils.nightbench.errors import Unreachable
from ansible.modules import bench_dataplane, bench_felix_start, bench_real_node

from tests.conftest import RunModule, eventually
from tests.fakes.calico_stand_in.install import install
from tests.real_nodes import Declare, ask, create, pod, runs
from tests.role import Played, changes, play_role

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="real nodes need root"),
]

RUN_ID = "tests-calico-process"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SETTINGS = "/apis/crd.projectcalico.org/v1"
FILES = ("var/lib/calico", "run/calico", "var/log/calico")


class Role:
    """The role with what all its plays here share."""

    def __init__(self, directory: Path, kubeconfig: str, bin_dir: str, nodes: list[dict[str, Any]]) -> None:
        self.directory = directory
        self.removed = False
        self.variables = {
            "calico_form": "process",
            "calico_kubeconfig": kubeconfig,
            "calico_bin_dir": bin_dir,
            "calico_dir": str(directory / "calico"),
            "calico_nodes": nodes,
            "calico_run_id": RUN_ID,
            "calico_timeout_seconds": 120,
            "calico_dataplane": "nftables",
        }

    def play(self, *arguments: str, **variables: Any) -> Played:
        return play_role("calico", self.directory, self.variables | variables, *arguments, fact="calico_session")


@pytest.fixture(params=["stand-in", "real"])
def bin_dir(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param != "real":
        return str(install(tmp_path / "bin", "calico-node" if request.param == "node" else "calico-felix"))
    given = os.environ.get("CALICO_BIN_DIR")
    if not given:
        pytest.skip("CALICO_BIN_DIR names no folder with Calico's binaries")
    return given


@pytest.fixture
def nodes(declare: Declare, run_module: RunModule) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = run_module(bench_real_node, **declare(count=2)).ok()["nodes"]
    return made


@pytest.fixture
def role(tmp_path: Path, control_plane: ControlPlane, bin_dir: str, nodes: list[dict[str, Any]]) -> Iterator[Role]:
    made = Role(tmp_path, control_plane.kubeconfig, bin_dir, nodes)
    yield made
    assert changes(made.play(calico_state="absent")) == 0 or not made.removed


def observed(run_module: RunModule, played: Played) -> tuple[str | None, bool, str]:
    """What bench_dataplane sees with what the role has left for it."""
    calico = played.facts["components"]["calico"]
    seen = run_module(bench_dataplane, nodes=calico["nodes"], asked=calico["dataplane_asked"]).ok()
    return seen["observed"], seen["holds"], seen["reason"]


def description(node: dict[str, Any]) -> str:
    return Path(node["conflists"][0]).read_text(encoding="utf-8")


def rules(run_module: RunModule, nodes: list[dict[str, Any]]) -> list[str]:
    """What each node's kernel shows, Felix not being asked."""
    named = [{"name": node["name"], "namespace": f"/proc/{node['pid']}/ns/net"} for node in nodes]
    return [node["observed"] for node in run_module(bench_dataplane, nodes=named).ok()["nodes"]]


def kinds(kube: Kube) -> list[str]:
    found = [item["metadata"]["name"] for item in kube.list_pages(CRDS)[0]]
    return [name for name in found if name.endswith(".crd.projectcalico.org")]


def felixes() -> dict[str, int]:
    """Every Felix itself, below the process that starts it again, by the name of its node."""
    found = {}
    for who in process.find_run(RUN_ID):
        variables = dict(one.partition(b"=")[::2] for one in process.environment_of(who.pid))
        inside = os.readlink(f"/proc/{who.pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
        if inside and b"FELIX_FELIXHOSTNAME" in variables:
            found[variables[b"FELIX_FELIXHOSTNAME"].decode()] = who.pid
    return found


def test_every_node_runs_what_was_asked_for_and_is_as_it_was_afterwards(
    role: Role,
    nodes: list[dict[str, Any]],
    run_module: RunModule,
    kube: Kube,
    namespace: str,
    images: dict[str, tuple[str, Path]],
) -> None:
    before = [description(node) for node in nodes]
    image = images["probe"][0]
    first = role.play()
    assert changes(first) > 0
    assert observed(run_module, first) == ("nftables", True, "nftables on all 2 nodes")
    pools = {item["metadata"]["name"]: item["spec"]["cidr"] for item in kube.list_pages(f"{SETTINGS}/ippools")[0]}
    assert pools == {node["name"]: node["pod_ranges"][0] for node in nodes}

    # Pods of two nodes meet, each connected by the plugin and beside the interface that is none of Calico's.
    names = [create(kube, namespace, pod(image, node["name"])) for node in nodes]
    eventually(lambda: all(runs(kube, namespace, name) for name in names), 60)
    addresses = [ask(kube, namespace, name, "addresses") for name in names]
    assert [sorted(one) for one in addresses] == [["eth0", "eth1", "lo"]] * 2
    reached = ask(kube, namespace, names[0], "reach", address=addresses[1]["eth0"])
    assert reached == {"error": "", "local": addresses[0]["eth0"]}
    assert all(Path(f"/proc/{node['pid']}/root/var/log/calico/cni/cni.log").stat().st_size for node in nodes)

    second = role.play(calico_dataplane="iptables")
    assert changes(second) > 0
    assert observed(run_module, second) == ("iptables", True, "iptables on all 2 nodes")

    # Every Felix is started once more, and each start is seen in all its parts.
    felix = second.facts["components"]["calico"]["felix"]
    started = run_module(bench_felix_start, felix=felix, starts=1, run_state=str(role.directory / "calico")).ok()
    seen = started["values"]
    assert (seen["asked"], seen["done"], seen["failures"], sorted(felixes())) == (2, 2, [], sorted(felix))

    # A Felix that is killed leaves its rules.
    os.kill(felixes()[nodes[0]["name"]], signal.SIGKILL)
    eventually(lambda: len(felixes()) == 1)
    assert rules(run_module, nodes) == ["iptables", "iptables"]
    assert changes(role.play(calico_state="absent")) > 0
    assert felixes() == {}
    assert rules(run_module, nodes) == ["none", "none"]
    assert ([description(node) for node in nodes], kinds(kube)) == (before, [])
    left = [Path(f"/proc/{node['pid']}/root", name) for node in nodes for name in FILES]
    assert [path for path in (*left, Path(nodes[0]["plugin_dir"], "calico")) if path.exists()] == []
    role.removed = True

    # What Calico connected is taken down, and the network of the node connects again.
    for name in names:
        kube.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}")
    later = create(kube, namespace, pod(image, nodes[0]["name"]))
    eventually(lambda: runs(kube, namespace, later), 60)
    assert sorted(ask(kube, namespace, later, "addresses")) == ["eth0", "eth1", "lo"]


def typhas(played: Played) -> list[str]:
    """Where each that the role has left serves its metrics."""
    return [one["metrics_url"] for one in played.facts["components"]["calico"]["typha"].values()]


def streaming(url: str) -> int:
    seen: int = typha_state(page_of(url), url).streaming["felix"]
    return seen


def test_every_felix_streams_from_a_typha_where_there_are_any(
    role: Role, nodes: list[dict[str, Any]], run_module: RunModule
) -> None:
    role.variables["calico_typhas"] = 1
    one = role.play()
    assert changes(one) > 0
    (url,) = typhas(one)
    assert url == f"http://{nodes[0]['address']}:9093/metrics"
    eventually(lambda: streaming(url) == 2, 30)
    assert changes(role.play()) == 0

    two = role.play(calico_typhas=2)
    assert changes(two) > 0
    eventually(lambda: [streaming(url) for url in typhas(two)] == [1, 1], 30)

    none = role.play(calico_typhas=0)
    assert (changes(none) > 0, typhas(none)) == (True, [])
    assert observed(run_module, none) == ("nftables", True, "nftables on all 2 nodes")
    with pytest.raises(Unreachable):
        page_of(url)
    assert changes(role.play(calico_typhas=1)) > 0
    assert changes(role.play(calico_state="absent")) > 0
    with pytest.raises(Unreachable):
        page_of(url)
    role.removed = True


def told(played: Played) -> str:
    assert played.rc == 2, played.output
    assert "Traceback" not in played.output
    return " ".join(played.output.split())


@pytest.mark.parametrize("bin_dir", ["stand-in"], indirect=True)
@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"calico_bin_dir": "/nowhere"}, "Not there: /nowhere/calico-felix or /nowhere/calico-node, /nowhere/calico,"),
        ({"calico_dataplane": "ebpf"}, "/bin/bpf/*.o. Give the folder as calico_bin_dir"),
        ({"calico_nodes": []}, "needs real nodes, and calico_nodes names none"),
        ({"calico_version": "v3.31.7"}, "states version v3.32.1, and calico_version asks for v3.31.7"),
        ({"calico_felix_health_port": 9091}, "calico_felix_health_port 9091 each is a port of its own"),
        ({"calico_typhas": 1, "calico_typha_port": 9091}, "each is a port of its own"),
        ({"calico_typhas": 2}, "calico_typhas is 2, and each Typha runs on a node of its own: 0 to 1."),
        ({"calico_typhas": 1, "calico_tools": {"calico-typha": "/nowhere/typha"}}, "Not there: /nowhere/typha."),
        ({}, "real-0 does not run. Role real_nodes starts nodes"),
    ],
)
def test_what_cannot_run_is_said_before_anything_is_made(
    tmp_path: Path, control_plane: ControlPlane, bin_dir: str, variables: dict[str, Any], said: str
) -> None:
    node = {
        "name": "real-0",
        "address": "198.18.0.16",
        "pod_ranges": ["198.18.4.0/25"],
        "pid": 1,
        "conflists": ["/none"],
    }
    made = Role(tmp_path, control_plane.kubeconfig, bin_dir, [{**node, "plugin_dir": "/none"}])
    refused = made.play(**variables)
    assert said in told(refused)
    assert (refused.changed, (tmp_path / "calico").exists()) == (0, False)


@pytest.mark.parametrize("bin_dir", ["node"], indirect=True)
def test_what_fails_leaves_nothing_where_it_is_optional_and_felix_runs_out_of_the_program_of_a_node_too(
    role: Role, nodes: list[dict[str, Any]], run_module: RunModule, kube: Kube
) -> None:
    """A Felix that ends is seen after all else was made. The official images have no program of its own."""
    before = [description(node) for node in nodes]
    failed = role.play(calico_optional=True, calico_felix_environment={"FELIX_DATASTORETYPE": "etcdv3"})
    assert (failed.rc, failed.facts) == (0, {})
    words = " ".join(failed.output.split())
    assert "Calico did not come up, the run goes on without it: " in words
    assert "felix stand-in: this is" in words
    assert ([description(node) for node in nodes], kinds(kube), felixes()) == (before, [], {})

    played = role.play()
    assert changes(played) > 0
    assert played.facts["components"]["calico"]["version"] == "v3.32.1"
    assert observed(run_module, played) == ("nftables", True, "nftables on all 2 nodes")
    assert sorted(felixes()) == sorted(node["name"] for node in nodes)


@pytest.mark.parametrize("bin_dir", ["real"], indirect=True)
def test_calico_itself_cuts_what_a_policy_forbids(
    role: Role,
    nodes: list[dict[str, Any]],
    run_module: RunModule,
    kube: Kube,
    namespace: str,
    images: dict[str, tuple[str, Path]],
) -> None:
    changes(role.play())
    bodies = [pod(images["probe"][0], node["name"]) for node in nodes]
    bodies[1]["metadata"]["labels"] = {"closed": "yes"}
    names = [create(kube, namespace, body) for body in bodies]
    eventually(lambda: all(runs(kube, namespace, name) for name in names), 60)
    address = ask(kube, namespace, names[1], "addresses")["eth0"]

    def reached() -> bool:
        return not ask(kube, namespace, names[0], "reach", address=address)["error"]

    policies = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
    for dataplane in ("nftables", "ebpf", "iptables"):
        played = role.play(calico_dataplane=dataplane)
        changes(played)
        assert observed(run_module, played) == (dataplane, True, f"{dataplane} on all 2 nodes")
        eventually(reached)
        spec = {"podSelector": {"matchLabels": {"closed": "yes"}}, "policyTypes": ["Ingress"]}
        kube.request("POST", policies, body={"metadata": {"name": "deny"}, "spec": spec})
        eventually(lambda: not reached(), 30)
        kube.request("DELETE", f"{policies}/deny")
        eventually(reached, 30)
