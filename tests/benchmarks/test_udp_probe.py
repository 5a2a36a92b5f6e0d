# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pair of probes costs, and what it can see, between two pods of a node that routes and filters."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import policy_latency
from ansible.module_utils.nightbench.policy_pairs import Pair, Probes

from tests.fakes.pod_network import need_namespaces, pod_network

pytestmark = pytest.mark.benchmark

SECONDS = 10.0
MOST_OF_A_CORE = 0.05


def test_a_pair_of_probes_costs_at_most_5_percent_of_a_core(tmp_path: Path) -> None:
    need_namespaces("nft")
    with pod_network(["sender", "receiver"]) as node:
        sender, receiver = node.pods
        chain = "add chain ip probe forward { type filter hook forward priority 0; }"
        rule = "add rule ip probe forward ct state new,established accept"
        node.namespace.run("nft", f"add table ip probe; {chain}; {rule}")
        pair = Pair(
            "pair", receiver.address, 7331, sender.address, sender.namespace.path, receiver.namespace.path
        )  # fmt: skip
        run = Probes([pair], tmp_path, interval=0.005, seconds=SECONDS)
        with run.running():
            started = time.monotonic()
            time.sleep(SECONDS)
            ended = time.monotonic()
    _, *ends = run.results()[0]
    ratio = sum(end["cpu_seconds"] * 1e9 / (end["ended"] - end["started"]) for end in ends)
    flows = policy_latency.probes(ends[0], ends[1])
    gaps = sorted(policy_latency.gaps(flows[0].sent, started, ended))
    lost = [flow.arrived.count(False) for flow in flows]
    print(
        f"\n{ratio:.1%} of a core a pair; gap p50 {gaps[len(gaps) // 2] * 1e3:.2f} ms, "
        f"p99 {gaps[len(gaps) * 99 // 100] * 1e3:.2f} ms, longest {gaps[-1] * 1e3:.2f} ms; lost {lost}"
    )
    assert lost == [0, 0]
    assert gaps[len(gaps) // 2] <= 0.0055
    assert ratio <= MOST_OF_A_CORE
