# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mesh of 49 pods and 4,704 cells costs the control machine: one process, against one that only starts.

The agents are stand-ins that are done at once; what the module asks them and what it is told is as large as for real.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes import mesh_module
from tests.fakes.serving import QuietHandler, serving

pytestmark = pytest.mark.benchmark

PODS = [f"mg-{number}" for number in range(49)]
INTERFACES = ["eth0", "net1"]
#: Of a process that imports what every module of ours needs for a cluster, and does nothing.
START = "import ansible.module_utils.basic, kubernetes.client, kubernetes.config"
MOST_MEMORY = 150e6
#: Times the cost of such a start.
MOST_TIMES = 4.0


class Agents(QuietHandler):
    """49 agents and the API server before them."""

    protocol_version = "HTTP/1.1"
    plans: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - of the one server of this file

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path.endswith("/pods"):
            labels = [{"nightbench.io/mesh-index": str(index), "nightbench.io/mesh-group": "mg"} for index in range(49)]
            items = [
                {"metadata": {"name": name, "labels": labels[index]}, "spec": {"nodeName": f"n{index % 2}"}}
                for index, name in enumerate(PODS)
            ]
            return self.answer_json(200, {"metadata": {}, "items": items})
        name = path.split("/")[6].partition(":")[0]
        plan = self.plans.get(name)
        if path.endswith("/result"):
            assert plan is not None
            return self.answer_json(200, result(plan))
        return self.answer_json(200, {**state(name), **progress(plan)})

    def do_PUT(self) -> None:
        body = json.loads(self.body())
        name = self.path.split("/")[6].partition(":")[0]
        self.plans[name] = {**self.plans.get(name, {}), **body}
        self.answer_json(200, progress(self.plans[name]))

    def do_DELETE(self) -> None:
        self.answer_json(200, {"handed_over": True})


def state(name: str) -> dict[str, Any]:
    index = PODS.index(name)
    interfaces = {
        interface: {
            "addresses": [{"address": f"198.18.{number}.{index + 2}", "prefix": 24}],
            "mtu": 1500,
            "routes": [f"198.18.{number}.0/24"],
        }
        for number, interface in enumerate(INTERFACES)
    }
    return {"interfaces": interfaces, "iperf3_version": "3.12", "neighbour_limit": 100_000, "boot_id": "one"}


def progress(plan: dict[str, Any] | None) -> dict[str, Any]:
    started = plan is not None and plan.get("start") is not None
    return {
        "time": time.time(),
        "plan": plan and plan["id"],
        "start": plan and plan.get("start"),
        "steps_done": 48 if started else 0,
        "finished": started,
        "listening": 2,
    }


def result(plan: dict[str, Any]) -> dict[str, Any]:
    flow = {
        "sent_bytes": 524288, "received_bytes": 524288, "seconds": 1.000565, "goodput_bytes_per_second": 523991.9,
        "retransmits": 0, "rtt_seconds": 7.9e-05, "jitter_seconds": None, "lost_ratio": None,
        "sender_cpu_ratio": 0.0150771, "receiver_cpu_ratio": 0.000242, "socket_bytes": 524288, "streams": 1,
    }  # fmt: skip
    steps: dict[int, list[dict[str, Any]]] = {}
    for number, target, interface, address, _ in plan["cells"]:
        one = {
            "error": None, "version": "3.12", "local_address": plan["local"][interface], "remote_address": address,
            "flows": {"forward": flow}, "target": target, "interface": interface, "remote_is_local": False,
            "started": plan["start"] + number * 1.2, "ended": plan["start"] + number * 1.2 + 1.1,
        }  # fmt: skip
        steps.setdefault(number, []).append(one)
    before = {"lo": [0, 0], "eth0": [10**6, 10**6], "net1": [10**6, 10**6]}
    after = {"lo": [0, 0], "eth0": [1_530_000, 1_530_000], "net1": [1_530_000, 1_530_000]}
    return {
        "finished": {"step": 48, "why": "done"}, "gaps": [], "server_restarts": 0,
        "steps": [{"step": key, "before": before, "after": after, "cells": cells} for key, cells in steps.items()],
    }  # fmt: skip


@pytest.fixture
def host() -> Iterator[str]:
    with serving(Agents) as server:
        yield server.url


def test_a_whole_mesh_costs_the_control_machine_hardly_more_than_a_start(host: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", START], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    mesh = {"plan": "rings", "streams": 1, "bits_per_second": 4_000_000, "seconds": 1, "slack_seconds": 0.2}
    answer = mesh_module.ended(
        mesh_module.started(
            name="cost.1", namespace="mesh", token="token", host=host, interfaces=INTERFACES, mesh=mesh,
            samples_path=str(tmp_path / "samples"), run_state=str(tmp_path / "state"), deadline_seconds=120,
        ),
        120,
    )  # fmt: skip
    control = answer["observations"][0]["values"]["control"]
    print(f"\n{answer['summary']}; a start alone: {start:.2f} CPU-s")
    assert [answer["observations"][number]["values"]["done"] for number in (0, 2)] == [2352, 2352]
    assert control["max_rss_bytes"] < MOST_MEMORY
    assert control["cpu_seconds"] < MOST_TIMES * start
