# SPDX-License-Identifier: GPL-3.0-or-later
"""scheduler: every --schedule-period one cycle over what the watches show; BindRequests, evictions, conditions."""

from __future__ import annotations

import io
import threading
import time
import zipfile
from functools import partial
from typing import Any

from ansible.module_utils.nightbench.errors import Conflict, NightbenchError, NotFound
from ansible.module_utils.nightbench.kube import MERGE_PATCH, Call

from tests.fakes.kai_stand_in import names, snapshot
from tests.fakes.kai_stand_in.allocate import Key, Session, allocate
from tests.fakes.kai_stand_in.model import Cluster, Group, Pod
from tests.fakes.kai_stand_in.process import Component
from tests.fakes.kai_stand_in.reclaim import consolidate, reclaim
from tests.fakes.kai_stand_in.sabotage import Sabotage
from tests.fakes.kai_stand_in.serving import Pages
from tests.fakes.kai_stand_in.store import WorkQueue
from tests.profiles import profile

CONNECTIONS = 8
#: How long others that were evicted may take to leave before the plan made for their room is dropped.
PLAN_SECONDS = 60.0


class Scheduler(Component):
    """The clientset for KAI's kinds has one bucket, the one for Kubernetes' own another."""

    def __init__(self, options: dict[str, Any], planted: frozenset[str]) -> None:
        super().__init__("scheduler", options, planted)
        self.nodes = self.store("/api/v1/nodes")
        self.queues = self.store(names.QUEUES)
        self.topologies = self.store(names.TOPOLOGIES)
        self.priorities = self.store(
            "/apis/scheduling.k8s.io/v1/priorityclasses", reduce=lambda one: (one["metadata"]["name"], one["value"])
        )
        self.groups = self.store(f"{names.POD_GROUPS}/podgroups")
        self.requests = self.store(f"{names.BIND_REQUESTS}/bindrequests", reduce=snapshot.request_facts)
        self.pods = self.store("/api/v1/pods", reduce=snapshot.pod_facts)
        self.sabotage = Sabotage(self.faults)
        self.assumed: dict[str, str] = {}  # pods whose BindRequest the watch has not shown yet
        self.evicted: set[str] = set()  # pods whose deletion the watch has not shown yet
        self.planned: dict[Key, tuple[float, dict[str, str]]] = {}
        self.conditions: dict[Key, dict[str, Any] | None] = {}  # what each group's condition is to be
        self.to_write = WorkQueue()
        self.reconcile(self.to_write, options["num-of-status-recording-workers"], self.write_condition)

    def follow(self) -> None:
        super().follow()
        threading.Thread(target=self.loop, name="cycles", daemon=True).start()

    def loop(self) -> None:
        while True:
            started = time.monotonic()
            try:
                self.cycle()
            except NightbenchError as error:
                self.log(f"the cycle ended: {error}")
            spent = time.monotonic() - started
            self.metrics.add(self.figure("cycles_total"))
            self.milliseconds("e2e_scheduling_latency", spent)
            time.sleep(max(0.0, self.options["schedule-period"] - spent))

    def cycle(self) -> None:
        """One snapshot, the actions over it, and what they decided."""
        started = time.monotonic()
        cluster = self.snapshot()
        self.sabotage.cluster(cluster)
        session = Session(
            cluster,
            limits="exceed_queue" not in self.faults,
            below_minimum="evict_below_minimum" in self.faults,
        )
        self.milliseconds("open_session_latency", time.monotonic() - started)
        self.act(session, "allocate", lambda: allocate(session, self.plans()))
        most = 0 if "no_consolidation" in self.faults else self.options["max-consolidation-preemptees"]
        self.act(session, "consolidation", lambda: consolidate(session, most))
        self.act(session, "reclaim", lambda: reclaim(session))
        self.sabotage.decisions(session)
        started = time.monotonic()
        self.carry_out(session)
        self.figures_of_queues(session)
        self.milliseconds("close_session_latency", time.monotonic() - started)

    def act(self, session: Session, action: str, run: Any) -> None:
        started = time.monotonic()
        run()
        self.milliseconds("action_scheduling_latency", time.monotonic() - started, action=action)
        for (figure, by), amount in session.counts.items():
            self.metrics.add(self.figure(figure), amount, **({"action": by} if by else {}))
        session.counts.clear()

    def snapshot(self) -> Cluster:
        """The cluster as the watches have it, with what this scheduler has decided and they have not shown yet."""
        pods = self.pods.values()
        decided = {one.uid: one.node for one in self.requests.values() if not one.failed}
        there = {pod.uid: pod for pod in pods}
        self.assumed = {uid: node for uid, node in self.assumed.items() if uid in there and uid not in decided}
        self.evicted = {uid for uid in self.evicted if uid in there and not there[uid].leaving}
        return snapshot.build(
            self.nodes.values(),
            pods,
            self.groups.values(),
            self.queues.values(),
            self.topologies.values(),
            dict(self.priorities.values()),
            {**decided, **self.assumed},
            frozenset(self.evicted),
        )

    def plans(self) -> dict[Key, dict[str, str]]:
        """The nodes that were cleared for groups which still wait."""
        now = time.monotonic()
        self.planned = {key: plan for key, plan in self.planned.items() if plan[0] > now}
        return {key: nodes for key, (_, nodes) in self.planned.items()}

    def carry_out(self, session: Session) -> None:
        """BindRequests in the order decided, then evictions, then the groups' conditions."""
        self.bind(session.binds)
        for group, _ in session.binds:
            self.planned.pop(group.key, None)
        self.evict(session.evictions)
        until = time.monotonic() + PLAN_SECONDS
        self.planned.update({key: (until, nodes) for key, nodes in session.cleared.items()})
        self.conditions = {key: one for key, one in self.conditions.items() if key in session.cluster.groups}
        for key, refused in session.refusals.items():
            self.condition(key, {"reason": refused.reason, "message": refused.message})
        for group, _ in session.binds:
            self.condition(group.key, None)

    def evict(self, evictions: list[tuple[Group, Pod, str]]) -> None:
        """Delete the pods; the watch shows when they have left."""
        calls = []
        for group, pod, action in evictions:
            self.evicted.add(pod.uid)
            self.log(f"{action}: {group.namespace}/{pod.name} of queue {group.queue} leaves {pod.node}")
            path = f"{names.pods_of(group.namespace)}/{pod.name}"
            calls.append(Call("DELETE", path, body={"preconditions": {"uid": pod.uid}}))
            labels = {"podgroup": group.name, "namespace": group.namespace, "uid": group.uid, "nodepool": "default"}
            self.metrics.add(self.figure("pod_group_evicted_pods_total"), action=action, **labels)
        for (group, pod, _), answer in zip(evictions, self.client("core").map(calls, CONNECTIONS), strict=True):
            if isinstance(answer, NightbenchError):
                self.evicted.discard(pod.uid)
                if not isinstance(answer, NotFound | Conflict):
                    self.log(f"eviction of {group.namespace}/{pod.name}: {answer}")

    def figures_of_queues(self, session: Session) -> None:
        for name in ("queue_fair_share_gpu", "queue_gpu_usage"):
            self.metrics.clear(self.figure(name))
        for queue in session.cluster.queues.values():
            labels = {"queue_name": queue.name, "queue_metadata_name": queue.name}
            self.metrics.set(self.figure("queue_fair_share_gpu"), session.shares[queue.name], **labels)
            self.metrics.set(self.figure("queue_gpu_usage"), queue.allocated.gpu, **labels)

    def bind(self, binds: list[tuple[Group, Pod]]) -> None:
        calls = [Call("POST", names.bind_requests_of(group.namespace), body=bind_request(pod, group.namespace))
                 for group, pod in binds]  # fmt: skip
        for _, pod in binds:
            self.assumed[pod.uid] = pod.node or ""

        def done(index: int, answer: object) -> None:
            group, pod = binds[index]
            self.metrics.observe(self.figure("task_scheduling_latency_milliseconds"), (time.time() - pod.created) * 1e3)
            if isinstance(answer, NightbenchError):
                self.refused_bind(group.namespace, pod, answer)

        started = time.monotonic()
        self.client("kai").map(calls, CONNECTIONS, done=done)
        if binds:
            each = (time.monotonic() - started) / len(binds) * 1e3
            self.metrics.observe(self.figure("task_bind_latency_milliseconds"), each)

    def refused_bind(self, namespace: str, pod: Pod, error: NightbenchError) -> None:
        """A BindRequest that is in the way is one that failed, or one of an earlier pod of that name: remove it."""
        self.assumed.pop(pod.uid, None)
        if not isinstance(error, Conflict):
            self.log(f"BindRequest {namespace}/{pod.name}: {error}")
            return
        try:
            self.client("kai").request("DELETE", f"{names.bind_requests_of(namespace)}/{pod.name}")
        except NotFound:
            return

    def condition(self, key: Key, wanted: dict[str, Any] | None) -> None:
        """Have a group's condition written where it is another one than it was."""
        before = self.conditions.get(key)
        if (before or {}).get("reason") == (wanted or {}).get("reason"):
            return
        self.conditions[key] = wanted
        self.to_write.add(key)

    def write_condition(self, key: Key) -> None:
        wanted = self.conditions.get(key)
        conditions = []
        if wanted is not None:
            now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            common = {"nodePool": "default", "lastTransitionTime": now, "transitionID": "1", **wanted}
            conditions = [{"type": names.UNSCHEDULABLE, "status": "True", "reasons": [wanted], **common}]
        path = f"{names.groups_of(key[0])}/{key[1]}/status"
        body = {"status": {"schedulingConditions": conditions}}
        try:
            self.client("kai").request("PATCH", path, body=body, content_type=MERGE_PATCH)
        except NotFound:
            self.conditions.pop(key, None)

    def figure(self, name: str) -> str:
        space = self.options["metrics-namespace"]
        return f"{space}_{name}" if space else name

    def milliseconds(self, name: str, seconds: float, **labels: str) -> None:
        self.metrics.set(self.figure(f"{name}_milliseconds"), round(seconds * 1e3), **labels)

    def pages(self) -> Pages:
        """The real one has its profiles beside its metrics."""
        profiles = {"heap": ("inuse_space",), "profile": ("cpu",)}
        return {
            **super().pages(),
            "/get-snapshot": self.get_snapshot,
            **{f"/debug/pprof/{name}": partial(given, *kinds) for name, kinds in profiles.items()},
        }

    def get_snapshot(self) -> tuple[str, bytes]:
        stores = {"nodes": self.nodes, "pods": self.pods, "podGroups": self.groups, "queues": self.queues,
                  "bindRequests": self.requests, "topologies": self.topologies}  # fmt: skip
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("snapshot.json", snapshot.archive({name: one.values() for name, one in stores.items()}))
        return "application/zip", buffer.getvalue()


def given(*kinds: str) -> tuple[str, bytes]:
    return "application/octet-stream", profile(*kinds)


def bind_request(pod: Pod, namespace: str) -> dict[str, Any]:
    """The decision, as an object: named as the pod and gone with it."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
    labels = {"selected-node": pod.node}
    return {
        "apiVersion": "scheduling.run.ai/v1alpha2",
        "kind": "BindRequest",
        "metadata": {"name": pod.name, "namespace": namespace, "labels": labels, "ownerReferences": [owner]},
        "spec": {
            "podName": pod.name,
            "selectedNode": pod.node,
            "receivedResourceType": "Regular",
            "receivedGPU": {"count": int(pod.request.gpu), "portion": "1"},
            "backoffLimit": 3,
        },
    }
