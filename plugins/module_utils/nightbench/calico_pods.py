# SPDX-License-Identifier: GPL-3.0-or-later
"""The same looks at the nodes of a cluster: in the pods of calico-node, which share their node's network.

The tools are those of Calico's own image; one program a node says it all, for a cluster has hundreds of nodes.
"""

from __future__ import annotations

import io
import re
import secrets
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from .calico_dataplane import UNKNOWN, NodeDataplane, kernel_look, observe
from .calico_look import AT_ONCE, IPTABLES_BACKENDS, TOOL_SECONDS, NodeState, page_of_pod
from .calico_metrics import felix_state
from .errors import ProcessError
from .kube import Kube
from .pod_exec import Pod

NOT_FOUND = 127  # the shell's own
NFT, PROGRAMS, IP_VS = "nft", "bpftool", "ip_vs"
TOOLS: dict[str, list[str]] = {
    NFT: ["nft", "-j", "-t", "list", "ruleset"],
    PROGRAMS: ["bpftool", "-j", "net", "show"],
    IP_VS: ["cat", "/proc/net/ip_vs"],
    **{backend: [f"{backend}-save"] for backends in IPTABLES_BACKENDS for backend in backends},
}
#: What is not there, or has never been used, is nothing that a node runs.
MAY_FAIL = (IP_VS, PROGRAMS, *(name for name in TOOLS if "legacy" in name))


@dataclass(frozen=True)
class CalicoPods:
    """Where the pods of calico-node are, and on which port their Felix serves its metrics; 0: it does not."""

    namespace: str
    label_selector: str
    container: str
    port: int


def look_at(kube: Kube, pods: CalicoPods, node_selector: str) -> list[NodeState]:
    """Every node with these labels; one without such a pod is told as unknown."""
    there = kube.list_pages(f"/api/v1/namespaces/{pods.namespace}/pods", label_selector=pods.label_selector)[0]
    running = {pod["spec"].get("nodeName"): pod for pod in there if pod["status"].get("phase") == "Running"}
    nodes = kube.list_pages("/api/v1/nodes", label_selector=node_selector)[0]

    def look(node: Mapping[str, Any]) -> NodeState:
        name, kernel = node["metadata"]["name"], node["status"].get("nodeInfo", {}).get("kernelVersion", "")
        pod = running.get(name)
        if pod is None:
            why = f"no pod with {pods.label_selector} runs there"
            return NodeState(NodeDataplane(name, UNKNOWN, UNKNOWN, kernel, why), None)
        return _look(kube, pods, name, kernel, pod["metadata"]["name"])

    with ThreadPoolExecutor(min(AT_ONCE, len(nodes) or 1)) as pool:
        return list(pool.map(look, nodes))


def _look(kube: Kube, pods: CalicoPods, node: str, kernel: str, pod: str) -> NodeState:
    felix = None
    if pods.port:
        page, _ = page_of_pod(kube, pods.namespace, pod, pods.port)
        felix = felix_state(page, node)
    token, said = secrets.token_hex(8), io.BytesIO()
    Pod(kube, pods.namespace, pod, pods.container, TOOL_SECONDS).run(["sh", "-c", script(token)], said)
    told = answers(said.getvalue().decode("utf-8", "replace"), token, node)
    look = kernel_look(told[NFT], _saved(told), told[PROGRAMS], told[IP_VS], source=node)
    return NodeState(observe(node, felix.programmed if felix else None, look, kernel), felix)


def _saved(told: Mapping[str, str | None]) -> str | None:
    """Each backend by itself where they are told apart; with neither, whatever iptables is."""
    for backends in IPTABLES_BACKENDS:
        if texts := [text for name in backends if (text := told[name]) is not None]:
            return "".join(texts)
    return None


def script(token: str) -> str:
    """Runs every tool; after what it says stands a line with the token, its name and its exit code."""
    run = "{} 2>/dev/null; code=$?; printf '\\n%s %s %s\\n' {} {} $code"
    return "\n".join(run.format(shlex.join(argv), token, name) for name, argv in TOOLS.items())


def answers(said: str, token: str, node: str) -> dict[str, str | None]:
    """By tool; None where it is not there. Raise ProcessError where one failed, or the answer is cut off."""
    parts = re.split(rf"\n{token} (\S+) (\d+)\n", said)
    found: dict[str, str | None] = {}
    for text, name, code in zip(parts[0::3], parts[1::3], parts[2::3], strict=False):
        if int(code) not in (0, NOT_FOUND) and name not in MAY_FAIL:
            raise ProcessError(f"{' '.join(TOOLS[name])} on node {node} ended with {code}")
        found[name] = text if int(code) == 0 else None
    if missing := [name for name in TOOLS if name not in found]:
        raise ProcessError(f"node {node} did not tell of {', '.join(missing)}: its answer is cut off")
    return found
