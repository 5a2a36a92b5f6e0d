# SPDX-License-Identifier: GPL-3.0-or-later
"""What a Felix leaves in the kernel of a node when it ends, and its removal; also of one that was killed.

A Felix that ends leaves its rules, so that pods are protected while it is started anew.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from .calico_dataplane import CALICO_TABLE, CHAIN_PREFIX, IPTABLES, NFTABLES, PROGRAM_PREFIX
from .calico_look import NodeAddress, iptables_saved, links, run_tool

#: iptables that writes to nft makes its tables as it needs them.
TABLES_OF_IPTABLES = ("filter", "nat", "mangle", "raw", "security")
#: felix/rules/rule_defs.go: what Felix puts into chains of others has a comment of this kind, or leads to its chains.
RULE = re.compile(rf'--comment "?cali:|(?:-j|-g) {CHAIN_PREFIX}')
#: felix/ipsets/ipset_defs.go
SET_PREFIX = "cali"
#: felix/dataplane/linux/dataplanedefs: the pair of interfaces of eBPF; one end takes the other along.
BPF_LINK = "bpfin.cali"


@dataclass(frozen=True)
class Traces:
    """Calico's things in the kernel of one node."""

    tables: Sequence[tuple[str, str]] = ()  # of nft: family and name
    saved: Mapping[str, str] = field(
        default_factory=dict
    )  # by backend of iptables what *-save prints, with rules of Calico
    sets: Sequence[str] = ()
    filtered: Sequence[str] = ()  # interfaces with programs
    links: Sequence[str] = ()

    def words(self) -> list[str]:
        return [
            *(f"nft table {family} {name}" for family, name in self.tables),
            *(f"rules of {backend}" for backend in self.saved),
            *(f"ipset {name}" for name in self.sets),
            *(f"programs on {name}" for name in self.filtered),
            *(f"interface {name}" for name in self.links),
        ]


def foreign(found: Traces, dataplane: str) -> Traces:
    """What is of another dataplane. A Felix of v3.32.1 that runs iptables panics while it removes a table of nft."""
    if dataplane == NFTABLES:
        return replace(found, tables=())
    if dataplane == IPTABLES:
        return replace(found, saved={}, sets=())
    return Traces(tables=found.tables)


def traces(node: NodeAddress) -> Traces:
    names = links(node)
    saved = {backend: text for backend, text in iptables_saved(node).items() if removal(text)}
    return Traces(
        tables=calico_tables(run_tool(node, "nft", "-j", "list", "tables")),
        saved=saved,
        sets=[name for name in (run_tool(node, "ipset", "list", "-n") or "").split() if name.startswith(SET_PREFIX)],
        filtered=[name for name in names if _has_program(node, name)],
        links=[name for name in names if name == BPF_LINK],
    )


def remove(node: NodeAddress, found: Traces) -> None:
    for family, name in found.tables:
        run_tool(node, "nft", "delete", "table", family, name)
    for backend, text in found.saved.items():
        run_tool(node, f"{backend}-restore", "--noflush", told=removal(text))
    if found.saved:
        for family, name in emptied_tables(run_tool(node, "nft", "-j", "-t", "list", "ruleset")):
            run_tool(node, "nft", "delete", "table", family, name)
    for name in found.sets:
        run_tool(node, "ipset", "destroy", name)
    for name in found.filtered:
        run_tool(node, "tc", "qdisc", "del", "dev", name, "clsact")
    for name in found.links:
        run_tool(node, "ip", "link", "delete", name)


def calico_tables(listed: str | None) -> list[tuple[str, str]]:
    """From `nft -j list tables`."""
    tables = [item["table"] for item in json.loads(listed or '{"nftables": []}')["nftables"] if "table" in item]
    return [(str(table["family"]), str(table["name"])) for table in tables if table["name"] == CALICO_TABLE]


def removal(saved: str) -> str:
    """From what `iptables-save` prints: what `iptables-restore --noflush` is told; empty without Calico's rules."""
    told: list[str] = []
    for block in re.findall(r"^\*\S+$.*?^COMMIT$", saved, re.MULTILINE | re.DOTALL):
        table, *lines = block.splitlines()
        chains = [line[1:].split()[0] for line in lines if line.startswith(f":{CHAIN_PREFIX}")]
        rules = [line for line in lines if line.startswith("-A ") and not line.startswith(f"-A {CHAIN_PREFIX}")]
        ours = [f"-D {line[3:]}" for line in rules if RULE.search(line)]
        if chains or ours:
            # Named again, a chain is emptied: then none of them leads to another one when they go.
            told += [table, *(f":{chain} - [0:0]" for chain in chains), *ours, *(f"-X {chain}" for chain in chains)]
            told.append("COMMIT")
    return "\n".join([*told, ""]) if told else ""


def emptied_tables(listed: str | None) -> list[tuple[str, str]]:
    """From `nft -j -t list ruleset`: tables of iptables with nothing in them but the chains that it makes itself."""
    items = json.loads(listed or '{"nftables": []}')["nftables"]
    tables = [(str(item["table"]["family"]), str(item["table"]["name"])) for item in items if "table" in item]
    used = {(item["rule"]["family"], item["rule"]["table"]) for item in items if "rule" in item}
    used |= {
        (item["chain"]["family"], item["chain"]["table"])
        for item in items
        if "chain" in item and "hook" not in item["chain"]
    }
    return [one for one in tables if one[1] in TABLES_OF_IPTABLES and one[0] in ("ip", "ip6") and one not in used]


def _has_program(node: NodeAddress, link: str) -> bool:
    shown = [
        run_tool(node, "tc", "-j", "filter", "show", "dev", link, direction, missing_is_nothing=True) or ""
        for direction in ("ingress", "egress")
    ]
    return any(f'"{PROGRAM_PREFIX}_' in text for text in shown)
