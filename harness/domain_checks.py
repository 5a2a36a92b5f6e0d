# SPDX-License-Identifier: GPL-3.0-or-later
"""The check of where Jobs lie in a topology, from the label of each pod's node as the samples hold it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.common_checks import UNSEEN, Finding, plain
from harness.evidence_checks import Context
from harness.pod_load import PodLoad
from harness.scenario_checks import by_job, expectation, expects


def one_domain_per_job(load: PodLoad, context: Context) -> Finding | None:
    """Every Job that has to lie in one domain does, and the load counted the same live."""
    wanted = _levels_required(load)
    if not wanted:
        return None
    found = [_level(load, level, parts) for level, parts in wanted.items()]
    return Finding(
        ", ".join(f"every Job in one {level}" for level in wanted),
        "; ".join(told for told, _ in found),
        all(holds for _, holds in found),
    )


def domains_per_job(load: PodLoad, level: str, parts: Iterable[Mapping[str, Any]]) -> dict[str, int | None]:
    """In how many domains each Job lies: 0 where the samples do not say, None where not all of it holds a node."""
    sizes = {str(part.get("name")): int(part.get("pods_per_job") or 1) for part in parts}
    found: dict[str, int | None] = {}
    for job, rows in by_job(load.every_sample).items():
        held = [row for row in rows if row.holds]
        size = sizes.get(rows[0].part or "")
        if size is None:
            continue
        if len(held) < size:
            found[job] = None
        elif any(row.domains is None or level not in row.domains for row in held):
            found[job] = 0
        else:
            # A node without the label is a domain by itself.
            found[job] = len({(row.domains or {})[level] or f"node {row.node}" for row in held})
    return found


def _level(load: PodLoad, level: str, parts: list[Mapping[str, Any]]) -> tuple[str, bool]:
    """What the samples say of one level, and whether it holds."""
    asked = sum(int(part.get("count") or 1) for part in parts)
    spread = domains_per_job(load, level, parts)
    whole = [count for count in spread.values() if count is not None]
    if not whole or 0 in whole:
        return f"{level}: {UNSEEN} in the samples", False
    in_one = whole.count(1)
    told = f"{in_one} of {asked} Jobs in one {level}, at worst in {max(whole)}"
    claim = load.value("domains", level)
    if not isinstance(claim, Mapping):
        return f"{told}; by the watch {UNSEEN}", False
    seen = ("required", "required_hits") if claim.get("required") else ("jobs", "jobs_in_one")
    jobs, hits = (claim.get(key) for key in seen)
    if (jobs, hits) != (len(whole), in_one):
        return f"{told}; by the watch {plain(hits)} of {plain(jobs)}", False
    return told, in_one == len(spread) == asked


def _levels_required(load: PodLoad) -> dict[str, list[Mapping[str, Any]]]:
    """Level → the measured parts whose Jobs have to lie in one domain of it; all where only the scenario says so."""
    measured = [part for part in load.parts if part.get("measured", True)]
    wanted: dict[str, list[Mapping[str, Any]]] = {}
    for part in measured:
        topology = part.get("topology")
        if isinstance(topology, Mapping) and topology.get("placement", "required") == "required":
            wanted.setdefault(str(topology.get("level")), []).append(part)
    if expects(load, "one_domain_per_job"):
        wanted.setdefault(str(expectation(load, "one_domain_per_job")), measured)
    return wanted
