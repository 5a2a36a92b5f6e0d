# SPDX-License-Identifier: GPL-3.0-or-later
"""A published result becomes a run that says whose numbers they are, and what is assumed to explain them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness import kai_result
from harness.cli import main
from harness.kai_tests import go_duration, seconds_of
from harness.model import Record
from harness.report import report
from harness.results import RunFolder, runs
from tests.fakes import kai_results
from tests.fakes.kai_results import BURST, FILL, NO_TOPOLOGY, PUBLISHED, TOPOLOGY, results, wrapped, write

Document = dict[str, Any]
BINDER = {"qps": 20.0, "burst": 100.0, "requests_per_pod": 2.0}
BOUND = {
    "topology_preferred": (46.2, 48.723),
    "topology_none": (46.2, 49.427),
    "fill_scheduler_off": (395.0, 397.771),
    "fill_with_pending": (395.0, 398.07),
}


def imported(tmp_path: Path, document: Any, *options: str) -> RunFolder:
    path = document if isinstance(document, Path) else write(tmp_path / "kwok_scale_test.json", document)
    root = tmp_path / f"results-{len(list(tmp_path.glob('results-*')))}"
    assert main(["import", "kai-result", str(path), "--results-dir", str(root), *options]) == 0
    return runs(root)[-1]


def bound(run: RunFolder) -> dict[str, tuple[float, float]]:
    """Of every record that a client's limit is said to explain: what it predicts and what was published."""
    found = {}
    for record in run.records():
        if record.bound_by is not None:
            assert (record.bound_by.kind, record.bound_by.component) == ("client_limit", "binder")
            predicted, observed = record.bound_by.predicted, record.bound_by.observed
            assert predicted is not None
            assert observed is not None
            found[record.scenario] = (round(predicted, 3), round(observed, 3))
    return found


def of(run: RunFolder, scenario: str, metric: str | None = None) -> Record:
    return next(r for r in run.records() if r.scenario == scenario and metric in (None, r.metric))


def change(name: str, **details: Any) -> Callable[[Document], None]:
    """Every test of that name says something else."""

    def edit(document: Document) -> None:
        for item in document["tests"]:
            if item["test_name"] == name:
                item["details"] |= {key.replace("_", " "): value for key, value in details.items()}

    return edit


@pytest.mark.parametrize("document", [results(), wrapped(), *([PUBLISHED] if PUBLISHED.exists() else [])])
def test_a_published_result_is_the_limit_of_the_binders_client(tmp_path: Path, document: Any) -> None:
    run = imported(tmp_path, document)
    assert bound(run) == BOUND
    for scenario in BOUND:
        record = of(run, scenario)
        assert record.bound_by is not None
        assert record.bound_by.limit == BINDER
        assert record.parameters["assumed"] == {"component": "binder", **BINDER, "requests": "PATCH pod, POST binding"}
        proof = {item.name: item.holds for item in record.evidence}
        assert proof["client_limit_confirmed"]
    verdicts = {(r.scenario, r.metric): r.verdict for r in run.records()}
    assert {key for key, verdict in verdicts.items() if verdict != "measured"} == {("burst", "complete_all_seconds")}
    assert len(verdicts) == 14


def test_what_is_assumed_is_printed_as_assumed_beside_prediction_and_publication(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    imported(tmp_path, wrapped())
    out = capsys.readouterr().out
    told = " ".join(out.split())
    assert "nothing of it was measured here" in told
    assert (
        "Assumed, not read from the file: binder: 20 requests a second, burst 100, 2 requests a pod "
        "(PATCH pod, POST binding), up to 5 s of start-up." in told
    )
    rows = [
        "fill_scheduler_off 4,000 395 s 397.8 s 1.007 client limit of binder (assumed)",
        "topology_preferred 512 46.2 s 48.72 s 1.055 client limit of binder (assumed)",
        "topology_none 512 46.2 s 49.43 s 1.070 client limit of binder (assumed)",
        "fill_scheduler_on 4,000 395 s 460.5 s 1.166 something else",
        "reclaim_all 4,000 395 s 694.5 s 1.758 something else",
    ]
    assert [row for row in rows if row not in told] == []
    assert "client limit: binder 20/s (assumed)" in told


def test_every_report_says_where_the_numbers_are_from(tmp_path: Path) -> None:
    run = imported(tmp_path, wrapped())
    origin = "Imported from kwok\\_scale\\_test.json"
    said = (
        "Imported from kwok_scale_test.json, published 2026-07-03T08:39:43Z at commit "
        "0123456789abcdef0123456789abcdef01234567. Nothing of it was measured by this program."
    )
    for name in ("summary.md", "report.html"):
        text = (run.path / name).read_text()
        assert said in text or origin in text
        assert "Assumed, not read anywhere: the client of binder" in text
    assert run.run()["started_at"] == "2026-07-03T08:39:43Z"
    assert {record.parameters["imported"]["sha256"] for record in run.records()} == {run.run()["imported"]["sha256"]}


def test_a_burst_that_did_not_complete_is_not_published_as_a_time(tmp_path: Path) -> None:
    run = imported(tmp_path, results())
    time, count = of(run, "burst", "complete_all_seconds"), of(run, "burst", "pods_completed")
    assert (time.verdict, time.value) == ("invalid", None)
    assert "12,651 of 45,990 completed, 0 pending" in time.reason
    assert (count.verdict, count.value) == ("measured", 12651)
    assert run.exit_code() == 4


def test_a_burst_that_completed_is_measured(tmp_path: Path) -> None:
    document = results()
    change(BURST, completed_pods=45990)(document)
    run = imported(tmp_path, document)
    assert of(run, "burst", "complete_all_seconds").value == pytest.approx(5098.691694779)
    assert run.exit_code() == 0


FOUR, TWO = {"fill_scheduler_off", "fill_with_pending"}, {"topology_preferred", "topology_none"}
WAITING = f"{FILL} with 400 pending tasks in background"


def both(*edits: Callable[[Document], None]) -> Callable[[Document], None]:
    def edit(document: Document) -> None:
        for item in edits:
            item(document)

    return edit


ALTERED: list[tuple[str, Callable[[Document], None], set[str]]] = [
    ("a fill that took 300 s", change(FILL, time="5m0s"), {"fill_with_pending", *TWO}),
    ("a fill of half the pods in the same time", change(FILL, jobs=2000), {"fill_with_pending", *TWO}),
    ("a fill that was faster than the limit lets it", change(FILL, time="40s"), {"fill_with_pending", *TWO}),
    ("a gang that took 60 s", change(TOPOLOGY, time="1m0s"), FOUR | {"topology_none"}),
    ("a gang of half the size in the same time", change(NO_TOPOLOGY, pods=256), FOUR | {"topology_preferred"}),
    # Each fits within 5 % and the slope between the two sizes does not.
    (
        "a slope that no limit gives",
        both(change(FILL, time="6m16s"), change(WAITING, time="6m16s")),
        set(),
    ),
]


@pytest.mark.parametrize(("edit", "still"), [case[1:] for case in ALTERED], ids=[case[0] for case in ALTERED])
def test_an_altered_input_changes_the_finding(
    tmp_path: Path, edit: Callable[[Document], None], still: set[str]
) -> None:
    document = results()
    edit(document)
    assert set(bound(imported(tmp_path, document))) == still


def test_a_time_that_nothing_explains_says_so(tmp_path: Path) -> None:
    record = of(imported(tmp_path, results()), "fill_scheduler_on")
    assert record.reason == (
        "The assumed limit of binder predicts 395 s for 4,000 pods, 460.5 s was published: it is not what held this "
        "back."
    )


def test_a_single_size_fits_but_is_said_to_be_unconfirmed(tmp_path: Path) -> None:
    document = results()
    document["tests"] = [item for item in document["tests"] if item["test_name"] == FILL]
    record = of(imported(tmp_path, document), "fill_scheduler_off")
    assert record.bound_by is not None
    assert record.reason.endswith("the file has no second size that would confirm it.")


OPTIONS: list[tuple[list[str], dict[str, tuple[float, float]]]] = [
    (["--assume-qps", "50", "--assume-burst", "300"], {}),
    (["--assume-requests-per-pod", "1"], {}),
    (["--assume-requests-per-pod", "4", "--assume-qps", "40", "--assume-burst", "200"], BOUND),
    (["--assume-start-up", "0"], {name: BOUND[name] for name in sorted(FOUR)}),
    (["--assume-burst", "100000"], {}),
]


@pytest.mark.parametrize(("options", "expected"), OPTIONS)
def test_other_assumptions_explain_other_things(
    tmp_path: Path, options: list[str], expected: dict[str, tuple[float, float]]
) -> None:
    assert bound(imported(tmp_path, results(), *options)) == expected


def test_the_assumption_has_the_name_it_was_given(tmp_path: Path) -> None:
    run = imported(tmp_path, results(), "--assume-component", "kai-binder")
    found = of(run, "fill_scheduler_off").bound_by
    assert found is not None
    assert found.component == "kai-binder"


def test_the_same_test_twice_is_another_repeat(tmp_path: Path) -> None:
    document = results()
    again = kai_results.test(FILL, jobs=4000, nodes=500, time="6m36.738s")
    document["tests"].append(again)
    record = of(imported(tmp_path, document), "fill_scheduler_off")
    assert record.repeats == (pytest.approx(397.770565662), pytest.approx(396.738))
    again["details"]["jobs"] = 2000
    other = of(imported(tmp_path, document), "fill_scheduler_off")
    assert other.verdict == "invalid"
    assert "same_parameters_in_every_repeat" in other.reason


def test_of_two_tests_with_one_name_the_sizes_tell_which_is_which(tmp_path: Path) -> None:
    for document in (results(), wrapped()):
        run = imported(tmp_path, document)
        assert [of(run, name).parameters["pods"] for name in ("reclaim_large", "reclaim_full_nodes")] == [250, 500]


def test_a_test_that_failed_is_no_number(tmp_path: Path) -> None:
    document = results()
    document["tests"][2] |= {"status": "failure", "details": None}
    record = of(imported(tmp_path, document), "fill_scheduler_off")
    assert (record.verdict, record.value) == ("invalid", None)
    assert "published_as_success: status failure" in record.reason


def test_tests_that_are_no_scenario_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = results()
    document["tests"].append(kai_results.test("Hero job", time="3s"))
    imported(tmp_path, document)
    assert "Not imported, no scenario has that name: 'Hero job'" in capsys.readouterr().out


def test_the_report_can_be_made_again_and_finds_what_was_altered_since(tmp_path: Path) -> None:
    run = imported(tmp_path, wrapped())
    before = (run.path / "records.jsonl").read_text()
    report(run)
    assert (run.path / "records.jsonl").read_text() == before
    path = run.path / "observations.jsonl"
    path.write_text(path.read_text().replace("397.770565662", "97.770565662"))
    report(run)
    assert {record.verdict for record in run.records()} == {"invalid"}
    assert "fill_scheduler_off, result 1: the observation is not what the file says" in run.records()[0].reason


def test_a_file_altered_since_is_found(tmp_path: Path) -> None:
    run = imported(tmp_path, wrapped())
    path = run.path / "imported.json"
    path.write_text(path.read_text() + " ")
    report(run)
    assert all("published_file_intact: sha256" in record.reason for record in run.records())
    path.unlink()
    report(run)
    assert all("cannot be read" in record.reason for record in run.records())


def one(**details: Any) -> Document:
    return {"status": "success", "tests": [{"test_name": FILL, "status": "success", "details": details}]}


NONSENSE: list[tuple[str, Any, str]] = [
    ("text", "hello", "is not JSON"),
    ("nothing", "", "is not JSON"),
    ("half", json.dumps(results())[:300], "is not JSON"),
    ("a list", [], "is no JSON object"),
    ("a number", 3, "is no JSON object"),
    ("deep", "[" * 100_000, "is"),
    ("another document", {"kind": "Pod"}, "it has no list of tests"),
    ("results that are none", {"results": []}, "results has no list of tests"),
    ("tests that are none", {"status": "success", "tests": {}}, "it has no list of tests"),
    ("no test", {"status": "success", "tests": []}, "has no test in it"),
    ("a test without name", {"tests": [{"status": "success"}]}, "tests[0] has no test_name"),
    ("a test that is a text", {"tests": ["x"]}, "tests[0] has no test_name"),
    ("another status", {"tests": [{"test_name": FILL, "status": "fine"}]}, "has the status 'fine'"),
    ("no details", {"tests": [{"test_name": FILL, "status": "success"}]}, "has no details"),
    ("only unknown tests", {"tests": [kai_results.test("Hero", time="1s")]}, "none of its tests is one of the suite's"),
    ("no time", one(jobs=4000), "'time' is None, no time"),
    ("a time that is no time", one(jobs=4000, time="soon"), "'time' is 'soon', no time"),
    ("a time with rubbish", one(jobs=4000, time="6m37sx"), "'time' is '6m37sx', no time"),
    ("a negative time", one(jobs=4000, time=-3), "a time is above 0"),
    ("no time at all", one(jobs=4000, time="0s"), "a time is above 0"),
    (
        "an infinite time",
        json.dumps(one(jobs=1, time=0)).replace('"time": 0', '"time": Infinity'),
        "a time is above 0",
    ),
    ("a huge time", one(jobs=1, time=10**400), "too large to be meant"),
    ("a time that is true", one(jobs=4000, time=True), "'time' is True, no time"),
    ("jobs in words", one(jobs="many", time="3s"), "'jobs' is 'many', no count"),
    ("fewer jobs than none", one(jobs=-1, time="3s"), "'jobs' is -1, no count"),
    ("metadata that is none", {"metadata": [], "results": results()}, "metadata is no object"),
    ("a timestamp that is none", {"metadata": {"timestamp": "July"}, "results": results()}, "metadata.timestamp"),
]


@pytest.mark.parametrize(("document", "text"), [case[1:] for case in NONSENSE], ids=[case[0] for case in NONSENSE])
def test_nonsense_is_refused_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], document: Any, text: str
) -> None:
    path = write(tmp_path / "file.json", document)
    assert main(["import", "kai-result", str(path), "--results-dir", str(tmp_path / "results")]) == 2
    err = capsys.readouterr().err
    assert str(path) in err
    assert text in err
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", [".", "no/such.json"])
def test_a_file_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert main(["import", "kai-result", str(tmp_path / name)]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_a_file_larger_than_any_result_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(kai_result.LARGEST + 1)
    assert main(["import", "kai-result", str(path)]) == 2
    assert "16,777,217 bytes long" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--assume-qps", "0"], "--assume-qps 0: has to be a number above 0"),
        (["--assume-qps", "nan"], "--assume-qps nan"),
        (["--assume-burst", "-1"], "--assume-burst -1: has to be a number 0 or above"),
        (["--assume-requests-per-pod", "0"], "--assume-requests-per-pod 0"),
        (["--assume-start-up", "inf"], "--assume-start-up inf"),
    ],
)
def test_an_assumption_has_to_be_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], text: str
) -> None:
    path = write(tmp_path / "file.json", results())
    assert main(["import", "kai-result", str(path), *options]) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["import"], ["import", "csv", "x"], ["import", "kai-result"]])
def test_what_is_imported_has_to_be_said(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(argv)
    assert ended.value.code == 2


DURATIONS = [(397.770565662, "6m37.770565662s"), (3723.5, "1h2m3.5s"), (60, "1m0s"), (48.722995576, "48.722995576s")]


@pytest.mark.parametrize(("seconds", "text"), [*DURATIONS, (0.25, "0.25s"), (0, "0s"), (3600, "1h0m0s")])
def test_times_are_written_and_read_as_go_does(seconds: float, text: str) -> None:
    assert (go_duration(seconds), seconds_of(text)) == (text, pytest.approx(seconds))


@pytest.mark.parametrize("text", ["", "s", "3", "3 s", "-3s", "3sm", "1d"])
def test_what_is_no_duration_is_none(text: str) -> None:
    assert seconds_of(text) is None
