# SPDX-License-Identifier: GPL-3.0-or-later
"""With an endpoint given, no request leaves for any other address: each module in a process that sees every one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.compute_api import service_account
from tests.conftest import ROOT
from tests.fakes.bucket import NAME, fake_bucket

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi

RUN = "20260101T000000Z-0a1b"
OURS = {"managed_by": "nightbench", "run_id": RUN.lower(), "expires": "9999999999"}
ALONE = """
import importlib, json, socket, sys
import tests.conftest
from ansible.module_utils.testing import patch_module_args
module = importlib.import_module(f"ansible.modules.{sys.argv[2]}")
allowed = (sys.argv[1].split(":")[0], int(sys.argv[1].split(":")[1]))
real, seen = socket.socket.connect, []
def connect(self, address):
    seen.append(address)
    if address != allowed:
        raise OSError(f"a request left for {address}")
    return real(self, address)
socket.socket.connect = connect
socket.getaddrinfo = (lambda ask: lambda host, *rest, **more: seen.append((host, rest[0] if rest else 0))
                      or ask(host, *rest, **more))(socket.getaddrinfo)
try:
    with patch_module_args(json.loads(sys.argv[3])):
        module.main()
finally:
    print(json.dumps(sorted({f"{host}:{port}" for host, port, *_ in seen})), file=sys.stderr)
"""
#: Module and what is asked of it.
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "create": ("bench_gcp_instance", {"names": ["gpu-0"], "zones": ["us-central1-a"], "run_id": RUN}),
    "remove": ("bench_gcp_instance", {"state": "absent", "run_id": RUN}),
    "look": ("bench_gcp_instance", {"state": "info", "run_id": RUN}),
    "reap": ("bench_gcp_reaper", {"dry_run": False, "run_ids": [RUN]}),
}


def called(module: str, address: str, folder: Path, arguments: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The answer of the module, and every address that it wanted."""
    answer = subprocess.run(
        [sys.executable, "-c", ALONE, address, module, json.dumps(arguments)],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(answer.stdout), json.loads(answer.stderr.splitlines()[-1])


def who(kind: str, url: str, folder: Path) -> dict[str, Any]:
    key = folder / "key.json"
    key.write_text(json.dumps(service_account(url)), encoding="utf-8")
    return {"auth_kind": kind, "access_token": "test-token", "service_account_file": str(key)}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("kind", ["accesstoken", "serviceaccount"])
def test_the_compute_api_is_only_asked_at_the_endpoint(cloud: ComputeApi, tmp_path: Path, kind: str, call: str) -> None:
    """Operations too: the library's own way of waiting for them asks the real address."""
    module, asked = CALLS[call]
    if call != "create":
        cloud.put("instance", "us-central1-a", "gpu-0", **OURS)
        cloud.put("disk", "us-central1-a", "extra", **OURS)
        cloud.put("address", "us-central1", "address", **OURS)
        asked = {"serial_dir": str(tmp_path), **asked} if call == "look" else asked
    common = {"pause_seconds": 0.01, "journal_dir": str(tmp_path / "gcp")}
    given = {**cloud.access, **common, **asked, **who(kind, cloud.url, tmp_path)}
    answer, addresses = called(module, cloud.address, tmp_path, given)
    assert (answer.get("failed", False), answer["changed"], addresses) == (False, call != "look", [cloud.address])
    left = cloud.settled()
    kept = call in ("create", "look")
    assert (len(left["instances"]), bool(left["addresses"])) == (int(kept), call == "look")


@pytest.mark.parametrize("kind", ["accesstoken", "serviceaccount"])
def test_a_bucket_is_only_asked_at_the_endpoint(tmp_path: Path, kind: str) -> None:
    (tmp_path / "host").mkdir()
    (tmp_path / "host" / "results").write_bytes(b"x" * 1000)
    with fake_bucket() as bucket:
        given = {
            **who(kind, bucket.url, tmp_path),
            "ssh": ["sh", "-c", 'sh -c "$1"', "ssh"],
            "bucket": NAME,
            "run_id": RUN,
            "storage_endpoint": bucket.url,
            "source": str(tmp_path / "host"),
            "dest": str(tmp_path / "here"),
        }
        answer, addresses = called("bench_fetch", bucket.url.removeprefix("http://"), tmp_path, given)
    assert (answer.get("complete"), addresses) == (True, [bucket.url.removeprefix("http://")]), answer
