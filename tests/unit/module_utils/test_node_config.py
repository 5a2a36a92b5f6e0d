# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a real node: as its programs read them, and without a way out."""

from __future__ import annotations

import json
import tomllib
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import node_config
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.node_config import Interface, Node
from ansible.module_utils.nightbench.node_network import NodeNetwork


def node(**changes: Any) -> Node:
    known: dict[str, Any] = {
        "index": 1,
        "name": "real-1",
        "folder": Path("/state/real-1"),
        "network": NodeNetwork(IPv4Network("198.18.16.0/20"), 2, 25),
        "interfaces": [Interface("ptp", 1500), Interface("bridge", 9000)],
        "cgroup": "nightbench-0/real-1",
        "kubeconfig": Path("/state/kubeconfig.json"),
        "ca_cert": Path("/state/ca.crt"),
        "labels": {"type": "real", "a": "b"},
        "pause_image": "nightbench.local/pause:1",
    }
    return Node(**{**known, **changes})


@pytest.mark.parametrize("number", [0, 1])
def test_a_pod_has_no_default_route_and_no_masquerade(number: int) -> None:
    (plugin,) = node_config.conflist(node(), number)["plugins"]
    routes = [IPv4Network(route["dst"]) for route in plugin["ipam"]["routes"]]
    assert all(route.subnet_of(node().network.whole) for route in routes)
    assert plugin["ipMasq"] is False
    assert plugin.get("isDefaultGateway", False) is False


def test_each_interface_has_addresses_and_routes_of_its_own() -> None:
    plugins = [node_config.conflist(node(), number)["plugins"][0] for number in range(2)]
    seen = [(one["type"], one["mtu"], one["ipam"]["ranges"], one["ipam"]["routes"]) for one in plugins]
    assert seen == [
        ("ptp", 1500, [[{"subnet": "198.18.20.128/25"}]], [{"dst": "198.18.16.0/20"}]),
        ("bridge", 9000, [[{"subnet": "198.18.24.128/25"}]], [{"dst": "198.18.24.0/22"}]),
    ]


def test_containerd_reads_its_configuration() -> None:
    read = tomllib.loads(node_config.containerd(node()))
    cri = read["plugins"]["io.containerd.grpc.v1.cri"]
    assert (read["version"], read["root"], read["grpc"]["address"]) == (
        2,
        "/var/lib/containerd",
        node_config.CRI_SOCKET,
    )
    assert cri["cni"] == {"bin_dir": "/state/cni", "conf_dir": "/state/real-1/net.d", "max_conf_num": 2}
    assert cri["sandbox_image"] == "nightbench.local/pause:1"
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"BinaryName": "/state/bin/runc", "SystemdCgroup": False}


def test_the_kubelet_answers_nobody_without_a_certificate_and_takes_the_callers_fields() -> None:
    read = node_config.kubelet(node(kubelet={"maxPods": 7, "syncFrequency": "10s"}, taints=[{"key": "a"}]))
    assert read["authentication"]["anonymous"] == read["authentication"]["webhook"] == {"enabled": False}
    assert read["authentication"]["x509"] == {"clientCAFile": "/state/ca.crt"}
    assert (read["address"], read["cgroupRoot"]) == ("198.18.16.17", "/nightbench-0/real-1")
    assert (read["maxPods"], read["syncFrequency"], read["registerWithTaints"]) == (7, "10s", [{"key": "a"}])


def test_all_files_of_a_node_are_there() -> None:
    files = node_config.files(node())
    assert sorted(files) == ["containerd.toml", "kubelet.json", "net.d/10-eth0.conflist", "net.d/11-eth1.conflist"]
    assert json.loads(files["net.d/11-eth1.conflist"])["name"] == "eth1"


def test_node_py_is_told_everything() -> None:
    told = node_config.program(node(), network_pid=42, api_port=6443, keep=["/b", "/a"])
    assert (told["address"], told["router"], told["mtu"]) == ("198.18.16.17/22", "198.18.16.2", 9000)
    assert (told["network_pid"], told["api_port"], told["keep"]) == (42, 6443, ["/a", "/b"])
    assert told["processes"][1]["argv"][-1] == "--node-labels=a=b,type=real"
    assert told["processes"][1]["after"] == node_config.CRI_SOCKET
    assert not [target for target, gateway in told["routes"] if gateway == "198.18.16.17"]


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([], "one interface at least"),
        ([{"form": "macvlan", "mtu": 1500}], "form 'macvlan'"),
        ([{"form": "ptp", "mtu": 65536}], "MTU of 65536"),
    ],
)
def test_interfaces_that_cannot_be_are_refused(items: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        node_config.interfaces(items)
