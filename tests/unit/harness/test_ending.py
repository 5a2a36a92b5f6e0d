# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from harness.ending import write_exit_code
from harness.errors import ResultsError
from harness.results import RunFolder


def test_the_exit_code_stands_in_both_places(tmp_path):
    (tmp_path / "run.json").write_text('{"run_id": "R", "exit_code": null}')
    write_exit_code(RunFolder(tmp_path), 130)
    assert (tmp_path / "exit_code").read_text() == "130\n"
    assert json.loads((tmp_path / "run.json").read_text()) == {"run_id": "R", "exit_code": 130}


def test_without_a_run_json_there_is_still_an_exit_code(tmp_path):
    write_exit_code(RunFolder(tmp_path), 3)
    assert {path.name for path in tmp_path.iterdir()} == {"exit_code"}


def test_a_damaged_run_json_is_named_and_the_exit_code_written(tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(ResultsError, match=r"run\.json.*is not JSON"):
        write_exit_code(RunFolder(tmp_path), 1)
    assert (tmp_path / "exit_code").read_text() == "1\n"
