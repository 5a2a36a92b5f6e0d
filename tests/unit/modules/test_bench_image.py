# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_image as a module: exact changes, check mode, diff, and failures with words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.modules import bench_image

from tests.conftest import RunModule


def images(folder: Path, content: str = "hello") -> list[dict[str, Any]]:
    source = folder / "source"
    source.write_text(content)
    return [
        {"name": "nightbench.local/a", "path": str(folder / "a.tar"), "waiting_program": True},
        {
            "name": "nightbench.local/b",
            "path": str(folder / "b.tar"),
            "files": [{"source": str(source), "path": "/word"}],
        },
    ]


def test_an_archive_is_written_once_and_when_its_content_changes(tmp_path: Path, run_module: RunModule) -> None:
    wanted = images(tmp_path)
    predicted = run_module(bench_image, images=wanted, check=True, diff=True).ok()
    assert not list(tmp_path.glob("*.tar"))
    first = run_module(bench_image, images=wanted, diff=True).ok()
    assert (predicted["images"], predicted["diff"]) == (first["images"], first["diff"])
    assert first["diff"] == {
        "before": {image["path"]: "" for image in first["images"]},
        "after": {image["path"]: image["name"] for image in first["images"]},
    }
    assert run_module(bench_image, images=wanted).ok()["changed"] is False
    other = run_module(bench_image, images=images(tmp_path, "bye")).ok()
    assert [image["changed"] for image in other["images"]] == [False, True]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "b.tar", "source"]


def test_a_damaged_archive_is_written_anew(tmp_path: Path, run_module: RunModule) -> None:
    wanted = images(tmp_path)
    run_module(bench_image, images=wanted).ok()
    Path(wanted[0]["path"]).write_bytes(b"torn")
    again = run_module(bench_image, images=wanted).ok()
    assert [image["changed"] for image in again["images"]] == [True, False]


def test_absent_removes_the_archives_and_no_more(tmp_path: Path, run_module: RunModule) -> None:
    wanted = images(tmp_path)
    names = [image["name"] for image in run_module(bench_image, images=wanted).ok()["images"]]
    assert run_module(bench_image, images=wanted, state="absent", check=True).ok()["changed"] is True
    gone = run_module(bench_image, images=wanted, state="absent").ok()
    assert ([image["name"] for image in gone["images"]], gone["changed"]) == (names, True)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    assert run_module(bench_image, images=wanted, state="absent").ok()["changed"] is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "tools"}, "no full name"),
        ({"programs": ["/no/such/program"]}, "/no/such/program"),
        ({"path": "/dev/null/image.tar"}, "Not a directory"),
        ({"files": [{"source": "/etc/hostname", "path": "relative"}]}, "no absolute path"),
    ],
)
def test_what_cannot_be_written_is_explained(
    tmp_path: Path, run_module: RunModule, change: dict[str, Any], said: str
) -> None:
    wanted = {**images(tmp_path)[0], **change}
    assert said in run_module(bench_image, images=[wanted]).failed().msg
    assert not list(tmp_path.glob("*.tar"))
