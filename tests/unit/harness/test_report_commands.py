# SPDX-License-Identifier: GPL-3.0-or-later
"""report, verdict, list, show and compare as they are called."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.cli import main
from harness.report import report
from tests.fakes.run_builder import OFF, Run, Shape, build

SMALL = Shape(pods=80, nodes=10, scenarios=(OFF,))
A, B = "20261121T183000Z-aaaa", "20261122T183000Z-bbbb"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two runs, the later one with a node over its GPUs; the caller's folder is the one above."""

    def over_capacity(run: Run) -> None:
        run.loads()[0]["values"]["max_gpus_on_a_node"] = 9

    report(build(tmp_path / "results", SMALL, run_id=A))
    report(build(tmp_path / "results", SMALL, edits=[over_capacity], run_id=B))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


CALLS = [
    (["list"], 0, "20261121T183000Z-aaaa  2026-11-22T18:30:00Z  0          8 measured"),
    (["list", "--query", "[].exit_code"], 0, "[\n  0,\n  4\n]"),
    (["show", A], 0, "exit code 0 (good): 8 measured"),
    (["show"], 0, "exit code 4 (invalid measurement): 7 invalid, 1 measured"),
    (["show", "latest", "--query", "records[?verdict == 'invalid'] | length(@)"], 0, "7"),
    (["show", A, "--query", "run.tools.etcd.version"], 0, "3.6.10"),
    (["show", A, "--query", "records[0].evidence[?!holds]"], 0, "[]"),
    (["show", A, "--query", "observations[?kind == 'nodes'].values.asked"], 0, "[\n  10\n]"),
    (["verdict", A], 0, f"{A}: exit code 0 (good): 8 measured"),
    (["verdict"], 4, f"{B}: exit code 4 (invalid measurement): 7 invalid, 1 measured"),
    (["report", B], 0, "exit code 4 (invalid measurement): 7 invalid, 1 measured"),
    (["report", f"results/{A}"], 0, f"results/{A}/report.html"),
    (["compare", A, A], 0, "fill_scheduler_off  bind_all_seconds"),
    (["compare", A, A, "--query", "records[0].ratio"], 0, "1.0"),
    (["compare", A, "latest"], 0, "fill_scheduler_off kube-scheduler bind_all_seconds (measured in A, invalid in B)"),
]


@pytest.mark.parametrize(("argv", "code", "line"), CALLS)
def test_a_command_prints_what_is_asked(
    root: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, line: str
) -> None:
    assert main(argv) == code
    out = capsys.readouterr()
    assert line in out.out
    assert (out.err, "\x1b" in out.out) == ("", False)


WRONG = [
    (["show", "2027"], 2, "there is no run '2027' under results"),
    (["show", "--results-dir", "nowhere"], 2, "there is no run under nowhere"),
    (["show", "--query", "records["], 2, "--query 'records[': Invalid jmespath expression"),
    (["show", "--query", "length(run_id, run_id)"], 2, "--query 'length(run_id, run_id)': "),
    (["list", "--query", "sort(@)"], 2, "--query 'sort(@)': "),
    (["compare", A, "2027"], 2, "there is no run '2027' under results"),
    (
        ["show", "20261121T183000Z-aaab"],
        2,
        f"there is no run '20261121T183000Z-aaab' under results\n  runs there: {A}, {B}; did you mean '{A}'?\n",
    ),
    (
        ["show", "lastest"],
        2,
        f"there is no run 'lastest' under results\n  runs there: {A}, {B}; did you mean 'latest'?",
    ),
    (["verdict", "2026112"], 2, "several runs begin with '2026112' under results"),
]


@pytest.mark.parametrize(("argv", "code", "message"), WRONG)
def test_a_command_that_cannot_be_done_says_why(
    root: Path, capsys: pytest.CaptureFixture[str], argv: list[str], code: int, message: str
) -> None:
    assert main(argv) == code
    out = capsys.readouterr()
    assert out.err.startswith(f"nightbench: {message}")
    assert out.out == ""


def half_write(path: Path) -> None:
    path.write_text(path.read_text()[:-20])


def test_a_half_written_run_is_said_by_every_command_and_the_others_are_listed(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half_write(root / B / "records.jsonl")
    for argv in (["show"], ["verdict"], ["compare", A, B]):
        assert main(argv) == 3
        out = capsys.readouterr()
        assert out.err.startswith(f"nightbench: results/{B}/records.jsonl:8: is not JSON: ")
        assert out.out == ""
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].endswith("8 measured")
    assert "records.jsonl:8: is not JSON" in lines[3]


def test_a_report_of_a_half_written_run_changes_nothing(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in (root / B).iterdir() if path.is_file()}
    half_write(root / B / "observations.jsonl")
    assert main(["report", B]) == 3
    assert "observations.jsonl:8: is not JSON: " in capsys.readouterr().err
    after = {path.name: path.read_bytes() for path in (root / B).iterdir() if path.is_file()}
    assert {name for name in after if after[name] != before.get(name)} == {"observations.jsonl"}


def test_a_folder_that_holds_nothing_of_a_run_is_not_reported_on(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = root / "20261123T183000Z-cccc"
    empty.mkdir()
    assert main(["report", empty.name]) == 2
    assert capsys.readouterr().err.startswith(f"nightbench: results/{empty.name} holds nothing of a run: no plan.json")
    assert list(empty.iterdir()) == []


def test_a_run_without_records_is_broken_and_one_without_a_need_of_them_is_not(root: Path) -> None:
    (root / A / "records.jsonl").unlink()
    assert main(["verdict", A]) == 3
    plan = json.loads((root / A / "plan.json").read_text())
    (root / A / "plan.json").write_text(json.dumps(plan | {"records": []}))
    assert main(["verdict", A]) == 0
    assert (root / A / "exit_code").read_text() == "0\n"


@pytest.mark.parametrize("name", ["report", "verdict", "list", "show", "compare"])
def test_help_shows_how_a_command_is_called(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        main([name, "--help"])
    assert raised.value.code == 0
    assert f"python -m harness {name}" in capsys.readouterr().out.partition("examples:")[2]
