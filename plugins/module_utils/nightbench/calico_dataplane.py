# SPDX-License-Identifier: GPL-3.0-or-later
"""Which dataplane a node runs, as its Felix and its kernel show it; and whether all nodes run one. Pure.

What the operator was asked for says nothing: since v1.42 it sets `nftablesMode: Auto`, and a Felix that finds no table
of kube-proxy runs iptables without a word (calico, felix/dataplane/linux/int_dataplane.go).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import ConfigurationError

IPTABLES, NFTABLES, EBPF = "iptables", "nftables", "ebpf"
NONE, MIXED, CONTRADICTORY, UNKNOWN = "none", "mixed", "contradictory", "unknown"
DATAPLANES = (IPTABLES, NFTABLES, EBPF)
#: felix/nftables: one table of this name in each family; kube-proxy's own (pkg/proxy/nftables) is called after it.
CALICO_TABLE, PROXY_TABLE = "calico", "kube-proxy"
#: felix/rules/rule_defs.go: ChainNamePrefix. Programs in the kernel have the prefix without its dash.
CHAIN_PREFIX, PROGRAM_PREFIX = "cali-", "cali"
PROXY_CHAIN = "KUBE-SERVICES"


@dataclass(frozen=True)
class KernelLook:
    """What the tools saw in a node's namespace; None is a tool that is not there."""

    nftables_rules: int | None  # in Calico's own tables
    iptables_rules: int | None  # in Calico's chains, whichever backend holds them
    bpf_programs: int | None
    proxy_mode: str  # iptables, nftables, ipvs, none


@dataclass(frozen=True)
class NodeDataplane:
    node: str
    observed: str
    proxy_mode: str
    kernel: str
    because: str


@dataclass(frozen=True)
class Agreement:
    """The subject of a run: what all nodes run. `reason` says why it is none."""

    observed: str | None
    holds: bool
    reason: str


def kernel_look(
    nft: str | None,
    iptables: str | None,
    programs: str | None = None,
    ip_vs: str | None = None,
    *,
    source: str = "the node",
) -> KernelLook:
    """From `nft -j -t list ruleset`, `iptables-save`, `bpftool -j net show` or `tc -j filter show`, /proc/net/ip_vs."""
    rules: Counter[str] = Counter()
    chains: set[str] = set()
    tables: set[str] = set()
    for item in _json(nft, f"{source}, nft") if nft is not None else []:
        for kind, value in item.items():
            if kind == "table":
                tables.add(str(value.get("name")))
            elif kind == "chain":
                chains.add(str(value.get("name")))
            elif kind == "rule":
                rules[_owner(str(value.get("table")), str(value.get("chain")))] += 1
    saved = iptables.splitlines() if iptables is not None else []
    chains |= {line[1:].split(None, 1)[0] for line in saved if line.startswith(":") and len(line) > 1}
    by_save = sum(1 for line in saved if line.startswith(f"-A {CHAIN_PREFIX}"))
    known = iptables is not None or nft is not None
    return KernelLook(
        nftables_rules=rules[NFTABLES] if nft is not None else None,
        # One that writes to nft is in both lists: it is one rule.
        iptables_rules=max(by_save, rules[IPTABLES]) if known else None,
        bpf_programs=len(set(_programs(programs, source))) if programs is not None else None,
        proxy_mode=_proxy_mode(tables, chains, ip_vs),
    )


def observe(
    node: str, programmed: Mapping[str, int] | None, look: KernelLook | None, kernel: str = ""
) -> NodeDataplane:
    """Felix's own word and the kernel's have to agree; a node of which one is missing goes by the other."""
    by_felix = _which(programmed) if programmed is not None else UNKNOWN
    by_kernel = UNKNOWN
    seen = "the kernel was not looked at"
    if look is not None:
        counts = {IPTABLES: look.iptables_rules, NFTABLES: look.nftables_rules, EBPF: look.bpf_programs}
        told = {name: count for name, count in counts.items() if count is not None}
        by_kernel = _which(told) if told else UNKNOWN
        seen = "kernel: " + (_in_words(told) or "no tool to look with")
    # A Felix that runs iptables counts some rules of the table of nft that it never made (v3.32.1).
    if by_felix == MIXED and programmed is not None and programmed.get(by_kernel):
        by_felix = by_kernel
    said = f"Felix: {_in_words(programmed)}" if programmed is not None else "Felix was not asked"
    found = by_kernel if by_felix == UNKNOWN else by_felix
    if UNKNOWN not in (by_felix, by_kernel) and by_felix != by_kernel:
        found = CONTRADICTORY
    return NodeDataplane(node, found, look.proxy_mode if look else UNKNOWN, kernel, f"{said}; {seen}")


def agree(nodes: Sequence[NodeDataplane], asked: str | None = None) -> Agreement:
    """None of a node may differ: not in its dataplane, and not in what kube-proxy runs."""
    if not nodes:
        return Agreement(None, False, "no node was looked at")
    for what in ("observed", "proxy_mode"):
        found: dict[str, list[str]] = {}
        for node in nodes:
            found.setdefault(getattr(node, what), []).append(node.node)
        if len(found) > 1:
            told = "; ".join(f"{value} on {_names(names)}" for value, names in sorted(found.items()))
            words = "dataplanes" if what == "observed" else "modes of kube-proxy"
            return Agreement(None, False, f"{len(found)} {words}: {told}")
    observed, because = nodes[0].observed, nodes[0].because
    if observed not in (*DATAPLANES, NONE):
        return Agreement(None, False, f"{observed} on all {len(nodes)} nodes ({because})")
    if asked is not None and asked != observed:
        return Agreement(observed, False, f"{asked} was asked for and {observed} runs ({because})")
    return Agreement(observed, True, f"{observed} on all {len(nodes)} nodes")


def _which(counts: Mapping[str, int]) -> str:
    """eBPF keeps rules of iptables or nftables beside its programs; the two others have no business together."""
    if counts.get(EBPF):
        return EBPF
    found = [name for name in (IPTABLES, NFTABLES) if counts.get(name)]
    return MIXED if len(found) > 1 else found[0] if found else NONE


def _owner(table: str, chain: str) -> str:
    if table == CALICO_TABLE:
        return NFTABLES
    return IPTABLES if chain.startswith(CHAIN_PREFIX) else ""


def _proxy_mode(tables: set[str], chains: set[str], ip_vs: str | None) -> str:
    if PROXY_TABLE in tables:
        return NFTABLES
    # /proc/net/ip_vs: three lines of headings, then one of each service.
    if re.search(r"^(TCP|UDP|SCTP|FWM)\s", ip_vs or "", re.MULTILINE):
        return "ipvs"
    return IPTABLES if PROXY_CHAIN in chains else NONE


def _programs(text: str | None, source: str) -> list[str]:
    """Names of Calico's programs, wherever the answer has them: bpftool and tc nest them differently."""
    found: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            name = value.get("bpf_name") or value.get("name")
            where = f"{value.get('devname', '')}{value.get('kind', '')}{value.get('id', '')}"
            if isinstance(name, str) and name.startswith(PROGRAM_PREFIX):
                found.append(f"{name}@{where}")
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    try:
        walk(json.loads(text or "[]"))
    except ValueError as error:
        raise ConfigurationError(f"{source}, programs: no JSON: {error}") from error
    return found


def _json(text: str, where: str) -> list[dict[str, dict[str, object]]]:
    try:
        document = json.loads(text or '{"nftables": []}')
        items = document["nftables"]
        return [item for item in items if all(isinstance(value, dict) for value in item.values())]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(f"{where}: not what `nft -j list ruleset` prints: {error}") from error


def _in_words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in counts.items())


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
