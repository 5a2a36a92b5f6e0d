# SPDX-License-Identifier: GPL-3.0-or-later
"""Source package with a small Debian package that carries a program which knows its version."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.modules import bench_tool

from tests.conftest import ModuleResult, RunModule
from tests.toolchain import row, stored

PACKAGE = "tini"

pytestmark = pytest.mark.integration


@pytest.fixture
def get(run_module: RunModule, tmp_path: Path) -> Callable[..., ModuleResult]:
    def call(package: str = PACKAGE, member: str = "usr/bin/tini", **arguments: Any) -> ModuleResult:
        source = {"source": "package", "package": package, "member": member}
        table = [row(source, name="tini", version=">=0.10")]
        return run_module(bench_tool, table=table, cache_dir=str(tmp_path / "cache"), **arguments)

    return call


@pytest.fixture
def debian(tmp_path: Path) -> None:
    """Skip where Debian's packages cannot be had."""
    if not shutil.which("apt-get") or not shutil.which("dpkg-deb"):
        pytest.skip("this is not a Debian system")
    asked = subprocess.run(["apt-get", "download", PACKAGE], cwd=tmp_path, capture_output=True, text=True, check=False)
    for archive in tmp_path.glob("*.deb"):
        archive.unlink()
    if asked.returncode:
        pytest.skip(f"apt-get cannot download {PACKAGE}: {asked.stderr.strip()[-200:]}")


def packages() -> str:
    """What dpkg holds for installed."""
    return Path("/var/lib/dpkg/status").read_text(encoding="utf-8")


@pytest.mark.usefixtures("debian")
def test_a_file_is_taken_out_of_a_package_that_is_not_installed(
    get: Callable[..., ModuleResult], tmp_path: Path
) -> None:
    before = packages()
    first, second = get().ok(), get().ok()
    assert (first["changed"], second["changed"]) == (True, False)
    tool = first["by_name"]["tini"]
    assert tool["source"] == "package"
    assert tool["detail"].startswith("usr/bin/tini of Debian package tini_")
    assert len(stored(tmp_path / "cache")) == 2
    assert packages() == before


@pytest.mark.usefixtures("debian")
def test_a_package_that_the_systems_lists_do_not_know_is_found_by_lists_of_our_own(
    get: Callable[..., ModuleResult], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt is pointed at an empty folder of lists, as on a machine where apt-get update was never run."""
    (tmp_path / "lists" / "partial").mkdir(parents=True)
    (tmp_path / "archives" / "partial").mkdir(parents=True)
    configuration = tmp_path / "apt.conf"
    configuration.write_text(f'Dir::State::Lists "{tmp_path}/lists";\nDir::Cache "{tmp_path}";\n')
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    assert get().ok()["changed"] is True
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == ["partial"]
    removed = get(state="absent").ok()
    assert removed["removed"] == ["tini"]
    assert not (tmp_path / "cache").exists()


@pytest.mark.usefixtures("debian")
def test_a_file_that_the_package_does_not_have_is_named(get: Callable[..., ModuleResult], tmp_path: Path) -> None:
    answer = get(member="usr/bin/goodbye").failed()["failed_tools"][0]["attempts"][0]["answer"]
    assert answer == "there is no file usr/bin/goodbye in it."
    assert not [name for name in stored(tmp_path / "cache") if name.startswith("tini")]


def test_on_another_system_the_source_says_so(
    get: Callable[..., ModuleResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = get().failed()["failed_tools"][0]["attempts"][0]["answer"]
    assert answer == "this is not a Debian system: there is no apt-get and no dpkg-deb."


def test_what_apt_answers_is_passed_on(
    get: Callable[..., ModuleResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, body in (("apt-get", "echo 'E: Failed to fetch http://deb.example: 500'; exit 100"), ("dpkg-deb", "")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    answer = get().failed()["failed_tools"][0]["attempts"][0]["answer"]
    assert answer.startswith("apt-get ")
    assert answer.endswith("download tini: exit code 100: E: Failed to fetch http://deb.example: 500")
