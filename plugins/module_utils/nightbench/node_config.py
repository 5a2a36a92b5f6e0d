# SPDX-License-Identifier: GPL-3.0-or-later
"""The files that one real node is started with. Pure: from what is known of it to their texts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .errors import ConfigurationError
from .node_network import NodeNetwork

CRI_SOCKET = "/run/containerd/containerd.sock"
#: Tools by the names that the programs call each other; the plugins of the pod network have names of their own.
PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "runc")
PLUGINS = {"cni-bridge": "bridge", "cni-ptp": "ptp", "cni-host-local": "host-local", "cni-loopback": "loopback"}
FORMS = ("ptp", "bridge")


@dataclass(frozen=True)
class Interface:
    """One interface of every pod. containerd calls them eth0, eth1 and so on."""

    form: str
    mtu: int


@dataclass(frozen=True)
class Node:
    """Everything that makes one node."""

    index: int
    name: str
    folder: Path
    network: NodeNetwork
    interfaces: Sequence[Interface]
    cgroup: str
    kubeconfig: Path
    ca_cert: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    max_pods: int = 110
    pause_image: str = ""
    kubelet: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bin_dir(self) -> Path:
        return self.folder.parent / "bin"

    @property
    def cni_dir(self) -> Path:
        return self.folder.parent / "cni"


def files(node: Node) -> dict[str, str]:
    """Text by name, in the node's folder."""
    networks = {conflist_name(number): _json(conflist(node, number)) for number in range(len(node.interfaces))}
    return {"containerd.toml": containerd(node), "kubelet.json": _json(kubelet(node)), **networks}


def conflist_name(number: int) -> str:
    """In the node's folder. containerd takes as many as a pod has interfaces, by their names."""
    return f"net.d/{10 + number}-eth{number}.conflist"


def conflist(node: Node, number: int) -> dict[str, Any]:
    """No masquerade and no default route: what is outside the range cannot be reached from a pod."""
    interface = node.interfaces[number]
    # The first interface is the way to everything else in the range: nodes, the machine.
    target = node.network.whole if number == 0 else node.network.interface(number)
    ipam = {
        "type": "host-local",
        "ranges": [[{"subnet": str(node.network.pods(number, node.index))}]],
        "routes": [{"dst": str(target)}],
    }
    plugin: dict[str, Any] = {"type": interface.form, "ipMasq": False, "mtu": interface.mtu, "ipam": ipam}
    if interface.form == "bridge":
        plugin |= {"bridge": f"pods{number}", "isGateway": True, "isDefaultGateway": False}
    return {"cniVersion": "1.0.0", "name": f"eth{number}", "plugins": [plugin]}


def kubelet(node: Node) -> dict[str, Any]:
    """KubeletConfiguration; what the caller adds wins."""
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": str(node.network.node(node.index)),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": False},
            "x509": {"clientCAFile": str(node.ca_cert)},
        },
        "authorization": {"mode": "AlwaysAllow"},  # of those who have the cluster's certificate
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.cgroup}",
        "containerRuntimeEndpoint": f"unix://{CRI_SOCKET}",
        "enforceNodeAllocatable": [],
        # The node's disk is memory of the machine, and what is measured shall not be evicted.
        "evictionHard": {
            "memory.available": "0%",
            "nodefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.available": "0%",
            "imagefs.inodesFree": "0%",
        },
        "failCgroupV1": False,
        "failSwapOn": False,
        "featureGates": {"KubeletInUserNamespace": True},  # what it may not change on this machine it leaves
        "imageGCHighThresholdPercent": 100,
        "kubeAPIBurst": 200,
        "kubeAPIQPS": 100,
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "maxPods": node.max_pods,
        "podLogsDir": "/var/log/pods",
        "registerWithTaints": [dict(taint) for taint in node.taints],
        "resolvConf": "",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        **node.kubelet,
    }


def containerd(node: Node) -> str:
    """containerd's configuration, version 2: 1.6 and 1.7 read it, 2.x translates it."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    runc = f"{cri}.containerd.runtimes.runc"
    tables: dict[str, dict[str, Any]] = {
        "": {
            "version": 2,
            "root": "/var/lib/containerd",
            "state": "/run/containerd",
            "disabled_plugins": [
                f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")
            ],
        },
        "grpc": {"address": CRI_SOCKET},
        'plugins."io.containerd.internal.v1.opt"': {"path": "/var/lib/containerd/opt"},
        cri: {
            "sandbox_image": node.pause_image,
            "restrict_oom_score_adj": True,
            "disable_apparmor": True,
            "disable_hugetlb_controller": True,
            "tolerate_missing_hugetlb_controller": True,
        },
        f"{cri}.containerd": {"snapshotter": "overlayfs", "default_runtime_name": "runc"},
        runc: {"runtime_type": "io.containerd.runc.v2"},
        f"{runc}.options": {"BinaryName": str(node.bin_dir / "runc"), "SystemdCgroup": False},
        f"{cri}.cni": {
            "bin_dir": str(node.cni_dir),
            "conf_dir": str(node.folder / "net.d"),
            "max_conf_num": len(node.interfaces),
        },
    }
    lines = []
    for table, values in tables.items():
        lines += [f"[{table}]"] if table else []
        # A string, a number, a truth value and a list of strings look in TOML as they do in JSON.
        lines += [f"{name} = {json.dumps(value)}" for name, value in values.items()] + [""]
    return "\n".join(lines)


def program(node: Node, *, network_pid: int, api_port: int, keep: Sequence[str]) -> dict[str, Any]:
    """What node.py is told."""
    mtu = max(interface.mtu for interface in node.interfaces)
    bits = node.network.nodes.prefixlen
    labels = ",".join(f"{name}={value}" for name, value in sorted(node.labels.items()))
    return {
        "address": f"{node.network.node(node.index)}/{bits}",
        "api_port": api_port,
        "bin_dir": str(node.bin_dir),
        "cgroup": node.cgroup,
        "keep": sorted(keep),
        "mtu": mtu,
        "network_pid": network_pid,
        "port": f"node{node.index}",
        "processes": [
            {
                "name": "containerd",
                "argv": [str(node.bin_dir / "containerd"), f"--config={node.folder / 'containerd.toml'}"],
                "after": "",
                "log": str(node.folder / "containerd.log"),
            },
            {
                "name": "kubelet",
                "argv": [
                    str(node.bin_dir / "kubelet"),
                    f"--config={node.folder / 'kubelet.json'}",
                    f"--kubeconfig={node.kubeconfig}",
                    f"--hostname-override={node.name}",
                    f"--node-ip={node.network.node(node.index)}",
                    "--root-dir=/var/lib/kubelet",
                    *([f"--node-labels={labels}"] if labels else []),
                ],
                "after": CRI_SOCKET,
                "log": str(node.folder / "kubelet.log"),
            },
        ],
        "range": str(node.network.whole),
        "ready": str(node.folder / "ready.json"),
        "router": str(node.network.router),
        "routes": node.network.routes(but=node.index),
    }


def network_program(network: NodeNetwork, folder: Path, host_interface: str, mtu: int) -> dict[str, Any]:
    bits = network.nodes.prefixlen
    return {
        "host_address": f"{network.machine}/{bits}",
        "host_interface": host_interface,
        "mtu": mtu,
        "range": str(network.whole),
        "ready": str(folder / "ready.json"),
        "router_address": f"{network.router}/{bits}",
        "routes": network.routes(),
    }


def interfaces(items: Sequence[Mapping[str, Any]]) -> list[Interface]:
    found = [Interface(str(item["form"]), int(item["mtu"])) for item in items]
    for one in found:
        if one.form not in FORMS:
            raise ConfigurationError(f"An interface has the form {one.form!r}.", hint=f"There are {', '.join(FORMS)}.")
        if not 1280 <= one.mtu <= 65535:
            raise ConfigurationError(f"An interface has an MTU of {one.mtu}.", hint="1280 to 65535 are possible.")
    if not found:
        raise ConfigurationError("A pod needs one interface at least.")
    return found


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"
