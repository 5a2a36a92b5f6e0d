# SPDX-License-Identifier: GPL-3.0-or-later
"""Real nodes of this machine: what is asked for, and the processes that it takes.

A node is one process (node.py of role real_nodes) with a child in namespaces of its own; another one holds the network
between the nodes. real_nodes_end.py ends them.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from . import host_changes, jsonfile, node_config, node_network, process
from .errors import ConfigurationError, NotFound
from .kube import Kube
from .node_config import PLUGINS, PROGRAMS, Interface, Node
from .node_network import NodeNetwork
from .process import Records, Spec
from .process_plan import Step, Wanted, carry_out
from .process_plan import plan as plan_processes
from .readiness import Ready
from .target import Target

MARK = "NIGHTBENCH_REAL_NODES"  # the folder, in the environment of every process that node.py starts
NETWORK = "real-nodes-network"
STATE_FILE = "network.json"
READY_FILE = "ready.json"
READY_SECONDS = 30.0
LOOPBACK = "127.0.0.1"
LOG_LINES = 1
INDEX_LABEL = "nightbench.io/index"
TOOLS = (*PROGRAMS, *PLUGINS)
#: Settings of the whole machine that bound the neighbours of all network namespaces together (arp(7)).
NEIGHBOUR_SETTINGS = ("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "/proc/sys/net/ipv4/neigh/default/gc_thresh2")


@dataclass(frozen=True)
class Declaration:
    """What the caller asks for."""

    folder: Path
    run_state: Path
    run_id: str
    program: Path
    tools: Mapping[str, str]
    count: int
    prefix: str
    interfaces: Sequence[Interface]
    pod_prefix: int
    cidr: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Sequence[Mapping[str, str]] = ()
    max_pods: int = 110
    pause_image: str = ""
    kubelet: Mapping[str, Any] = field(default_factory=dict)
    neighbours: int = 0

    def node_name(self, index: int) -> str:
        return f"{self.prefix}{index}"


def host_interface(folder: Path) -> str:
    """The machine's end of the network."""
    return f"nb{_key(folder)}"


def cgroup(folder: Path) -> str:
    return f"{host_changes.CGROUP_PREFIX}{_key(folder)}"


def _key(folder: Path) -> str:
    """What tells the names of these nodes in the kernel from those of any other run."""
    return hashlib.sha256(str(folder).encode()).hexdigest()[:8]


def why_not(tools: Mapping[str, str]) -> str:
    """Why no real node can run here; empty when one can."""
    if os.geteuid() != 0:
        return "real nodes need root, for namespaces, mounts and network interfaces"
    lacking = [name for name in TOOLS if not tools.get(name)]
    if lacking:
        return f"real nodes need {', '.join(lacking)}"
    absent = [command for command in ("ip", "nsenter") if not find(command)]
    if absent:
        return f"real nodes need the command {' and '.join(absent)} (Debian packages iproute2, util-linux)"
    if not host_changes.hierarchies():
        return "real nodes need cgroups, and none are mounted"
    return ""


# --- the network


def choose_networks(wanted: Declaration, records: Records, taken: Sequence[IPv4Network]) -> list[NodeNetwork]:
    """The network that runs, when it fits; else those that may be tried, the likeliest first."""

    def sized(whole: IPv4Network) -> NodeNetwork:
        return NodeNetwork(whole, len(wanted.interfaces), wanted.pod_prefix)

    asked = node_network.parse(wanted.cidr) if wanted.cidr else None
    stored = stored_network(wanted.folder)
    record = records.get(NETWORK)
    running = record is not None and process.is_running(record.identity)
    if stored and running and stored == sized(asked or stored.whole):
        found = [stored]
    elif asked:
        found = [sized(asked)]
    else:
        found = [sized(one) for one in node_network.candidates(wanted.run_id or str(wanted.folder), taken)]
    if not found:
        raise ConfigurationError(
            f"Every range of {node_network.BENCHMARKS} is in use on this machine (ip route).",
            hint="End what is left of other runs with: python -m harness clean",
        )
    node_network.check(found[0], wanted.count, wanted.max_pods)
    return found


def stored_network(folder: Path) -> NodeNetwork | None:
    try:
        value = jsonfile.read(folder / STATE_FILE)
        return NodeNetwork(IPv4Network(value["whole"]), int(value["interfaces"]), int(value["pod_prefix"]))
    except (ConfigurationError, TypeError, KeyError, ValueError):
        return None


def store_network(wanted: Declaration, network: NodeNetwork) -> None:
    """Before it is started: who ends it after a kill has to know it."""
    host_changes.note_cgroup(wanted.folder, cgroup(wanted.folder))
    stored = {"whole": str(network.whole), "interfaces": network.interfaces, "pod_prefix": network.pod_prefix}
    jsonfile.write_atomic(wanted.folder / STATE_FILE, stored)


# --- processes


@dataclass(frozen=True)
class Program:
    """A process of ours and the files in its folder; with other files it is another process."""

    wanted: Wanted
    folder: Path
    files: Mapping[str, str]

    @property
    def ready(self) -> Path:
        return self.folder / READY_FILE

    def namespace_pid(self) -> int | None:
        """The process in namespaces of its own, once there is one."""
        value = jsonfile.read(self.ready)
        return int(value["pid"]) if value else None


def network_program(wanted: Declaration, network: NodeNetwork) -> Program:
    folder = wanted.folder / "network"
    mtu = max(interface.mtu for interface in wanted.interfaces)
    told = node_config.network_program(network, folder, host_interface(wanted.folder), mtu)
    return _program(wanted, NETWORK, "network", folder, told, {})


def node_program(wanted: Declaration, network: NodeNetwork, index: int, api_port: int, network_pid: int) -> Program:
    node = node_of(wanted, network, index)
    keep = [str(wanted.folder), *(os.path.realpath(path) for path in wanted.tools.values() if path)]
    told = node_config.program(node, network_pid=network_pid, api_port=api_port, keep=keep)
    return _program(wanted, node.name, "node", node.folder, told, node_config.files(node))


def node_of(wanted: Declaration, network: NodeNetwork, index: int) -> Node:
    name = wanted.node_name(index)
    return Node(
        index=index,
        name=name,
        folder=wanted.folder / name,
        network=network,
        interfaces=wanted.interfaces,
        cgroup=f"{cgroup(wanted.folder)}/{name}",
        kubeconfig=wanted.folder / "kubeconfig.json",
        ca_cert=wanted.folder / "ca.crt",
        labels={**wanted.labels, INDEX_LABEL: str(index)},
        taints=wanted.taints,
        max_pods=wanted.max_pods,
        pause_image=wanted.pause_image,
        kubelet=wanted.kubelet,
    )


def node_facts(wanted: Declaration, network: NodeNetwork, index: int) -> dict[str, Any]:
    """A node as the module returns it."""
    node = node_of(wanted, network, index)
    return {
        "name": node.name,
        "address": str(network.node(index)),
        "pod_ranges": [str(network.pods(number, index)) for number in range(network.interfaces)],
        "conflists": [str(node.folder / node_config.conflist_name(number)) for number in range(network.interfaces)],
        "plugin_dir": str(node.cni_dir),
        "logs": [str(node.folder / f"{name}.log") for name in ("node", "containerd", "kubelet")],
    }


def network_facts(wanted: Declaration, network: NodeNetwork) -> dict[str, Any]:
    return {
        "range": str(network.whole),
        "machine": str(network.machine),
        "interface": host_interface(wanted.folder),
        "interfaces": [str(network.interface(number)) for number in range(network.interfaces)],
    }


def is_node(pid: int) -> bool:
    """Whether this is a process of a node; a pid that was noted down may have passed on to another one."""
    mark = f"{MARK}=".encode()
    return any(variable.startswith(mark) for variable in process.environment_of(pid))


def with_pause_image(wanted: Declaration, name: str) -> Declaration:
    return replace(wanted, pause_image=name)


def forget(kube: Kube, names: Sequence[str]) -> None:
    """A node that starts is a new one: the object of an earlier one would call it Ready before it is."""
    for name in names:
        with contextlib.suppress(NotFound):
            kube.request("DELETE", f"/api/v1/nodes/{name}")


def log_ends(folder: Path) -> dict[str, str]:
    """The last line of every program of the nodes, by the path of its log."""
    ends = {str(path): process.log_tail(path, LOG_LINES) for path in sorted(folder.glob("*/*.log"))}
    return {path: end for path, end in ends.items() if end}


def end_surplus(wanted: Declaration, records: Records) -> list[str]:
    ended = []
    for one in surplus(wanted, records):
        record = records.get(one.spec.name)
        if record:
            process.stop(record, records)
            ended.append(one.spec.name)
            shutil.rmtree(wanted.folder / one.spec.name, ignore_errors=True)
    return ended


def surplus(wanted: Declaration, records: Records) -> list[Wanted]:
    """Nodes of ours that nobody asks for any more."""
    asked = {wanted.node_name(index) for index in range(wanted.count)} | {NETWORK}
    return [
        Wanted(Spec(record.name, record.argv, record.log))
        for record in records.all()
        if is_ours(record.argv, wanted.folder) and record.name not in asked
    ]


def is_ours(argv: Sequence[str], folder: Path) -> bool:
    return len(argv) > 3 and argv[2] in ("network", "node") and argv[3].startswith(f"{folder}/")


def plan(programs: Sequence[Program], records: Records) -> list[Step]:
    return plan_processes("started", [one.wanted for one in programs], records)


def start(programs: Sequence[Program], records: Records, run_id: str, stopped: Callable[[], bool]) -> None:
    """Start those that do not run as wanted, and wait for all."""
    steps = plan(programs, records)
    for step, program in zip(steps, programs, strict=True):
        if step.starts:
            program.ready.unlink(missing_ok=True)
            for name, text in program.files.items():
                write_file(program.folder / name, text)
    carry_out(steps, records, run_id, stopped)


def _program(
    wanted: Declaration, name: str, kind: str, folder: Path, told: Mapping[str, Any], files: Mapping[str, str]
) -> Program:
    whole = {"configuration.json": as_text(told), **files}
    digest = hashlib.sha256(as_text(whole).encode()).hexdigest()
    spec = Spec(
        name=name,
        argv=[sys.executable, str(wanted.program), kind, str(folder / "configuration.json"), digest],
        log=str(folder / "node.log"),
        # A stage that is ended ends what carries its mark; these outlive it.
        env={MARK: str(wanted.folder), "NIGHTBENCH_STAGE": ""},
        stop_signal="SIGKILL",
    )
    ready = Ready(file=str(folder / READY_FILE), timeout_seconds=READY_SECONDS)
    return Program(Wanted(spec, ready), folder, whole)


# --- what all nodes share


def check_target(target: Target) -> None:
    configuration = target.configuration
    if target.scheme != "https" or target.host not in (LOOPBACK, "localhost"):
        raise ConfigurationError(
            f"The API server is at {target.where}; real nodes join a control plane on {LOOPBACK} of their machine.",
            hint="Role control_plane starts one.",
        )
    if not (configuration.ssl_ca_cert and configuration.cert_file and configuration.key_file):
        raise ConfigurationError(
            f"The kubeconfig for {target.where} has no client certificate or no certificate authority.",
            hint="A kubelet introduces itself by a certificate of the administrator's.",
        )


def write_common(wanted: Declaration, target: Target) -> None:
    """The programs by the names they call each other, and the way to the API server."""
    for folder, names in (("bin", {name: name for name in PROGRAMS}), ("cni", PLUGINS)):
        (wanted.folder / folder).mkdir(exist_ok=True)
        for tool, name in names.items():
            _link(wanted.folder / folder / name, os.path.realpath(wanted.tools[tool]))
    write_file(wanted.folder / "ca.crt", _pem(target.configuration.ssl_ca_cert))
    write_file(wanted.folder / "kubeconfig.json", as_text(kubeconfig(target)))


def kubeconfig(target: Target) -> dict[str, Any]:
    """Whole in itself: a node sees no file of the control plane."""

    def data(path: str | None) -> str:
        return base64.b64encode(_pem(path).encode()).decode()

    credentials = target.configuration
    server = {
        "server": f"https://{LOOPBACK}:{target.port}",
        "certificate-authority-data": data(credentials.ssl_ca_cert),
    }
    user = {
        "client-certificate-data": data(credentials.cert_file),
        "client-key-data": data(credentials.key_file),
    }
    name = "nightbench"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def write_file(path: Path, text: str) -> None:
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.new")
    new.touch(mode=0o600)
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _link(path: Path, target: str) -> None:
    if not path.is_symlink() or os.readlink(path) != target:
        new = path.with_name(f".{path.name}.new")
        new.unlink(missing_ok=True)
        new.symlink_to(target)
        new.replace(path)


def _pem(path: str | None) -> str:
    return Path(path or "").read_text(encoding="ascii")


def as_text(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def find(command: str) -> str:
    """Its path; a user's PATH often leaves the folders of administrators' commands out."""
    return shutil.which(command, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin") or ""
