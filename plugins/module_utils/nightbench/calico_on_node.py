# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real node needs so that Calico is the network of its pods: files of its own and the network's description.

The files lie in the node's memory and go with it. The description of the network before is kept inside the new one, so
that one write exchanges them and another one puts it back, whatever was killed in between.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import jsonfile, real_nodes
from .calico_look import NodeAddress, run_tool
from .errors import ConfigurationError, ProcessError

TYPE = "calico"
REMEMBERED = "nightbench.io/before"  # plugins ignore what a list of theirs holds beside them
#: Where Calico looks on a node (calico, felix/config/config_params.go and cni-plugin/pkg/plugin/plugin.go). /run and
#: not /var/run, which is a link that would lead out of the node when it is followed from outside.
FOLDER, STATUS_FOLDER, LOG_FOLDER = "/var/lib/calico", "/run/calico", "/var/log/calico"
NODENAME, KUBECONFIG = f"{FOLDER}/nodename", f"{FOLDER}/kubeconfig"
#: Laid over /usr/lib, where Felix looks for its programs for eBPF and nowhere else (felix/bpf/bpfdefs/defs.go).
BPF_LAYER = f"{FOLDER}/usr_lib"
#: A file system of the node's own for what eBPF pins. The machine's would be one for all nodes, and a Felix of any
#: dataplane removes what it finds there (felix/bpf/tc/cleanup.go).
BPF_FILE_SYSTEM, BPF_SOURCE = "/sys/fs/bpf", "nightbench"
#: The gateway of every pod (cni-plugin/pkg/dataplane/linux). The kernel answers for it on the pods' links only where it
#: has a route to it elsewhere, and a real node has no default route.
GATEWAY = ["169.254.1.1/32", "dev", "eth0"]
#: For eBPF Felix puts a route of its own in the place of one that has its metric, and takes it away when it leaves
#: (felix/dataplane/linux/bpf_ep_mgr.go, felix/routetable/route_table.go: 0 or 1024). One of another metric stays.
GATEWAY_METRIC = ["metric", "4096"]
ENDPOINT_STATUS = f"{STATUS_FOLDER}/endpoint-status"


@dataclass(frozen=True)
class Node:
    """A real node as role real_nodes says it; no pid where it does not run."""

    name: str
    pid: int | None
    conflist: Path
    plugin_dir: Path

    @property
    def namespace(self) -> str:
        return f"/proc/{self.pid}/ns/net"

    @property
    def runs(self) -> bool:
        return self.pid is not None and real_nodes.is_node(self.pid)

    def path(self, path: str) -> Path:
        """A path of the node as this machine reaches it."""
        return Path(f"/proc/{self.pid}/root{path}")


@dataclass(frozen=True)
class Wanted:
    plugin: Path
    kubeconfig: Mapping[str, Any]
    policy_setup_seconds: int = 0
    bpf_dir: Path | None = None  # only for eBPF


def conflist(before: Mapping[str, Any], node: str, policy_setup_seconds: int) -> dict[str, Any]:
    """Calico in place of the plugin that connects the pods. The network keeps its name and its addresses, which are
    given out under this name: no address is given to two pods."""
    first, *others = before["plugins"]
    plugin: dict[str, Any] = {
        "type": TYPE,
        "datastore_type": "kubernetes",
        "nodename": node,
        "log_level": "info",
        "log_file_path": f"{LOG_FOLDER}/cni/cni.log",
        "mtu": first["mtu"],
        "ipam": first["ipam"],
        "policy": {"type": "k8s"},
        "kubernetes": {"kubeconfig": KUBECONFIG},
    }
    if policy_setup_seconds:
        plugin |= {"policy_setup_timeout_seconds": policy_setup_seconds, "endpoint_status_dir": ENDPOINT_STATUS}
    return {
        "cniVersion": before["cniVersion"],
        "name": before["name"],
        "plugins": [plugin, *others],
        REMEMBERED: dict(before),
    }


def network_before(current: Mapping[str, Any]) -> Mapping[str, Any]:
    """The network as it was without Calico."""
    before: Mapping[str, Any] = current.get(REMEMBERED, current)
    return before


def differences(node: Node, wanted: Wanted) -> list[str]:
    """What has to be written on a node, in words."""
    return [words for words, right, _ in _steps(node, wanted) if not right]


def bring_about(node: Node, wanted: Wanted) -> None:
    for _, right, write in _steps(node, wanted):
        if not right:
            write()


def remains(node: Node) -> list[str]:
    """What of the files is there, in words."""
    found = [f"{path} on {node.name}" for path in _folders(node)]
    found += [f"the network {node.conflist}"] if _read(node.conflist) != _before(node.conflist) else []
    found += [f"the route to {GATEWAY[0]} on {node.name}"] if node.runs and _has_route(node) else []
    found += [f"{BPF_FILE_SYSTEM} on {node.name}"] if node.runs and _has_bpf(node) else []
    return found + ([str(_plugin(node))] if _plugin(node).is_symlink() else [])


def remove(node: Node) -> None:
    """The network first: no pod starts with a plugin that lacks its files."""
    if _read(node.conflist) != (before := _before(node.conflist)):
        jsonfile.write_atomic(node.conflist, before)
    _plugin(node).unlink(missing_ok=True)
    if node.runs and _has_route(node):
        _route(node, "del")
    if node.runs and _has_bpf(node):
        _mount(node, "umount", BPF_FILE_SYSTEM)
    for path in _folders(node):
        for point in mounted_below(path, _mountinfo(node)):
            _mount(node, "umount", point)
        shutil.rmtree(node.path(path))


def unseen(node: Node, paths: Sequence[Path]) -> list[str]:
    """Files of this machine that the node does not see, because it has a folder of its own in that place."""
    return [str(path) for path in paths if not node.path(os.path.realpath(path)).exists()]


def _steps(node: Node, wanted: Wanted) -> list[tuple[str, bool, Any]]:
    """What, whether it is right already, and how it is written; the network comes last."""
    texts = {NODENAME: node.name, KUBECONFIG: real_nodes.as_text(wanted.kubeconfig)}
    steps: list[tuple[str, bool, Any]] = []
    for path, text in texts.items():
        target = node.path(path)
        right = target.exists() and target.read_text(encoding="utf-8") == text
        steps.append(
            (f"{path} on {node.name}", right, lambda target=target, text=text: real_nodes.write_file(target, text))
        )
    status = node.path(ENDPOINT_STATUS)
    steps.append((f"{ENDPOINT_STATUS} on {node.name}", status.is_dir(), lambda: status.mkdir(parents=True)))
    steps.append((f"the route to {GATEWAY[0]} on {node.name}", _has_route(node), lambda: _route(node, "add")))
    if os.path.isdir(BPF_FILE_SYSTEM):
        words = f"{BPF_FILE_SYSTEM} on {node.name}"
        steps.append((words, _has_bpf(node), lambda: _mount(node, "mount", "-t", "bpf", BPF_SOURCE, BPF_FILE_SYSTEM)))
    if wanted.bpf_dir:
        steps.append(_link(node.path(f"{BPF_LAYER}/calico/bpf"), wanted.bpf_dir, f"{BPF_LAYER} on {node.name}"))
    steps.append(_link(_plugin(node), wanted.plugin, str(_plugin(node))))
    network = conflist(_before(node.conflist), node.name, wanted.policy_setup_seconds)
    right = _read(node.conflist) == network
    steps.append((f"the network {node.conflist}", right, lambda: jsonfile.write_atomic(node.conflist, network)))
    return steps


def _has_route(node: Node) -> bool:
    return bool(run_tool(NodeAddress(node.name, node.namespace), "ip", "route", "show", "exact", *GATEWAY))


def _route(node: Node, action: str) -> None:
    run_tool(NodeAddress(node.name, node.namespace), "ip", "route", action, *GATEWAY, *GATEWAY_METRIC)


def mounted_below(path: str, mountinfo: str) -> list[str]:
    """The innermost first. Felix mounts the cgroups at /run/calico/cgroup (calico, felix/bpf/utils)."""
    points = [fields[4] for line in mountinfo.splitlines() if len(fields := line.split()) > 4]
    return sorted((point for point in points if point.startswith(f"{path}/")), key=len, reverse=True)


def _has_bpf(node: Node) -> bool:
    return f" - bpf {BPF_SOURCE} " in _mountinfo(node)


def _mountinfo(node: Node) -> str:
    return Path(f"/proc/{node.pid}/mountinfo").read_text(encoding="utf-8")


def _mount(node: Node, *argv: str) -> None:
    done = subprocess.run(
        # With its processes too: umount asks /proc, which is the node's own.
        ["nsenter", f"--target={node.pid}", "--mount", "--pid", "--", *argv],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise ProcessError(f"{' '.join(argv)} on {node.name} failed: {done.stderr.strip()}")


def _link(path: Path, target: Path, words: str) -> tuple[str, bool, Any]:
    real = os.path.realpath(target)

    def write() -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(real)

    return words, path.is_symlink() and os.readlink(path) == real, write


def _plugin(node: Node) -> Path:
    return node.plugin_dir / TYPE


def _folders(node: Node) -> list[str]:
    return [path for path in (FOLDER, STATUS_FOLDER, LOG_FOLDER) if node.runs and node.path(path).exists()]


def _before(path: Path) -> Mapping[str, Any]:
    return network_before(_read(path))


def _read(path: Path) -> Mapping[str, Any]:
    value = jsonfile.read(path)
    if value is None:
        return {}
    if not isinstance(value, dict) or not value.get("plugins"):
        raise ConfigurationError(
            f"{path} is no list of plugins (CNI).", hint=f"It holds {json.dumps(value)[:80]}; start the node anew."
        )
    return value
