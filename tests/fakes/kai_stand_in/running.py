# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in as tests use it: its processes beside a control plane, and the objects it schedules."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from ansible.module_utils.nightbench import process
from ansible.module_utils.nightbench.errors import NotFound
from ansible.module_utils.nightbench.kube import APPLY_PATCH, Call, Kube

from tests.control_plane import RUN_PREFIX, free_ports
from tests.fakes.kai_stand_in.crds import documents
from tests.fakes.kai_stand_in.faults import VARIABLE
from tests.fakes.kai_stand_in.install import NAMES, install
from tests.fakes.kai_stand_in.names import QUEUES, TOPOLOGIES

#: Client limits that are never in the way.
FAST = {"qps": 5000, "burst": 5000}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
START_SECONDS = 30


@dataclass
class StandIn:
    """Running processes: where their pages are, and their logs."""

    folder: Path
    ports: dict[str, int]
    plugin_port: int
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def get(self, component: str, path: str = "/metrics") -> bytes:
        port = self.plugin_port if path == "/get-snapshot" else self.ports[component]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return bytes(answer.read())

    def metrics(self, component: str) -> dict[str, float]:
        """Every series of a component with its value, the labels as they are printed."""
        lines = self.get(component).decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def log(self, component: str) -> str:
        return (self.folder / f"{component}.log").read_text()

    def start(self, component: str, command: list[str], environment: dict[str, str]) -> None:
        with (self.folder / f"{component}.log").open("ab") as log:
            self.processes[component] = subprocess.Popen(
                command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def wait_ready(self) -> None:
        for component, running in self.processes.items():
            deadline = time.monotonic() + START_SECONDS
            while True:
                assert running.poll() is None, f"{component} ended with {running.returncode}:\n{self.log(component)}"
                assert time.monotonic() < deadline, f"{component} is not ready:\n{self.log(component)}"
                with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
                    if self.get(component) and "runs with" in self.log(component):
                        break
                time.sleep(0.05)

    def stop(self) -> dict[str, int]:
        """End every process; the exit codes."""
        for running in self.processes.values():
            running.terminate()
        codes = {}
        for name, running in self.processes.items():
            try:
                codes[name] = running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()
                codes[name] = running.wait()
        return codes


@contextlib.contextmanager
def stand_in(
    kubeconfig: str,
    folder: Path,
    *,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
    faults: tuple[str, ...] = (),
    components: tuple[str, ...] = NAMES,
    bin_dir: Path | None = None,
) -> Iterator[StandIn]:
    """The stand-in beside a control plane whose CRDs are installed; limits are off where ``flags`` set none."""
    bin_dir = bin_dir or install(folder / "bin")
    ports = free_ports(2 * len(components) + 1)
    running = StandIn(folder, dict(zip(components, ports, strict=False)), ports[-1])
    me = process.own_identity()
    # As a control plane of the tests: what a killed test leaves, the next one ends.
    owner = {process.RUN_VARIABLE: f"{RUN_PREFIX}{me.pid}-{me.start_time}"}
    environment = {**os.environ, **owner, "KUBECONFIG": kubeconfig, VARIABLE: ",".join(faults)}
    try:
        for name, health in zip(components, ports[len(components) :], strict=False):
            values = {**FAST, **addresses(name, running.ports[name], health, running.plugin_port)}
            values.update((flags or {}).get(name, {}))
            words = [f"--{flag}={str(value).lower() if isinstance(value, bool) else value}"
                     for flag, value in values.items()]  # fmt: skip
            running.start(name, [str(bin_dir / name), *words], environment)
        running.wait_ready()
        yield running
    finally:
        running.stop()


def addresses(component: str, port: int, health: int, plugin_port: int) -> dict[str, Any]:
    """The flags that say where a component listens, and those that switch off what needs webhooks."""
    if component == "scheduler":
        return {"listen-address": f"127.0.0.1:{port}", "plugin-server-port": plugin_port, "schedule-period": "200ms"}
    if component == "queuecontroller":
        return {"metrics-listen-address": f"127.0.0.1:{port}", "enable-webhook": False}
    where: dict[str, Any] = {"metrics-bind-address": f"127.0.0.1:{port}"}
    where["health-probe-bind-address"] = f"127.0.0.1:{health}"
    return {**where, "enable-podgroup-webhook": False} if component == "podgroupcontroller" else where


def apply_crds(kube: Kube, folder: Path) -> None:
    """Have the API server serve the definitions of a folder."""
    for path in sorted(folder.glob("*.yaml")):
        document = yaml.load(path.read_text(), Loader=yaml.CSafeLoader)
        name = document["metadata"]["name"]
        query = {"fieldManager": "tests", "force": "true"}
        kube.request("PATCH", f"{DEFINITIONS}/{name}", query=query, body=document, content_type=APPLY_PATCH)
        version = next(one["name"] for one in document["spec"]["versions"] if one["served"])
        served = f"/apis/{document['spec']['group']}/{version}/{document['spec']['names']['plural']}"
        deadline = time.monotonic() + START_SECONDS
        while not _answers(kube, served):
            assert time.monotonic() < deadline, f"{name} is not served"
            time.sleep(0.05)
    kube.forget_discovery()


def remove_crds(kube: Kube) -> None:
    """Have the API server forget the kinds, for tests that bring definitions of their own."""
    paths = [f"{DEFINITIONS}/{one['metadata']['name']}" for one in documents()]
    deadline = time.monotonic() + START_SECONDS
    for path in paths:
        with contextlib.suppress(NotFound):
            kube.request("DELETE", path)
    while any(_answers(kube, path) for path in paths):
        assert time.monotonic() < deadline, "the definitions do not go"
        time.sleep(0.05)
    kube.forget_discovery()


def make_queue(kube: Kube, name: str, parent: str | None = "parent", **gpu: float) -> None:
    """A Queue; what is not said is without a bound: quota=-1, limit=-1, overQuotaWeight=1."""
    free = {"quota": -1, "limit": -1, "overQuotaWeight": 1}
    spec: dict[str, Any] = {"resources": {"gpu": {**free, **gpu}, "cpu": free, "memory": free}}
    if parent is not None:
        spec["parentQueue"] = parent
    body = {"apiVersion": "scheduling.run.ai/v2", "kind": "Queue", "metadata": {"name": name}, "spec": spec}
    query = {"fieldManager": "tests", "force": "true"}
    kube.request("PATCH", f"{QUEUES}/{name}", query=query, body=body, content_type=APPLY_PATCH)


def make_topology(kube: Kube, name: str, *levels: str) -> None:
    """A Topology of these node labels, the widest first."""
    spec = {"levels": [{"nodeLabel": level} for level in levels]}
    body = {"apiVersion": "kai.scheduler/v1alpha1", "kind": "Topology", "metadata": {"name": name}, "spec": spec}
    query = {"fieldManager": "tests", "force": "true"}
    kube.request("PATCH", f"{TOPOLOGIES}/{name}", query=query, body=body, content_type=APPLY_PATCH)


def pod_template(queue: str, gpus: int = 1, **spec: Any) -> dict[str, Any]:
    """What a pod and a Job's template share."""
    container = {"name": "main", "image": "pause", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    fixed = {"schedulerName": "kai-scheduler", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
    whole = {**fixed, "tolerations": [{"operator": "Exists"}], "containers": [container], **spec}
    return {"metadata": {"labels": {"kai.scheduler/queue": queue}}, "spec": whole}


def make_pods(kube: Kube, namespace: str, queue: str, count: int, gpus: int = 1, name: str = "pod") -> None:
    template = pod_template(queue, gpus)
    bodies = [{"metadata": {**template["metadata"], "name": f"{name}-{index}"}, "spec": template["spec"]}
              for index in range(count)]  # fmt: skip
    _create(kube, f"/api/v1/namespaces/{namespace}/pods", bodies)


def make_jobs(
    kube: Kube,
    namespace: str,
    queue: str,
    jobs: int,
    pods: int = 1,
    gpus: int = 1,
    *,
    gang: int | None = None,
    name: str = "job",
    topology: Mapping[str, str] | None = None,
    priority: str | None = None,
) -> None:
    """Jobs of ``pods`` pods; ``gang`` is their minMember, ``topology`` {topology, required or preferred: level}."""
    marks = {"kai.scheduler/batch-min-member": str(gang)} if gang else {}
    for field_name, value in (topology or {}).items():
        ending = "" if field_name == "topology" else f"-{field_name}-placement"
        marks[f"kai.scheduler/topology{ending}"] = value
    labels = {"kai.scheduler/queue": queue, **({"priorityClassName": priority} if priority else {})}
    spec = {"parallelism": pods, "completions": pods, "backoffLimit": 1000, "template": pod_template(queue, gpus)}
    bodies = [{"metadata": {"name": f"{name}-{index}", "labels": labels, "annotations": marks}, "spec": spec}
              for index in range(jobs)]  # fmt: skip
    _create(kube, f"/apis/batch/v1/namespaces/{namespace}/jobs", bodies)


def _create(kube: Kube, path: str, bodies: list[dict[str, Any]]) -> None:
    for answer in kube.map([Call("POST", path, body=body) for body in bodies], 8):
        if isinstance(answer, BaseException):
            raise answer


def _answers(kube: Kube, path: str) -> bool:
    try:
        kube.request("GET", path, query={"limit": "1"})
    except NotFound:
        return False
    return True
