# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast 2,000 pods are created: our load generator against its peers, as ratios of one run on one API server."""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible.module_utils.nightbench.kube import Call, Kube, run_threads
from ansible.module_utils.nightbench.pod_load import LoadPlan, PodLoad

from tests.control_plane import NAME, find_tool

if TYPE_CHECKING:
    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.benchmark

PODS = 2_000
PAIRS = 5
CONNECTIONS = 16
#: Two lengths of the loop: their difference holds no start of ansible-playbook.
LOOPS = (5, 20)

TEMPLATE: dict[str, Any] = {
    "spec": {
        "terminationGracePeriodSeconds": 0,
        "enableServiceLinks": False,
        "automountServiceAccountToken": False,
        "containers": [
            {"name": "main", "image": "registry.k8s.io/pause:3.10", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
        ],
    }
}


def test_creation_is_at_least_three_times_as_fast_as_kwokctl_scale_pod(control_plane: ControlPlane, kube: Kube) -> None:
    ratio = paired("kwokctl scale pod", lambda: by_kwokctl(control_plane, kube), lambda: by_us(kube))
    assert ratio >= 3


def test_creation_reaches_nine_tenths_of_bare_keep_alive_https(kube: Kube) -> None:
    ratio = paired(f"bare HTTPS, {CONNECTIONS} threads", lambda: by_bare_https(kube), lambda: by_us(kube))
    assert ratio >= 0.9


def test_creation_is_at_least_a_hundred_times_as_fast_as_a_loop_over_kubernetes_core(
    control_plane: ControlPlane, kube: Kube, tmp_path: Path
) -> None:
    pytest.importorskip("ansible_collections.kubernetes.core", reason="the extra `cluster` is not installed")
    ours, loop = by_us(kube), by_loop(control_plane, kube, tmp_path)
    print(f"\nours {ours:.0f} pods/s, kubernetes.core.k8s in a loop {loop:.2f} pods/s, ratio {ours / loop:.0f}")
    assert ours / loop >= 100


def paired(name: str, peer: Callable[[], float], ours: Callable[[], float]) -> float:
    """Median of the ratios ours / peer over interleaved pairs; both are rates in pods per second."""
    peer(), ours()  # warm-up, not counted
    ratios = []
    print()
    for pair in range(1, PAIRS + 1):
        # Who goes second finds the API server busy with what the first has left: by turns.
        if pair % 2:
            theirs, own = peer(), ours()
        else:
            own, theirs = ours(), peer()
        ratios.append(own / theirs)
        print(f"pair {pair}: {name} {theirs:6.0f} pods/s, ours {own:6.0f} pods/s, ratio {ratios[-1]:.2f}")
    print(f"median ratio to {name}: {statistics.median(ratios):.2f}")
    return statistics.median(ratios)


def by_us(kube: Kube) -> float:
    """A whole pod load: the watch runs, every pod is stamped and accounted for."""
    load = PodLoad(
        kube, LoadPlan("ours", "default", PODS, TEMPLATE, connections=CONNECTIONS, until="created"), no_check
    )
    load.run()
    assert load.tracker.counts["created"] == PODS
    assert load.timeline.create_started is not None
    assert load.timeline.create_ended is not None
    return PODS / (load.timeline.create_ended - load.timeline.create_started)


def by_bare_https(kube: Kube) -> float:
    """Nothing but requests: 16 threads with a connection each, bodies made beforehand, answers thrown away."""
    bodies = [
        json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"bare-{n}"}, **TEMPLATE}).encode()
        for n in range(PODS)
    ]
    work = iter(bodies)
    headers = {**kube.target.headers(), "Content-Type": "application/json"}

    def send() -> None:
        connection: http.client.HTTPConnection = kube.connect()
        for body in work:
            connection.request("POST", "/api/v1/namespaces/default/pods", body=body, headers=headers)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 201
        connection.close()

    started = time.monotonic()
    run_threads(send, CONNECTIONS)
    rate = PODS / (time.monotonic() - started)
    remove_pods(kube)
    return rate


def by_kwokctl(control_plane: ControlPlane, kube: Kube) -> float:
    started = time.monotonic()
    subprocess.run(
        [find_tool("kwokctl"), "--name", NAME, "scale", "pod", "kwokctl", "--replicas", str(PODS)],
        env={**os.environ, "KWOK_WORKDIR": str(control_plane.directory)},
        check=True,
        capture_output=True,
    )
    rate = PODS / (time.monotonic() - started)
    assert remove_pods(kube) == PODS
    return rate


def by_loop(control_plane: ControlPlane, kube: Kube, tmp_path: Path) -> float:
    """Pods per second of kubernetes.core.k8s in a loop, without the start of ansible-playbook."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "loop-{{ item }}", "namespace": "default"},
        **TEMPLATE,
    }
    task = {
        "name": "Create a pod",
        "kubernetes.core.k8s": {"definition": pod, "kubeconfig": control_plane.kubeconfig},
        "loop": "{{ range(count | int) | list }}",
    }
    playbook = tmp_path / "loop.yml"
    playbook.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    seconds = []
    for count in LOOPS:
        started = time.monotonic()
        subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                *("-i", "localhost,", "-c", "local", "-e", f"count={count}"),
                *("-e", f"ansible_python_interpreter={sys.executable}", playbook),
            ],
            check=True,
            capture_output=True,
        )
        seconds.append(time.monotonic() - started)
        assert remove_pods(kube) == count
    return (LOOPS[1] - LOOPS[0]) / (seconds[1] - seconds[0])


def remove_pods(kube: Kube) -> int:
    """Delete every pod of the namespace and wait until none is left; how many there were."""
    path = "/api/v1/namespaces/default/pods"
    found, _ = kube.list_pages(path)
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
    kube.map([Call("DELETE", f"{path}/{pod['metadata']['name']}", body=options) for pod in found], CONNECTIONS)
    while kube.list_pages(path, limit=1)[0]:
        time.sleep(0.05)
    return len(found)


def no_check(state: str) -> None:
    """A benchmark has no deadline of its own."""
