# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe of jobs is calibrated: windows that are planted with nft in a node's namespace are found again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.nightbench.churn_flows import flows
from ansible.module_utils.nightbench.churn_probe import PORT, JobProbe

from tests.fakes.pod_network import Node, need_namespaces, pod_network

pytestmark = pytest.mark.integration

INTERVAL = 0.01
CHAIN = "ip planted forward"


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    need_namespaces("nft")
    with pod_network(["stranger", "first", "second"]) as made:
        made.namespace.run("nft", f"add table ip planted; add chain {CHAIN} {{ type filter hook forward priority 0; }}")
        yield made


def test_a_planted_false_deny_and_false_allow_are_recovered(node: Node, tmp_path: Path) -> None:
    stranger, *pods = node.pods
    out = f"ip saddr {stranger.address} udp dport {PORT} drop"
    cut = f"ip saddr {pods[0].address} ip daddr {pods[1].address} drop"
    node.namespace.run("nft", f"flush chain {CHAIN}; add rule {CHAIN} {cut}")
    probe = JobProbe(tmp_path, interval=INTERVAL, seconds=60)
    with probe.running():
        probe.tell(do="stranger", address=stranger.address, namespace=stranger.namespace.path)
        for number, pod in enumerate(pods):
            probe.tell(do="add", job=0, pod=number, of=2, address=pod.address, namespace=pod.namespace.path)
        time.sleep(0.5)
        before = time.monotonic()
        node.namespace.run("nft", f"flush chain {CHAIN}; add rule {CHAIN} {out}")
        after = time.monotonic()
        time.sleep(0.6)
    found = probe.result()
    seen = flows(found)
    # Until it was let go nothing came from the first pod to the second, and nobody stood in the other's way.
    cut_flow, free = seen["job", 0, 1], seen["job", 0, 0]
    begun = cut_flow.sent[0]
    assert free.arrived and max(free.false_deny() or 0, 0) <= INTERVAL + (free.gap or 0)
    # The change lies between these moments, and what is told is off by no more than a gap between packets.
    slack = (cut_flow.gap or 0) + 0.002
    assert before - begun - slack <= (cut_flow.false_deny() or -1) <= after - begun + slack
    for number in (0, 1):
        flow = seen["stranger", 0, number]
        assert flow.settled()
        slack = (flow.gap or 0) + 0.002
        assert before - flow.sent[0] - slack <= (flow.false_allow() or -1) <= after - flow.sent[0] + slack


def test_a_stranger_that_nobody_keeps_out_has_no_window(node: Node, tmp_path: Path) -> None:
    node.namespace.run("nft", f"flush chain {CHAIN}")
    stranger, *pods = node.pods
    probe = JobProbe(tmp_path, interval=INTERVAL, seconds=60)
    with probe.running():
        probe.tell(do="stranger", address=stranger.address, namespace=stranger.namespace.path)
        for number, pod in enumerate(pods):
            probe.tell(do="add", job=0, pod=number, of=2, address=pod.address, namespace=pod.namespace.path)
        time.sleep(0.5)
    seen = flows(probe.result())
    assert [seen["stranger", 0, number].false_allow() for number in (0, 1)] == [None, None]
    assert [seen["job", 0, number].false_deny() is not None for number in (0, 1)] == [True, True]
