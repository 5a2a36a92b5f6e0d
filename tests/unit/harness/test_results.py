# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be read is named by file and line, with what to do; what is written is whole or not there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness import results, schemas
from harness.errors import ResultsError, UsageError
from harness.judge import gather, records
from harness.model import Record
from harness.results import RunFolder
from tests.fakes.run_builder import RUN_ID, Shape, build

SMALL = Shape(pods=16, nodes=2, repeats=1, scenarios=("fill_scheduler_off",), confirmed=False)


def change(name: str, edit: Callable[[str], str]) -> Callable[[Path], None]:
    def tamper(folder: Path) -> None:
        path = folder / name
        path.write_text(edit(path.read_text()))

    return tamper


def change_line(number: int, edit: Callable[[dict[str, object]], dict[str, object]]) -> Callable[[str], str]:
    def on_lines(text: str) -> str:
        lines = text.splitlines()
        lines[number - 1] = json.dumps(edit(json.loads(lines[number - 1])))
        return "\n".join(lines) + "\n"

    return on_lines


def everything(run: RunFolder) -> object:
    return run.plan(), run.run(), run.observations()


UNREADABLE: list[tuple[str, Callable[[Path], None], str, str]] = [
    (
        "a half-written observation",
        change("observations.jsonl", lambda text: text[:-40]),
        "observations.jsonl:4: is not JSON: ",
        "(half written)",
    ),
    (
        "an observation that is no JSON",
        change("observations.jsonl", lambda text: "what?\n" + text),
        "observations.jsonl:1: is not JSON: Expecting value at column 1",
        "resume",
    ),
    (
        "an observation without values",
        change("observations.jsonl", change_line(2, lambda d: {k: v for k, v in d.items() if k != "values"})),
        "observations.jsonl:2: not a valid observation: 'values' is a required property",
        "remove the line and report again",
    ),
    (
        "an observation of another schema",
        change("observations.jsonl", change_line(2, lambda d: d | {"schema_version": 2})),
        "observations.jsonl:2: not a valid observation: schema_version: 1 was expected",
        "",
    ),
    (
        "a load that does not say how many were asked",
        change("observations.jsonl", change_line(4, lambda d: d | {"values": {"created": 1}})),
        "observations.jsonl:4: not a valid observation: values: 'asked' is a required property",
        "",
    ),
    (
        "samples outside the run",
        change(
            "observations.jsonl",
            change_line(4, lambda d: d | {"samples": {"path": "../../etc/passwd", "sha256": "0" * 64, "rows": 1}}),
        ),
        "observations.jsonl:4: not a valid observation: samples",
        "",
    ),
    (
        "an observation of another run",
        change("observations.jsonl", change_line(1, lambda d: d | {"run_id": "20260101T000000Z-0000"})),
        f"observations.jsonl:1: belongs to run 20260101T000000Z-0000, not to {RUN_ID}",
        "move what was copied here",
    ),
    (
        "a half-written plan",
        change("plan.json", lambda text: text[:100]),
        "plan.json:1: is not JSON: ",
        "(half written)",
    ),
    (
        "a plan without records",
        change("plan.json", lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "records"})),
        "plan.json: not a valid plan: 'records' is a required property",
        "start the run anew",
    ),
    (
        "a plan with an impossible objective",
        change("plan.json", lambda text: text.replace('"objective": null', '"objective": {"most": 3}', 1)),
        "plan.json: not a valid plan: records[0].objective",
        "",
    ),
    (
        "an empty run.json",
        change("run.json", lambda _: ""),
        "run.json:1: is not JSON: ",
        "restore run.json or remove it",
    ),
    (
        "a text in another encoding",
        lambda folder: (folder / "run.json").write_bytes(b"\xff\xfe{}"),
        "run.json: is not UTF-8 text",
        "",
    ),
    (
        "a folder for a file",
        lambda folder: _folder(folder / "plan.json"),
        "plan.json: cannot be read: Is a directory",
        "",
    ),
]


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(("tamper", "message", "more"), [c[1:] for c in UNREADABLE], ids=[c[0] for c in UNREADABLE])
def test_an_unreadable_file_is_named_with_its_line_and_what_to_do(
    tmp_path: Path, tamper: Callable[[Path], None], message: str, more: str
) -> None:
    run = build(tmp_path, SMALL, tampering=[tamper])
    with pytest.raises(ResultsError) as raised:
        everything(run)
    assert str(raised.value).startswith(f"{run.path}/{message}")
    assert more in str(raised.value)
    assert raised.value.exit_code == 3


def one(run: RunFolder) -> Record:
    return records(gather(run), {})[0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"unit": "furlongs"}, "unit: 'furlongs' is not one of"),
        ({"verdict": "splendid"}, "verdict: 'splendid' is not one of"),
        ({"verdict": "invalid", "reason": "x"}, "value: "),
        ({"n": -1}, "n: -1 is less than the minimum of 0"),
        ({"quantiles": {"p50": 1.0}}, "quantiles"),
    ],
)
def test_an_invalid_record_is_not_written(tmp_path: Path, changed: dict[str, object], message: str) -> None:
    run = build(tmp_path, SMALL)
    good = one(run)
    run.write_records([good])
    before = (run.path / "records.jsonl").read_bytes()
    with pytest.raises(ResultsError, match=r"records\.jsonl:2: not a valid record: ") as raised:
        run.write_records([good, replace(good, **changed)])
    assert message in str(raised.value)
    assert (run.path / "records.jsonl").read_bytes() == before


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL)
    written = records(gather(run), {})
    run.write_records(written)
    assert run.records() == written


def test_a_record_that_was_altered_is_refused(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL)
    run.write_records([one(run)])
    change("records.jsonl", lambda text: text.replace('"verdict": "measured"', '"verdict": "good"'))(run.path)
    with pytest.raises(ResultsError, match=r"records\.jsonl:1: not a valid record: verdict: 'good'[\s\S]*report"):
        run.records()


def test_of_an_observation_made_twice_the_later_one_counts(tmp_path: Path) -> None:
    def again(folder: Path) -> None:
        path = folder / "observations.jsonl"
        lines = path.read_text().splitlines()
        later = json.loads(lines[3])
        later["values"]["asked"] = 17
        path.write_text("\n".join([*lines, json.dumps(later)]) + "\n")

    found = build(tmp_path, SMALL, tampering=[again]).observations()
    assert [(item.kind, item.values.get("asked")) for item in found] == [
        ("nodes", 2),
        ("calibration", None),
        ("subject", None),
        ("pod_load", 17),
    ]


def test_a_run_that_never_got_a_plan_can_be_read(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / RUN_ID)
    run.path.mkdir()
    assert (run.plan(), run.observations(), run.records(), run.failures(), run.exit_code()) == (None, [], [], {}, None)
    assert run.run() == {"schema_version": 1, "run_id": RUN_ID, "started_at": ""}


@pytest.mark.parametrize(
    ("text", "reason", "code"),
    [
        ('{"stage": "environment", "reason": "etcd died", "task": "start etcd", "exit_code": 3}', "etcd died", 3),
        ('{"stage": "environment", "reason": "no rights"}', "no rights", None),
        ('{"stage": "environm', "its FAILURE file cannot be read", None),
        ("", "its FAILURE file cannot be read", None),
        ('["x"]', "its FAILURE file cannot be read", None),
    ],
)
def test_a_stage_with_a_failure_file_failed_whatever_is_in_it(
    tmp_path: Path, text: str, reason: str, code: int | None
) -> None:
    run = RunFolder(tmp_path / RUN_ID)
    (run.path / "stages" / "02__environment").mkdir(parents=True)
    (run.path / "stages" / "02__environment" / "FAILURE").write_text(text)
    found = run.failures()
    assert list(found) == ["environment"]
    assert found["environment"].reason.startswith(reason)
    assert found["environment"].exit_code == code


@pytest.mark.parametrize(
    ("text", "left", "cut"),
    [
        ('{"a": 1}\n{"b"', '{"a": 1}\n', '{"b"'),
        ('{"b"', "", '{"b"'),
        ('{"a": 1}\n{"b": 2}', '{"a": 1}\n{"b": 2}', None),
        ('{"a": 1}\n', '{"a": 1}\n', None),
        ("", "", None),
    ],
)
def test_a_half_written_last_line_can_be_cut_off(tmp_path: Path, text: str, left: str, cut: str | None) -> None:
    path = tmp_path / "observations.jsonl"
    path.write_text(text)
    assert results.drop_half_written_line(path) == cut
    assert path.read_text() == left


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    results.write_atomic(path, "old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ResultsError, match="cannot be written: No space left on device") as raised:
        results.write_atomic(path, "new")
    assert raised.value.hint == "free space on that disk and report again"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert path.read_text() == "old"


def test_numbers_that_json_does_not_have_become_null() -> None:
    assert results.dumps({"a": float("nan"), "b": [float("inf"), 1.5]}) == '{"a": null, "b": [null, 1.5]}'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("20261121T000000Z-aaaa", "20261122T000000Z-bbbb", "20261122T000001Z-cccc", "notes", "latest"):
        (tmp_path / name).mkdir()
    (tmp_path / "20261123T000000Z-dddd").write_text("a file")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("latest", "20261122T000001Z-cccc"),
        ("20261121T000000Z-aaaa", "20261121T000000Z-aaaa"),
        ("20261121", "20261121T000000Z-aaaa"),
    ],
)
def test_a_run_is_found_by_id_by_its_beginning_or_as_the_latest(root: Path, name: str, found: str) -> None:
    assert results.find_run(root, name).run_id == found


def test_a_run_is_found_by_its_path(root: Path, tmp_path: Path) -> None:
    assert (
        results.find_run(tmp_path / "elsewhere", str(root / "20261121T000000Z-aaaa")).run_id == "20261121T000000Z-aaaa"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("20261122", "several runs begin with '20261122'"),
        ("2025", "there is no run '2025'"),
        ("", "there is no run ''"),
        ("notes", "there is no run 'notes'"),
    ],
)
def test_a_run_that_is_not_one_is_said(root: Path, name: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        results.find_run(root, name)
    assert str(raised.value).startswith(f"{message} under {root}\n  runs there: ")
    assert raised.value.exit_code == 2


def test_without_any_run_the_hint_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no run under[\s\S]*run nightly"):
        results.find_run(tmp_path / "none", "latest")


def test_the_schemas_are_schemas_and_the_table_of_metrics_fits_its_own() -> None:
    for path in schemas.FOLDER.glob("*.schema.json"):
        schemas.Draft202012Validator.check_schema(json.loads(path.read_text()))
    schemas.check("metrics", schemas.load("metrics"), path=schemas.FOLDER / "metrics.json")
