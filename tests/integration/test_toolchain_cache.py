# SPDX-License-Identifier: GPL-3.0-or-later
"""Several runs on one cache: at once, and after one of them was killed in the middle of a build."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.toolchain import row, start_module, stored

SOURCE = {"source": "go_module", "directory": "hello", "package": "example.com/hello"}
#: A compiler that writes half a file, says so, and goes on when it is let go.
COMPILER = """#!/bin/sh
[ "$1" = list ] && { echo true; echo true; exit 0; }
while [ "$1" != -o ]; do shift; done
echo "$$" >> FOLDER/builds
echo example.com/hello
printf '#!/bin/sh\\n' > "$2"
while [ ! -e FOLDER/go-on ]; do sleep 0.05; done
echo 'echo hello version 1.2.3' >> "$2"
"""

pytestmark = pytest.mark.integration


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder in which the compiler writes its pid to `builds` and waits for `go-on`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "go").write_text(COMPILER.replace("FOLDER", str(folder)))
    (folder / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    module = tmp_path / "go" / "hello"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module example.com/hello\n")
    yield folder
    (folder / "go-on").touch()


@pytest.fixture
def start(tmp_path: Path) -> Callable[..., Any]:
    fixed = {"table": [row(SOURCE)], "cache_dir": str(tmp_path / "cache"), "go_dir": str(tmp_path / "go")}
    return lambda **arguments: start_module(**{**fixed, **arguments})


def wait_until(holds: Callable[[], Any], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "it did not come to pass"
        time.sleep(0.02)


def builds(compiler: Path) -> list[int]:
    path = compiler / "builds"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def answer(process: Any) -> dict[str, Any]:
    return dict(json.loads(process.communicate(timeout=60)[0]))


def test_two_runs_at_once_build_once_and_get_the_same(
    compiler: Path, start: Callable[..., Any], tmp_path: Path
) -> None:
    first = start()
    wait_until(lambda: builds(compiler))
    second = start()
    time.sleep(0.5)
    assert (first.poll(), second.poll()) == (None, None)
    (compiler / "go-on").touch()
    answers = [answer(first), answer(second)]
    assert answers[0]["by_name"] == answers[1]["by_name"]
    assert sorted(one["changed"] for one in answers) == [False, True]
    assert len(builds(compiler)) == 1
    assert len(stored(tmp_path / "cache")) == 2


def test_a_killed_build_dies_with_its_compiler_and_leaves_nothing_that_the_next_run_would_take(
    compiler: Path, start: Callable[..., Any], tmp_path: Path
) -> None:
    killed = start()
    wait_until(lambda: builds(compiler))
    (pid,) = builds(compiler)
    wait_until(lambda: any(name.endswith("go_module/hello") for name in stored(tmp_path / "cache")))
    killed.kill()
    killed.communicate()
    wait_until(lambda: not is_alive(pid))
    (compiler / "go-on").touch()
    after = answer(start())
    assert after["changed"] is True
    assert [Path(name).name for name in stored(tmp_path / "cache")] == ["hello", "metadata.json"]
    assert Path(after["by_name"]["hello"]["path"]).read_text() == "#!/bin/sh\necho hello version 1.2.3\n"


def test_the_stop_file_ends_a_build_and_its_compiler(compiler: Path, start: Callable[..., Any], tmp_path: Path) -> None:
    stopped = start(run_state=str(tmp_path / "state"), run_id="20260101T000000Z-abcd")
    wait_until(lambda: builds(compiler))
    (pid,) = builds(compiler)
    assert b"NIGHTBENCH_RUN_ID=20260101T000000Z-abcd" in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    assert len(list((tmp_path / "state" / "modules").iterdir())) == 1
    (tmp_path / "state" / "stop").touch()
    said = answer(stopped)
    assert said["failed"] is True
    assert "toolchain 1/1: hello: stopped on request" in said["msg"]
    assert not is_alive(pid)
    assert stored(tmp_path / "cache") == []
    assert list((tmp_path / "state" / "modules").iterdir()) == []


def test_progress_counts_the_packages_that_are_built(compiler: Path, start: Callable[..., Any], tmp_path: Path) -> None:
    progress = tmp_path / "progress.jsonl"
    building = start(progress_path=str(progress))
    wait_until(lambda: progress.exists() and "packages built" in progress.read_text())
    line = json.loads(progress.read_text().splitlines()[-1])
    assert (line["done"], line["asked"], line["unit"]) == (1, 2, "packages built")
    assert line["task"] == "toolchain 1/1: hello"
    (compiler / "go-on").touch()
    assert answer(building)["changed"] is True
