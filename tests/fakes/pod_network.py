# SPDX-License-Identifier: GPL-3.0-or-later
"""A node with pods, as network namespaces and nothing else: the node routes between them, nothing touches the host."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest

#: RFC 2544; inside of namespaces of their own nobody can be disturbed by them.
GATEWAY, NETWORK = "198.18.255.1", "198.18.200"


@dataclass
class Namespace:
    """A network namespace that lives as long as a process that sleeps in it."""

    process: subprocess.Popen[bytes]

    @property
    def path(self) -> str:
        return f"/proc/{self.process.pid}/ns/net"

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            ["nsenter", f"--net={self.path}", "--", *argv], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout


@dataclass
class Pod:
    name: str
    address: str
    namespace: Namespace


@dataclass
class Node:
    namespace: Namespace
    pods: list[Pod] = field(default_factory=list)


def need_namespaces(*tools: str) -> None:
    """Skip where nothing of this can be made."""
    missing = [tool for tool in ("nsenter", "unshare", "ip", *tools) if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"network namespaces need root and {', '.join(missing) or 'its rights'}")


@contextlib.contextmanager
def pod_network(names: Sequence[str]) -> Iterator[Node]:
    with contextlib.ExitStack() as stack:
        node = Node(stack.enter_context(_namespace()))
        node.namespace.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        for index, name in enumerate(names):
            pod = Pod(name, f"{NETWORK}.{index + 1}", stack.enter_context(_namespace()))
            _plug(node.namespace, pod, f"veth{index}")
            node.pods.append(pod)
        yield node


def _plug(node: Namespace, pod: Pod, link: str) -> None:
    """As the CNI plugin ptp does: one neighbour a pod, and every packet passes the node's forward hook."""
    node.run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", str(pod.namespace.process.pid))
    node.run("ip", "addr", "add", f"{GATEWAY}/32", "dev", link)
    node.run("ip", "link", "set", link, "up")
    node.run("ip", "route", "add", f"{pod.address}/32", "dev", link)
    pod.namespace.run("ip", "link", "set", "lo", "up")
    pod.namespace.run("ip", "addr", "add", f"{pod.address}/32", "dev", "eth0")
    pod.namespace.run("ip", "link", "set", "eth0", "up")
    pod.namespace.run("ip", "route", "add", GATEWAY, "dev", "eth0")
    pod.namespace.run("ip", "route", "add", "default", "via", GATEWAY)


@contextlib.contextmanager
def _namespace() -> Iterator[Namespace]:
    process = subprocess.Popen(
        ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield Namespace(process)
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
