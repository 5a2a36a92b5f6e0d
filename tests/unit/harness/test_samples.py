# SPDX-License-Identifier: GPL-3.0-or-later
"""Samples are read as they were written, or it is said why not; Parquet holds all repeats."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from harness import samples, schemas
from harness.errors import ResultsError
from harness.model import SamplesReference

ROW: dict[str, Any] = {
    "name": "fill-00000",
    "uid": "u0",
    "posted": 0.1,
    "created": 0.2,
    "bound": 0.3,
    "running": 0.4,
    "deleted": None,
    "node": "node-0",
    "gpus": 1,
    "audit_created": None,
    "audit_bound": 0.29,
    "failure": None,
}


def write(root: Path, name: str, data: bytes) -> SamplesReference:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)
    return SamplesReference(name, hashlib.sha256(data).hexdigest(), len(data.splitlines()))


def lines(*rows: dict[str, Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


WRONG = [
    (lines(ROW | {"bound": "0.3"}), "s.jsonl:1: bound is '0.3'"),
    (lines(ROW, ROW | {"name": None}), "s.jsonl:2: name is None"),
    (lines(ROW | {"gpus": True}), "s.jsonl:1: gpus is True"),
    (lines({k: v for k, v in ROW.items() if k != "node"}), "s.jsonl:1: node is missing"),
    (lines(ROW | {"domains": ["rack-1"]}), "s.jsonl:1: domains is ['rack-1']"),
    (lines(ROW | {"domains": {"rack": 1}}), "s.jsonl:1: domains is {'rack': 1}"),
    (b'["a list"]\n', "s.jsonl:1: is not an object"),
    (lines(ROW)[:-20], "s.jsonl:1 is not JSON (half written?)"),
    (lines(ROW) + b"\n", "s.jsonl:2 is not JSON (half written?)"),
]


@pytest.mark.parametrize(("data", "problem"), WRONG)
def test_a_wrong_row_is_named_although_the_sha256_fits(tmp_path: Path, data: bytes, problem: str) -> None:
    assert samples.read(tmp_path, write(tmp_path, "s.jsonl", data))[1] == problem


def test_no_samples_named_is_a_problem(tmp_path: Path) -> None:
    assert samples.read(tmp_path, None) == ([], "the observation names no samples")


def test_a_row_may_say_more_than_is_asked(tmp_path: Path) -> None:
    rows, problem = samples.read(tmp_path, write(tmp_path, "s.jsonl", lines(ROW | {"seen": 0.21})))
    assert (problem, rows[0].name, rows[0].bound, rows[0].deleted) == ("", "fill-00000", 0.3, None)


def test_the_columns_are_those_of_the_schema() -> None:
    schema = schemas.load("sample.schema")
    every = samples.COLUMNS | samples.CONDITION_COLUMNS | samples.PART_COLUMNS
    assert (set(samples.COLUMNS), set(every)) == (set(schema["required"]), set(schema["properties"]))
    nullable = {name for name, kind in schema["properties"].items() if "null" in kind["type"]}
    assert {name for name, column in every.items() if column[2]} == nullable


@pytest.mark.parametrize("folder", ["plain", 'it\'s [odd] *and? "quoted"'])
def test_parquet_holds_every_repeat_and_is_the_same_every_time(tmp_path: Path, folder: str) -> None:
    root = tmp_path / folder
    for repeat in (1, 2):
        write(root, f"s.{repeat}.jsonl", lines(*({**ROW, "name": f"p{i}", "bound": repeat + i} for i in range(50))))
    sources = [(1, "s.1.jsonl"), (2, "s.2.jsonl")]
    first = samples.write_parquet(root, "out/all.parquet", sources)
    again = samples.write_parquet(root, "out/all.parquet", sources)
    assert first == again
    assert first.sha256 == hashlib.sha256((root / "out/all.parquet").read_bytes()).hexdigest()
    assert [entry.name for entry in (root / "out").iterdir()] == ["all.parquet"]
    (tmp_path / "read.parquet").write_bytes((root / "out/all.parquet").read_bytes())
    with duckdb.connect() as connection:
        table = connection.read_parquet(str(tmp_path / "read.parquet"))
        assert table.columns == ["repeat", *samples.COLUMNS, *samples.CONDITION_COLUMNS]
        found = table.aggregate("repeat, count(*) AS rows, min(bound) AS first", "repeat").order("repeat").fetchall()
    assert found == [(1, 50, 1.0), (2, 50, 2.0)]


def test_a_parquet_file_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    write(tmp_path, "s.jsonl", b'{"name": \n')
    with pytest.raises(ResultsError, match=r"all\.parquet: cannot be written: "):
        samples.write_parquet(tmp_path, "out/all.parquet", [(1, "s.jsonl")])
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"measured": True, "part": "victims", "grouped": 1.5, "evicted": None}, ""),
        ({"measured": 1}, "s.jsonl:1: measured is 1"),
        ({"grouped": True}, "s.jsonl:1: grouped is True"),
        ({"part": 3}, "s.jsonl:1: part is 3"),
    ],
)
def test_what_a_load_of_several_parts_adds_may_be_absent_but_not_wrong(
    tmp_path: Path, values: dict[str, object], problem: str
) -> None:
    data = lines({**ROW, **values})
    write(tmp_path, "s.jsonl", data)
    reference = SamplesReference("s.jsonl", hashlib.sha256((tmp_path / "s.jsonl").read_bytes()).hexdigest(), 1)
    rows, found = samples.read(tmp_path, reference)
    assert found == problem
    assert [row.part for row in rows] == ([] if problem else ["victims"])


def test_parquet_holds_the_domains_of_every_pod(tmp_path: Path) -> None:
    domains: list[dict[str, str | None] | None] = [{"zone": "zone-0", "rack": None}, None]
    write(tmp_path, "s.jsonl", lines(*(ROW | {"name": f"p{i}", "domains": one} for i, one in enumerate(domains))))
    samples.write_parquet(tmp_path, "all.parquet", [(1, "s.jsonl")], parts=True)
    with duckdb.connect() as connection:
        table = connection.read_parquet(str(tmp_path / "all.parquet")).order("name")
        assert table.project("domains").fetchall() == [(one,) for one in domains]
