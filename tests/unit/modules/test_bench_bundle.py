# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_bundle keeps what explains a failure, and no key, audit log or secret."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import bundle
from ansible.modules import bench_bundle

from tests.conftest import RunModule


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    for name, text in {
        "control_plane/logs/etcd.log": "started\nlogin token=abc refused\n",
        "control_plane/logs/audit.log": "{}",
        "control_plane/pki/admin.key": "-----BEGIN PRIVATE KEY-----",
        "control_plane/kubeconfig": "users: []",
        "processes/etcd.json": '{"pid": 1}',
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "control_plane/logs/link.log").symlink_to("/etc/passwd")
    return folder


def contents(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read().decode() for member in archive}  # type: ignore[union-attr]


def test_logs_and_records_are_kept_without_keys_and_secrets(run_module: RunModule, state: Path, tmp_path: Path) -> None:
    result = run_module(bench_bundle, state_dir=str(state), path=str(tmp_path / "failure.tar.gz")).ok()
    assert contents(tmp_path / "failure.tar.gz") == {
        "logs/control_plane/logs/etcd.log": "started\nlogin token=******** refused\n",
        "logs/processes/etcd.json": '{"pid": 1}',
    }
    shown = "logs/control_plane/logs/etcd.log\nlogs/processes/etcd.json\n"
    assert result["diff"] == {"before": "", "after": shown}
    assert (result["files"], result["objects"]) == (
        ["logs/control_plane/logs/etcd.log", "logs/processes/etcd.json"],
        {},
    )


def test_a_cluster_that_cannot_be_asked_is_no_failure(run_module: RunModule, state: Path, tmp_path: Path) -> None:
    path = tmp_path / "failure.tar.gz"
    run_module(bench_bundle, state_dir=str(state), path=str(path), kubeconfig=str(tmp_path / "none")).ok()
    assert str(tmp_path / "none") in contents(path)["objects/cluster.error"]


def test_a_component_that_cannot_be_asked_is_no_failure(run_module: RunModule, state: Path, tmp_path: Path) -> None:
    path = tmp_path / "failure.tar.gz"
    url = "http://127.0.0.1:9"
    scheduler = {"metrics_url": f"{url}/metrics", "pprof_url": f"{url}/debug/pprof", "log": "x"}
    components = {"scheduler": scheduler, "kwok": {"pid": 1}}
    result = run_module(
        bench_bundle, state_dir=str(state), path=str(path), components=components, profile_seconds=0
    ).ok()
    assert result["files"][-1] == "components/scheduler/notes.txt"
    assert contents(path)["components/scheduler/notes.txt"] == (
        "http://127.0.0.1:9/metrics: no answer: [Errno 111] Connection refused\n"
        "http://127.0.0.1:9/debug/pprof/heap: no answer: [Errno 111] Connection refused\n"
    )


def test_check_mode_writes_nothing(run_module: RunModule, state: Path, tmp_path: Path) -> None:
    result = run_module(bench_bundle, check=True, state_dir=str(state), path=str(tmp_path / "x.tar.gz")).ok()
    assert (result["changed"], (tmp_path / "x.tar.gz").exists()) == (True, False)


def test_an_archive_that_cannot_be_written_is_told(run_module: RunModule, state: Path) -> None:
    failed = run_module(bench_bundle, state_dir=str(state), path="/no/such/folder/x.tar.gz").failed()
    assert failed.msg == "write /no/such/folder/x.tar.gz: No such file or directory."


def test_of_a_long_log_the_last_whole_lines_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("first\nsecond\nthird\n")
    assert bundle.tail(path, 10) == b"...\nthird\n"
