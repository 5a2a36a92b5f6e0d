# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_tool as a whole, with sources that need neither network nor compiler."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import tool_obtain
from ansible.module_utils.nightbench.tool_source import Obtained, SourceError, Surroundings
from ansible.module_utils.nightbench.tool_table import Source, Tool
from ansible.modules import bench_tool

from tests.conftest import ModuleResult, RunModule
from tests.toolchain import put_script, row, script, stored

PACKAGE = {"source": "package", "package": "hello", "member": "usr/bin/hello"}
GO = {"source": "go_module", "directory": "hello", "package": "./"}
Run = Callable[..., ModuleResult]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What package and go_module answer instead of looking: bytes of a tool, or an error to raise."""
    given: dict[str, Any] = {"asked": [], "package": SourceError("nothing there."), "go_module": script("1.2.3")}

    def obtain(tool: Tool, source: Source, work: Path, around: Surroundings) -> Obtained:
        given["asked"].append(source.kind)
        answer = given[source.kind]
        if isinstance(answer, Exception):
            raise answer
        (work / tool.file).write_bytes(answer)
        return Obtained(work / tool.file, f"made by {source.kind}")

    for kind in ("package", "go_module"):
        monkeypatch.setitem(tool_obtain.OBTAIN, kind, obtain)
    return given


@pytest.fixture
def run(run_module: RunModule, tmp_path: Path, answers: dict[str, Any]) -> Run:
    def call(*table: dict[str, Any], check: bool = False, **arguments: Any) -> ModuleResult:
        fixed = {"table": list(table), "cache_dir": str(tmp_path / "cache"), "go_dir": str(tmp_path / "go")}
        return run_module(bench_tool, check=check, **{**fixed, **arguments})

    return call


def path_source(folder: Path) -> dict[str, Any]:
    return {"source": "path", "directories": [str(folder)]}


def test_a_tool_on_the_machine_with_the_right_version_is_taken_as_it_is(run: Run, tmp_path: Path) -> None:
    tool = put_script(tmp_path / "bin", "v1.2.3")
    result = run(row(path_source(tmp_path / "bin"), GO)).ok()
    expected = {
        "path": str(tool),
        "version": "1.2.3",
        "source": "path",
        "sha256": hashlib.sha256(tool.read_bytes()).hexdigest(),
        "detail": f"found at {tool}",
    }
    assert result["changed"] is False
    assert result["by_name"] == {"hello": expected}
    assert result["tools"][0]["attempts"] == [
        {
            "source": "path",
            "tried": f"hello in {tmp_path / 'bin'}, PATH",
            "answer": f"{tool} is there, version 1.2.3.",
        }
    ]
    assert result["failed_tools"] == []
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (script("1.2.2"), "{path} is version 1.2.2, 1.2.3 is asked for."),
        (b"#!/bin/sh\nexit 3\n", "{path} --version (exit code 3) does not say a version: ''"),
        (b"#!/bin/sh\necho oops >&2\n", "{path} --version (exit code 0) does not say a version: 'oops'"),
        (b"\x7fELF nonsense", "{path} --version (exit code 12"),
    ],
    ids=["another version", "fails", "says something else", "cannot run"],
)
def test_a_tool_on_the_machine_that_is_not_the_right_one_is_passed_over(
    run: Run, tmp_path: Path, content: bytes, answer: str
) -> None:
    tool = put_script(tmp_path / "bin", "1.2.3")
    tool.write_bytes(content)
    result = run(row(path_source(tmp_path / "bin"), GO)).ok()
    assert result["tools"][0]["attempts"][0]["answer"].startswith(answer.format(path=tool))
    assert result["by_name"]["hello"]["source"] == "go_module"


def test_the_first_source_that_answers_is_stored_and_the_second_call_takes_it_from_the_cache(
    run: Run, tmp_path: Path, answers: dict[str, Any]
) -> None:
    table = row({"source": "path"}, PACKAGE, GO)
    first, second = run(table).ok(), run(table).ok()
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["by_name"] == second["by_name"]
    assert answers["asked"] == ["package", "go_module"]
    assert [a["source"] for a in first["tools"][0]["attempts"]] == ["path", "package", "go_module"]
    assert first["tools"][0]["attempts"][1]["answer"] == "nothing there."
    assert [a["source"] for a in second["tools"][0]["attempts"]] == ["path", "cache"]
    assert first["by_name"]["hello"]["detail"] == "made by go_module"
    assert Path(first["by_name"]["hello"]["path"]).read_bytes() == script("1.2.3")


def test_check_mode_says_what_would_be_obtained_and_leaves_no_file(
    run: Run, tmp_path: Path, answers: dict[str, Any]
) -> None:
    table = row(PACKAGE, GO)
    before = run(table, check=True).ok()
    assert (before["changed"], before["tools"][0]["path"]) == (True, None)
    assert before["tools"][0]["detail"] == "would come from package: usr/bin/hello of Debian package hello"
    assert before["diff"] == {
        "before": "",
        "after": "hello 1.2.3 (package: would come from package: usr/bin/hello of Debian package hello)\n",
    }
    assert not (tmp_path / "cache").exists()
    run(table).ok()
    asked = list(answers["asked"])
    after = run(table, check=True).ok()
    assert (after["changed"], after["by_name"]["hello"]["source"]) == (False, "go_module")
    assert answers["asked"] == asked


def test_all_tools_are_tried_and_the_message_tells_every_answer_of_those_that_failed(
    run: Run, answers: dict[str, Any], tmp_path: Path
) -> None:
    answers["go_module"] = SourceError("go build ./: exit code 1: undefined: x")
    put_script(tmp_path / "bin", "9.0.0", "other")
    result = run(
        row(PACKAGE, GO),
        row(path_source(tmp_path / "bin"), name="other", version="9.0.0"),
        row(GO, name="third", version=">=3,<4"),
        sources=["path", "package"],
    ).failed()
    assert result.msg.splitlines() == [
        "2 of 3 tools could not be had.",
        "hello 1.2.3:",
        "  package: usr/bin/hello of Debian package hello: nothing there.",
        "  go_module: go build ./ in tools/go/hello: not tried, toolchain_sources leaves it out.",
        "third >=3,<4:",
        "  go_module: go build ./ in tools/go/hello: not tried, toolchain_sources leaves it out.",
        "To go on, put what is missing on PATH or into one of toolchain_path_directories, or mend a source above.",
    ]
    assert [tool["name"] for tool in result["tools"]] == ["other"]
    assert [(tool["name"], tool["asked"]) for tool in result["failed_tools"]] == [
        ("hello", "1.2.3"),
        ("third", ">=3,<4"),
    ]
    assert stored(tmp_path / "cache") == []


def test_a_tool_that_is_not_required_is_reported_and_fails_nothing(run: Run, answers: dict[str, Any]) -> None:
    answers["go_module"] = SourceError("no.")
    result = run(row(GO, required=False)).ok()
    assert (result["changed"], result["tools"], result["failed_tools"]) == (
        False,
        [],
        [
            {
                "name": "hello",
                "asked": "1.2.3",
                "required": False,
                "reason": "hello 1.2.3 could not be had: go_module: go build ./ in tools/go/hello: no.",
                "attempts": [
                    {"source": "go_module", "tried": "go build ./ in tools/go/hello", "answer": "no."},
                ],
            }
        ],
    )


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        (script("1.2.4"), "is version 1.2.4, 1.2.3 is asked for."),
        (b"#!/bin/sh\nexit 127\n", "(exit code 127) does not say a version"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
    ids=["another version", "cannot run", "disk full"],
)
def test_what_a_source_brings_and_cannot_be_used_is_not_stored(
    run: Run, answers: dict[str, Any], tmp_path: Path, made: Any, answer: str
) -> None:
    answers["go_module"] = made
    result = run(row(GO)).failed()
    assert answer in result["failed_tools"][0]["attempts"][0]["answer"]
    assert stored(tmp_path / "cache") == []


def test_a_file_that_was_altered_in_the_cache_is_made_anew_and_said_so(
    run: Run, answers: dict[str, Any], tmp_path: Path
) -> None:
    first = run(row(GO)).ok()["by_name"]["hello"]
    Path(first["path"]).write_bytes(script("6.6.6"))
    predicted = run(row(GO), check=True).ok()
    second = run(row(GO)).ok()
    assert (predicted["changed"], second["changed"]) == (True, True)
    assert second["by_name"]["hello"] == first
    assert Path(first["path"]).read_bytes() == script("1.2.3")
    assert "has sha256" in second["tools"][0]["attempts"][0]["answer"]
    assert "it is made anew" in second["tools"][0]["attempts"][0]["answer"]
    assert len(stored(tmp_path / "cache")) == 2


def test_another_version_is_another_entry_beside_the_first(run: Run, answers: dict[str, Any], tmp_path: Path) -> None:
    run(row(GO)).ok()
    answers["go_module"] = script("1.2.4")
    run(row(GO, version="1.2.4")).ok()
    answers["go_module"] = SourceError("not asked")
    versions = [run(row(GO, version=v)).ok()["by_name"]["hello"]["version"] for v in ("1.2.3", "1.2.4")]
    assert versions == ["1.2.3", "1.2.4"]


def test_a_change_of_the_pins_builds_anew(run: Run, answers: dict[str, Any], tmp_path: Path) -> None:
    pins = tmp_path / "go" / "hello"
    pins.mkdir(parents=True)
    (pins / "go.sum").write_text("one\n")
    run(row(GO)).ok()
    (pins / "go.sum").write_text("two\n")
    assert run(row(GO)).ok()["changed"] is True


def test_absent_removes_the_tools_named_and_nothing_else(run: Run, answers: dict[str, Any], tmp_path: Path) -> None:
    answers["go_module"] = b"#!/bin/sh\necho hello version 1.2.3; echo other version 1.2.3\n"
    table = [row(GO), row(GO, name="other")]
    run(*table).ok()
    predicted = run(*table, state="absent", tools=["hello"], check=True).ok()
    removed = run(*table, state="absent", tools=["hello"]).ok()
    again = run(*table, state="absent", tools=["hello"]).ok()
    assert [r["removed"] for r in (predicted, removed, again)] == [["hello"], ["hello"], []]
    assert [r["changed"] for r in (predicted, removed, again)] == [True, True, False]
    assert predicted["diff"] == removed["diff"] == {"before": "hello\nother\n", "after": "other\n"}
    assert {Path(name).parts[0] for name in stored(tmp_path / "cache")} == {"other"}
    run(*table, state="absent").ok()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"tools": ["helo"]}, "there is no tool 'helo'. Did you mean hello?"),
        ({"sources": ["docker"]}, "value of sources must be one or more of"),
        ({"cache_dir": "/proc/nightbench"}, "it cannot be written"),
    ],
)
def test_a_wrong_parameter_is_one_clear_message(run: Run, arguments: dict[str, Any], text: str) -> None:
    assert text in run(row(GO), **arguments).failed().msg


def test_the_stop_file_ends_the_work_at_once(run: Run, answers: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    result = run(row(GO), run_state=str(tmp_path)).failed()
    assert "stopped on request" in result.msg
    assert answers["asked"] == []


def test_every_source_kind_of_the_table_can_be_tried_and_obtained() -> None:
    from ansible.module_utils.nightbench.tool_table import SOURCE_FIELDS, SOURCE_ORDER

    assert set(SOURCE_ORDER) == set(SOURCE_FIELDS) == set(tool_obtain.TRIED) == {"path", *tool_obtain.OBTAIN}
