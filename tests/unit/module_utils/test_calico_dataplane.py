# SPDX-License-Identifier: GPL-3.0-or-later
"""Which dataplane a node runs is what Felix and the kernel show, and a run has one or none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.nightbench.calico_dataplane import (
    KernelLook,
    NodeDataplane,
    agree,
    kernel_look,
    observe,
)
from ansible.module_utils.nightbench.errors import ConfigurationError


def nft(*rules: tuple[str, str], chains: tuple[str, ...] = ()) -> str:
    """What `nft -j -t list ruleset` prints for rules of (table, chain)."""
    tables = dict.fromkeys(table for table, _ in rules)
    items: list[dict[str, Any]] = [{"metainfo": {"version": "1.0.6"}}]
    items += [{"table": {"family": "ip", "name": name}} for name in tables]
    items += [{"chain": {"family": "ip", "table": "filter", "name": name}} for name in chains]
    items += [{"rule": {"family": "ip", "table": table, "chain": chain, "expr": []}} for table, chain in rules]
    return json.dumps({"nftables": items})


SAVED = (
    "*filter\n:INPUT ACCEPT [0:0]\n:cali-FORWARD - [0:0]\n-A FORWARD -j cali-FORWARD\n-A cali-FORWARD -j DROP\nCOMMIT\n"
)
PROXY = "*nat\n:KUBE-SERVICES - [0:0]\nCOMMIT\n"
TC = json.dumps(
    [{"kind": "bpf", "options": {"bpf_name": "cali_tc_preambl", "id": 4}}, {"kind": "bpf", "bpf_name": "other"}]
)
BPFTOOL = json.dumps(
    [{"xdp": [], "tc": [{"devname": "eth0", "kind": "tcx/ingress", "name": "cali_tc_preambl", "id": 7}]}]
)
IP_VS = (
    "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port\n  -> RemoteAddress\nTCP  0A600001:01BB rr\n"
)

LOOKS: list[tuple[str, tuple[str | None, ...], KernelLook]] = [
    ("nothing", (nft(), ""), KernelLook(0, 0, None, "none")),
    ("no tool", (None, None), KernelLook(None, None, None, "none")),
    (
        "nftables",
        (nft(("calico", "filter-FORWARD"), ("calico", "x"), ("kube-proxy", "services")), ""),
        KernelLook(2, 0, None, "nftables"),
    ),
    ("iptables, legacy", (nft(), SAVED + PROXY), KernelLook(0, 1, None, "iptables")),
    (
        "iptables that writes to nft is counted once",
        (nft(("filter", "cali-FORWARD"), chains=("cali-FORWARD",)), SAVED),
        KernelLook(0, 1, None, "none"),
    ),
    ("only nft to look with", (nft(("filter", "cali-x"), ("filter", "cali-y")), None), KernelLook(0, 2, None, "none")),
    ("programs by tc", (nft(), "", TC), KernelLook(0, 0, 1, "none")),
    ("programs by bpftool", (nft(), "", BPFTOOL), KernelLook(0, 0, 1, "none")),
    ("ipvs", (nft(), PROXY, None, IP_VS), KernelLook(0, 0, None, "ipvs")),
    ("an ipvs without a service", (nft(), PROXY, None, IP_VS.rpartition("TCP")[0]), KernelLook(0, 0, None, "iptables")),
]


@pytest.mark.parametrize(("texts", "expected"), [case[1:] for case in LOOKS], ids=[case[0] for case in LOOKS])
def test_the_tools_show_rules_programs_and_kube_proxys_mode(texts: tuple[Any, ...], expected: KernelLook) -> None:
    assert kernel_look(*texts) == expected


@pytest.mark.parametrize("texts", [("no", ""), ("[]", ""), ('{"nftables": 3}', ""), (nft(), "", "{")])
def test_what_no_tool_prints_is_refused(texts: tuple[Any, ...]) -> None:
    with pytest.raises(ConfigurationError, match="node-1"):
        kernel_look(*texts, source="node-1")


def programmed(**counts: int) -> dict[str, int]:
    return {"iptables": 0, "nftables": 0, "ebpf": 0} | counts


NODES: list[tuple[str, dict[str, int] | None, KernelLook | None, str]] = [
    ("nftables", programmed(nftables=133), KernelLook(133, 0, None, "nftables"), "nftables"),
    ("nftables that quietly is iptables", programmed(iptables=90), KernelLook(0, 90, None, "iptables"), "iptables"),
    ("eBPF keeps some rules", programmed(ebpf=7, iptables=14), KernelLook(0, 14, 9, "none"), "ebpf"),
    ("left over from before", programmed(nftables=133), KernelLook(133, 20, None, "nftables"), "contradictory"),
    ("Felix says both", programmed(nftables=3, iptables=4), None, "mixed"),
    (
        "Felix counts what the kernel lacks",
        programmed(nftables=3, iptables=78),
        KernelLook(0, 78, 0, "none"),
        "iptables",
    ),
    ("both, in the kernel too", programmed(nftables=3, iptables=78), KernelLook(3, 78, 0, "none"), "mixed"),
    ("Felix says one, the kernel the other", programmed(iptables=3), KernelLook(3, 0, 0, "none"), "contradictory"),
    ("Felix says programs, the kernel shows none", programmed(ebpf=3), KernelLook(0, 5, 0, "none"), "contradictory"),
    ("no Felix", None, KernelLook(0, 0, 0, "none"), "none"),
    ("no Felix, rules in the kernel", None, KernelLook(9, 0, None, "none"), "nftables"),
    ("no tool", programmed(iptables=9), KernelLook(None, None, None, "none"), "iptables"),
    ("nothing to go by", None, None, "unknown"),
]


@pytest.mark.parametrize(("felix", "look", "expected"), [case[1:] for case in NODES], ids=[case[0] for case in NODES])
def test_a_node_runs_what_felix_and_the_kernel_agree_on(
    felix: dict[str, int] | None, look: KernelLook | None, expected: str
) -> None:
    assert observe("node-1", felix, look).observed == expected


def node(name: str, observed: str = "nftables", proxy: str = "nftables") -> NodeDataplane:
    return NodeDataplane(name, observed, proxy, "6.18", "Felix: 133 of nftables")


AGREED: list[tuple[str, list[NodeDataplane], str | None, tuple[str | None, bool], str]] = [
    ("all of one", [node("a"), node("b")], "nftables", ("nftables", True), "nftables on all 2 nodes"),
    ("nobody asked", [node("a")], None, ("nftables", True), "nftables on all 1 nodes"),
    ("no policy engine", [node("a", "none", "none")], None, ("none", True), "none on all 1 nodes"),
    ("none at all", [], "nftables", (None, False), "no node was looked at"),
    (
        "one differs",
        [node("a"), node("b"), node("c", "iptables")],
        "nftables",
        (None, False),
        "2 dataplanes: iptables on c; nftables on a, b",
    ),
    (
        "kube-proxy differs",
        [node("a"), node("b", proxy="iptables")],
        None,
        (None, False),
        "2 modes of kube-proxy: iptables on b; nftables on a",
    ),
    (
        "another than was asked",
        [node("a", "iptables"), node("b", "iptables")],
        "nftables",
        ("iptables", False),
        "nftables was asked for and iptables runs (Felix: 133 of nftables)",
    ),
    ("mixed everywhere", [node("a", "mixed")], None, (None, False), "mixed on all 1 nodes (Felix: 133 of nftables)"),
]


@pytest.mark.parametrize(
    ("nodes", "asked", "expected", "reason"), [case[1:] for case in AGREED], ids=[case[0] for case in AGREED]
)
def test_a_run_has_one_dataplane_or_none(
    nodes: list[NodeDataplane], asked: str | None, expected: tuple[str | None, bool], reason: str
) -> None:
    found = agree(nodes, asked)
    assert ((found.observed, found.holds), found.reason) == (expected, reason)


def test_of_many_nodes_that_differ_three_are_named() -> None:
    found = agree([node(f"n{index}") for index in range(9)] + [node("x", "none")])
    assert found.reason == "2 dataplanes: nftables on n0, n1, n2 and 6 more; none on x"
