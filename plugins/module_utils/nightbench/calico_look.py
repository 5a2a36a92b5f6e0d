# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at nodes: with the kernel's own tools in each node's network namespace, and at the metrics of its Felix."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from .bpf_attached import attached
from .calico_dataplane import KernelLook, NodeDataplane, kernel_look, observe
from .calico_metrics import FelixState, felix_state
from .errors import ProcessError, Unreachable
from .exposition import Page, parse
from .kube import Kube

TOOL_SECONDS = 30.0
ANSWER_SECONDS = 10.0
AT_ONCE = 8
#: Each backend by itself where they are told apart; with neither, whatever iptables is.
IPTABLES_BACKENDS = (
    ("iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"),
    ("iptables", "ip6tables"),
)


@dataclass(frozen=True)
class NodeAddress:
    """A namespace is a path like /proc/PID/ns/net; empty: ours. Without a URL Felix is not asked."""

    name: str
    namespace: str = ""
    metrics_url: str = ""


@dataclass(frozen=True)
class NodeState:
    dataplane: NodeDataplane
    felix: FelixState | None


def look_at(nodes: Sequence[NodeAddress]) -> list[NodeState]:
    with ThreadPoolExecutor(min(AT_ONCE, len(nodes) or 1)) as pool:
        return list(pool.map(_look, nodes))


def _look(node: NodeAddress) -> NodeState:
    felix = felix_state(page_of(node.metrics_url), node.name) if node.metrics_url else None
    return NodeState(observe(node.name, felix.programmed if felix else None, _kernel(node), platform.release()), felix)


def _kernel(node: NodeAddress) -> KernelLook:
    programs = run_tool(node, "bpftool", "-j", "net", "show")
    if programs is None:
        programs = _filters(node)
    # Older tools say nothing of those that newer kernels attach in another way.
    if newer := attached(node.namespace):
        programs = f"[{programs or '[]'},{json.dumps(newer)}]"
    return kernel_look(
        run_tool(node, "nft", "-j", "-t", "list", "ruleset"),
        "".join(saved.values()) if (saved := iptables_saved(node)) else None,
        programs,
        run_tool(node, "cat", "/proc/net/ip_vs", missing_is_nothing=True),
        source=node.name,
    )


def _filters(node: NodeAddress) -> str | None:
    """Programs on the interfaces by tc, which shows those that are attached in its own way alone."""
    found = []
    for name in links(node):
        for direction in ("ingress", "egress"):
            told = run_tool(node, "tc", "-j", "filter", "show", "dev", name, direction, missing_is_nothing=True)
            if told is None:
                return None
            found.append(told.strip() or "[]")
    return f"[{','.join(found)}]"


def iptables_saved(node: NodeAddress) -> dict[str, str]:
    """By backend of iptables what *-save prints: Felix takes the one that it finds in use, or legacy."""
    for backends in IPTABLES_BACKENDS:
        texts = {backend: run_tool(node, f"{backend}-save") for backend in backends}
        if found := {backend: text for backend, text in texts.items() if text is not None}:
            return found
    return {}


def links(node: NodeAddress) -> list[str]:
    """Its interfaces. Not by /sys, which shows those of the namespace that it was mounted in."""
    return [str(link["ifname"]) for link in json.loads(run_tool(node, "ip", "-j", "link") or "[]")]


def run_tool(node: NodeAddress, *argv: str, missing_is_nothing: bool = False, told: str | None = None) -> str | None:
    """None where the tool is not there; an empty text where what it should show is not and that is fine."""
    entered = ["nsenter", f"--net={node.namespace}", "--", *argv] if node.namespace else list(argv)
    try:
        done = subprocess.run(
            entered,
            capture_output=True,
            text=True,
            check=False,
            timeout=TOOL_SECONDS,
            input=told,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        return None
    except subprocess.TimeoutExpired as error:
        raise ProcessError(f"{argv[0]} on node {node.name} gave no answer in {TOOL_SECONDS:g} s") from error
    if done.returncode == 0:
        return done.stdout
    # nsenter's own answer where the program is not there; its namespace is another matter.
    if f"failed to execute {argv[0]}" in done.stderr:
        return None
    if missing_is_nothing:
        return ""
    raise ProcessError(f"{' '.join(argv)} on node {node.name} failed: {done.stderr.strip()[-300:]}")


def page_of(url: str) -> Page:
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as answer:
            text = str(answer.read().decode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        raise Unreachable(f"GET {url}: {error}", hint="Is it told to serve its metrics, and there?") from error
    return parse(text, url)


def page_of_pod(kube: Kube, namespace: str, pod: str, port: int) -> tuple[Page, str]:
    """By the API server's proxy; and its path there, by which errors name it."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics"
    return parse(kube.request("GET", path).data.decode("utf-8", "replace"), path), path
