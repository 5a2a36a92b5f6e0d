# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import jsonfile
from ansible.module_utils.nightbench.errors import ConfigurationError


def test_what_is_written_is_read_back_and_nothing_else_is_left(tmp_path: Path) -> None:
    jsonfile.write_atomic(tmp_path / "a" / "b.json", {"ü": [1, None]}, mode=0o600)
    assert jsonfile.read(tmp_path / "a" / "b.json") == {"ü": [1, None]}
    assert os.listdir(tmp_path / "a") == ["b.json"]
    assert (tmp_path / "a" / "b.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("value", [object(), float("nan")])
def test_a_value_that_is_not_json_leaves_the_old_file(tmp_path: Path, value: object) -> None:
    jsonfile.write_atomic(tmp_path / "a.json", 1)
    with pytest.raises((TypeError, ValueError)):
        jsonfile.write_atomic(tmp_path / "a.json", value)
    assert (jsonfile.read(tmp_path / "a.json"), os.listdir(tmp_path)) == (1, ["a.json"])


def test_a_full_disk_leaves_the_old_file_and_no_rubbish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jsonfile.write_atomic(tmp_path / "a.json", 1)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        jsonfile.write_atomic(tmp_path / "a.json", 2)
    assert (jsonfile.read(tmp_path / "a.json"), os.listdir(tmp_path)) == (1, ["a.json"])


def test_a_missing_file_is_none_and_a_half_written_one_is_said(tmp_path: Path) -> None:
    assert jsonfile.read(tmp_path / "none.json") is None
    (tmp_path / "half.json").write_text('{"a": ')
    with pytest.raises(ConfigurationError, match=r"half\.json: it is not valid JSON .* delete it"):
        jsonfile.read(tmp_path / "half.json")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", '{"n":3}\n'),
        ('{"n":1}\n', '{"n":1}\n{"n":3}\n'),
        ('{"n":1}\n{"n":', '{"n":1}\n{"n":3}\n'),  # torn by a kill
        ('{"n":', '{"n":3}\n'),
        ('{"n":1}\n{"n":2}', '{"n":1}\n{"n":2}\n{"n":3}\n'),  # whole, only its newline is missing
        ('{"n":1}\n"' + "x" * 200_000, '{"n":1}\n{"n":3}\n'),
        ('"' + "x" * 200_000, '{"n":3}\n'),
    ],
)
def test_appending_mends_the_last_line(tmp_path: Path, before: str, after: str) -> None:
    path = tmp_path / "lines.jsonl"
    path.write_text(before)
    jsonfile.append_line(path, {"n": 3})
    assert path.read_text() == after


def _append(path: Path, writer: int) -> None:
    for number in range(50):
        jsonfile.append_line(path, {"writer": writer, "number": number, "filling": "x" * 9000})


def test_writers_at_once_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "lines.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_append, args=(path, writer)) for writer in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows = sorted((row["writer"], row["number"]) for row in jsonfile.read_lines(path))
    assert rows == [(writer, number) for writer in range(3) for number in range(50)]


@pytest.mark.parametrize(
    ("text", "values"), [(None, []), ("", []), ("1\n\n2\n", [1, 2]), ('1\n{"half', [1]), ("1\n2", [1, 2])]
)
def test_reading_leaves_out_the_line_that_is_being_written(tmp_path: Path, text: str | None, values: list[int]) -> None:
    if text is not None:
        (tmp_path / "lines.jsonl").write_text(text)
    assert jsonfile.read_lines(tmp_path / "lines.jsonl") == values


def test_a_broken_line_in_the_middle_is_said(tmp_path: Path) -> None:
    (tmp_path / "lines.jsonl").write_text('1\n{"half\n3\n')
    with pytest.raises(ConfigurationError, match="line 2 is not valid JSON"):
        jsonfile.read_lines(tmp_path / "lines.jsonl")
