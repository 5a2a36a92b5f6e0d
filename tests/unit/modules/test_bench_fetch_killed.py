# SPDX-License-Identifier: GPL-3.0-or-later
"""kill -9 of a fetch at any request: the next fetch and the reaper leave nothing of ours in the bucket, and strangers'
objects as they were."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import itertools
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench import gcp_bucket, process
from ansible.modules import bench_fetch, bench_gcp_reaper

from tests.conftest import eventually
from tests.fakes.bucket import NAME, PIECE, FakeBucket, Stored, fake_bucket
from tests.forked import forked

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi
    from tests.conftest import ModuleResult, RunModule

CONTENT = random.Random(1).randbytes(PIECE + 17)
RUN = "20260101T000000Z-0a1b"
FOLDER = f"nightbench/{RUN.lower()}/gpu-0"
LABELS = {"managed-by": "nightbench", "run-id": RUN.lower(), "expires": "1000"}
LATER = "9999999999"
STRANGERS = {
    "nightbench.txt": Stored(b"no folder of ours"),
    f"{FOLDER}/plain": Stored(b"no labels"),
    f"{FOLDER}/other-tool": Stored(b"labels of somebody else", {**LABELS, "managed-by": "other"}),
    f"{FOLDER}/other-run": Stored(b"another run", {**LABELS, "run-id": "another", "expires": LATER}),
}
#: In the place of ssh: the remote command here.
SSH = ["sh", "-c", 'PATH=/usr/bin:/bin exec sh -c "$1"', "ssh"]
Reap = Callable[..., "ModuleResult"]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    monkeypatch.setattr(gcp_bucket, "PIECE", PIECE)
    with fake_bucket() as started:
        started.objects = dict(STRANGERS)
        yield started


@pytest.fixture
def given(tmp_path: Path, bucket: FakeBucket) -> dict[str, Any]:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "large.bin").write_bytes(CONTENT)
    return {
        "ssh": SSH,
        "bucket": NAME,
        "run_id": RUN,
        "bucket_folder": "gpu-0",
        "storage_endpoint": bucket.url,
        "auth_kind": "accesstoken",
        "access_token": "test-token",
        "source": str(tmp_path / "host"),
        "dest": str(tmp_path / "here"),
        "pause_seconds": 0.01,
        "journal_dir": str(tmp_path / "gcp"),
    }


@pytest.fixture
def reap(cloud: ComputeApi, run_module: RunModule, tmp_path: Path, bucket: FakeBucket) -> Reap:
    def call(**parameters: Any) -> ModuleResult:
        asked = {
            "dry_run": False,
            "pause_seconds": 0.01,
            "journal_dir": str(tmp_path / "gcp"),
            "buckets": [NAME],
            "storage_endpoint": bucket.url,
            **cloud.access,
        }
        return run_module(bench_gcp_reaper, **{**asked, **parameters})

    return call


def killed(bucket: FakeBucket, arguments: dict[str, Any], number: int, moment: str, folder: Path) -> bool:
    """Fetch until the stand-in kills it at a request of its own or of the host; False when it was through before."""
    reading, writing = os.pipe()
    pid = forked(bench_fetch, arguments, folder / "answer.json", wait_for=reading)
    os.close(reading)
    requests, earlier = itertools.count(), set(bucket.connections)

    def passing(when: str) -> None:
        if when == moment and next(requests) == number:
            os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)

    bucket.passing = passing
    os.write(writing, b"x")
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    # The host's part ends with it, by itself: what would go on there would come into the bucket after everybody.
    eventually(lambda: not in_group(pid) and not set(bucket.connections) - earlier)
    bucket.passing = lambda _moment: None
    return os.WIFSIGNALED(status)


def in_group(group: int) -> list[int]:
    found = []
    for one in process.all_processes():
        with contextlib.suppress(ProcessLookupError):
            if one.running and os.getpgid(one.pid) == group:
                found.append(one.pid)
    return found


@pytest.mark.parametrize("moment", ["before", "after"])
def test_whenever_a_fetch_is_killed_nothing_of_ours_is_left(
    bucket: FakeBucket, given: dict[str, Any], reap: Reap, run_module: RunModule, tmp_path: Path, moment: str
) -> None:
    """Each request in turn, until none is left to be killed at; whoever comes after it removes what it left.

    Nobody knows the address of the one upload whose opening was not answered any more: it is empty, and stays so."""
    left, journal, before = [], tmp_path / "gcp", tmp_path / "before"
    journal.mkdir()
    for number in itertools.count():
        arguments = {**given, "dest": str(tmp_path / f"here-{number}")}
        if not killed(bucket, arguments, number, moment, tmp_path):
            break
        found, uploads = dict(bucket.objects), copy.deepcopy(bucket.uploads)
        shutil.copytree(journal, before)
        left.append((len(found) - len(STRANGERS), len([one for one in bucket.open_uploads if one.data])))
        assert run_module(bench_fetch, **arguments).ok()["complete"] is True, number
        assert (bucket.objects, begun(bucket)) == (STRANGERS, []), number
        bucket.objects, bucket.uploads = found, uploads
        shutil.rmtree(journal)
        before.rename(journal)
        reap(run_ids=[RUN], expired=False).ok()
        assert (bucket.objects, begun(bucket)) == (STRANGERS, []), number
    assert (bucket.objects, len(bucket.open_uploads)) == (STRANGERS, 1)
    assert (len(left) >= 8, *map(max, zip(*left, strict=True))) == (True, 1, 1), (
        "a fetch has more requests than that; one of them leaves an object, and one a part of one"
    )


def begun(bucket: FakeBucket) -> list[str]:
    """Uploads that are open and have something."""
    return [one.name for one in bucket.open_uploads if one.data]


def test_the_next_fetch_goes_on_with_the_upload_of_a_killed_one(
    bucket: FakeBucket, given: dict[str, Any], run_module: RunModule
) -> None:
    bucket.faults = [("PUT", 1)]
    run_module(bench_fetch, **given, attempts=1).failed()
    assert [len(one.data) for one in bucket.open_uploads] == [PIECE]
    assert run_module(bench_fetch, **given).ok()["complete"] is True
    assert (len(bucket.uploads), bucket.open_uploads, bucket.objects) == (1, [], STRANGERS)


def test_an_upload_that_nobody_will_go_on_with_is_cancelled(
    bucket: FakeBucket, given: dict[str, Any], run_module: RunModule, tmp_path: Path
) -> None:
    """The host has another file by now."""
    bucket.faults = [("PUT", 1)]
    run_module(bench_fetch, **given, attempts=1).failed()
    (tmp_path / "host" / "large.bin").write_bytes(b"changed")
    assert run_module(bench_fetch, **given).ok()["complete"] is True
    assert ([one.cancelled for one in bucket.uploads.values()], bucket.asked.count("CANCEL")) == ([True, False], 1)
    assert list((tmp_path / "gcp").rglob("*.json")) == []


#: Parameters of the reaper, whether it is removed, and why not.
OPEN: dict[str, tuple[dict[str, Any], bool, str]] = {
    "its run is over": ({"run_ids": [RUN], "expired": False}, True, ""),
    "its run is not over": ({}, False, "its run is not over"),
    "only shown": ({"run_ids": [RUN], "dry_run": True}, False, ""),
    "a preserved name": ({"run_ids": [RUN], "preserved_names": [".*"]}, False, "its name is preserved"),
}


@pytest.mark.parametrize("case", OPEN)
def test_an_open_upload_is_cancelled_by_the_rules_of_the_reaper(
    bucket: FakeBucket, given: dict[str, Any], reap: Reap, run_module: RunModule, case: str
) -> None:
    parameters, gone, reason = OPEN[case]
    bucket.faults = [("PUT", 1)]
    run_module(bench_fetch, **given, attempts=1).failed()
    result = reap(**parameters).ok()
    name = f"{FOLDER}/{hashlib.sha256(CONTENT).hexdigest()}"
    told = [(one["kind"], one["name"], one.get("reason", "")) for one in result["kept" if reason else "removed"]]
    assert ("upload", name, reason) in told
    assert (bool(bucket.open_uploads), result["changed"]) == (not gone, gone)
    reap(run_ids=[RUN]).ok()
    assert (bucket.open_uploads, bucket.asked.count("CANCEL")) == ([], 1)


def test_the_address_of_an_upload_is_for_its_owner_only_and_never_asked_elsewhere(
    bucket: FakeBucket, given: dict[str, Any], reap: Reap, run_module: RunModule, tmp_path: Path
) -> None:
    bucket.faults = [("PUT", 1)]
    run_module(bench_fetch, **given, attempts=1).failed()
    (path,) = (tmp_path / "gcp").rglob("*.json")
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(path.read_text(encoding="utf-8").replace(bucket.url, "http://192.0.2.1"), encoding="utf-8")
    assert "we are sent to http://192.0.2.1" in reap(run_ids=[RUN]).failed().msg
    path.write_text("{", encoding="utf-8")
    assert run_module(bench_fetch, **given).ok()["complete"] is True, "a damaged record only costs a new upload"


def test_what_a_failed_fetch_pushed_goes_although_the_host_has_something_else_by_now(
    bucket: FakeBucket, given: dict[str, Any], run_module: RunModule, tmp_path: Path
) -> None:
    bucket.faults = [("READ", 1000)]
    run_module(bench_fetch, **given, attempts=1).failed()
    pushed = set(bucket.objects) - set(STRANGERS)
    (tmp_path / "host" / "large.bin").write_bytes(b"changed")
    assert (run_module(bench_fetch, **given).ok()["complete"], len(pushed)) == (True, 1)
    assert (bucket.objects, (tmp_path / "here" / "large.bin").read_bytes()) == (STRANGERS, b"changed")


def test_a_strangers_object_in_our_place_is_neither_taken_nor_touched(
    bucket: FakeBucket, given: dict[str, Any], run_module: RunModule, tmp_path: Path
) -> None:
    stranger = {f"{FOLDER}/{hashlib.sha256(CONTENT).hexdigest()}": Stored(CONTENT)}
    bucket.objects |= stranger
    told = run_module(bench_fetch, **given, allow_partial=True).ok()
    assert (told["complete"], "is somebody else's" in told["reason"]) == (False, True)
    assert (bucket.objects, (tmp_path / "here" / "large.bin").exists()) == ({**STRANGERS, **stranger}, False)


def test_what_somebody_puts_into_its_place_meanwhile_stays(bucket: FakeBucket, reap: Reap) -> None:
    name = f"{FOLDER}/old"
    theirs = Stored(b"new", {}, "2")
    bucket.objects[name] = Stored(b"old", LABELS)

    def replaced(_moment: str) -> None:
        if bucket.asked[-1] == "DELETE":
            bucket.objects[name] = theirs

    bucket.passing = replaced
    reap().ok()
    assert bucket.objects == {**STRANGERS, name: theirs}


KEPT: dict[str, tuple[dict[str, Any], str]] = {
    "its run is not over": ({}, "its run is not over"),
    "another run is over": ({"run_ids": ["20270101T000000Z-0a1b"]}, "its run is not over"),
    "a preserved name": ({"run_ids": [RUN], "preserved_names": [".*/one"]}, "its name is preserved"),
}


@pytest.mark.parametrize("case", KEPT)
def test_what_is_not_over_stays(bucket: FakeBucket, reap: Reap, case: str) -> None:
    parameters, reason = KEPT[case]
    one = Stored(b"", {**LABELS, "expires": LATER})
    bucket.objects = {f"{FOLDER}/one": one}
    result = reap(**parameters).ok()
    (kept,) = result["kept"]
    assert (result["changed"], bucket.objects) == (False, {f"{FOLDER}/one": one})
    assert (kept["kind"], kept["name"], kept["place"], kept["reason"]) == ("object", f"{FOLDER}/one", NAME, reason)


def test_what_has_expired_goes_from_every_page_and_is_only_shown_before(bucket: FakeBucket, reap: Reap) -> None:
    ours = {f"nightbench/run-{number}/gpu-0/x": Stored(b"", LABELS) for number in range(5)}
    bucket.objects |= ours
    shown = reap(dry_run=True).ok()
    assert (shown["changed"], len(shown["removed"]), bucket.objects) == (False, 5, {**STRANGERS, **ours})
    bucket.faults = [("LIST", 503), ("DELETE", 429)]
    done = reap().ok()
    assert (done["changed"], done["removed"], bucket.objects) == (True, shown["removed"], STRANGERS)
    assert reap().ok()["changed"] is False


#: Parameters, faults, what is told, and how many objects stay.
REFUSED: dict[str, tuple[dict[str, Any], list[tuple[str, int]], str, int]] = {
    "no such bucket": ({"buckets": ["no-such", NAME]}, [], "bucket no-such: list nightbench/", 0),
    "no look": ({}, [("LIST", 403)], "bucket results: list nightbench/", 2),
    "no removal": ({}, [("DELETE", 403)], f"object {FOLDER}/one in results: remove", 1),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_not_be_removed_is_told_and_keeps_no_other(
    bucket: FakeBucket, cloud: ComputeApi, reap: Reap, case: str
) -> None:
    parameters, faults, told, left = REFUSED[case]
    cloud.put("disk", "us-central1-f", "disk", managed_by="nightbench", run_id="dead", expires="1000")
    bucket.objects = {f"{FOLDER}/{name}": Stored(b"", LABELS) for name in ("one", "two")}
    bucket.faults = faults
    answer = reap(**parameters).failed()
    assert (answer["kind"], told in answer.msg, cloud.settled()["disks"]) == ("left", True, [])
    assert len(bucket.objects) == left
