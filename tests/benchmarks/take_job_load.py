# SPDX-License-Identifier: GPL-3.0-or-later
"""32,000 pods on 4,000 nodes: the memory that measuring them takes, against the limit of 400 MB.

The watches of a load of two parts are told of 16,000 Jobs and bare pods, of a group and a decision for each pod, then
list all pods anew; the audit log is read, the values are made and the samples written. test_job_load.py runs it.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import tests.conftest  # noqa: F401 - our modules under the names they have at run time

# isort: split
from ansible.module_utils.nightbench import job_samples, job_summary
from ansible.module_utils.nightbench.audit import AuditReader
from ansible.module_utils.nightbench.job_load import JobLoad, node_labels
from ansible.module_utils.nightbench.job_plan import JobLoadPlan, Part, Watched
from ansible.module_utils.nightbench.job_tracker import JOB_LABEL
from ansible.module_utils.nightbench.kube import Resource
from ansible.module_utils.nightbench.load_summary import write_samples
from ansible.module_utils.nightbench.machine import MachineSampler
from ansible.modules import bench_job_load  # noqa: F401 - what the module itself takes

PODS = 32_000
NODES = 4_000
LIMIT_BYTES = 400_000_000
#: Makes an event as long as a real one: kube-apiserver 1.36.3 sent 51.1 MB for 20,652 pods, mostly this.
FIELDS = 115
MANAGED = [{"manager": "nightbench", "fieldsV1": {f"f:field-{n}": {} for n in range(FIELDS)}}]
TEMPLATE = {"spec": {"containers": [{"name": "main"}]}}
STAMP = "2026-01-01T00:00:00.{:06d}Z"


class Kinds:
    """As much of a client as a load needs that is told of everything."""

    def __init__(self) -> None:
        self.retries: dict[str, int] = {}

    def resource(self, api_version: str, kind: str) -> Resource:
        return Resource(api_version, kind, f"{kind.lower()}s", kind != "Node")

    def pages(self, path: str, *, limit: int = 2000, **_: str) -> Iterator[tuple[list[Any], str]]:
        one = node if path.endswith("nodes") else pod
        for first in range(0, NODES if one is node else PODS, limit):
            yield json.loads(json.dumps([one(index) for index in range(first, first + limit)])), "1"


def node(index: int) -> dict[str, Any]:
    return {
        "metadata": {"name": f"node-{index:04d}", "labels": {"rack": f"rack-{index // 16}"}, "managedFields": MANAGED}
    }


def pod(index: int, at: str = "", phase: str = "Pending") -> dict[str, Any]:
    """Half of them are a Job's."""
    job = f"load-jobs-{index // 2:05d}"
    of_a_job = index % 2
    metadata = {
        "name": f"{job}-x{index:04d}" if of_a_job else f"load-pods-{index // 2:05d}",
        "uid": f"00000000-0000-4000-8000-{index:012d}",
        "labels": {JOB_LABEL: job} if of_a_job else {},
        "resourceVersion": "1",
        "managedFields": MANAGED,
    }
    resources = {"limits": {"nvidia.com/gpu": "1"}}
    spec = {"nodeName": at, "containers": [{"name": "main", "image": "pause", "resources": resources}]}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"phase": phase}}


def told(index: int) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What the watches tell of one pod, in order."""
    there = pod(index)
    name, uid, at = there["metadata"]["name"], there["metadata"]["uid"], f"node-{index // 8:04d}"
    job = f"load-jobs-{index // 2:05d}" if index % 2 else name

    def owned(kind: str, owner: str, spec: dict[str, str]) -> dict[str, Any]:
        references = [{"name": owner}]
        metadata = {"name": f"{kind}-{name}", "uid": f"{kind}-{uid}", "resourceVersion": "1"}
        return {"metadata": metadata | {"ownerReferences": references, "managedFields": MANAGED}, "spec": spec}

    if index % 2:
        metadata = {"name": job, "uid": f"job-{uid}", "resourceVersion": "1"}
        yield "jobs", "ADDED", {"metadata": metadata, "status": {"succeeded": 0}}
    yield "pods", "ADDED", there
    yield "groups", "ADDED", owned("group", job, {})
    yield "decisions", "ADDED", owned("decision", name, {"podName": name, "selectedNode": at})
    yield "pods", "MODIFIED", pod(index, at)
    yield "pods", "MODIFIED", pod(index, at, "Running")


def audit_lines(index: int) -> Iterator[str]:
    name = pod(index)["metadata"]["name"]
    for number, (verb, what, subresource) in enumerate(
        (("create", "pods", ""), ("create", "podgroups", ""), ("create", "bindrequests", ""), ("patch", "pods", ""),
         ("create", "pods", "binding"), ("patch", "pods", "status"))
    ):  # fmt: skip
        reference = {"resource": what, "namespace": "load", "name": name, "subresource": subresource}
        event = {
            "stage": "ResponseComplete",
            "verb": verb,
            "userAgent": "binder/v0",
            "objectRef": reference,
            "responseStatus": {"code": 201},
            "stageTimestamp": STAMP.format(index + number),
            "padding": "x" * 700,
        }
        yield json.dumps(event, separators=(",", ":")) + "\n"


def main() -> int:
    half = PODS // 2
    parts = (Part("pods", half, TEMPLATE), Part("jobs", half, TEMPLATE, form="jobs", measured=True, queue="q"))
    group = Watched("test/v1", "PodGroup", "metadata.ownerReferences.0.name")
    decision = Watched("test/v1", "BindRequest", "spec.podName", node="spec.selectedNode")
    plan = JobLoadPlan("load", "load", parts, group, decision, {"rack": "rack"})
    begin = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    load = JobLoad(Kinds(), plan, lambda _: None)  # type: ignore[arg-type]
    load.nodes = node_labels(load.kube, {"rack"})
    for job in load.tracker.jobs.values():
        load.tracker.posted(job, time.monotonic())
    events = 0
    for index in range(PODS):
        for watch, kind, item in told(index):
            line = json.dumps({"type": kind, "object": item}, separators=(",", ":")).encode()
            load.watches[watch]._event(line, time.monotonic())
            events += 1
    load.watches["pods"]._list()
    load._end()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "audit.log"
        log.touch()
        reader = AuditReader(log)
        with log.open("w") as stream:
            stream.writelines(line for index in range(PODS) for line in audit_lines(index))
        findings = reader.read("load", load.plurals.values(), job_summary.window(load))
        reader.close()
        machine = MachineSampler({}).start()
        machine.stop()
        values = job_summary.values(load, machine, {}, findings, "")
        rows = job_samples.samples(load.tracker, load.timeline.started)
        written = write_samples(str(Path(folder) / "samples.jsonl"), rows)
    assert (values["bound"], values["parts"]["pods"]["running"], written["rows"]) == (half, half, PODS), values
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(
        f"{events} events, {PODS} pods, {NODES} nodes: {most / 1e6:.0f} MB, {begin / 1e6:.0f} MB of them before; "
        f"{most / LIMIT_BYTES:.2f} of the {LIMIT_BYTES / 1e6:.0f} MB that it may take"
    )
    return 0 if most <= LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
