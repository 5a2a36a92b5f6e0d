# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a node with Calico in it, and as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import calico_on_node
from ansible.module_utils.nightbench.calico_on_node import Node, conflist, mounted_below, network_before
from ansible.module_utils.nightbench.errors import ConfigurationError

IPAM = {
    "type": "host-local",
    "ranges": [[{"subnet": "198.18.4.0/25"}]],
    "routes": [{"dst": "198.18.0.0/20"}],
}
PTP = {
    "cniVersion": "1.0.0",
    "name": "eth0",
    "plugins": [{"type": "ptp", "ipMasq": False, "mtu": 9000, "ipam": IPAM}, {"type": "tuning"}],
}


def test_calico_takes_the_place_of_the_first_plugin_and_the_addresses_stay() -> None:
    made = conflist(PTP, "real-0", 0)
    assert {key: made[key] for key in ("cniVersion", "name")} == {"cniVersion": "1.0.0", "name": "eth0"}
    assert made["plugins"] == [
        {
            "type": "calico",
            "datastore_type": "kubernetes",
            "nodename": "real-0",
            "log_level": "info",
            "log_file_path": "/var/log/calico/cni/cni.log",
            "mtu": 9000,
            "ipam": IPAM,
            "policy": {"type": "k8s"},
            "kubernetes": {"kubeconfig": "/var/lib/calico/kubeconfig"},
        },
        {"type": "tuning"},
    ]


def test_a_pod_waits_for_its_policies_where_that_is_asked_for() -> None:
    (first, _) = conflist(PTP, "real-0", 7)["plugins"]
    assert (first["policy_setup_timeout_seconds"], first["endpoint_status_dir"]) == (7, "/run/calico/endpoint-status")


@pytest.mark.parametrize("current", [PTP, conflist(PTP, "real-0", 0)], ids=["without Calico", "with it"])
def test_the_network_before_is_known_from_the_file_alone(current: dict[str, Any]) -> None:
    assert network_before(current) == PTP
    assert conflist(network_before(current), "real-0", 0) == conflist(PTP, "real-0", 0)


@pytest.fixture
def stopped(tmp_path: Path) -> Node:
    """A node that does not run, whose network is Calico's."""
    (tmp_path / "cni").mkdir()
    (tmp_path / "cni" / "calico").symlink_to("/nowhere/calico")
    path = tmp_path / "10-eth0.conflist"
    path.write_text(json.dumps(conflist(PTP, "real-0", 0)))
    return Node("real-0", None, path, tmp_path / "cni")


def test_a_node_that_does_not_run_gets_its_network_back(stopped: Node) -> None:
    path = stopped.conflist
    assert calico_on_node.remains(stopped) == [f"the network {path}", f"{stopped.plugin_dir}/calico"]
    calico_on_node.remove(stopped)
    assert calico_on_node.remains(stopped) == []
    # As role real_nodes writes it, so that nobody takes it for another one.
    assert path.read_text() == json.dumps(PTP, indent=2, sort_keys=True) + "\n"


def test_nodes_that_are_gone_have_nothing_left(tmp_path: Path) -> None:
    gone = Node("real-0", None, tmp_path / "none" / "10-eth0.conflist", tmp_path / "none")
    assert calico_on_node.remains(gone) == []
    calico_on_node.remove(gone)
    assert list(tmp_path.iterdir()) == []


def test_a_pid_that_passed_on_to_another_process_is_no_node() -> None:
    assert not Node("real-0", 1, Path("/none"), Path("/none")).runs


@pytest.mark.parametrize("text", ["[]", '{"plugins": []}', '{"name": "eth0"}'])
def test_what_is_no_description_of_a_network_is_left_alone(stopped: Node, text: str) -> None:
    stopped.conflist.write_text(text)
    with pytest.raises(ConfigurationError, match="is no list of plugins"):
        calico_on_node.remove(stopped)
    assert stopped.conflist.read_text() == text


# proc(5): mount ID, parent ID, major:minor, root, mount point, options … - type, source, options.
MOUNTINFO = """\
22 1 0:20 / / rw,relatime - overlay overlay rw
31 22 0:27 / /run rw,nosuid - tmpfs tmpfs rw
40 31 0:30 / /run/calico/cgroup rw,relatime - cgroup2 cgroup rw
41 40 0:30 /a /run/calico/cgroup/a rw,relatime - cgroup2 cgroup rw
42 31 0:31 / /run/calico2 rw,relatime - tmpfs tmpfs rw
half a line
"""


def test_what_is_mounted_below_a_folder_comes_innermost_first() -> None:
    assert mounted_below("/run/calico", MOUNTINFO) == ["/run/calico/cgroup/a", "/run/calico/cgroup"]


def test_a_folder_below_which_nothing_is_mounted_is_left_as_it_is() -> None:
    assert mounted_below("/var/lib/calico", MOUNTINFO) == []
