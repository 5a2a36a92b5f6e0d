# SPDX-License-Identifier: GPL-3.0-or-later
"""What an autoscaler is told and decides is written down once for each change, in the order in which it was heard."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.errors import NightbenchError
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import load_target
from ansible.module_utils.nightbench.watch import Event
from ansible.module_utils.nightbench.workload_plan import Until
from ansible.module_utils.nightbench.workload_scaling import ScalingLog, UsagePoll, autoscaler_of
from ansible.module_utils.nightbench.workload_tracker import Tracker

from tests.conftest import ROOT
from tests.fakes.serving import QuietHandler, Server, running

PATTERNS = ROOT / "roles" / "workload_patterns" / "files" / "patterns"


def form(name: str, which: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((PATTERNS / name / f"{which}.yml").read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("name", "app", "most", "target"),
    [("stream_processing", "consumer", 12, 1.4), ("low_latency_inference", "chat", 10, 2.8)],
)
def test_an_autoscaler_is_told_with_its_bounds_and_a_pods_share(name: str, app: str, most: int, target: float) -> None:
    found = autoscaler_of(form(name, "autoscaled"))
    assert found is not None
    assert found.document() == {
        "name": app,
        "scales": f"Deployment/{app}",
        "min_replicas": 2,
        "max_replicas": most,
        "target_cpus": pytest.approx(target),
    }


@pytest.mark.parametrize("name", ["stream_processing", "low_latency_inference"])
def test_a_signal_that_is_no_cpu_has_no_share(name: str) -> None:
    found = autoscaler_of(form(name, "plain"))
    assert found is not None and found.target_cpus is None


def test_what_has_no_autoscaler_has_none() -> None:
    assert autoscaler_of(form("notebooks", "plain")) is None


def deployment(replicas: int | None) -> dict[str, Any]:
    return {"metadata": {"name": "consumer"}, "spec": {"replicas": replicas}}


def autoscaler(wanted: int, active: str) -> dict[str, Any]:
    status = {"desiredReplicas": wanted, "conditions": [{"type": "ScalingActive", "status": active}]}
    return {"metadata": {"name": "consumer"}, "status": status}


def test_only_changes_are_written_down_with_their_step_and_moment() -> None:
    log = ScalingLog(lambda: "load")
    for at, replicas in ((1.0, 2), (2.0, 2), (3.0, 6), (4.0, None)):
        log.scaled(Event("MODIFIED", deployment(replicas), at))
    log.scaled(Event("DELETED", deployment(12), 5.0))
    log.decided(Event("MODIFIED", autoscaler(0, "False"), 2.5))
    assert not log.active
    log.decided(Event("MODIFIED", autoscaler(6, "True"), 3.5))
    log.used({"a": 0.5, "b": 0.5}, 3.6)
    log.used({"b": 0.5, "a": 0.5}, 3.8)
    log.used({"a": 8.4, "b": 8.4}, 4.0)
    assert log.active
    assert [(one["row"], one["reached"], one["replicas"], one["cpus"], one["step"]) for one in log.rows(1.0)] == [
        ("replicas", 0.0, 2, 0.0, "load"),
        ("replicas", 2.0, 6, 0.0, "load"),
        ("wanted", 2.5, 6, 0.0, "load"),
        ("usage", 2.6, 2, 1.0, "load"),
        ("usage", 3.0, 2, 16.8, "load"),
    ]


def pod(name: str) -> Event:
    metadata = {"uid": name, "name": name, "labels": {"app": "consumer"}}
    return Event("ADDED", {"metadata": metadata, "spec": {"containers": []}, "status": {}}, 1.0)


def test_a_step_can_wait_until_the_metrics_api_tells_of_its_pods() -> None:
    tracker = Tracker()
    tracker.pod(pod("a"))
    tracker.pod(pod("b"))
    wait = tracker.begin("least", Until("metered", 2, {"app": "consumer"}))
    tracker.metered({"a", "of-another-workload"}, 2.0)
    assert (wait.seen, wait.reached) == (1, None)
    tracker.metered({"a", "b"}, wait.since + 3.0)
    assert (wait.seen, wait.reached) == (2, wait.since + 3.0)


@contextlib.contextmanager
def metrics(answers: list[tuple[int, Any]]) -> Iterator[Kube]:
    """Each request gets the next answer, the last one for ever."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.answer_json(status, body, {"Content-Type": "application/json"})

    server = Server(("127.0.0.1", 0), Handler)
    with running(server):
        kube = Kube(load_target(host=server.url), retry_seconds=0)
        yield kube
        kube.close()


def listed(*cpus: str) -> dict[str, Any]:
    containers = [{"name": "main", "usage": {"cpu": one, "memory": "1Mi"}} for one in cpus]
    return {"items": [{"metadata": {"name": "a"}, "containers": containers}]}


def status(code: int) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "message": "no"}


def test_the_metrics_api_is_asked_until_it_is_there_and_each_answer_is_handed_on() -> None:
    heard: list[dict[str, float]] = []
    enough = threading.Event()

    def handle(cpus: dict[str, float], at: float) -> None:
        heard.append(cpus)
        if len(heard) == 2:
            enough.set()

    with metrics(
        [(404, status(404)), (503, status(503)), (200, listed("8400m")), (200, listed("250000000n", "1"))]
    ) as kube:
        poll = UsagePoll(kube, "ns", "a=b", handle)
        thread = poll.start()
        assert enough.wait(30)
        poll.stop()
        thread.join()
    assert heard[:2] == [{"a": 8.4}, {"a": 1.25}]
    assert poll.error is None


def test_an_answer_that_waiting_does_not_mend_ends_the_polling() -> None:
    with metrics([(403, status(403))]) as kube:
        poll = UsagePoll(kube, "ns", "a=b", lambda cpus, at: None)
        poll.start().join(30)
    assert isinstance(poll.error, NightbenchError)
