# SPDX-License-Identifier: GPL-3.0-or-later
"""Which dataplane a node runs, seen with the real tools in its namespace and on the page of a Felix."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from ansible.modules import bench_dataplane

from tests.conftest import RunModule
from tests.fakes.bpf_program import attached_program
from tests.fakes.calico_pages import FELIX, IPTABLES, page
from tests.fakes.pod_network import Node, need_namespaces, pod_network
from tests.fakes.serving import QuietHandler, serving

pytestmark = pytest.mark.integration

CALICO = "add table ip calico; add chain ip calico filter-FORWARD; add rule ip calico filter-FORWARD accept"
PROXY = "add table ip kube-proxy; add chain ip kube-proxy services"
#: As iptables that writes to nft does it: a table and chains of its own.
LEGACY = "add table ip filter; add chain ip filter cali-FORWARD; add rule ip filter cali-FORWARD accept"

#: One of Calico's, and one of somebody else.
PROGRAMS = ("cali_tc_preambl", "others_program")


@pytest.fixture
def nodes() -> Iterator[list[Node]]:
    need_namespaces("nft")
    with ExitStack() as stack:
        yield [stack.enter_context(pod_network([])) for _ in range(2)]


@contextmanager
def served(text: str, status: int = 200) -> Iterator[str]:
    class Handler(QuietHandler):
        def do_GET(self) -> None:
            self.answer(status, text.encode())

    with serving(Handler) as server:
        yield f"{server.url}/metrics"


def items(nodes: list[Node], *urls: str) -> list[dict[str, str]]:
    found = [{"name": f"node-{n}", "namespace": node.namespace.path} for n, node in enumerate(nodes)]
    return [item | {"metrics_url": url} for item, url in zip(found, urls, strict=True)] if urls else found


def test_nodes_without_a_policy_engine_run_none(nodes: list[Node], run_module: RunModule) -> None:
    result = run_module(bench_dataplane, nodes=items(nodes), asked="none").ok()
    assert (result["observed"], result["holds"], result["reason"]) == ("none", True, "none on all 2 nodes")


def test_the_rules_of_each_dataplane_are_seen_in_the_nodes_own_namespace(
    nodes: list[Node], run_module: RunModule
) -> None:
    nodes[0].namespace.run("nft", f"{CALICO}; {PROXY}")
    nodes[1].namespace.run("nft", LEGACY)
    result = run_module(bench_dataplane, nodes=items(nodes), asked="nftables").ok()
    assert [(node["observed"], node["proxy_mode"]) for node in result["nodes"]] == [
        ("nftables", "nftables"),
        ("iptables", "none"),
    ]
    assert (result["observed"], result["holds"]) == (None, False)
    assert result["reason"] == "2 dataplanes: iptables on node-1; nftables on node-0"


def test_programs_that_older_tools_do_not_show_are_seen(nodes: list[Node], run_module: RunModule) -> None:
    """As a Felix of v3.32.1 attaches its own where the kernel can; rules of iptables stay beside them."""
    nodes[0].namespace.run("nft", LEGACY)
    own, other = (attached_program(node.namespace.path, name) for node, name in zip(nodes, PROGRAMS, strict=True))
    with own, other:
        seen = run_module(bench_dataplane, nodes=items(nodes)).ok()["nodes"]
    assert [node["observed"] for node in seen] == ["ebpf", "none"]
    assert "1 of ebpf" in seen[0]["because"]
    assert run_module(bench_dataplane, nodes=items(nodes)).ok()["nodes"][0]["observed"] == "iptables"


def test_what_felix_says_has_to_be_what_the_kernel_shows(nodes: list[Node], run_module: RunModule) -> None:
    for node in nodes:
        node.namespace.run("nft", CALICO)
    with served(page(FELIX)) as good, served(page(FELIX, **IPTABLES)) as other:
        same = run_module(bench_dataplane, nodes=items(nodes, good, good), asked="nftables").ok()
        differs = run_module(bench_dataplane, nodes=items(nodes, good, other), asked="nftables").ok()
    assert (same["observed"], same["holds"], same["nodes"][0]["felix"]["active_policies"]) == ("nftables", True, 4)
    assert (differs["observed"], differs["holds"]) == (None, False)
    assert differs["nodes"][1]["observed"] == "contradictory"


def test_nftables_that_quietly_is_iptables_is_found(nodes: list[Node], run_module: RunModule) -> None:
    for node in nodes:
        node.namespace.run("nft", LEGACY)
    with served(page(FELIX, **IPTABLES)) as url:
        result = run_module(bench_dataplane, nodes=items(nodes, url, url), asked="nftables").ok()
    assert (result["observed"], result["holds"]) == ("iptables", False)
    assert result["reason"].startswith("nftables was asked for and iptables runs (Felix: 90 of iptables")


def test_what_cannot_be_looked_at_is_a_failure_that_names_the_node(nodes: list[Node], run_module: RunModule) -> None:
    gone = [{"name": "node-9", "namespace": "/proc/0/ns/net"}]
    assert "on node node-9 failed" in run_module(bench_dataplane, nodes=gone).failed().msg
    closed = items(nodes[:1], "http://127.0.0.1:1/metrics")
    assert "http://127.0.0.1:1/metrics" in run_module(bench_dataplane, nodes=closed).failed().msg
    with served("<html>", 200) as url:
        assert "is no line of metrics" in run_module(bench_dataplane, nodes=items(nodes[:1], url)).failed().msg
