# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of many objects, rules in words, missing clusters; the rest is tested on a real API server."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.access import Rule
from ansible.module_utils.nightbench.cluster_missing import cluster_missing
from ansible.module_utils.nightbench.errors import (
    ConfigurationError,
    Forbidden,
    KubeError,
    NightbenchError,
    Unreachable,
)
from ansible.module_utils.nightbench.kube import Call, Response
from ansible.module_utils.nightbench.manifest import Manifest
from ansible.module_utils.nightbench.objects_access import send
from ansible.module_utils.nightbench.objects_report import Options, Report


def pod(name: str) -> Manifest:
    return Manifest({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "load"}})


def refused(name: str, why: str = "quota") -> KubeError:
    return Forbidden(f"PATCH /api/v1/namespaces/load/pods/{name} on x: 403 Forbidden: {why}", status=403)


def test_an_empty_report() -> None:
    assert Report().as_json() == {
        "changed": False,
        "counts": {"created": 0, "updated": 0, "unchanged": 0, "deleted": 0, "failed": 0, "not_sent": 0},
        "failures": [],
        "retries": {},
    }
    assert Report().diff() == []


@pytest.mark.parametrize(
    ("outcome", "changed"), [("created", True), ("updated", True), ("deleted", True), ("unchanged", False)]
)
def test_what_counts_as_changed(outcome: str, changed: bool) -> None:
    report = Report()
    report.add(outcome, pod("a"))
    assert (report.changed, len(report.changes)) == (changed, int(changed))


def test_a_failure_is_no_change() -> None:
    report = Report()
    report.fail(pod("a"), refused("a"))
    assert (report.changed, report.failures) == (
        False,
        [{"object": "Pod load/a", "status": 403, "reason": str(refused("a"))}],
    )


def test_failures_that_differ_in_their_names_only_are_told_once() -> None:
    report = Report()
    for name in ("a-1", "a-2", "a-3"):
        report.fail(pod(name), refused(name))
    report.fail(pod("b"), refused("b", "policy"))
    report.add("created", pod("c"))
    assert report.told("present") == (
        f"state=present: 4 of 5 objects failed. Pod load/a-1 and 2 more: {refused('a-1')}; "
        f"Pod load/b: {refused('b', 'policy')}"
    )


def test_more_than_three_reasons_are_counted_and_what_was_not_tried_is_told() -> None:
    report = Report(not_sent=7)
    for number in range(5):
        report.fail(pod(f"p{number}"), NightbenchError(f"reason {'abcde'[number]}"))
    told = report.told("absent")
    assert told.startswith("state=absent: 5 of 12 objects failed. ")
    assert told.endswith("; and 2 other reasons; 7 were not tried any more")
    assert report.failures[0]["status"] is None


NO_ANSWER = Unreachable("no answer")
BAD_CERTIFICATE = Unreachable("certificate")
BAD_CERTIFICATE.__cause__ = ssl.SSLCertVerificationError()


@pytest.mark.parametrize(
    ("error", "params", "missing"),
    [
        (NO_ANSWER, {}, True),
        (BAD_CERTIFICATE, {}, False),
        (refused("a"), {}, False),
        (ConfigurationError("x"), {"kubeconfig": "/no/such/file"}, True),
        (ConfigurationError("x"), {"kubeconfig": None}, True),
        (ConfigurationError("x"), {"kubeconfig": __file__}, False),
        (ConfigurationError("x"), {"host": "ftp://x"}, False),
    ],
)
def test_when_a_cluster_counts_as_missing(error: NightbenchError, params: dict[str, Any], missing: bool) -> None:
    assert cluster_missing(error, params) is missing


def test_the_home_folder_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "config").touch()
    assert cluster_missing(ConfigurationError("x"), {"kubeconfig": "~/config"}) is False


@pytest.mark.parametrize(
    ("rule", "text", "attributes"),
    [
        (
            Rule("create", "pods", namespace="load"),
            "create pods in namespace load",
            {"verb": "create", "group": "", "resource": "pods", "subresource": "", "namespace": "load", "name": ""},
        ),
        (
            Rule("patch", "queues/status", "scheduling.run.ai", name="q"),
            "patch queues/status.scheduling.run.ai q",
            {
                "verb": "patch",
                "group": "scheduling.run.ai",
                "resource": "queues",
                "subresource": "status",
                "namespace": "",
                "name": "q",
            },
        ),
    ],
)
def test_rules_in_words_and_as_reviews(rule: Rule, text: str, attributes: dict[str, str]) -> None:
    assert (str(rule), rule.review()["spec"]["resourceAttributes"]) == (text, attributes)


class Answering:
    """A client whose answers come one by one; what is seen after each is kept."""

    def __init__(self, report: Report) -> None:
        self.report, self.seen = report, [report.answered]

    def map(self, calls: list[Call], connections: int, stop: Any, done: Any) -> list[Response | None]:
        for index in range(len(calls)):
            done(index, Response(200, b"{}"))
            self.seen.append(self.report.answered)
        return [Response(200, b"{}") for _ in calls]


def test_answers_are_counted_while_a_wave_is_under_way() -> None:
    report = Report()
    kube: Any = Answering(report)
    send(kube, [Call("PATCH", f"/api/v1/nodes/{number}") for number in range(3)], Options("tests"), report)
    assert (kube.seen, report.handled, report.not_sent) == ([0, 1, 2, 3], 0, 0)
