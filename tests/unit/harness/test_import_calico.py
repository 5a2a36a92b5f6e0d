# SPDX-License-Identifier: GPL-3.0-or-later
"""Published Calico logs become a run; what is wrong with each is computed from it, and named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import calico_log
from harness.cli import main
from harness.model import Record
from harness.report import report
from harness.results import RunFolder, runs
from tests.fakes.calico_logs import PUBLISHED, Log

START_UP, MEDIAN = "calico_node_created_to_ready_seconds", "request_median_seconds"
MEAN, LONGEST, FAILED = "request_mean_seconds", "request_max_seconds", "request_failure_ratio"
EVERY = {START_UP, MEDIAN, MEAN, LONGEST, FAILED}
GOOD = Log()


def imported(tmp_path: Path, *logs: Log | Path, options: tuple[str, ...] = ()) -> RunFolder:
    folder = tmp_path / f"logs-{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    paths = [log if isinstance(log, Path) else log.write(folder) for log in logs]
    root = folder / "results"
    assert main(["import", "calico-log", *map(str, paths), "--results-dir", str(root), *options]) == 0
    return runs(root)[-1]


def broken(run: RunFolder) -> dict[str, set[str]]:
    """metric → names of the evidence that does not hold; only what is invalid."""
    found = {}
    for record in run.records():
        names = {item.name for item in record.evidence if not item.holds}
        assert (record.verdict == "invalid") == bool(names)
        assert (record.value is None) == bool(names)
        if names:
            found[record.metric] = names
    return found


def of(run: RunFolder, metric: str) -> Record:
    return next(record for record in run.records() if record.metric == metric)


def test_a_log_in_order_is_published_with_the_probe_that_it_measured(tmp_path: Path) -> None:
    run = imported(tmp_path, replace(GOOD, medians=(14,)))
    assert broken(run) == {}
    values = {record.metric: (record.value, record.verdict, record.resolution) for record in run.records()}
    assert values == {
        START_UP: (35.0, "measured", 30.0),
        MEDIAN: (0.014, "measured", 0.001),
        MEAN: (0.021, "measured", 0.001),
        LONGEST: (0.254, "measured", 0.001),
        FAILED: (0.0, "measured", None),
    }
    bound = of(run, START_UP).bound_by
    assert bound is not None
    assert (bound.kind, bound.component, bound.predicted, bound.observed) == ("probe_period", "calico-node", 30.0, 35.0)
    names = {(record.suite, record.scenario, record.subject) for record in run.records()}
    assert names == {("calico_scale", "restart_400_real_nodes_5000_fake_nodes", "calico_ebpf")}
    assert of(run, START_UP).parameters == {
        "real_nodes_asked": 400,
        "fake_nodes_asked": 5000,
        "nodes_counted": 5404,
        "nodes_counted_are_ready": True,
        "policies_counted": 10020,
        "services_counted": 1033,
        "encapsulation": "IPIP",
        "bgp": "Enabled",
        "kubernetes": "v1.33.5",
        "dataplane_asked": "BPF",
        "dataplane_observed": None,
        "imported": of(run, MEDIAN).parameters["imported"],
        "assumed": {"component": "calico-node", "period_seconds": 30.0, "first_probe_seconds": 10.0},
    }
    assert run.exit_code() == 0


def each(metrics: set[str], *evidence: str) -> dict[str, set[str]]:
    return {metric: set(evidence) for metric in metrics}


GATE = {START_UP, MEDIAN, MEAN, LONGEST}
ALL_FAILED = ((1047, 1047, 1, 31, 2), (1093, 1093, 1, 31, 2))
ALTERED: list[tuple[str, Log, dict[str, set[str]]]] = [
    ("another number of nodes", replace(GOOD, nodes=5512), each(EVERY, "node_count_as_labelled")),
    ("one node fewer", replace(GOOD, nodes=5403), each(EVERY, "node_count_as_labelled")),
    ("all requests failed", replace(GOOD, tables=ALL_FAILED), each(GATE, "requests_succeeded")),
    (
        "some requests failed",
        replace(GOOD, tables=((1661, 30, 21, 254, 14),)),
        each(GATE, "requests_succeeded"),
    ),
    ("few requests failed", replace(GOOD, tables=((1661, 10, 21, 254, 14),)), {}),
    (
        "no traffic table",
        replace(GOOD, tables=()),
        {FAILED: {"traffic_was_measured"}} | each(GATE, "traffic_was_measured", "requests_succeeded"),
    ),
    ("hardly a request", replace(GOOD, tables=((99, 0, 2, 3, 2),)), each(EVERY, "traffic_was_measured")),
    ("the median twice", replace(GOOD, medians=(14, 14)), {MEDIAN: {"median_is_one_number"}}),
    ("two medians", replace(GOOD, medians=(13, 14)), {MEDIAN: {"median_is_one_number"}}),
    ("the first table's median", replace(GOOD, medians=(13,)), {MEDIAN: {"median_is_one_number"}}),
    (
        "two start-ups",
        replace(GOOD, told_start_up=34),
        {START_UP: {"start_up_is_one_number", "result_follows_its_rule"}},
    ),
    ("a failure called success", replace(GOOD, start_up=69, result=True), {START_UP: {"result_follows_its_rule"}}),
    ("a success called failure", replace(GOOD, result=False), {START_UP: {"result_follows_its_rule"}}),
    ("a failure", replace(GOOD, start_up=69), {}),
    (
        "cut off before its result",
        replace(GOOD, end=False),
        {START_UP: {"result_follows_its_rule"}},
    ),
    (
        "policies that are not there",
        replace(GOOD, label="160k-policies-ebpf", policies=16021),
        each(EVERY, "policy_count_as_labelled"),
    ),
    ("standing and live policies", replace(GOOD, label="10k-standing-15k-live-policies", policies=25137), {}),
    ("a label that claims pods", replace(GOOD, label="800-pods-per-node-nftables"), {}),
]


@pytest.mark.parametrize(("log", "expected"), [case[1:] for case in ALTERED], ids=[case[0] for case in ALTERED])
def test_an_altered_log_changes_the_finding(tmp_path: Path, log: Log, expected: dict[str, set[str]]) -> None:
    if not log.end:  # then the label stands in the file's name alone
        path = log.write(tmp_path, f"default-calico-test-run-{log.label}-x1y2z-1.log")
        assert broken(imported(tmp_path, path)) == expected
    else:
        run = imported(tmp_path, log)
        assert broken(run) == expected
        assert run.exit_code() == (4 if expected else 0)


def test_a_log_without_its_beginning_keeps_what_its_end_says(tmp_path: Path) -> None:
    run = imported(tmp_path, replace(GOOD, beginning=False))
    assert broken(run) == {}
    assert of(run, START_UP).value == 35.0


PROBES: list[tuple[str, list[int], str | None, str]] = [
    ("one log", [35], "probe_period", "Too few logs to confirm it: 1."),
    ("just behind a period", [34, 35, 36, 66], "probe_period", "34 s is 1 × 30 s and 4 s"),
    ("anywhere", [35, 48, 52, 81], None, "it is not confirmed: 1 of 4 start-ups lie there"),
    ("before the first period", [12, 13, 14], None, "12 s is 0 × 30 s and 12 s: the assumed probe"),
    ("late", [48, 35, 35, 35, 35], None, "48 s is 1 × 30 s and 18 s: the assumed probe"),
]


@pytest.mark.parametrize(("seconds", "kind", "text"), [case[1:] for case in PROBES], ids=[case[0] for case in PROBES])
def test_a_start_up_is_a_probe_period_only_where_many_lie_behind_one(
    tmp_path: Path, seconds: list[int], kind: str | None, text: str
) -> None:
    logs = [replace(GOOD, label=f"400-real-nodes-{n}-fake-nodes", nodes=404 + n, start_up=s, limit=300)
            for n, s in enumerate(seconds, start=1000)]  # fmt: skip
    record = of(imported(tmp_path, *logs), START_UP)
    assert (record.bound_by.kind if record.bound_by else None) == kind
    assert text in record.reason
    assert record.resolution == (30.0 if kind else 1.0)


def test_another_period_explains_other_start_ups(tmp_path: Path) -> None:
    logs = [replace(GOOD, label=f"400-real-nodes-{n}-fake-nodes", nodes=404 + n, start_up=s, limit=300)
            for n, s in enumerate([12, 21, 13, 42], start=1000)]  # fmt: skip
    ours = of(imported(tmp_path, *logs), START_UP)
    theirs = of(
        imported(tmp_path, *logs, options=("--assume-probe-period", "10", "--assume-first-probe", "3")), START_UP
    )
    assert ours.bound_by is None
    assert theirs.bound_by is not None
    assert theirs.parameters["assumed"] == {
        "component": "calico-node", "period_seconds": 10.0, "first_probe_seconds": 3.0,
    }  # fmt: skip


def test_logs_of_one_label_and_dataplane_are_repeats(tmp_path: Path) -> None:
    run = imported(tmp_path, GOOD, replace(GOOD, start_up=36), replace(GOOD, start_up=37))
    record = of(run, START_UP)
    assert record.repeats == (35.0, 36.0, 37.0)
    assert record.ci is not None
    assert len(run.records()) == len(EVERY)


def test_one_bad_log_among_the_repeats_is_enough(tmp_path: Path) -> None:
    run = imported(tmp_path, GOOD, replace(GOOD, nodes=5512))
    assert broken(run) == each(EVERY, "node_count_as_labelled")


def test_other_bounds_judge_otherwise(tmp_path: Path) -> None:
    log = replace(GOOD, nodes=5402, tables=((50, 2, 21, 254, 14),))
    options = ("--assume-other-nodes", "2", "--fewest-requests", "50", "--most-failed", "0.05")
    assert broken(imported(tmp_path, log)) != {}
    assert broken(imported(tmp_path, log, options=options)) == {}


def test_the_table_and_each_logs_defects_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    imported(
        tmp_path, replace(GOOD, ready=False, medians=(14, 14)), replace(GOOD, dataplane="Nftables", tables=ALL_FAILED)
    )
    told = " ".join(capsys.readouterr().out.split())
    for text in (
        "imported from 2 logs: nothing of it was measured here",
        "400-real-nodes-5000-fake-nodes BPF 5,400 5,404 10,020 35 s 14 / 21 / 254 ms 0 of 1,661 success",
        "400-real-nodes-5000-fake-nodes Nftables 5,400 5,404 10,020 35 s 2 / 1 / 31 ms 1,093 of 1,093 success",
        "median_is_one_number: the summary prints 14 and 14 ms, one of each of 2 tables",
        "requests_succeeded: 1,093 of 1,093 failed, called success",
        "start_up_is_a_probe_period: 35 s is 1 × 30 s and 5 s",
        "exit code 4 (invalid measurement)",
    ):
        assert text in told


def test_nodes_counted_whether_ready_or_not_are_said_to_be(tmp_path: Path) -> None:
    record = of(imported(tmp_path, replace(GOOD, ready=False)), MEAN)
    assert record.parameters["nodes_counted_are_ready"] is False
    assert record.reason == "The nodes were counted whether they were Ready or not."


def test_the_report_says_where_the_numbers_are_from_and_can_be_made_again(tmp_path: Path) -> None:
    run = imported(tmp_path, GOOD, replace(GOOD, dataplane="Iptables"))
    before = (run.path / "records.jsonl").read_text()
    report(run)
    assert (run.path / "records.jsonl").read_text() == before
    for name in ("summary.md", "report.html"):
        text = (run.path / name).read_text()
        assert "and 1 more. Nothing of it was measured by this program." in text
        assert "Assumed, not read anywhere" in text


def test_the_report_sets_the_dataplanes_of_one_run_side_by_side(tmp_path: Path) -> None:
    one = (imported(tmp_path, GOOD).path / "report.html").read_text()
    both = imported(tmp_path, GOOD, replace(GOOD, dataplane="Nftables")).path / "report.html"
    assert "Dataplanes and releases" not in one
    page = both.read_text()
    heading = page[page.index("Dataplanes and releases") :]
    assert heading.index("calico_ebpf (asked)") < heading.index("calico_nftables (asked)")


def test_a_log_or_an_observation_altered_since_is_found(tmp_path: Path) -> None:
    run = imported(tmp_path, GOOD)
    path = run.path / "observations.jsonl"
    text = path.read_text()
    path.write_text(text.replace('"median": 14', '"median": 4'))
    assert path.read_text() != text
    report(run)
    assert broken(run) == each(EVERY, "published_file_intact")
    assert "the observation is not what the log says" in run.records()[0].reason
    path.write_text(text)
    log = run.path / "imported/01.log"
    log.write_text(log.read_text().replace("in 35 seconds", "in 5 seconds"))
    report(run)
    assert broken(run) == each(EVERY, "published_file_intact")
    log.unlink()
    report(run)
    assert "cannot be read" in run.records()[0].reason


TWICE = GOOD.text + GOOD.text
NONSENSE: list[tuple[str, str | bytes, str]] = [
    ("nothing", "", "says no start-up time"),
    ("another log", "[WARN] heap\n" * 9, "says no start-up time"),
    ("two tests in one file", TWICE, "holds 2 tests"),
    ("no text", b"\xff\xfe\x00", "is not text"),
    ("a start-up that is none", GOOD.text.replace("35", "soon"), "says no start-up time"),
    (
        "a number of a thousand digits",
        GOOD.text.replace("35 s", f"{'9' * 999} s").replace("35s", "s"),
        "says no start-up",
    ),
]


@pytest.mark.parametrize(("content", "text"), [case[1:] for case in NONSENSE], ids=[case[0] for case in NONSENSE])
def test_nonsense_is_refused_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | bytes, text: str
) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    good = GOOD.write(tmp_path)
    assert main(["import", "calico-log", str(good), str(path), "--results-dir", str(tmp_path / "results")]) == 2
    err = capsys.readouterr().err
    assert str(path) in err
    assert text in err
    assert not (tmp_path / "results").exists()


def test_a_log_is_counted_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [str(GOOD.write(tmp_path)), str(GOOD.write(tmp_path))]
    assert main(["import", "calico-log", *paths, "--results-dir", str(tmp_path / "results")]) == 2
    assert "is the same log as" in capsys.readouterr().err


@pytest.mark.parametrize("name", [".", "no/such.log"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["import", "calico-log", str(tmp_path / name)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_file_larger_than_any_log_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "huge.log"
    with path.open("wb") as file:
        file.truncate(calico_log.LARGEST + 1)
    assert main(["import", "calico-log", str(path)]) == 2
    assert "16,777,217 bytes long" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--assume-probe-period", "0"], "--assume-probe-period 0: has to be a number from 1"),
        (["--assume-first-probe", "31"], "--assume-first-probe 31: has to be a number from 0 to 30"),
        (["--assume-other-nodes", "-1"], "--assume-other-nodes -1"),
        (["--most-failed", "nan"], "--most-failed nan"),
    ],
)
def test_an_assumption_has_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], text: str
) -> None:
    assert main(["import", "calico-log", str(GOOD.write(tmp_path)), *options]) == 2
    assert text in capsys.readouterr().err


#: What was seen by hand in the published logs, by the beginning of what each is called.
SEEN = {
    "400-real-nodes-5000-fake-nodes": {},
    "400-real-nodes-9000-fake-nodes": {"result_follows_its_rule", "traffic_was_measured", "requests_succeeded"},
    "400-real-nodes-10000-fake-nodes": {"median_is_one_number"},
    "400-real-nodes-11000-fake-nodes": {"median_is_one_number", "node_count_as_labelled"},
    "160k-policies": {"median_is_one_number", "requests_succeeded"},
}


def stand_ins() -> list[Log]:
    """The five published logs in what matters of them."""
    return [
        GOOD,
        replace(GOOD, label="400-real-nodes-9000-fake-nodes-ebpf", nodes=9404, tables=(), end=False),
        replace(GOOD, label="400-real-nodes-10000-fake-nodes-iptables", dataplane="Iptables", nodes=10404,
                start_up=36, medians=(14, 14)),
        replace(GOOD, label="400-real-nodes-11000-fake-nodes-nftables", dataplane="Nftables", nodes=11512,
                medians=(14, 14), beginning=False),
        replace(GOOD, label="160k-policies-ebpf", nodes=479, policies=160021, start_up=37, tables=ALL_FAILED,
                medians=(2, 2)),
    ]  # fmt: skip


@pytest.mark.parametrize("published", [False, *([True] if PUBLISHED.is_dir() else [])])
def test_the_published_logs_have_the_defects_that_were_seen_in_them(tmp_path: Path, published: bool) -> None:
    run = imported(tmp_path, *(sorted(PUBLISHED.glob("*.log")) if published else stand_ins()))
    found: dict[str, set[str]] = {}
    probes = set()
    for record in run.records():
        label = record.scenario.removeprefix("restart_").replace("_", "-")
        found.setdefault(label, set()).update(item.name for item in record.evidence if not item.holds)
        if record.bound_by is not None:
            probes.add((label, record.bound_by.kind))
    assert {label: names or {} for label, names in found.items()} == SEEN
    assert probes == {
        ("400-real-nodes-5000-fake-nodes", "probe_period"),
        ("400-real-nodes-10000-fake-nodes", "probe_period"),
    }
    assert run.exit_code() == 4
