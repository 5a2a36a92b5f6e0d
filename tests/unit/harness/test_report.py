# SPDX-License-Identifier: GPL-3.0-or-later
"""What a report writes: the same every time, and nothing that needs a network or trusts a text."""

from __future__ import annotations

import hashlib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import figures, report
from harness.console import records_table, table
from harness.model import Record
from harness.results import RunFolder
from tests.fakes.run_builder import OFF, ON, RUN_ID, SUBJECT, SUITE, Run, Shape, build

SMALL = Shape(pods=80, nodes=10)
HOSTILE = '</script><script>alert(1)</script> | `x` *y* & "z" \x07'


def contents(run: RunFolder) -> dict[str, bytes]:
    return {str(path.relative_to(run.path)): path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def fail_environment(run: Run) -> None:
    run.observations = []
    run.rows = {}
    run.failures["02__environment"] = {"stage": "environment", "reason": HOSTILE, "task": HOSTILE}


def over_capacity(run: Run) -> None:
    rows = run.rows_of(run.loads()[1])
    rows[1]["node"] = rows[0]["node"]


def test_a_report_writes_its_files_and_leaves_the_observations(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL)
    before = contents(run)
    done = report.report(run)
    after = contents(run)
    assert set(after) - set(before) == {
        "records.jsonl",
        "report.html",
        "summary.md",
        "junit.xml",
        "exit_code",
        f"samples/{SUITE}/{OFF}.{SUBJECT}.parquet",
        f"samples/{SUITE}/{ON}.{SUBJECT}.parquet",
        "kwok_scale_test.json",
        "dashboard/Public/manifest.json",
        f"dashboard/Public/{run.run_id}/results.json",
    }
    assert {name: after[name] for name in before} == before
    assert after["exit_code"] == b"0\n"
    assert done.exit_code == 0
    assert run.records() == done.records


@pytest.mark.parametrize("edits", [[], [over_capacity], [fail_environment]])
def test_reporting_again_writes_the_same(tmp_path: Path, edits: list[Callable[[Run], None]]) -> None:
    run = build(tmp_path, SMALL, edits=edits)
    report.report(run)
    first = contents(run)
    report.report(run)
    assert contents(run) == first


def test_the_records_name_the_parquet_file_with_its_sha256(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL)
    for record in report.report(run).records:
        assert record.samples is not None
        assert record.samples.sha256 == hashlib.sha256((run.path / record.samples.path).read_bytes()).hexdigest()


def test_samples_that_were_altered_leave_no_parquet_file(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL)
    report.report(run)
    with (run.path / f"samples/{SUITE}/{OFF}.{SUBJECT}.1.jsonl").open("a") as file:
        file.write("{}\n")
    found = report.report(run).records
    assert {(r.scenario, r.samples is None, r.verdict) for r in found} == {
        (OFF, True, "invalid"),
        (ON, False, "measured"),
    }
    assert not (run.path / f"samples/{SUITE}/{OFF}.{SUBJECT}.parquet").exists()


def test_the_page_is_one_file_that_needs_nothing_else(tmp_path: Path) -> None:
    page = report.report(build(tmp_path, Shape(pods=4000, nodes=500))).html.read_text()
    assert len(page.encode()) < 8_000_000
    markup = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)=["']?(?!#|data:)[^"'> ]+""", markup) == []
    assert "Content-Security-Policy" in markup
    assert "@import" not in markup
    assert "url(" not in markup


@pytest.mark.parametrize("name", ["page", "summary", "junit"])
def test_a_hostile_text_stays_a_text(tmp_path: Path, name: str) -> None:
    run = build(tmp_path, SMALL, edits=[fail_environment, _hostile_host])
    report.report(run)
    if name == "page":
        page = (run.path / "report.html").read_text()
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page
    elif name == "summary":
        lines = (run.path / "summary.md").read_text().splitlines()
        assert (
            '* stage environment failed: \\</script\\>\\<script\\>alert(1)\\</script\\> \\| \\`x\\` \\*y\\* & "z" \x07'
            in lines
        )
    else:
        root = ET.parse(run.path / "junit.xml").getroot()
        messages = {node.get("message") for node in root.iter("error")}
        assert messages == {HOSTILE.replace("\x07", "\ufffd")}


def _hostile_host(run: Run) -> None:
    run.run["host"]["hostname"] = HOSTILE
    run.run["tools"][HOSTILE] = {"version": HOSTILE}


def test_the_page_shows_every_record_with_its_evidence(tmp_path: Path) -> None:
    done = report.report(build(tmp_path, SMALL, edits=[over_capacity]))
    page = done.html.read_text()
    for record in done.records:
        place = page.index(f'<details id="{SUITE}-{record.scenario}-{SUBJECT}-{record.metric}-record"')
        end = page.index("</details>", place)
        assert page[place:end].count('<th scope="row">') == len(record.evidence)
        assert (" open>" in page[place : page.index("\n", place)]) == (record.verdict == "invalid")
    assert "9 by the samples, 8 by the watch: node node-0000" in page


CASES: list[tuple[str, list[Callable[[Run], None]], Shape, dict[str, int], str]] = [
    ("clean", [], SMALL, {"tests": 15, "failures": 0, "errors": 0, "skipped": 0}, ""),
    (
        "a failed objective",
        [],
        Shape(pods=80, nodes=10, objectives=(("bind_all_seconds", {"max": 0.01}),)),
        {"tests": 15, "failures": 2, "errors": 0, "skipped": 0},
        "failure",
    ),
    ("invalid", [over_capacity], SMALL, {"tests": 15, "failures": 0, "errors": 7, "skipped": 0}, "error"),
]


@pytest.mark.parametrize(("edits", "shape", "counts", "tag"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_verdicts_in_junit(
    tmp_path: Path, edits: list[Callable[[Run], None]], shape: Shape, counts: dict[str, int], tag: str
) -> None:
    run = build(tmp_path, shape, edits=edits)
    report.report(run)
    suite = ET.parse(run.path / "junit.xml").getroot().find(f"testsuite[@name='{SUITE}']")
    assert suite is not None
    assert {name: int(suite.get(name, "-1")) for name in counts} == counts
    if tag:
        types = {node.get("type") for node in suite.iter(tag)}
        assert types == {"fail" if tag == "failure" else "invalid"}


def test_what_could_not_run_is_skipped_in_junit_and_its_stage_an_error(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL, edits=[fail_environment])
    report.report(run)
    root = ET.parse(run.path / "junit.xml").getroot()
    found: dict[str, Any] = {
        suite.get("name", ""): (suite.get("tests"), suite.get("errors"), suite.get("skipped")) for suite in root
    }
    assert found == {SUITE: ("15", "0", "15"), "stages": ("1", "1", "0")}
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("16", "0", "1")


def test_the_summary_says_what_the_numbers_are_the_limit_of(tmp_path: Path) -> None:
    run = build(tmp_path, Shape(pods=800, qps=20, burst=100))
    report.report(run)
    text = (run.path / "summary.md").read_text()
    assert text.startswith(f"# Run {RUN_ID}\n\n**exit code 0 (good): 15 measured**\n")
    assert "| Time to bind all pods | 36.5 s | ± 0.12 s | measured | client limit: kube-scheduler 20/s |" in text
    assert "that predicts 35 s from first to last bind, 35 s was seen." in text


def test_a_run_that_has_no_plan_is_reported_too(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / RUN_ID)
    (run.path / "stages" / "01__start").mkdir(parents=True)
    (run.path / "stages" / "01__start" / "FAILURE").write_text(
        json.dumps({"stage": "start", "reason": "there is no tag 'scheduler_scael'", "exit_code": 2})
    )
    done = report.report(run)
    assert (done.exit_code, done.records) == (2, [])
    assert "there is no tag &#39;scheduler_scael&#39;" in done.html.read_text()


@pytest.mark.parametrize("count", [0, 1, 2, 299, 300, 301, 4000])
def test_a_thinned_curve_keeps_its_ends_and_its_order(count: int) -> None:
    values = [index * 0.25 for index in range(count)]
    x, y = figures.thin(values)
    assert len(x) == len(y) == min(count, figures.POINTS)
    assert x == sorted(x)
    if count:
        assert (x[0], x[-1], y[0], y[-1]) == (0.0, values[-1], 1, count)
        assert [values[index - 1] for index in y] == x


def test_a_table_is_aligned_and_has_no_trailing_blanks() -> None:
    assert table(("name", "n", ""), [("a", "1", ""), ("longer 漢", "12", "x")], right=(1,)) == (
        "name        n\n---------  --  -\na           1\nlonger 漢  12  x\n"
    )


def test_colours_come_only_when_asked_for(tmp_path: Path) -> None:
    records = report.report(build(tmp_path, SMALL, edits=[over_capacity])).records
    plain, coloured = records_table(records), records_table(records, colour=True)
    assert "\x1b" not in plain
    assert re.sub(r"\x1b\[\d+m", "", coloured) == plain
    assert coloured.count("\x1b[35minvalid") == 7


def not_measured(subject: str, metric: str, reason: str = "no such device") -> Record:
    return Record(
        run_id="r", suite="s", scenario="isolation", subject=subject, metric=metric, unit="s", direction="lower",
        verdict="not_runnable", reason=reason,
    )  # fmt: skip


def test_a_case_of_which_nothing_could_be_measured_is_one_line_and_subjects_are_told_apart() -> None:
    records = [not_measured(subject, metric) for subject in ("host", "proxy") for metric in ("a_seconds", "b_seconds")]
    assert records_table(records) == (
        "scenario         metric         value    verdict       bound by\n"
        "---------------  -------------  -----  ------------  --------\n"
        "isolation host   all 2 metrics      –    not_runnable  –\n"
        "isolation proxy  all 2 metrics      –    not_runnable  –\n"
        "\nisolation host\nisolation proxy\n  not runnable: no such device\n"
    )


def test_records_of_a_case_with_reasons_of_their_own_keep_their_lines() -> None:
    records = [not_measured("host", "a_seconds"), not_measured("host", "b_seconds", "too loud")]
    lines = records_table(records).splitlines()
    assert [line.split()[:2] for line in lines[2:4]] == [["isolation", "a_seconds"], ["isolation", "b_seconds"]]
    assert lines[5:7] == ["isolation: a_seconds", "  not runnable: no such device"]
