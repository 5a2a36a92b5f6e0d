# SPDX-License-Identifier: GPL-3.0-or-later
"""The audit log as a witness: what is read, what is counted, and what a rotation must not lose."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.audit import AuditFindings, AuditReader, Window, stamp, take


def event(verb: str, resource: str, name: str, **changes: Any) -> dict[str, Any]:
    resource, _, subresource = resource.partition("/")
    reference = {"resource": resource, "namespace": "load", "name": name}
    made = {
        "stage": "ResponseComplete",
        "verb": verb,
        "userAgent": "kube-scheduler/v1.36.3 (linux/amd64)",
        "objectRef": reference | ({"subresource": subresource} if subresource else {}),
        "responseStatus": {"code": 201},
        "stageTimestamp": "2026-01-01T00:00:01.500000Z",
    }
    return made | changes


BINDING = event("create", "pods/binding", "a")


def test_the_first_patch_of_kwok_stamps_running_and_nobody_elses() -> None:
    findings = AuditFindings()
    kwok = {"userAgent": "kwok-controller/v0.8.0 (linux/amd64)", "responseStatus": {"code": 200}}
    for item in (
        event("patch", "pods/status", "a"),
        event("patch", "pods/status", "a") | kwok | {"stageTimestamp": "2026-01-01T00:00:02.000000Z"},
        event("patch", "pods/status", "a") | kwok | {"stageTimestamp": "2026-01-01T00:00:03.000000Z"},
        event("patch", "pods/status", "b") | kwok | {"responseStatus": {"code": 404}},
    ):
        take(findings, item)
    assert findings.running == {"a": stamp("2026-01-01T00:00:02Z")}


def test_the_first_patch_of_a_pod_by_who_is_asked_for_is_kept() -> None:
    findings = AuditFindings(patched={"podgrouper": {}})
    grouper = {"userAgent": "podgrouper/v0.0.0 (linux/amd64)"}
    for item in (
        event("patch", "pods", "a"),
        event("patch", "pods", "a") | grouper | {"responseStatus": {"code": 409}},
        event("patch", "pods", "a") | grouper | {"stageTimestamp": "2026-01-01T00:00:02.000000Z"},
        event("patch", "pods", "a") | grouper | {"stageTimestamp": "2026-01-01T00:00:03.000000Z"},
        event("patch", "podgroups", "a") | grouper,
    ):
        take(findings, item)
    assert findings.patched == {"podgrouper": {"a": stamp("2026-01-01T00:00:02Z")}}


def line(item: dict[str, Any]) -> str:
    return json.dumps(item, separators=(",", ":")) + "\n"


def test_a_stamp_keeps_its_microseconds() -> None:
    assert stamp("2026-01-01T00:00:01.000001Z") - stamp("2026-01-01T00:00:01.000000Z") == pytest.approx(1e-6, abs=5e-7)


@pytest.mark.parametrize(
    ("item", "created", "bound", "requests"),
    [
        (BINDING, {}, {"a"}, {"create pods/binding": 1}),
        (event("create", "pods", "a"), {"a"}, {}, {"create pods": 1}),
        (event("patch", "pods/status", "a"), {}, {}, {"patch pods/status": 1}),
        (BINDING | {"responseStatus": {"code": 409}}, {}, {}, {"create pods/binding": 1}),
        (BINDING | {"stage": "RequestReceived"}, {}, {}, {}),
    ],
    ids=["bound", "created", "another request", "a refused binding stamps nothing", "another stage"],
)
def test_an_event_stamps_what_it_did_and_counts_as_a_request(
    item: dict[str, Any], created: set[str], bound: set[str], requests: dict[str, int]
) -> None:
    findings = AuditFindings()
    take(findings, item)
    assert (set(findings.created), set(findings.bound)) == (set(created), set(bound))
    assert findings.requests == ({"kube-scheduler": Counter(requests)} if requests else {})


def test_only_what_is_written_after_the_opening_and_of_the_namespace_counts(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.write_text(line(event("create", "pods/binding", "before")))
    other = event("create", "pods/binding", "theirs")
    other["objectRef"]["namespace"] = "elsewhere"
    with contextlib.closing(AuditReader(log)) as reader:
        with log.open("a") as stream:
            stream.write(line(event("create", "pods/binding", "ours")) + line(other) + '{"torn":')
        assert set(reader.read("load").bound) == {"ours"}


def test_a_rotation_loses_nothing(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    log.touch()
    with contextlib.closing(AuditReader(log)) as reader:
        with log.open("a") as stream:
            stream.write(line(event("create", "pods/binding", "before")))
        log.rename(tmp_path / "audit-2026-01-01T00-00-00.000.log")
        log.write_text(line(event("create", "pods/binding", "after")))
        assert set(reader.read("load").bound) == {"before", "after"}


def test_creations_of_other_objects_are_stamped_when_they_are_asked_for() -> None:
    findings = AuditFindings(others={"podgroups": {}})
    refused = event("create", "podgroups", "late") | {"responseStatus": {"code": 409}}
    for item in (event("create", "podgroups", "pg"), event("create", "podgroups/status", "no"), refused,
                 event("create", "bindrequests", "b"), event("update", "podgroups", "pg2")):  # fmt: skip
        take(findings, item)
    assert findings.others == {"podgroups": {"pg": stamp("2026-01-01T00:00:01.500000Z")}}
    assert sum(findings.requests["kube-scheduler"].values()) == 5


def test_requests_are_counted_from_a_moment_to_the_last_binding_of_the_pods_asked_for() -> None:
    def at(second: int, verb: str, what: str, name: str) -> dict[str, Any]:
        return event(verb, what, name) | {"stageTimestamp": f"2026-01-01T00:00:0{second}Z"}

    window = Window(stamp("2026-01-01T00:00:03Z"), {"a", "b", "before"})
    findings = AuditFindings()
    for item in (at(1, "patch", "pods", "a"), at(2, "create", "pods/binding", "before"), at(3, "patch", "pods", "a"),
                 at(4, "create", "pods/binding", "a"), at(5, "create", "pods/binding", "theirs"),
                 at(6, "patch", "pods", "b"), at(7, "create", "pods/binding", "b"), at(8, "patch", "pods", "b"),
                 at(9, "create", "pods/binding", "theirs too")):  # fmt: skip
        take(findings, item, window)
    counted = Counter({"patch pods": 2, "create pods/binding": 3})
    assert (findings.in_window, findings.bound_in_window) == ({"kube-scheduler": counted}, 2)
    assert set(findings.bound) == {"before", "a", "theirs", "b", "theirs too"}


@pytest.mark.parametrize(
    ("response", "created"),
    [
        ({"responseObject": {"metadata": {"name": "j-x7k2p"}}}, {"j-x7k2p"}),
        ({}, set()),
        ({"responseObject": None}, set()),
    ],
    ids=["the response is logged", "it is not", "it is empty"],
)
def test_a_name_that_the_server_gave_is_read_from_its_response(response: dict[str, Any], created: set[str]) -> None:
    findings = AuditFindings()
    take(findings, event("create", "pods", "") | response)
    assert set(findings.created) == created
    assert findings.requests == {"kube-scheduler": Counter({"create pods": 1})}
