# SPDX-License-Identifier: GPL-3.0-or-later
"""Probes on loopback, without any namespace: what they send arrives, what they cannot do they say."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import policy_latency
from ansible.module_utils.nightbench.errors import ConfigurationError, ProcessError
from ansible.module_utils.nightbench.policy_pairs import Pair, Probes

from tests.conftest import eventually
from tests.control_plane import free_ports


def pair(name: str = "pair", **changes: object) -> Pair:
    return Pair(**{"name": name, "address": "127.0.0.1", "port": free_ports(1)[0]} | changes)  # type: ignore[arg-type]


def test_every_packet_of_both_flows_arrives_and_new_ones_come_from_other_ports(tmp_path: Path) -> None:
    run = Probes([pair("one"), pair("two")], tmp_path, interval=0.005, seconds=5)
    with run.running():
        time.sleep(0.4)
        run.check()
    for _, sender, receiver in run.results():
        assert len(sender["sent"]) > 20
        assert receiver["errors"] == {}
        # A port that somebody else has is left out.
        assert set(sender["errors"]) <= {"EADDRINUSE"}
        for flow in policy_latency.probes(sender, receiver):
            assert all(flow.arrived)
            assert flow.delay is not None and 0 <= flow.delay < 1
        assert sender["boot_id"] == receiver["boot_id"]
        assert sender["cpu_seconds"] > 0


def test_packets_of_somebody_else_are_counted_and_left_out(tmp_path: Path) -> None:
    mine = pair()
    run = Probes([mine], tmp_path, interval=0.005, seconds=5)
    with run.running():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            for data in (b"hello", b"x" * 21):
                stranger.sendto(data, (mine.address, mine.port))
        time.sleep(0.2)
    _, sender, receiver = run.results()[0]
    assert receiver["errors"] == {"a packet that is not ours": 2}
    assert all(len(found) <= len(sender["sent"]) for found in receiver["arrived"].values())


def test_where_nobody_listens_nothing_arrives(tmp_path: Path) -> None:
    mine = pair()
    run = Probes([mine], tmp_path, interval=0.005, seconds=5)
    with run.running():
        time.sleep(0.1)
        receiver = next(one for one in run._running if one.end == "receive")
        os.kill(receiver.process.pid, signal.SIGTERM)
        receiver.process.wait()
        before = len(json.loads(receiver.out.read_text())["arrived"]["new"])
        with pytest.raises(ProcessError, match="the probe receive of pair pair ended early"):
            run.check()
        time.sleep(0.2)
    _, sender, found = run.results()[0]
    assert len(found["arrived"]["new"]) == before < len(sender["sent"])


def test_a_probe_ends_by_itself_when_nobody_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible.module_utils.nightbench.policy_pairs.SPARE_SECONDS", 0.0)
    run = Probes([pair()], tmp_path, interval=0.005, seconds=0.3)
    with run.running():
        eventually(lambda: all(one.process.poll() == 0 for one in run._running))
    assert len(run.results()) == 1


WRONG = [
    (Pair("p", "192.0.2.1", 7331), "the probe receive of pair p did not start: .*Cannot assign requested address"),
    (Pair("p", "127.0.0.1", 7331, target_namespace="/proc/0/ns/net"), "did not start: .*No such file"),
]


@pytest.mark.parametrize(("wrong", "words"), WRONG)
def test_a_probe_that_does_not_start_says_why(tmp_path: Path, wrong: Pair, words: str) -> None:
    run = Probes([wrong], tmp_path, interval=0.005, seconds=5)
    with pytest.raises(ProcessError) as failed, run.running():
        raise AssertionError("it started")
    assert re.search(words, failed.value.message, re.DOTALL)
    assert all(one.process.poll() is not None for one in run._running)


def test_a_probe_that_was_killed_leaves_no_result_and_that_is_told(tmp_path: Path) -> None:
    run = Probes([pair()], tmp_path, interval=0.005, seconds=5)
    with run.running():
        run._running[1].process.kill()
        run._running[1].process.wait()
    with pytest.raises(ProcessError, match=r"the probe send of pair pair left no result \(exit -9\)"):
        run.results()


@pytest.mark.parametrize("pairs", [[], [pair("a"), pair("a")]])
def test_pairs_have_names_of_their_own(tmp_path: Path, pairs: list[Pair]) -> None:
    with pytest.raises(ConfigurationError, match="each needs one of its own"):
        Probes(pairs, tmp_path, interval=0.005, seconds=1)
