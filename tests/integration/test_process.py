# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_process under a real Ansible, and with a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import process
from ansible.module_utils.nightbench.process import Identity
from ansible.modules import bench_process

from tests.conftest import ROOT, RunModule, eventually
from tests.control_plane import find_tool, free_ports

pytestmark = pytest.mark.integration

NEVER_READY = {"name": "a", "argv": ["sleep", "60"], "ready": {"file": "/no/such/file", "timeout_seconds": 60}}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A run's state; no process of it is left."""
    folder = tmp_path / f"20260101T000000Z-{os.getpid()}"  # tests of another checkout may run beside
    yield folder
    records = process.Records(folder)
    for record in records.all():
        process.stop(record, records)
    assert process.find_run(folder.name) == []


def ansible(run_state: Path, **parameters: Any) -> subprocess.Popen[str]:
    """The module as a play calls it, in a process of its own."""
    arguments = json.dumps({"run_state": str(run_state), **parameters})
    return subprocess.Popen(
        [sys.executable, "-m", "ansible", "adhoc", "localhost", "-m", "bench_process", "-a", arguments],
        cwd=ROOT,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "ANSIBLE_LOAD_CALLBACK_PLUGINS": "false",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def answer(running: subprocess.Popen[str]) -> dict[str, Any]:
    """What the module returned."""
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 0, output
    return dict(json.loads(output[output.index("{") :]))


def test_a_process_outlives_ansible_and_is_found_again(state: Path) -> None:
    wanted = [{"name": "a", "argv": ["sleep", "60"]}]
    first = answer(ansible(state, processes=wanted))
    assert first["changed"] is True
    one = first["processes"][0]
    who = Identity(one["pid"], one["start_time"])
    assert process.is_running(who)

    again = answer(ansible(state, processes=wanted))
    assert (again["changed"], again["processes"][0]["pid"]) == (False, who.pid)

    assert answer(ansible(state, state="stopped"))["changed"] is True
    assert not process.is_running(who)


def start_waiting(state: Path) -> tuple[subprocess.Popen[str], Identity, Identity]:
    """Ansible, the module that waits for a process, and the process."""
    running = ansible(state, processes=[NEVER_READY])
    records = process.Records(state)
    eventually(lambda: records.get("a"))
    record = records.get("a")
    assert record is not None
    eventually(lambda: process.command_of(record.pid) == "sleep 60")
    parent = int(Path(f"/proc/{record.pid}/stat").read_text().rpartition(")")[2].split()[1])
    module = process.identity(parent)
    assert module is not None
    return running, module, record.identity


def test_a_module_that_is_killed_leaves_a_process_that_is_known(state: Path, run_module: RunModule) -> None:
    running, module, who = start_waiting(state)
    process.send_signal(module, signal.SIGKILL)
    running.communicate(timeout=60)
    assert running.returncode != 0
    assert process.is_running(who)

    wanted = [{key: value for key, value in NEVER_READY.items() if key != "ready"}]
    found = run_module(bench_process, run_state=str(state), processes=wanted).ok()
    assert (found["changed"], found["processes"][0]["pid"]) == (False, who.pid)
    run_module(bench_process, run_state=str(state), state="stopped").ok()
    assert not process.is_running(who)


def test_a_module_whose_ansible_is_killed_obeys_the_stop_file(state: Path) -> None:
    running, module, who = start_waiting(state)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate(timeout=60)
    assert process.is_running(module)
    (state / "stop").touch()
    eventually(lambda: not process.is_running(module))
    assert not process.is_running(who)
    assert process.Records(state).all() == []


def test_a_real_server_is_ready_holds_its_port_and_goes(state: Path, run_module: RunModule) -> None:
    client, peer = free_ports(2)
    url = f"http://127.0.0.1:{client}"
    etcd = {
        "name": "etcd",
        "argv": [
            find_tool("etcd"),
            f"--data-dir={state}/etcd",
            f"--listen-client-urls={url}",
            f"--advertise-client-urls={url}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        ],
        "ports": [client, peer],
        "ready": {"url": f"{url}/health"},
    }
    started = run_module(bench_process, run_state=str(state), processes=[etcd]).ok()
    pid = started["processes"][0]["pid"]
    with urllib.request.urlopen(f"{url}/health") as health:
        assert json.load(health)["health"] == "true"
    assert run_module(bench_process, run_state=str(state), processes=[etcd]).ok()["changed"] is False

    taken = run_module(bench_process, run_state=str(state), processes=[{**etcd, "name": "other"}]).failed()
    for port in sorted((client, peer)):
        assert f"port {port} is taken by pid {pid} ({etcd['argv'][0]} " in taken.msg

    restarted = run_module(bench_process, run_state=str(state), processes=[etcd], state="restarted").ok()
    assert restarted["processes"][0]["pid"] != pid

    unknown = {**etcd, "argv": [*etcd["argv"], "--no-such-flag"]}
    dead = run_module(bench_process, run_state=str(state), processes=[unknown]).failed()
    assert (dead["exit_code"], dead["changed"]) == (2, True)
    assert "Start an etcd server." in dead["log_tail"]
