# SPDX-License-Identifier: GPL-3.0-or-later
"""A directory with files and ports: exact changes, true predictions, and nothing of somebody else's is touched."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import port_choice
from ansible.module_utils.nightbench.port_choice import choose_ports, free_port
from ansible.modules import bench_directory

from tests.conftest import RunModule


def test_it_is_made_once(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "server"
    wanted = {"path": str(path), "files": {"a.yml": "a: 1\n"}, "ports": {"http": 0}}
    first = run_module(bench_directory, **wanted).ok()
    assert (first["changed"], first["files_changed"]) == (True, ["a.yml"])
    assert (path / "a.yml").read_text() == "a: 1\n"
    assert (path.stat().st_mode & 0o777, (path / "a.yml").stat().st_mode & 0o777) == (0o700, 0o600)
    second = run_module(bench_directory, **wanted).ok()
    assert (second["changed"], second["files_changed"], second["ports"]) == (False, [], first["ports"])


def test_check_mode_predicts_a_directory_that_is_not_there(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "server"
    result = run_module(bench_directory, check=True, diff=True, path=str(path), files={"a.yml": "a: 1\n"}).ok()
    assert (result["changed"], result["files_changed"]) == (True, ["a.yml"])
    header = str(path / "a.yml")
    assert result["diff"] == [{"before_header": header, "after_header": header, "before": "", "after": "a: 1\n"}]
    assert not path.exists()


def test_only_the_file_that_differs_is_written(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "server"
    run_module(bench_directory, path=str(path), files={"a": "1", "b": "1"}).ok()
    untouched = (path / "a").stat().st_mtime_ns
    assert run_module(bench_directory, path=str(path), files={"a": "1", "b": "2"}).ok()["files_changed"] == ["b"]
    assert (path / "a").stat().st_mtime_ns == untouched


def test_a_port_that_is_asked_for_takes_the_place_of_the_chosen_one(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "server"
    run_module(bench_directory, path=str(path), ports={"http": 0}).ok()
    result = run_module(bench_directory, path=str(path), ports={"http": 4321}).ok()
    assert (result["changed"], result["ports"]) == (True, {"http": 4321})
    assert json.loads((path / "directory.json").read_text()) == {"ports": {"http": 4321}}


def test_absent_removes_it_with_all_that_is_in_it(run_module: RunModule, tmp_path: Path) -> None:
    path = tmp_path / "server"
    run_module(bench_directory, path=str(path), files={"a": "1"}).ok()
    (path / "data" / "deep").mkdir(parents=True)
    assert run_module(bench_directory, check=True, path=str(path), state="absent").ok()["changed"] is True
    assert path.exists()
    assert run_module(bench_directory, path=str(path), state="absent").ok()["changed"] is True
    assert not path.exists()
    assert run_module(bench_directory, path=str(path), state="absent").ok()["changed"] is False


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("check", [False, True])
def test_a_directory_of_somebody_else_is_refused(
    run_module: RunModule, tmp_path: Path, state: str, *, check: bool
) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    failed = run_module(bench_directory, check=check, path=str(tmp_path), state=state).failed()
    assert failed.msg == (
        f"{tmp_path} holds files and no directory.json: it is none of ours. "
        "Name another directory; nothing in this one was touched."
    )
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_where_the_directory_should_be_is_refused(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "server").write_text("")
    failed = run_module(bench_directory, path=str(tmp_path / "server")).failed()
    assert failed.msg == f"{tmp_path / 'server'} is a file, and a directory is wanted."


def test_ports_asked_for_come_before_known_ones_and_those_before_free_ones() -> None:
    ports = choose_ports(["a", "b", "c"], {"a": 1111, "b": 0}, {"a": 3333, "b": 2222})
    assert (ports["a"], ports["b"]) == (1111, 2222)
    assert ports["c"] not in (0, 1111, 2222, 3333)


def test_a_free_port_is_one_that_no_outgoing_connection_gets() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    port = free_port(set())
    assert 1024 < port < lowest
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))


def test_a_port_with_a_listener_on_another_address_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.2", 0)) as listener:
        used, free = listener.getsockname()[1], 20_001
        monkeypatch.setattr(port_choice.random, "sample", lambda _range, _count: [used, free])
        monkeypatch.setattr(port_choice, "_bindable", lambda _port: True)
        assert free_port(set()) == free
