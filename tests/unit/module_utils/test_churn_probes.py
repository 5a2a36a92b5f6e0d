# SPDX-License-Identifier: GPL-3.0-or-later
"""The probes of churn, on loopback: who sends to whom, what is told of it, and what a failed request is."""

from __future__ import annotations

import itertools
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import job_probe, request_probe
from ansible.module_utils.nightbench.churn_flows import flows
from ansible.module_utils.nightbench.churn_probe import JobProbe
from ansible.module_utils.nightbench.errors import ProcessError
from ansible.module_utils.nightbench.policy_pairs import Pair, Probes

from tests.conftest import eventually
from tests.control_plane import free_ports

OURS = "/proc/self/ns/net"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="to enter a network namespace needs root")


def told(tmp_path: Path, tell: Callable[[JobProbe], None], seconds: float = 1.0) -> Any:
    probe = JobProbe(tmp_path, interval=0.01, seconds=30)
    with probe.running():
        tell(probe)
        time.sleep(seconds)
        probe.check()
    return probe.result()


@needs_root
def test_each_pod_sends_to_the_next_of_its_job_and_the_stranger_to_all(tmp_path: Path) -> None:
    def tell(probe: JobProbe) -> None:
        probe.tell(do="stranger", address="127.0.0.9", namespace=OURS)
        for job, pod in ((0, 0), (0, 1), (0, 2), (1, 0)):
            probe.tell(do="add", job=job, pod=pod, of=3, address=f"127.0.{job}.{pod + 10}", namespace=OURS)

    found = told(tmp_path, tell)
    assert {(flow["kind"], flow["job"], flow["pod"]) for flow in found["flows"]} == {
        *(("stranger", job, pod) for job, pod in ((0, 0), (0, 1), (0, 2), (1, 0))),
        *(("job", 0, pod) for pod in range(3)),  # the other job has one pod yet
    }
    assert found["errors"] == {}
    assert [(item["job"], item["pod"]) for item in found["opened"]] == [(0, 0), (0, 1), (0, 2), (1, 0)]
    for flow in flows(found).values():
        assert len(flow.sent) >= 5
        # What was sent last may be on its way.
        assert len(flow.arrived) >= len(flow.sent) - 1
        assert min(flow.arrived) == 0


@needs_root
def test_a_job_that_is_dropped_gets_nothing_more_and_the_others_go_on(tmp_path: Path) -> None:
    probe = JobProbe(tmp_path, interval=0.01, seconds=30)
    with probe.running():
        for job in (0, 1):
            for pod in (0, 1):
                probe.tell(do="add", job=job, pod=pod, of=2, address=f"127.0.{job}.{pod + 10}", namespace=OURS)
        time.sleep(0.2)
        probe.tell(do="drop", job=0)
        dropped = time.monotonic()
        time.sleep(0.4)
    found = flows(probe.result())
    assert all(found["job", 0, pod].sent[-1] < dropped + 0.2 for pod in (0, 1))
    assert all(found["job", 1, pod].sent[-1] > dropped for pod in (0, 1))


@needs_root
def test_a_pod_that_is_gone_already_is_told_and_stops_nobody(tmp_path: Path) -> None:
    def tell(probe: JobProbe) -> None:
        probe.tell(do="add", job=0, pod=0, of=2, address="127.0.0.10", namespace="/proc/0/ns/net")
        for pod in (0, 1):
            probe.tell(do="add", job=1, pod=pod, of=2, address=f"127.0.1.{pod + 10}", namespace=OURS)

    found = told(tmp_path, tell)
    assert found["errors"] == {"open: ENOENT": 1}
    assert {flow["job"] for flow in found["flows"]} == {1}


def dead(probe: JobProbe) -> bool:
    try:
        probe.check()
    except ProcessError as error:
        return "ended early" in str(error)
    return False


def test_a_probe_that_died_is_told_with_its_words(tmp_path: Path) -> None:
    probe = JobProbe(tmp_path, interval=0.01, seconds=30)
    with probe.running():
        probe.tell(do="add")
        eventually(lambda: dead(probe))
    with pytest.raises(ProcessError, match="left no result") as said:
        probe.result()
    assert "KeyError: 'job'" in str(said.value)


def requests(tmp_path: Path, *, answered: bool = True) -> list[list[Any]]:
    port = free_ports(1)[0]
    if answered:
        run = Probes([Pair("requests", "127.0.0.1", port)], tmp_path, interval=0.02, seconds=5, program=request_probe)
        with run.running():
            time.sleep(1.0)
        _, sender, receiver = run.results()[0]
        assert (sender["bytes"], receiver["failed"]) == (request_probe.BODY_BYTES, 0)
        return list(sender["requests"])
    out = tmp_path / "out.json"
    argv = [sys.executable, "-I", request_probe.__file__, "send", "--address", "127.0.0.1", "--port", str(port)]
    subprocess.run([*argv, "--token", "t", "--out", str(out), "--seconds", "0.2"], check=True, capture_output=True)
    return list(json.loads(out.read_text())["requests"])


def test_every_request_is_answered_and_timed_from_the_moment_it_was_due(tmp_path: Path) -> None:
    found = requests(tmp_path)
    assert len(found) >= 5
    assert {failure for _, _, failure in found} == {""}
    assert [round((late - early) / 1e9, 6) for (early, *_), (late, *_) in itertools.pairwise(found)] == [0.02] * (
        len(found) - 1
    )
    assert all(0 < took < 1e9 for _, took, _ in found)


def test_a_request_that_is_refused_has_failed(tmp_path: Path) -> None:
    assert {failure for _, _, failure in requests(tmp_path, answered=False)} == {"ECONNREFUSED"}


def test_an_answer_that_is_another_is_none(tmp_path: Path) -> None:
    """As of somebody else who has the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        argv = [sys.executable, "-I", request_probe.__file__, "send", "--address", "127.0.0.1", "--token", "t"]
        argv += ["--port", str(server.getsockname()[1]), "--out", str(tmp_path / "o.json"), "--seconds", "0.1"]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        server.settimeout(20)
        connection, _ = server.accept()
        with connection:
            connection.sendall(b"x" * request_probe.BODY_BYTES)
            process.wait(20)
    first = json.loads((tmp_path / "o.json").read_text())["requests"][0]
    assert first[2] == "an answer that is not the request's"


def test_the_probes_need_nothing_but_the_standard_library() -> None:
    for program in (job_probe, request_probe):
        done = subprocess.run(
            [sys.executable, "-I", "-S", program.__file__ or "", "--help"], capture_output=True, check=False
        )
        assert done.returncode == 0
