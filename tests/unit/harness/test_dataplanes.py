# SPDX-License-Identifier: GPL-3.0-or-later
"""Dataplanes and releases are judged against one subject where repeats, limits and parameters allow it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import dataplanes, dataplanes_table
from harness.cli import main
from harness.errors import UsageError
from harness.model import BoundBy, Record
from harness.report import report
from tests.fakes.policy_run_builder import build, rows, values

IPTABLES, NFTABLES = "calico_iptables v3.32.1", "calico_nftables v3.32.1"


def record(
    observed: str | None,
    repeats: Sequence[float],
    *,
    run_id: str = "20261121T183000Z-aaaa",
    release: str | None = "v3.32.1",
    metric: str = "pod_created_to_running_seconds",
    direction: str = "lower",
    unit: str = "s",
    asked: Any = 6,
    **more: Any,
) -> Record:
    subject = "no_policy_engine" if observed == "none" else f"calico_{observed or 'nftables'}"
    seen = {"observed": observed, "release": release}
    made = Record(
        run_id=run_id, suite="calico_scale", scenario="churn", subject=subject, metric=metric, unit=unit,
        direction=direction, verdict="measured", reason="", repeats=tuple(repeats), n=len(repeats),
        value=sum(repeats) / len(repeats) if repeats else None,
        parameters={"gangs": asked, "machine": {"cpus": 2}, "subject": {"dataplane": seen}},
    )  # fmt: skip
    return replace(made, **more)


CONTROL = record("none", (1.0, 1.02, 0.98))


def against(*records: Record, subject: str = NFTABLES, name: str = dataplanes.CONTROL) -> dict[str, Any]:
    (row,) = dataplanes.compare(records, name)["records"]
    found: dict[str, Any] = of(row, subject)["against"]
    return found


def of(row: dict[str, Any], subject: str) -> dict[str, Any]:
    return next(cell for cell in row["cells"] if cell["subject"] == subject)


def bound(kind: str) -> BoundBy:
    return BoundBy(kind, "it", {}, None, None)


JUDGED = [
    (CONTROL, record("nftables", (2.0, 2.02, 1.98)), "worse", ""),
    (CONTROL, record("nftables", (0.5, 0.51, 0.49)), "better", ""),
    (CONTROL, record("nftables", (1.0, 1.03, 0.99)), "inconclusive", "no difference shown"),
    (CONTROL, record("nftables", (2.0, 2.02)), "inconclusive", "2 of 3 repeats"),
    (replace(CONTROL, repeats=(1.0,)), record("nftables", (2.0, 2.02, 1.98)), "inconclusive", "1 of 3 repeats"),
    (
        CONTROL,
        record("nftables", (1.2, 1.21, 1.19), resolution=0.25),
        "inconclusive",
        "less than the resolution apart",
    ),
    (
        replace(CONTROL, bound_by=bound("load_generator")),
        record("nftables", (2.0, 2.02, 1.98), bound_by=bound("load_generator")),
        "inconclusive",
        "both bound by load generator",
    ),
    (
        replace(CONTROL, bound_by=bound("machine")),
        record("nftables", (2.0, 2.02, 1.98), bound_by=bound("machine")),
        "worse",
        "",
    ),
    (CONTROL, record("nftables", (), verdict="invalid"), None, "it is invalid"),
    (replace(CONTROL, value=None, verdict="not_runnable"), record("nftables", (1.0,) * 3), None,
     "the baseline is not runnable"),
]  # fmt: skip


@pytest.mark.parametrize(("control", "measured", "word", "reason"), JUDGED)
def test_the_whole_interval_decides(control: Record, measured: Record, word: str | None, reason: str) -> None:
    found = against(control, measured)
    assert (found["verdict"], found["reason"]) == (word, reason)


#: 0.01 < p < 0.05: a difference of one comparison alone.
CLOSE = (1.05, 1.08, 1.10)


def test_what_one_comparison_shows_is_no_difference_among_many() -> None:
    def judged(others: int) -> tuple[str, str]:
        metrics = ["pod_created_to_running_seconds", *(f"other_{number}_seconds" for number in range(others))]
        pairs = [(replace(CONTROL, metric=name), record("nftables", CLOSE, metric=name)) for name in metrics[:1]]
        same = [
            (replace(CONTROL, metric=name), record("nftables", (1.0, 1.03, 0.99), metric=name)) for name in metrics[1:]
        ]
        document = dataplanes.compare([one for pair in (*pairs, *same) for one in pair])
        found = of(document["records"][0], NFTABLES)["against"]
        assert found["p_adjusted"] == pytest.approx(min(1.0, found["p"] * (others + 1)))
        told = dataplanes_table.in_words(document | {"cost": []}, [])
        assert f"{others + 1} comparisons, corrected by Holm" in told
        return found["verdict"], found["reason"]

    assert judged(0) == ("worse", "")
    assert judged(9) == ("inconclusive", "no difference among 10 comparisons")


def test_a_clear_difference_stays_one_among_many() -> None:
    names = [f"metric_{number}_seconds" for number in range(8)]
    pairs = [(replace(CONTROL, metric=name), record("nftables", (2.0, 2.02, 1.98), metric=name)) for name in names]
    document = dataplanes.compare([one for pair in pairs for one in pair])
    assert {of(row, NFTABLES)["against"]["verdict"] for row in document["records"]} == {"worse"}


def test_comparisons_that_cannot_be_judged_are_not_among_those_that_are_corrected_for() -> None:
    few = [record("nftables", (2.0, 2.1), metric="few_seconds"), replace(CONTROL, metric="few_seconds")]
    document = dataplanes.compare([CONTROL, record("nftables", CLOSE), *few])
    found = {row["metric"]: of(row, NFTABLES)["against"] for row in document["records"]}
    assert found["pod_created_to_running_seconds"]["verdict"] == "worse"
    assert (found["few_seconds"]["reason"], found["few_seconds"]["p_adjusted"]) == ("2 of 3 repeats", None)


@pytest.mark.parametrize(("direction", "word"), [("lower", "worse"), ("higher", "better"), ("none", "higher")])
def test_what_more_means_is_the_metrics_direction(direction: str, word: str) -> None:
    control = replace(CONTROL, direction=direction)
    assert against(control, record("nftables", (2.0, 2.02, 1.98), direction=direction))["verdict"] == word


def test_what_may_be_nothing_is_judged_by_its_difference() -> None:
    failures = {"metric": "request_failure_ratio", "unit": "ratio"}
    found = against(record("none", (0.0, 0.0, 0.0), **failures), record("nftables", (0.10, 0.12, 0.11), **failures))
    assert (found["verdict"], found["ratio"]) == ("worse", None)
    assert 0.08 < found["difference"]["low"] < 0.11 < found["difference"]["high"] < 0.14


def test_repeats_of_several_runs_are_one_subjects_and_invalid_ones_are_not_among_them() -> None:
    nights = [record("nftables", (2.0 + n / 100,), run_id=f"2026112{n}T183000Z-aaaa") for n in range(1, 4)]
    broken = record("nftables", (), run_id="20261125T183000Z-aaaa", verdict="invalid", reason="evidence does not hold")
    document = dataplanes.compare([CONTROL, *nights, broken])
    (row,) = document["records"]
    cell = of(row, NFTABLES)
    assert (cell["repeats"], cell["left_out"], cell["against"]["verdict"]) == (3, {"invalid": 1}, "worse")
    assert cell["value"] == pytest.approx(2.02)
    assert [(item["run_id"], item["reason"]) for item in document["left_out"]] == [
        (broken.run_id, "evidence does not hold")
    ]


def test_releases_of_one_dataplane_are_subjects_of_their_own() -> None:
    old = record("nftables", (2.0, 2.02, 1.98), release="v3.31.0")
    new = record("nftables", (1.0, 1.02, 0.98))
    document = dataplanes.compare([old, new], "calico_nftables v3.31.0")
    assert document["subjects"] == ["calico_nftables v3.31.0", NFTABLES]
    assert against(old, new, name="calico_nftables v3.31.0")["verdict"] == "better"


def test_a_subject_is_what_was_seen_and_not_what_was_asked_for() -> None:
    quiet = record("iptables", (1.0,) * 3, subject="calico_nftables")
    unseen = record(None, (), verdict="invalid")
    never = replace(record("nftables", ()), verdict="not_runnable", parameters={})
    assert [dataplanes.subject_of(one) for one in (quiet, unseen, never, CONTROL)] == [
        IPTABLES, "calico_nftables (asked)", "calico_nftables (asked)", "no_policy_engine",
    ]  # fmt: skip


def test_what_was_asked_for_differently_is_never_in_one_row() -> None:
    document = dataplanes.compare([CONTROL, record("nftables", (2.0, 2.02, 1.98), asked=12)])
    assert [(row["asked"], [cell["subject"] for cell in row["cells"]]) for row in document["records"]] == [
        ({"gangs": 6}, ["no_policy_engine"]),
        ({"gangs": 12}, [NFTABLES]),
    ]
    found = of(document["records"][1], NFTABLES)["against"]
    assert (found["verdict"], found["reason"]) == (None, "the baseline is absent")


@pytest.mark.parametrize(
    ("records", "name", "message"),
    [
        ([], dataplanes.CONTROL, "none of these runs has a record of calico_scale"),
        ([replace(CONTROL, suite="traffic_mesh")], dataplanes.CONTROL, "none of these runs has a record"),
        ([CONTROL, record("nftables", (1.0,))], "calico_nftable", "no record is of the subject 'calico_nftable'"),
    ],
)
def test_nothing_to_compare_is_said(records: list[Record], name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        dataplanes.compare(records, name)


def test_without_the_control_subject_nothing_is_judged_and_that_is_said() -> None:
    document = dataplanes.compare([record("nftables", (1.0,) * 3), record("iptables", (1.0,) * 3)])
    told = dataplanes_table.in_words(document | {"cost": []}, [])
    assert "Nothing is judged: no run has the control subject." in told
    assert "against" not in told.splitlines()[0]


def test_other_machines_stand_above_the_table() -> None:
    runs = [
        {"run_id": "A", "host": {"cpus": 2, "kernel": "6.1"}},
        {"run_id": "B", "host": {"cpus": 4, "kernel": "6.1"}},
    ]
    unequal = dataplanes.conditions(runs)
    assert unequal == ["cpus: 2 in A, 4 in B"]
    assert dataplanes_table.in_words(dataplanes.compare([CONTROL]) | {"cost": []}, unequal).startswith(
        "Not under equal conditions:\n"
    )


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Policies on iptables and nftables, three repeats each, and a run in which nftables was not what the nodes ran."""
    made = {
        "20261121T183000Z-aaaa": ("iptables", "iptables", 0.1),
        "20261122T183000Z-bbbb": ("nftables", "nftables", 0.3),
        "20261123T183000Z-cccc": ("nftables", "iptables", 0.3),
    }
    for run_id, (asked, observed, latency) in made.items():
        seen = {"asked": asked, "observed": observed, "release": "v3.32.1", "holds": asked == observed}
        repeats = []
        for shift in (0.0, 0.004, 0.008):
            found = rows(latency + shift)
            repeats.append((values(found) | {"dataplane": seen | {"reason": f"{observed} on all 2 nodes"}}, found))
        report(build(tmp_path / "results", repeats, run_id, f"calico_{asked}"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    assert main(["dataplanes", *sorted(p.name for p in Path("results").iterdir()), *argv]) == 0
    return capsys.readouterr().out


def test_runs_of_both_dataplanes_become_one_table(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = printed(capsys, "--against", IPTABLES)
    line = next(line for line in told.splitlines() if "policy_deny_new_flow_seconds" in line)
    assert line.split("  ")[-1].startswith("worse (2.")
    assert "104 ms (94.06 ms to 113.9 ms, n 3); 1 invalid" in line
    assert f"{IPTABLES} policy_latency in 20261123T183000Z-cccc – invalid: evidence does not hold" in told
    page = printed(capsys, "--against", IPTABLES, "--markdown")
    assert f"| scenario | metric | {IPTABLES} | {NFTABLES} | against {IPTABLES} |" in page.splitlines()
    assert "worse" in printed(capsys, "--against", IPTABLES, "--query", "records[0].cells[].against.verdict")


def test_a_baseline_that_is_not_there_ends_with_what_is(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dataplanes", "latest", "--against", "calico_ebpf"]) == 2
    assert f"subjects there: {IPTABLES}" in capsys.readouterr().err
