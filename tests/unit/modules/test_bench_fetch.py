# SPDX-License-Identifier: GPL-3.0-or-later
"""Results come over whole or marked partial; a stand-in for ssh runs the remote command, as badly as it is told."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fetched import Fetch, brought, fetching, lay

if TYPE_CHECKING:
    from tests.conftest import ModuleResult, RunModule

FILES = {"observations.jsonl": b'{"a":1}\n' * 4000, "samples/x y'z.json": b"\x00\xff" * 70000, "empty": b""}
#: `faults` is a list of bytes that go through before the connection ends, one a call; None is a good call.
SSH = """
import json, pathlib, subprocess, sys
here = pathlib.Path(sys.argv[1])
script = json.loads(here.read_text())
limit = script.pop(0) if script else None
here.write_text(json.dumps(script))
done = subprocess.run(["sh", "-c", sys.argv[-1]], capture_output=True)
sys.stdout.buffer.write(done.stdout if limit is None else done.stdout[:limit])
sys.stderr.buffer.write(done.stderr)
sys.exit(done.returncode if limit is None else 255)
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    return lay(tmp_path / "host", FILES)


@pytest.fixture
def fetch(run_module: RunModule, tmp_path: Path, host: Path) -> Fetch:
    ssh = [sys.executable, "-c", SSH, str(tmp_path / "faults"), "user@host"]
    module = fetching(run_module, host, ssh=ssh, facts={"host": "gpu-0"})

    def call(faults: list[int | None] | None = None, **parameters: Any) -> ModuleResult:
        (tmp_path / "faults").write_text(json.dumps(faults or []), encoding="utf-8")
        return module(**parameters)

    return call


def manifest(tmp_path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((tmp_path / "here" / "manifest.json").read_text(encoding="utf-8"))
    return found


def test_everything_comes_over_with_a_manifest_and_only_once(fetch: Fetch, tmp_path: Path) -> None:
    first, second = fetch().ok(), fetch().ok()
    assert (first["changed"], first["complete"], sorted(first["brought"])) == (True, True, sorted(FILES))
    assert (second["changed"], second["complete"], brought(tmp_path) == FILES) == (False, True, True)
    assert manifest(tmp_path) == {
        "schema_version": 1,
        "host": "gpu-0",
        "source": str(tmp_path / "host"),
        "complete": True,
        "reason": "",
        "files": [
            {"path": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "fetched": True}
            for name, content in sorted(FILES.items())
        ],
    }


CUTS: list[list[int | None]] = [[0], [10], [None, 0, 100, 1000], [None, None, 1], [0, None, 50000, 50000, 39999]]


@pytest.mark.parametrize("faults", CUTS, ids=str)
def test_a_connection_that_is_cut_is_gone_on_with(fetch: Fetch, tmp_path: Path, faults: list[int | None]) -> None:
    assert fetch(faults).ok()["complete"] is True
    assert brought(tmp_path) == FILES


def test_a_later_call_goes_on_where_the_first_one_stopped(fetch: Fetch, tmp_path: Path) -> None:
    told = fetch([None, None, 1000], attempts=1).failed()
    assert "partial, 2 of 3 files are not here" in told.msg
    assert (manifest(tmp_path)["complete"], (tmp_path / "here" / ".unfinished").exists()) == (False, True)
    assert fetch().ok()["complete"] is True
    assert brought(tmp_path) == FILES, "and nothing unfinished is left"


def test_a_host_that_is_gone_leaves_what_is_here_marked_partial(fetch: Fetch, tmp_path: Path) -> None:
    fetch().ok()
    gone = fetch(ssh=["false"], attempts=2, allow_partial=True, partial_reason="preempted").ok()
    assert (gone["complete"], gone["missing"], brought(tmp_path) == FILES) == (False, [], True)
    assert manifest(tmp_path)["reason"].startswith("preempted; list what is there: 2 attempts")


def test_what_is_known_to_be_partial_is_marked_though_everything_arrives(fetch: Fetch, tmp_path: Path) -> None:
    assert fetch(allow_partial=True, partial_reason="the suite failed").ok()["complete"] is False
    assert (manifest(tmp_path)["complete"], manifest(tmp_path)["reason"], brought(tmp_path) == FILES) == (
        False,
        "the suite failed",
        True,
    )


def test_a_file_that_was_changed_here_is_brought_again(fetch: Fetch, tmp_path: Path) -> None:
    fetch().ok()
    (tmp_path / "here" / "empty").write_text("not any more")
    assert fetch().ok()["brought"] == ["empty"]


def test_a_file_that_changes_on_the_host_under_way_is_not_taken_for_good(
    fetch: Fetch, tmp_path: Path, host: Path
) -> None:
    """Its checksum was another one when the manifest was made."""
    (tmp_path / "here" / ".unfinished").mkdir(parents=True)
    digest = hashlib.sha256(FILES["observations.jsonl"]).hexdigest()
    (tmp_path / "here" / ".unfinished" / digest).write_bytes(b"x" * len(FILES["observations.jsonl"]))
    assert fetch().ok()["complete"] is True
    assert brought(tmp_path) == FILES


def test_check_mode_looks_and_brings_nothing(fetch: Fetch, tmp_path: Path) -> None:
    result = fetch(check=True).ok()
    assert (result["changed"], sorted(result["brought"])) == (True, sorted(FILES))
    assert not (tmp_path / "here").exists()


def test_links_are_not_followed(fetch: Fetch, host: Path) -> None:
    (host / "link").symlink_to("/etc/passwd")
    (host / "loop").symlink_to(host)
    assert fetch().ok()["files"] == len(FILES)


BAD = [
    ({"source": "/nowhere"}, "there is no folder /nowhere"),
    ({"ssh": ["no-such-program"]}, "run no-such-program: No such file or directory"),
    ({"ssh": []}, "Give ssh, a command line, or pod"),
    ({"pod": {"name": "p"}}, "and not both"),
    ({"ssh": [], "pod": {"name": "p"}, "bucket": "b"}, "Files of a pod do not go through a bucket"),
    ({"request_seconds": 0}, "request_seconds more than 0"),
    ({"attempts": 0}, "attempts has to be at least 1"),
    ({"ssh": ["echo", "Welcome!"]}, "the answer is no JSON: 'Welcome!"),
    (
        {"ssh": ["sh", "-c", 'echo \'[{"path":"../x","bytes":1,"sha256":"a"}]\'']},
        "'../x' is no name that results may have",
    ),
    ({"ssh": ["sleep"], "request_seconds": 0.1}, "attempts, the last one"),
    ({"dest": "/proc/nowhere"}, "/proc/nowhere"),
]


@pytest.mark.parametrize(("parameters", "told"), BAD, ids=[text[:30] for _, text in BAD])
def test_what_cannot_work_is_told(fetch: Fetch, parameters: dict[str, Any], told: str) -> None:
    assert told in fetch(**parameters).failed().msg
