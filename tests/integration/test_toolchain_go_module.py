# SPDX-License-Identifier: GPL-3.0-or-later
"""Source go_module with modules of a few lines; no network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import jsonfile
from ansible.modules import bench_tool

from tests.conftest import ROOT, ModuleResult, RunModule
from tests.toolchain import row, stored

MODULES = ROOT / "tests" / "fixtures" / "go"
LDFLAGS = ["-s -w", "-X main.version={version}"]

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("go") is None, reason="there is no go on PATH"),
]


@pytest.fixture
def build(run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleResult]:
    monkeypatch.setenv("GOPROXY", "off")

    def call(directory: str, go_dir: Path = MODULES, **arguments: Any) -> ModuleResult:
        package = f"nightbench.io/fixtures/{directory}"
        source = {"source": "go_module", "directory": directory, "package": package, "ldflags": LDFLAGS}
        fixed = {"cache_dir": str(tmp_path / "cache"), "go_dir": str(go_dir)}
        return run_module(bench_tool, table=[row(source, version_arguments=["-v"])], **{**fixed, **arguments})

    return call


def test_a_module_is_built_with_its_flags_once_and_says_how_far_it_is(
    build: Callable[..., ModuleResult], tmp_path: Path
) -> None:
    progress = tmp_path / "progress.jsonl"
    first, second = build("hello", progress_path=str(progress)).ok(), build("hello").ok()
    assert (first["changed"], second["changed"]) == (True, False)
    assert first["by_name"] == second["by_name"]
    tool = first["by_name"]["hello"]
    assert (tool["version"], tool["source"]) == ("1.2.3", "go_module")
    assert tool["detail"] == "built from nightbench.io/fixtures/hello, tools/go/hello"
    folder = Path(tool["path"]).parent.relative_to(tmp_path / "cache")
    assert stored(tmp_path / "cache") == [f"{folder}/hello", f"{folder}/metadata.json"]
    last = jsonfile.read_lines(progress)[-1]
    assert (last["done"], last["asked"], last["unit"]) == (1, 1, "tools")


def test_the_same_pins_in_another_checkout_are_found_in_the_cache(
    build: Callable[..., ModuleResult], tmp_path: Path
) -> None:
    build("hello").ok()
    shutil.copytree(MODULES, tmp_path / "elsewhere")
    assert build("hello", tmp_path / "elsewhere").ok()["changed"] is False


@pytest.mark.parametrize(
    ("directory", "texts"),
    [
        ("broken", ["go build", "exit code 1", "undefined: undefinedName"]),
        ("unpinned", ["go list", "exit code 1", "missing go.sum entry"]),
        ("absent", ["there is no go.mod in"]),
    ],
)
def test_a_build_that_fails_shows_what_go_said_and_leaves_nothing(
    build: Callable[..., ModuleResult], tmp_path: Path, directory: str, texts: list[str]
) -> None:
    result = build(directory).failed()
    answer = result["failed_tools"][0]["attempts"][0]["answer"]
    assert [text for text in texts if text not in answer] == []
    assert stored(tmp_path / "cache") == []


def test_without_go_the_source_says_so(
    build: Callable[..., ModuleResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = build("hello").failed()["failed_tools"][0]["attempts"][0]["answer"]
    assert answer == "there is no go on PATH; install Go (the version is in go.mod)."


def test_every_pinned_module_of_the_project_is_complete(tmp_path: Path) -> None:
    names = {path.parent.name for path in (ROOT / "tools" / "go").glob("*/go.mod")}
    assert names == {"etcd", "helm", "kubernetes", "kwok", "metrics-server"}
    assert {path.parent.name for path in (ROOT / "tools" / "go").glob("*/go.sum")} == names
