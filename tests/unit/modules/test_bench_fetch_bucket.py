# SPDX-License-Identifier: GPL-3.0-or-later
"""Results through a bucket: the host pushes them without credentials, they are read, verified and removed there."""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench import gcp_bucket
from ansible.modules import bench_fetch

from tests.fakes.bucket import NAME, PIECE, FakeBucket, fake_bucket
from tests.fetched import Fetch, brought, fetching, lay

if TYPE_CHECKING:
    from tests.conftest import RunModule

LARGE = random.Random(1).randbytes(5 * PIECE + 17)
FILES = {"observations.jsonl": b'{"a":1}\n' * 400, "samples/large.bin": LARGE, "empty": b"", "one/same": LARGE}
#: In the place of ssh: the remote command here, with no word of the caller's environment.
REMOTE = """
import subprocess, sys
sys.exit(subprocess.run(["sh", "-c", sys.argv[-1]], env={"PATH": "/usr/bin:/bin"}).returncode)
"""
SSH = [sys.executable, "-c", REMOTE, "user@host"]
RUN = "20260101T000000Z-0a1b"
FOLDER = f"nightbench/{RUN.lower()}/gpu-0"


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeBucket]:
    monkeypatch.setattr(gcp_bucket, "PIECE", PIECE)
    with fake_bucket() as started:
        yield started


@pytest.fixture
def fetch(run_module: RunModule, tmp_path: Path, bucket: FakeBucket) -> Fetch:
    return fetching(
        run_module,
        lay(tmp_path / "host", FILES),
        ssh=SSH,
        bucket=NAME,
        run_id=RUN,
        bucket_folder="gpu-0",
        storage_endpoint=bucket.url,
        auth_kind="accesstoken",
        access_token="test-token",
        journal_dir=str(tmp_path / "gcp"),
    )


def test_everything_comes_over_and_nothing_is_left_in_the_bucket(
    fetch: Fetch, bucket: FakeBucket, tmp_path: Path
) -> None:
    first, asked = fetch().ok(), len(bucket.asked)
    second = fetch().ok()
    assert (first["changed"], first["complete"], brought(tmp_path) == FILES) == (True, True, True)
    assert (second["changed"], bucket.asked[asked:]) == (False, ["LIST"])
    assert (bucket.objects, {one.name.rpartition("/")[0] for one in bucket.uploads.values()}) == ({}, {FOLDER})


FAULTS: dict[str, list[tuple[str, int]]] = {
    "an upload that is cut": [("PUT", 0)],
    "an upload that is cut after it took a part": [("PUT", 1), ("PUT", 0)],
    "a server that has trouble with a piece": [("PUT", 503)],
    "an upload that the server forgets": [("PUT", 410)],
    "a reading that is cut": [("READ", 0), ("READ", 1000), ("READ", PIECE)],
    "429 and 500 everywhere": [(verb, code) for verb in ("LIST", "GET", "POST", "DELETE") for code in (429, 500)],
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_passes_is_gone_on_with(fetch: Fetch, bucket: FakeBucket, tmp_path: Path, case: str) -> None:
    bucket.faults = list(FAULTS[case])
    assert fetch().ok()["complete"] is True
    assert (brought(tmp_path) == FILES, bucket.objects, bucket.faults) == (True, {}, [])


def test_an_upload_goes_on_where_it_was_cut(fetch: Fetch, bucket: FakeBucket) -> None:
    """No second one is opened."""
    bucket.faults = [("PUT", 1)]
    fetch().ok()
    assert len(bucket.uploads) == len(FILES)


def test_a_later_call_reads_what_an_earlier_one_has_pushed(fetch: Fetch, bucket: FakeBucket, tmp_path: Path) -> None:
    (tmp_path / "host" / "one" / "same").unlink()
    bucket.faults = [("READ", 1000)]
    assert fetch(attempts=1).failed()["complete"] is False
    pushed = len(bucket.uploads)
    assert (len(bucket.objects), fetch().ok()["complete"]) == (1, True)
    assert (len(bucket.uploads) - pushed, bucket.objects) == (len(FILES) - 1 - pushed, {})


@pytest.mark.parametrize("fault", [("LIST", 403), ("DELETE", 403)], ids=["no look", "no removal"])
def test_what_cannot_be_removed_from_the_bucket_is_told_and_keeps_nothing(
    fetch: Fetch, bucket: FakeBucket, tmp_path: Path, fault: tuple[str, int]
) -> None:
    bucket.faults = [fault]
    result = fetch().ok()
    kept = [f"{FOLDER}/{hashlib.sha256(b'').hexdigest()}"] if fault[0] == "DELETE" else []
    assert (result["complete"], brought(tmp_path) == FILES, list(bucket.objects)) == (True, True, kept)
    assert " bucket results: 403: " in str(result["warnings"])
    assert (fetch().ok()["changed"], bucket.objects) == (False, {})


def test_what_the_bucket_has_spoilt_is_not_taken(fetch: Fetch, bucket: FakeBucket, tmp_path: Path) -> None:
    bucket.spoil = True
    told = fetch(attempts=2, allow_partial=True).ok()
    assert (told["complete"], "or another content" in told["reason"], brought(tmp_path)) == (
        False,
        True,
        {"empty": b""},
    )
    assert json.loads((tmp_path / "here" / "manifest.json").read_text())["complete"] is False


def test_an_upload_is_opened_at_no_other_address(fetch: Fetch, bucket: FakeBucket) -> None:
    bucket.location = "http://192.0.2.1/upload?uploadType=resumable"
    told = fetch(allow_partial=True).ok()
    assert "we are sent to http://192.0.2.1/upload" in told["reason"]


BAD = [
    ({"run_id": ""}, "run_id ''"),
    ({"bucket": "no-such"}, "The specified bucket does not exist"),
    ({"access_token": "expired"}, "the credentials are not accepted"),
    ({"access_token": ""}, "there is no access_token"),
    ({"storage_endpoint": "http://127.0.0.1:1"}, "no answer"),
]


@pytest.mark.parametrize(("parameters", "told"), BAD, ids=[text for _, text in BAD])
def test_what_cannot_work_is_told_and_marked_partial(fetch: Fetch, parameters: dict[str, Any], told: str) -> None:
    assert told in fetch(attempts=2, **parameters).failed().msg


def test_a_missing_library_is_told(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_fetch.gcp_client, "MISSING", "No module named 'google'")
    assert "pip install -r requirements-gcp.txt" in fetch().failed().msg
