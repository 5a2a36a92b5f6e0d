# SPDX-License-Identifier: GPL-3.0-or-later
"""What a control plane needs, decided from what is there; and what is never deleted."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import kwok_start, process
from ansible.module_utils.nightbench.errors import ConfigurationError, ProcessError
from ansible.module_utils.nightbench.kwok_cluster import (
    MARK,
    STATE_FILE,
    Cluster,
    Declaration,
    State,
    changed_files,
    exists,
    plan,
    remove,
)
from ansible.module_utils.nightbench.ports import Holder

READY = State(ready=True, run_id="night")


@pytest.mark.parametrize(
    ("state", "run_id", "dead", "changed", "expected"),
    [
        pytest.param(None, "night", [], ["kwokctl.yaml"], "create", id="nothing is there"),
        pytest.param(READY, "night", [], [], "nothing", id="all is as it should be"),
        pytest.param(READY, "night", [], ["kube-scheduler.yaml"], "write", id="a loose file differs"),
        pytest.param(READY, "night", [], ["kwokctl.yaml"], "recreate", id="a file of kwokctl differs"),
        pytest.param(READY, "night", ["etcd"], [], "restart", id="a component has ended"),
        pytest.param(
            READY, "night", ["etcd"], ["kube-scheduler.yaml"], "restart", id="ended, and a loose file differs"
        ),
        pytest.param(READY, "night", ["etcd"], ["kwokctl.yaml"], "recreate", id="ended, and a file of kwokctl differs"),
        pytest.param(READY, "other", [], [], "recreate", id="it belongs to another run"),
        pytest.param(State(run_id="night"), "night", [], [], "recreate", id="it never got ready"),
    ],
)
def test_what_has_to_be_done(
    state: State | None, run_id: str, dead: list[str], changed: list[str], expected: str
) -> None:
    assert plan(state, run_id, dead, changed, ["kube-scheduler.yaml"]) == expected


def test_a_file_that_is_missing_or_differs_has_changed(tmp_path: Path) -> None:
    (tmp_path / "same").write_text("a")
    (tmp_path / "other").write_text("a")
    assert changed_files(Cluster(tmp_path), {"same": "a", "other": "b", "missing": ""}) == ["other", "missing"]


def test_a_directory_of_somebody_else_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years of work")
    with pytest.raises(ConfigurationError, match=rf"{tmp_path} holds files and no {STATE_FILE}"):
        remove(Cluster(tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "three years of work"


def test_an_empty_directory_is_removed(tmp_path: Path) -> None:
    directory = tmp_path / "empty"
    directory.mkdir()
    remove(Cluster(directory))
    assert not directory.exists()


def test_a_removal_that_was_cut_short_can_be_repeated(tmp_path: Path) -> None:
    directory = tmp_path / "half"
    (directory / "clusters").mkdir(parents=True)
    Cluster(directory).save(State())
    remove(Cluster(directory))
    assert not directory.exists()


@pytest.fixture
def marked(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that carries the directory, as everything of a control plane does."""
    environment = {**os.environ, MARK: str(tmp_path / "cluster")}
    with subprocess.Popen([sys.executable, "-c", "input()"], env=environment, stdin=subprocess.PIPE) as running:
        yield running
        running.kill()


def test_what_carries_the_directory_is_found_and_ended_without_any_record(
    marked: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    cluster = Cluster(tmp_path / "cluster")
    assert [who.pid for who in cluster.processes()] == [marked.pid]
    assert exists(cluster)
    remove(cluster)
    assert marked.wait(timeout=5) == -signal.SIGKILL
    assert not exists(cluster)


def test_a_component_that_shows_no_environment_any_more_is_waited_for_by_its_record(
    marked: subprocess.Popen[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that was killed a moment ago: its environment is gone, its port is not."""
    cluster = Cluster(tmp_path / "control_plane")
    who = process.identity(marked.pid)
    assert who is not None
    cluster.directory.mkdir(exist_ok=True)
    cluster.save(State(components={"kube-apiserver": {"pid": who.pid, "start_time": who.start_time}}))
    monkeypatch.setattr(process, "environment_of", lambda pid: set())
    remove(cluster)
    assert (process.is_running(who), exists(cluster)) == (False, False)


def test_a_pid_that_has_passed_on_counts_as_dead(marked: subprocess.Popen[bytes], tmp_path: Path) -> None:
    who = process.identity(marked.pid)
    assert who is not None
    living = {"pid": who.pid, "start_time": who.start_time}
    state = State(components={"etcd": living, "kwok-controller": {**living, "start_time": who.start_time - 1}})
    assert Cluster(tmp_path).dead(state) == ["kwok-controller"]


def test_a_port_that_was_taken_between_the_look_and_the_start_explains_the_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]

        def lost_race(*_arguments: object) -> None:
            other.listen()
            raise ProcessError("etcd has ended")

        monkeypatch.setattr(kwok_start, "_run_kwokctl", lost_race)
        wanted = Declaration(tmp_path / "cluster", kubectl="/bin/true", ports={"etcd": port, "etcd_peer": 1})
        with pytest.raises(ConfigurationError, match=f"port {port} is taken by pid {os.getpid()}") as raised:
            kwok_start.create(Cluster(tmp_path / "cluster"), wanted)
    assert raised.value.details == {"ports_taken": ["etcd"]}


def test_a_port_that_a_dying_process_still_holds_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = Holder(2379, 0, "")
    looks = [[dying], [dying], [], []]
    monkeypatch.setattr(kwok_start.ports, "holders", lambda _ports: looks.pop(0))

    def not_ready(*_arguments: object) -> None:
        raise ProcessError("etcd has ended")

    monkeypatch.setattr(kwok_start, "_run_kwokctl", not_ready)
    wanted = Declaration(tmp_path / "cluster", kubectl="/bin/true", ports={"etcd": 2379})
    with pytest.raises(ProcessError, match="etcd has ended"):
        kwok_start.create(Cluster(tmp_path / "cluster"), wanted)
    assert looks == []
