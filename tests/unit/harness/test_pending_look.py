# SPDX-License-Identifier: GPL-3.0-or-later
"""`doctor --pending` asks the cluster for what it needs, and goes on without what it may not read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from harness import cli
from tests.fakes.serving import QuietHandler, serving

NAMESPACED = "/apis/scheduling.run.ai/v2alpha2/namespaces/team/podgroups/pg-job"
BIND_REQUEST = "/apis/scheduling.run.ai/v1alpha2/namespaces/team/bindrequests/job-1"
QUEUES = "/apis/scheduling.run.ai/v2/queues"
SHARDS = "/apis/kai.scheduler/v1/schedulingshards"
CONFIG = "/apis/kai.scheduler/v1/configs/kai-config"
DEPLOYMENTS = "/apis/apps/v1/namespaces/kai-scheduler/deployments"
POD = "/api/v1/namespaces/team/pods/job-1"
POOL = {"kai.scheduler/node-pool": "h100"}


def pod(name: str = "job-1", **spec: Any) -> dict[str, Any]:
    metadata = {
        "namespace": "team",
        "name": name,
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {"kai.scheduler/queue": "team", **POOL},
        "annotations": {"pod-group-name": "pg-job"},
    }
    return {"metadata": metadata, "spec": {"schedulerName": "kai-scheduler", "containers": [], **spec}}


def listed(*items: Any) -> dict[str, Any]:
    return {"items": list(items)}


ANSWERS: dict[str, Any] = {
    POD: pod(),
    CONFIG: {"spec": {}},
    QUEUES: listed(
        {"metadata": {"name": "team", "labels": POOL}, "spec": {"parentQueue": "all"}},
        {"metadata": {"name": "all", "labels": POOL}},
    ),
    SHARDS: listed({"metadata": {"name": "h100"}, "spec": {"partitionLabelValue": "h100"}}),
    DEPLOYMENTS: listed({
        "metadata": {"namespace": "kai-scheduler", "name": "kai-scheduler-h100"},
        "spec": {}, "status": {"availableReplicas": 1}}),
    NAMESPACED: {
        "metadata": {"name": "pg-job"},
        "spec": {"queue": "team", "minMember": 3, "priorityClassName": "inference"}},
    "/apis/scheduling.k8s.io/v1/priorityclasses/inference": {"value": 125},
    BIND_REQUEST: {"metadata": {}, "spec": {"selectedNode": "n"}, "status": {"phase": "Failed", "failedAttempts": 2}},
    "/api/v1/nodes": listed({"metadata": {"name": "n", "labels": POOL}}),
    "/api/v1/pods": listed(pod("other", nodeName="n")),
    "/api/v1/namespaces/team/pods": listed(pod(), pod("job-2")),
}  # fmt: skip


class Api:
    """An API server made of answers; a number stands for that status."""

    def __init__(self) -> None:
        self.answers = dict(ANSWERS)
        self.queries: dict[str, dict[str, list[str]]] = {}
        self.kubeconfig = ""


class Handler(QuietHandler):
    api: Api

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.api.queries[url.path] = parse_qs(url.query)
        found = self.api.answers.get(url.path, 404)
        refused = isinstance(found, int)
        self.answer_json(found if refused else 200, {"kind": "Status", "message": "refused"} if refused else found)


def written(path: Path, url: str) -> str:
    """A kubeconfig that leads there."""
    context = {"name": "here", "context": {"cluster": "c", "user": "u"}}
    path.write_text(
        yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "here", "contexts": [context],
            "clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "u", "user": {}}],
        })
    )  # fmt: skip
    return str(path)


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    started = Api()
    with serving(Handler, api=started) as server:
        started.kubeconfig = written(tmp_path / "kubeconfig", server.url)
        yield started


def asked(api: Api, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, Any]:
    code = cli.main(["doctor", "--pending", "team/job-1", "--kubeconfig", api.kubeconfig, "--json", *more])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else err


def test_everything_that_has_a_say_is_read(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    code, answer = asked(api, capsys)
    assert [cause["check"] for cause in answer["causes"]] == ["gang", "binder"]
    assert (code, answer["ok"], answer["pod"], answer["pending"]) == (0, True, "team/job-1", True)
    assert answer["causes"][0] == {
        "check": "gang",
        "problem": "its gang needs 3 pods and 2 of them exist: it waits for the rest",
        "mend": "look at what makes them: its events say why it makes no more",
        "certain": True,
    }
    assert (set(api.queries), answer["not_read"]) == (set(ANSWERS), [])
    assert api.queries["/api/v1/pods"]["fieldSelector"] == ["spec.schedulerName=kai-scheduler,spec.nodeName!="]


def test_in_words_the_cause_stands_with_what_mends_it(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--pending", "team/job-1", "--kubeconfig", api.kubeconfig, "--context", "here"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("team/job-1: a KAI pod, pending for ")
    assert lines[1:] == [
        "",
        "gang: its gang needs 3 pods and 2 of them exist: it waits for the rest",
        "  mend: look at what makes them: its events say why it makes no more",
        "",
        "binder: the scheduler chose n, and the binder failed to bind it there in 2 attempts and has given up",
        "  mend: look at the end of the binder's log",
    ]


def test_what_may_not_be_read_is_said_and_the_rest_is_told(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    api.answers |= {QUEUES: 403, "/api/v1/nodes": 403}
    code, answer = asked(api, capsys)
    # Who may not see the nodes' labels is not told that there are none.
    assert (code, [cause["check"] for cause in answer["causes"]]) == (0, ["gang", "binder"])
    assert answer["not_read"] == ["nodes: 403 refused", "queues: 403 refused", "nodes: 403 refused"]


def test_a_pod_for_whose_waiting_there_is_no_reason_ends_with_1(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    condition = {"type": "PodScheduled", "status": "Unknown"}
    api.answers |= {
        POD: {**pod(), "status": {"conditions": [condition]}},
        BIND_REQUEST: 404,
        NAMESPACED: {"metadata": {}, "spec": {"queue": "team"}, "status": {}},
    }
    code, answer = asked(api, capsys)
    assert (code, answer["ok"], answer["causes"]) == (1, False, [])
    cli.main(["doctor", "--pending", "team/job-1", "--kubeconfig", api.kubeconfig])
    assert "No cause was found" in capsys.readouterr().out


def test_a_cluster_without_kai_is_said_to_be_one(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    node = {"metadata": {"name": "n", "labels": {"kai.scheduler/node-pool": "a100"}}}
    api.answers = {POD: pod(), "/api/v1/nodes": listed(node), "/api/v1/pods": listed()}
    _, answer = asked(api, capsys)
    assert [cause["check"] for cause in answer["causes"]] == ["KAI", "node pool"]


def test_a_pod_of_another_scheduler_needs_nothing_of_kai(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/5 nodes are available"}
    one = {**pod(schedulerName="default-scheduler"), "status": {"conditions": [condition]}}
    api.answers |= {POD: one}
    _, answer = asked(api, capsys)
    assert [cause["check"] for cause in answer["causes"]] == ["unschedulable"]
    assert set(api.queries) == {POD, CONFIG, "/api/v1/nodes", "/api/v1/pods"}


REFUSED = [
    (404, "there is no pod team/job-1 on http://127.0.0.1:"),
    (403, "may not be read: pod: 403 refused"),
    (401, "does not accept the credentials of the kubeconfig"),
]


@pytest.mark.parametrize(("status", "why"), REFUSED)
def test_a_pod_that_cannot_be_read_ends_with_2(
    api: Api, capsys: pytest.CaptureFixture[str], status: int, why: str
) -> None:
    api.answers |= {POD: status}
    code, error = asked(api, capsys)
    assert (code, why in error) == (2, True), error


def test_nobody_answers(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    written(Path(api.kubeconfig), "http://127.0.0.1:1")
    code, error = asked(api, capsys)
    assert code == 2
    assert "the API server http://127.0.0.1:1 does not answer" in error


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--pending", "job-1"], "a pod is given as NAMESPACE/POD"),
        (["--pending", "a/b/c"], "a pod is given as NAMESPACE/POD"),
        (["--pending", "/b"], "a pod is given as NAMESPACE/POD"),
        (["--pending", "a/b", "--suite", "nightly"], "give one of them"),
        (["--context", "x"], "--kubeconfig and --context belong to --pending"),
        (["--pending", "a/b", "--kubeconfig", "/no/such/file"], "the kubeconfig /no/such/file cannot be used"),
    ],
)
def test_a_wrong_question_ends_with_2(capsys: pytest.CaptureFixture[str], arguments: list[str], why: str) -> None:
    assert cli.main(["doctor", *arguments]) == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("text", ["clusters: [", "just text", "{}"])
def test_a_kubeconfig_that_is_none_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    (tmp_path / "config").write_text(text)
    assert cli.main(["doctor", "--pending", "a/b", "--kubeconfig", str(tmp_path / "config")]) == 2
    assert "cannot be used" in capsys.readouterr().err
