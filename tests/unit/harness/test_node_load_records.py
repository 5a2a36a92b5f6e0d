# SPDX-License-Identifier: GPL-3.0-or-later
"""A number of nodes is published where asked for, existing, Ready and streaming are one number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.model import Record
from harness.nodes.load import VALUES
from harness.report import report
from harness.results import RunFolder

RUN_ID, COUNT = "20261122T183000Z-1a2b", 4
Rows = list[dict[str, Any]]
Edit = Callable[[Rows, dict[str, Any]], None]


def rows() -> Rows:
    return [
        {"name": f"scale-{n}", "answered": 0.1 * (n + 1), "ready": 0.5 * (n + 1), "gone": 9.0, "failure": None}
        for n in range(COUNT)
    ]


def column(real: int, fake: int) -> dict[str, int]:
    return {"real": real, "fake": fake, "all": real + fake}


def values() -> dict[str, Any]:
    return {
        "plan": {"nodes": COUNT, "connections": 16, "clients": None},
        **dict.fromkeys(("asked", "created", "ready", "gone"), COUNT),
        "before": column(2, 500),
        "columns": dict.fromkeys(("asked", "existing", "ready", "schedulable"), column(2, 504)),
        "streaming": None,
        "typhas": {"there": None, "expected": 4},
        "counts_hold": True,
        "problems": [],
        "mock": None,
        "dataplane": {"asked": "none", "observed": "none", "holds": True, "reason": "none on all 2 nodes"},
        "machine": {"cpus": 2, "cpu_busy_ratio": 0.97, "steal_ratio": 0.0, "processes": {
            "kube-apiserver": {"cpu_ratio_of_machine": 0.5}, "kwok": {"cpu_ratio_of_machine": 0.2}}},
    }  # fmt: skip


def build(root: Path, told: Mapping[str, Any], found: Rows) -> RunFolder:
    folder = RunFolder(root / RUN_ID)
    (folder.path / "samples").mkdir(parents=True)
    base = {"schema_version": 1, "run_id": RUN_ID}
    named = {"suite": "calico_scale", "scenario": "nodes_at_scale", "subject": "no_policy_engine"}
    data = "".join(json.dumps(row) + "\n" for row in found).encode()
    (folder.path / "samples/1.jsonl").write_bytes(data)
    samples = {"path": "samples/1.jsonl", "sha256": hashlib.sha256(data).hexdigest(), "rows": len(found)}
    observation = {**base, **named, "at": "2026-11-22T18:31:00.000000Z", "kind": "node_load", "repeat": 1,
                   "parameters": {}, "values": told, "samples": samples}  # fmt: skip
    records = [{**named, "metric": metric, "repeats": 1} for metric in VALUES]
    plan = {**base, "created_at": "2026-11-22T18:30:00Z", "stages": [], "records": records, "parameters": {}}
    (folder.path / "plan.json").write_text(json.dumps(plan))
    (folder.path / "run.json").write_text(json.dumps({**base, "started_at": "2026-11-22T18:30:00Z"}))
    (folder.path / "observations.jsonl").write_text(json.dumps(observation) + "\n")
    return folder


def records(root: Path, *edits: Edit) -> dict[str, Record]:
    found, told = rows(), values()
    for edit in edits:
        edit(found, told)
    return {record.metric: record for record in report(build(root, told, found)).records}


def test_rates_and_times_of_all_nodes_with_what_bounds_them(tmp_path: Path) -> None:
    found = records(tmp_path)
    assert {metric: record.value for metric, record in found.items()} == pytest.approx(
        {
            "nodes_ready": 4.0,
            "nodes_ready_all_seconds": 2.0,
            "nodes_created_per_second": 10.0,
            "nodes_ready_per_second": 2.0,
            "node_created_to_ready_seconds": 1.0,
        }
    )
    assert {record.verdict for record in found.values()} == {"measured"}
    bound = found["nodes_ready_all_seconds"].bound_by
    assert bound is not None and (bound.kind, bound.component) == ("machine", "kube-apiserver")
    assert found["node_created_to_ready_seconds"].bound_by is None
    assert "kwok" in found["nodes_ready_all_seconds"].parameters["simulated"]
    page = (tmp_path / RUN_ID / "report.html").read_text()
    assert "the operator wants 4" in page


def row(**changes: Any) -> Edit:
    return lambda found, told: found[0].update(changes)


def tell(**changes: Any) -> Edit:
    return lambda found, told: told.update(changes)


def more(real: int, fake: int) -> Edit:
    """As the published test whose label said 14,000 while 14,727 were there."""

    def edit(found: Rows, told: dict[str, Any]) -> None:
        told["columns"] = {**told["columns"], "existing": column(real, fake)}
        told |= {"counts_hold": False, "problems": [f"{fake} fake nodes existing, 504 asked"]}

    return edit


def dataplane(**changes: Any) -> Edit:
    return lambda found, told: told["dataplane"].update(changes)


WRONG: list[tuple[str, Sequence[Edit], set[str]]] = [
    ("a node that was never Ready", [row(ready=None)], {"nodes_accounted_for", "observation_matches_samples"}),
    ("a node that was refused", [row(answered=None, failure="quota")],
     {"nodes_accounted_for", "observation_matches_samples"}),
    ("a node that is told of twice", [row(name="scale-1")], {"nodes_accounted_for"}),
    ("more nodes than the label says", [more(2, 1231)], {"columns_agree", "only_ours_were_added"}),
    ("too few Typhas", [tell(counts_hold=False, problems=["2 Typhas, the operator wants 4"])], {"columns_agree"}),
    ("no columns", [tell(columns={})], {"columns_agree", "only_ours_were_added"}),
    ("nodes that nobody looked at", [dataplane(holds=None, reason=None)], {"dataplane_as_asked"}),
    ("a control subject with Calico's rules", [dataplane(observed="iptables", holds=False)], {"dataplane_as_asked"}),
    ("stolen time", [tell(machine={"steal_ratio": 0.4})], {"cpu_not_stolen"}),
]  # fmt: skip


@pytest.mark.parametrize(("edits", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_does_not_hold_is_not_published(tmp_path: Path, edits: Sequence[Edit], expected: set[str]) -> None:
    for record in records(tmp_path, *edits).values():
        assert {item.name for item in record.evidence if not item.holds} == expected
        assert record.verdict == "invalid"
