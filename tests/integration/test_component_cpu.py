# SPDX-License-Identifier: GPL-3.0-or-later
"""How busy components of a cluster were, by a real Prometheus that scrapes pages as cAdvisor's of a kubelet."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml

from tests.conftest import eventually
from tests.control_plane import find_tool, free_ports
from tests.fakes.serving import QuietHandler, Server, serving
from tests.role import play_role
from tests.scheduler_scale import through

pytestmark = pytest.mark.integration

NAME = "container_cpu_usage_seconds_total"
SERVICE = "/api/v1/namespaces/monitoring/services/prometheus-operated:9090/proxy"
#: Namespace, pod, container → cores. A pod's own total has no container, and other names only begin as ours.
CORES = {
    ("kai", "binder-5d8f7c9b4-x2x9z", "main"): 0.25,
    ("kai", "binder-5d8f7c9b4-q8k2m", "main"): 0.5,
    ("kai", "binder-5d8f7c9b4-q8k2m", "proxy"): 0.125,
    ("kai", "binder-5d8f7c9b4-q8k2m", ""): 0.625,
    ("kai", "kai-scheduler-default-6c9-abcde", "main"): 1.5,
    ("kai", "binder-watcher-77d4c-x2x9z", "main"): 7.0,
    ("other", "binder-5d8f7c9b4-zzzzz", "main"): 9.0,
}
DEPLOYMENTS = {"binder": "binder", "scheduler": "kai-scheduler-default", "podgrouper": "pod-grouper"}
SECONDS = 2


class Kubelet(QuietHandler):
    """Every container has used its cores since 1970; as cAdvisor does it says when it looked."""

    def do_GET(self) -> None:
        now = int(time.time() * 1000)
        lines = [
            f'{NAME}{{namespace="{namespace}",pod="{pod}",container="{container}",cpu="total"}} '
            f"{cores * now / 1000:.6f} {now}"
            for (namespace, pod, container), cores in CORES.items()
        ]
        text = {"Content-Type": "text/plain; version=0.0.4"}
        self.answer(200, "\n".join([f"# TYPE {NAME} counter", *lines, ""]).encode(), text)


class Front(QuietHandler):
    """An API server as far as its way to a Service goes."""

    prometheus = ""

    def do_GET(self) -> None:
        if not self.path.startswith(f"{SERVICE}/"):
            self.answer_json(404, {"kind": "Status", "message": f"there is nothing at {self.path}"})
            return
        with urlopen(self.prometheus + self.path.removeprefix(SERVICE), timeout=10) as answer:
            self.answer(200, answer.read())


@contextmanager
def prometheus(directory: Path, target: Server) -> Iterator[str]:
    """One that scrapes the target five times a second; its address."""
    (port,) = free_ports(1)
    job = {"job_name": "kubelet", "static_configs": [{"targets": [target.url.removeprefix("http://")]}]}
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump({"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"},
                                    "scrape_configs": [job]}))  # fmt: skip
    argv = [find_tool("prometheus"), f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def samples(url: str) -> int:
    """How many of each series lie in the window that the role will ask about."""
    query = f"min(count_over_time({NAME}[{SECONDS}s] offset 1s))"
    try:
        with urlopen(f"{url}/api/v1/query?query={quote(query)}", timeout=10) as answer:
            found: list[Any] = yaml.safe_load(answer)["data"]["result"]
    except (URLError, ConnectionError):
        return 0
    return int(found[0]["value"][1]) if found else 0


def test_the_cores_of_each_deployment_are_those_of_its_own_containers(tmp_path: Path) -> None:
    variables = {
        "scheduler_scale_components": {
            name: {"deployment": {"namespace": "kai", "name": deployment}} for name, deployment in DEPLOYMENTS.items()
        },
        "scheduler_scale_prometheus": {"namespace": "monitoring", "lag_seconds": 1},
        "__scheduler_scale_load": {
            "values": {"released": None, "create_started": 5.5, "last_bind": 5.5 + SECONDS, "delete_ended": None}
        },
    }
    with serving(Kubelet) as kubelet, prometheus(tmp_path, kubelet) as url, serving(Front, prometheus=url) as front:
        eventually(lambda: samples(url) > 2, 60)
        variables["scheduler_scale_kubeconfig"] = through(tmp_path, front.url)
        played = play_role(
            "scheduler_scale", tmp_path, variables, fact="__scheduler_scale_cpu['values']", tasks_from="component_cpu"
        )
    assert played.rc == 0, played.output
    assert played.facts == {
        "binder": pytest.approx(0.875, rel=0.01),
        "scheduler": pytest.approx(1.5, rel=0.01),
        "podgrouper": None,
    }
