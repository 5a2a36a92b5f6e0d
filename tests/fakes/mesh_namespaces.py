# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods of a mesh without a cluster: the real agent in network namespaces, and the pod proxy before them.

Two bridges stand for the pod network and a second one. Everything carries a name of its own and is removed in the end.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, eventually
from tests.fakes.pod_proxy import PodProxy, relayed
from tests.fakes.serving import serving

AGENT = ROOT / "roles" / "traffic_mesh" / "files" / "agent" / "agent.py"
PORT = 8790
TOKEN = "a token of the test"
NAMESPACE = "mesh"
#: Inside of the namespace: wait for the cables, then become the agent. Shared memory is the container's own /tmp.
INIT = """read go; ip link set lo up; {setup} exec {python} -S -B {agent} --folder {folder} --port {port}"""
#: In the agent's place: the agent with another clock.
CLOCK = """-c "import runpy, sys, time; real = time.time; time.time = lambda: real() + {ahead}; sys.argv = sys.argv[1:]
sys.path.insert(0, '{folder}'); runpy.run_path(sys.argv[0], run_name='__main__')" """


@dataclass
class FakePod:
    """A namespace with an agent in it."""

    name: str
    group: str
    node: str
    addresses: Sequence[str]
    mtu: int = 1500
    #: Seconds by which its clock is ahead of everybody else's.
    ahead: float = 0.0
    process: subprocess.Popen[bytes] | None = None
    lives: int = -1
    phase: str = "Running"
    #: PCI addresses of virtual functions behind its interfaces, and the address of its node.
    devices: dict[str, str] = field(default_factory=dict)
    host: str = ""

    @property
    def ip(self) -> str:
        return self.addresses[0].split("/")[0]

    def agent_pid(self) -> int:
        """unshare's only child, which has become the agent."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return int(children[0])

    def signal(self, number: int) -> None:
        os.kill(self.agent_pid(), number)

    def as_object(self, index: int) -> dict[str, Any]:
        labels = {"nightbench.io/mesh-index": str(index), "nightbench.io/mesh-group": self.group}
        given = [
            {"name": interface, "interface": interface, "device-info": {"type": "pci", "pci": {"pci-address": device}}}
            for interface, device in self.devices.items()
        ]
        annotations = {"k8s.v1.cni.cncf.io/network-status": json.dumps(given)} if given else {}
        return {
            "metadata": {"name": self.name, "labels": labels, "annotations": annotations},
            "spec": {"nodeName": self.node},
            "status": {"phase": self.phase, "podIP": self.ip, "hostIP": self.host},
        }


@dataclass
class FakeCluster:
    """The pods, and the address of the proxy before them."""

    pods: list[FakePod]
    folder: Path
    mark: str
    interfaces: Sequence[str]
    host: str = ""
    requests: list[str] = field(default_factory=list)

    def pod(self, name: str) -> FakePod:
        return next(pod for pod in self.pods if pod.name == name)

    def cable(self, pod: FakePod, interface: str) -> str:
        """This machine's end; the kernel may still be taking away the one of the pod's former life."""
        return f"{self.mark}{self.interfaces.index(interface)}p{self.pods.index(pod)}{'r' * pod.lives}"

    def start(self, pod: FakePod) -> None:
        """Start, or start again, the pod's namespace with its agent; its folder stays."""
        pod.lives += 1
        folder = self.folder / pod.name
        folder.mkdir(exist_ok=True)
        setup = "".join(
            f"ip address add {address} dev {name}; ip link set {name} mtu {pod.mtu} up; "
            for name, address in zip(self.interfaces, pod.addresses, strict=True)
        )
        agent = (CLOCK.format(ahead=pod.ahead, folder=AGENT.parent) if pod.ahead else "") + str(AGENT)
        script = INIT.format(setup=setup, python=sys.executable, agent=agent, folder=folder, port=PORT)
        environment = {"POD_IP": pod.ip, "POD_NAME": pod.name, "NIGHTBENCH_TOKEN": TOKEN}
        pod.process = subprocess.Popen(
            ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script],
            stdin=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], **environment},
        )
        pid = pod.process.pid
        eventually(lambda: os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"))
        lines = []
        for at, name in enumerate(self.interfaces):
            cable, bridge = self.cable(pod, name), f"{self.mark}{at}"
            lines += [
                f"link add {cable} type veth peer name {name} netns {pid}",
                f"link set {cable} master {bridge} mtu {pod.mtu} up",
            ]
        ip_batch(lines)
        assert pod.process.stdin is not None
        pod.process.stdin.write(b"\n")
        pod.process.stdin.close()
        pod.phase = "Running"

    def kill(self, pod: FakePod) -> None:
        """As when its node ends it: nothing of it is left, and the API server knows."""
        if pod.process is not None:
            pod.process.kill()
            pod.process.wait()
        pod.phase = "Failed"

    def answers(self, pod: FakePod) -> bool:
        return proxied(pod, "GET", "/state", b"")[0] == 200

    def listed(self, selector: str) -> list[dict[str, Any]]:
        """All: here are no others."""
        return [pod.as_object(index) for index, pod in enumerate(self.pods)]

    def address(self, name: str, port: str) -> tuple[str, int] | None:
        return next(((pod.ip, PORT) for pod in self.pods if pod.name == name and port == str(PORT)), None)


def layout(
    groups: dict[str, int], subnets: Sequence[str] = ("{net}.{host}/24", "{second}.{host}/24"), nodes: int = 2
) -> list[FakePod]:
    """Pods of groups over nodes in turn; ``subnets`` has a form for each interface."""
    names = [(f"{group}-{number}", group) for group, count in groups.items() for number in range(count)]
    third = secrets.randbelow(60) * 2
    known = {"net": f"198.19.{third + 128}", "second": f"198.19.{third + 129}"}
    return [
        FakePod(name, group, f"node-{index % nodes}", [one.format(host=index + 11, **known) for one in subnets])
        for index, (name, group) in enumerate(names)
    ]


@contextlib.contextmanager
def namespaces(
    pods: list[FakePod], folder: Path, interfaces: Sequence[str] = ("eth0", "net1")
) -> Iterator[FakeCluster]:
    """Start all of them; nothing is left afterwards."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    if shutil.which("iperf3") is None:
        pytest.skip("iperf3 is not installed")
    cluster = FakeCluster(pods, folder, f"nbm{secrets.token_hex(2)}-", interfaces)
    bridges = [f"{cluster.mark}{number}" for number in range(len(interfaces))]
    try:
        ip_batch([line for name in bridges for line in (f"link add {name} type bridge", f"link set {name} up")])
        gateway = pods[0].ip.rpartition(".")[0]
        ip_batch([f"address add {gateway}.1/24 dev {bridges[0]}"])
        for pod in pods:
            cluster.start(pod)
        for pod in pods:
            eventually(lambda pod=pod: cluster.answers(pod), 60)
        with serving(PodProxy, namespace=NAMESPACE, pods=cluster) as server:
            cluster.host = server.url
            yield cluster
    finally:
        for pod in pods:
            if pod.process is not None:
                pod.process.send_signal(signal.SIGCONT)
                pod.process.kill()
                pod.process.wait()
        for name in bridges:
            subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def ip_batch(lines: Sequence[str]) -> None:
    done = subprocess.run(
        ["ip", "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def proxied(pod: FakePod, method: str, path: str, body: bytes, token: str = TOKEN) -> tuple[int, bytes]:
    """One request to the agent, as the API server would make it."""
    return relayed((pod.ip, PORT), method, path, body, token)
