# SPDX-License-Identifier: GPL-3.0-or-later
"""The time until a policy is obeyed is published where every change was, and with what the probe could see."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.model import Observation, Record
from harness.policy.changes import OF_METRIC, PROBE_CPU, Changes
from harness.policy.reader import PolicyReader
from harness.reader import Material
from harness.report import report
from harness.results import RunFolder
from tests.fakes.policy_run_builder import Rows, build, rows, values

DENY_NEW, DENY_OLD = "policy_deny_new_flow_seconds", "policy_deny_established_flow_seconds"
ALLOW_OLD = "policy_allow_established_flow_seconds"
EVERY = {*OF_METRIC, PROBE_CPU}
Edit = Callable[[Rows, dict[str, Any]], None]
MATERIAL = Material("run", None, (), {}, {}, ())


def records(run: RunFolder) -> dict[str, Record]:
    return {record.metric: record for record in report(run).records}


def broken(found: dict[str, Record]) -> dict[str, set[str]]:
    wrong = {metric: {item.name for item in record.evidence if not item.holds} for metric, record in found.items()}
    assert {metric for metric, record in found.items() if record.verdict == "invalid"} == {m for m in wrong if wrong[m]}
    return {metric: names for metric, names in wrong.items() if names}


def one(tmp_path: Path, edit: Edit | None = None, latency: float = 0.2) -> RunFolder:
    found = rows(latency)
    told = values(found)
    if edit is not None:
        edit(found, told)
    return build(tmp_path, [(told, found)])


def test_each_flow_and_direction_is_a_record_with_its_resolution(tmp_path: Path) -> None:
    run = build(tmp_path, [(values(rows(at)), rows(at)) for at in (0.19, 0.2, 0.21)])
    found = records(run)
    assert broken(found) == {}
    record = found[DENY_NEW]
    assert (record.value, record.repeats, record.n, record.unit) == (pytest.approx(0.2), (0.19, 0.2, 0.21), 6, "s")
    assert (record.resolution, record.verdict) == (0.005, "measured")
    assert record.ci is not None
    assert "answer" in (record.clock or "")
    assert found[PROBE_CPU].value == pytest.approx(0.041)
    assert record.parameters["plan"]["interval_seconds"] == 0.005
    assert record.samples is not None and (run.path / record.samples.path).exists()
    assert "Policies on the wire" in (run.path / "report.html").read_text()


def test_the_legs_of_a_change_are_counted_once_whatever_pairs_and_flows_there_were() -> None:
    found = rows()
    late = {"create-1": 0.02, "create-2": 0.04}  # nobody saw it move at a delete
    for row in found:
        if row["change"] in late:
            row["legs"]["typha_breadcrumb"] = {"seconds": late[row["change"]], "resolution_seconds": 0.1}
    load = Changes(Observation("run", "", "calico_scale", "policy_latency", values(found), repeat=1), rows=found)
    tables = PolicyReader().section([], [load], MATERIAL).tables
    assert next(table.rows for table in tables if table.title.startswith("Legs")) == [
        ("allow", "watched", "1", "2 of 2", "-1 ms", "-1 ms", "1 µs"),
        ("deny", "watched", "1", "2 of 2", "-1 ms", "-1 ms", "1 µs"),
        ("deny", "typha_breadcrumb", "1", "2 of 2", "30 ms", "40 ms", "100 ms"),
    ]


def test_what_is_below_the_resolution_is_said_and_not_printed(tmp_path: Path) -> None:
    run = one(tmp_path, latency=0.003)
    record = records(run)[DENY_NEW]
    assert record.reason.endswith("2 of 2 are not above the probe's resolution.")
    assert "< 5 ms" in (run.path / "summary.md").read_text().replace("\\", "")


def never(found: Rows, told: dict[str, Any]) -> None:
    for row in found:
        if (row["wanted"], row["flow"]) == ("deny", "established"):
            empty = dict.fromkeys(("latency_seconds", "low_seconds", "high_seconds", "resolution_seconds"))
            row |= {**empty, "outcome": "never", "below_resolution": False, "reason": "400 of 400 packets arrived"}
    told |= values(found)


def nobody(found: Rows, told: dict[str, Any]) -> None:
    """As it is without a policy engine: a deny is never obeyed, and nothing was ever denied before an allow."""
    empty = dict.fromkeys(("latency_seconds", "low_seconds", "high_seconds", "resolution_seconds"))
    for row in found:
        outcome = "never" if row["wanted"] == "deny" else "not_in_force_before"
        row |= {**empty, "outcome": outcome, "below_resolution": False, "reason": "400 of 400 packets arrived"}
    told |= values(found)
    told["dataplane"] = {"asked": "none", "observed": "none", "holds": True, "reason": "none on all 2 nodes"}


def without_an_engine_but_obeyed(found: Rows, told: dict[str, Any]) -> None:
    told["dataplane"] = {"asked": "none", "observed": "none", "holds": True, "reason": "none on all 2 nodes"}


def quietly_iptables(found: Rows, told: dict[str, Any]) -> None:
    reason = "nftables was asked for and iptables runs (Felix: 97 of iptables)"
    told["dataplane"] = {"asked": "nftables", "observed": "iptables", "holds": False, "reason": reason}


def change(field: str, value: Any) -> Edit:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        found[0] |= {field: value}

    return edit


def tell(value: Any, *path: str) -> Edit:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        place = told
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return edit


def leave_out(found: Rows, told: dict[str, Any]) -> None:
    found.pop()


def twice(found: Rows, told: dict[str, Any]) -> None:
    found[-1] = dict(found[0])


def each(*evidence: str) -> dict[str, set[str]]:
    return {metric: set(evidence) for metric in EVERY}


WRONG: list[tuple[str, Edit, dict[str, set[str]]]] = [
    ("an established flow that goes on", never, {DENY_OLD: {"every_change_obeyed", "probe_saw_enough"}}),
    ("a row is missing", leave_out, each("changes_accounted_for", "observation_matches_samples")),
    ("a row is there twice", twice, each("changes_accounted_for", "observation_matches_samples")),
    ("an outcome that nobody counted", change("outcome", "never"),
     {**each("observation_matches_samples"), DENY_OLD: {"observation_matches_samples", "every_change_obeyed"}}),
    ("a latency that is not its packet's", change("latency_seconds", 0.1), {DENY_OLD: {"latencies_fit_their_packets"}}),
    ("a resolution that is no gap", change("resolution_seconds", 0.001), {DENY_OLD: {"latencies_fit_their_packets"}}),
    ("a probe that hardly looked", lambda found, told: found[0].update(low_seconds=0.1, resolution_seconds=0.1),
     {DENY_OLD: {"probe_saw_enough"}}),
    ("a dear probe", tell(0.051, "probes", "cpu_ratio_of_core_per_pair"),
     {metric: {"probe_was_cheap"} for metric in OF_METRIC}),
    ("nftables that quietly became iptables", quietly_iptables, each("dataplane_as_asked")),
    ("nodes that nobody looked at", tell(None, "dataplane", "holds"), each("dataplane_as_asked")),
    ("obeyed without a policy engine", without_an_engine_but_obeyed, each("enforced_by_an_engine")),
    ("stolen time", tell(0.4, "machine", "steal_ratio"), each("cpu_not_stolen")),
    ("nothing asked", tell(0, "asked"), each("changes_accounted_for")),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_does_not_hold_is_not_published(tmp_path: Path, edit: Edit, expected: dict[str, set[str]]) -> None:
    found = records(one(tmp_path, edit))
    assert broken(found) == expected


def test_without_a_policy_engine_there_is_no_latency_and_the_probe_s_cost_stands(tmp_path: Path) -> None:
    found = records(one(tmp_path, nobody))
    assert {metric: record.verdict for metric, record in found.items()} == {
        **dict.fromkeys(OF_METRIC, "not_runnable"),
        PROBE_CPU: "measured",
    }
    assert found[DENY_NEW].reason.startswith("no policy engine: none of 8 changes was ever obeyed on the wire")
    assert found[DENY_NEW].value is None
    assert found[PROBE_CPU].value == pytest.approx(0.041)


def test_a_policy_that_is_never_obeyed_by_an_engine_that_runs_is_no_missing_engine(tmp_path: Path) -> None:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        dataplane = told["dataplane"]
        nobody(found, told)
        told["dataplane"] = dataplane

    found = records(one(tmp_path, edit))
    assert found[DENY_NEW].verdict == "invalid"
    assert "every_change_obeyed" in found[DENY_NEW].reason


def test_what_was_altered_is_not_called_a_missing_engine(tmp_path: Path) -> None:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        nobody(found, told)
        found.pop()

    assert {record.verdict for record in records(one(tmp_path, edit)).values()} == {"invalid"}


def new_flows_only(found: Rows, told: dict[str, Any]) -> None:
    for row in found:
        if row["flow"] == "established":
            row |= {"outcome": "never" if row["wanted"] == "deny" else "not_in_force_before", "latency_seconds": None}
    told["changes"] = values(found)["changes"]


def test_flows_that_no_policy_stops_have_no_latency_and_the_others_keep_theirs(tmp_path: Path) -> None:
    found = records(one(tmp_path, new_flows_only))
    old = (DENY_OLD, ALLOW_OLD)
    assert {metric: record.verdict for metric, record in found.items()} == {
        **dict.fromkeys(EVERY, "measured"),
        **dict.fromkeys(old, "not_runnable"),
    }
    reason = (
        "established flows go on: none of 2 denies stopped a flow that was there before it, so none of 2 allows had "
        "one to let through, while new flows obeyed all 4 changes (new_flows_only)"
    )
    assert {found[metric].reason for metric in old} == {reason}


def one_stopped(found: Rows, told: dict[str, Any]) -> None:
    kept = dict(found[0])
    new_flows_only(found, told)
    found[0] |= kept
    told["changes"] = values(found)["changes"]


def new_ones_not_stopped_either(found: Rows, told: dict[str, Any]) -> None:
    new_flows_only(found, told)
    first = next(row for row in found if row["flow"] == "new")
    first |= {"outcome": "never", "latency_seconds": None}
    told["changes"] = values(found)["changes"]


@pytest.mark.parametrize("edit", [one_stopped, new_ones_not_stopped_either])
def test_a_policy_that_stops_some_flows_and_others_not_is_no_rule_for_new_flows(tmp_path: Path, edit: Edit) -> None:
    found = records(one(tmp_path, edit))
    assert {found[metric].verdict for metric in (DENY_OLD, ALLOW_OLD)} == {"invalid"}


def test_samples_altered_since_are_found(tmp_path: Path) -> None:
    run = one(tmp_path)
    path = run.path / "samples/1.jsonl"
    path.write_text(path.read_text().replace("0.2,", "0.1,"))
    wrong = broken(records(run))
    assert {metric for metric, names in wrong.items() if "samples_intact" in names} == EVERY


def test_an_allow_of_a_flow_that_was_never_denied_says_why(tmp_path: Path) -> None:
    found = rows()
    for row in found:
        if (row["wanted"], row["flow"]) == ("allow", "established"):
            row |= {
                "outcome": "not_in_force_before",
                "latency_seconds": None,
                "reason": "60 of 60 packets arrived before",
            }
    record = records(build(tmp_path, [(values(found), found)]))[ALLOW_OLD]
    assert record.verdict == "invalid"
    assert "2 not in force before: 60 of 60 packets arrived before" in record.reason


def test_what_a_probe_took_has_to_be_known(tmp_path: Path) -> None:
    found = records(one(tmp_path, tell(None, "probes", "cpu_ratio_of_core_per_pair")))
    assert {record.verdict for record in found.values()} == {"invalid"}
    assert "probe_was_cheap: not observed" in found[DENY_NEW].reason
    assert found[PROBE_CPU].value is None
