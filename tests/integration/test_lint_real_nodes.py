# SPDX-License-Identifier: GPL-3.0-or-later
"""What the linter says of probes is done by a real kubelet, and not to the same pods mended."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Kube
from ansible.modules import bench_real_node

from tests.conftest import RunModule, eventually
from tests.fakes.lint_examples import EXAMPLES
from tests.real_nodes import TOLERATION, Declare

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="real nodes need root"),
]

#: A server that loads its model before it listens.
SERVER = """
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
time.sleep(12)
http.server.HTTPServer(("", 8000), Handler).serve_forever()
"""
PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


class Pods:
    """The pods of the examples, with this server in place of theirs and probes that look every second."""

    def __init__(self, kube: Kube, namespace: str, image: str) -> None:
        self.kube, self.namespace, self.image = kube, namespace, image

    def start(self, name: str, rule: str, which: str) -> None:
        (deployment,) = getattr(EXAMPLES[rule], which)
        container = dict(deployment["spec"]["template"]["spec"]["containers"][0])
        for probe in PROBES:
            if probe in container:
                # A second a look in place of ten: the start is as much shorter.
                container[probe] = {**container[probe], "periodSeconds": 1}
        container |= {"image": self.image, "imagePullPolicy": "Never", "command": ["/usr/bin/python3", "-c", SERVER]}
        spec = {
            "containers": [container],
            "nodeSelector": {"type": "real"},
            "tolerations": [TOLERATION],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
        }
        body = {"metadata": {"name": name}, "spec": spec}
        self.kube.request("POST", f"/api/v1/namespaces/{self.namespace}/pods", body=body)

    def container(self, name: str) -> dict[str, Any]:
        pod = self.kube.request("GET", f"/api/v1/namespaces/{self.namespace}/pods/{name}").json()
        return next(iter(pod["status"].get("containerStatuses") or [{}]), {})

    def restarts(self, name: str) -> int:
        return int(self.container(name).get("restartCount", 0))

    def ready(self, name: str) -> bool:
        return bool(self.container(name).get("ready"))

    def runs(self, name: str) -> bool:
        return "running" in self.container(name).get("state", {})


def test_a_server_is_killed_while_it_loads_and_is_ready_before_it_listens(
    declare: Declare, run_module: RunModule, images: dict[str, tuple[str, Path]], kube: Kube, namespace: str
) -> None:
    wanted = declare()
    run_module(bench_real_node, **wanted).ok()
    pods = Pods(kube, namespace, images["probe"][0])
    try:
        for name, rule, which in (
            ("killed", "liveness-startup", "fails"),
            ("waited-for", "liveness-startup", "passes"),
            ("too-early", "readiness-probe", "fails"),
            ("in-time", "readiness-probe", "passes"),
        ):
            pods.start(name, rule, which)
        # Both have run for the same moment; only one says that it listens, and neither does.
        eventually(lambda: pods.runs("too-early") and pods.runs("in-time"), 60)
        eventually(lambda: pods.ready("too-early"), 10)
        assert not pods.ready("in-time")
        eventually(lambda: pods.restarts("killed") >= 2, 60)
        eventually(lambda: pods.ready("waited-for") and pods.ready("in-time"), 60)
        assert (pods.restarts("waited-for"), pods.restarts("in-time")) == (0, 0)
    finally:
        with contextlib.suppress(AssertionError):
            run_module(bench_real_node, state="absent", directory=wanted["directory"]).ok()
