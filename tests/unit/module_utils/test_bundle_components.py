# SPDX-License-Identifier: GPL-3.0-or-later
"""Of components the bundle keeps what they give in time, and a note on what they do not."""

from __future__ import annotations

import gzip
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.nightbench import bundle_components, bundle_redact
from ansible.module_utils.nightbench.bundle_components import Component
from ansible.module_utils.nightbench.errors import NightbenchError

from tests.fakes.serving import QuietHandler, serving

METRICS = b'# HELP x\nx{a="b"} 1\nlogin token=abc\n'
PROFILE = gzip.compress(b"profile")


def zipped(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


POD = {"env": [{"name": "DB_PASSWORD", "value": "abc"}, {"name": "SIZE", "value": "3"}]}
SNAPSHOT = zipped(snapshot=json.dumps({"pods": [POD]}).encode())
ANSWERS: dict[str, Any] = {
    "/metrics": (200, METRICS),
    "/debug/pprof/heap": (200, PROFILE),
    "/debug/pprof/profile?seconds=1": (200, PROFILE),
    "/get-snapshot": (200, SNAPSHOT),
}


class Server:
    """Answers by path: (status, body), or an event that is waited for and never comes."""

    def __init__(self) -> None:
        self.url = ""
        self.answers = dict(ANSWERS)
        self.over = threading.Event()

    def component(self, name: str = "scheduler", **more: Any) -> Component:
        urls = {"metrics_url": f"{self.url}/metrics", "snapshot_url": f"{self.url}/get-snapshot"}
        urls["pprof_url"] = f"{self.url}/debug/pprof"
        return Component(name, **{**urls, **more})


class Handler(QuietHandler):
    owner: Server

    def do_GET(self) -> None:
        found = self.owner.answers.get(self.path, (404, b"404 page not found"))
        if found == "never":
            self.owner.over.wait(10)
        elif found[1] == "drip":
            self.send_response(found[0])
            self.end_headers()
            while not self.owner.over.wait(0.02):
                self.wfile.write(b"x")
        else:
            self.answer(*found)


@pytest.fixture
def server() -> Iterator[Server]:
    started = Server()
    with serving(Handler, owner=started) as listening:
        started.url = listening.url
        yield started
        started.over.set()


def ask(*components: Component, seconds: float = 20) -> dict[str, bytes]:
    return bundle_components.ask(components, profile_seconds=1, timeout_seconds=seconds)


def notes(found: dict[str, bytes], name: str = "scheduler") -> list[str]:
    return found[f"{name}/notes.txt"].decode().splitlines()


def test_metrics_profiles_and_the_snapshot_are_kept_without_secrets(server: Server) -> None:
    found = ask(server.component(), server.component("binder", snapshot_url=None))
    snapshot = zipfile.ZipFile(io.BytesIO(found.pop("scheduler/snapshot.zip")))
    hidden = {"env": [{"name": "DB_PASSWORD", "value": "********"}, {"name": "SIZE", "value": "3"}]}
    assert json.loads(snapshot.read("snapshot")) == {"pods": [hidden]}
    kept = b'# HELP x\nx{a="b"} 1\nlogin token=********\n'
    assert found == {
        f"{name}/{file}": data
        for name in ("scheduler", "binder")
        for file, data in (("metrics.txt", kept), ("heap.pprof", PROFILE), ("profile.pprof", PROFILE))
    }


def test_profiles_may_lie_elsewhere(server: Server) -> None:
    server.answers = {"/p/heap": (200, PROFILE)}
    found = ask(Component("x", pprof_url=f"{server.url}/p"))
    assert found["x/heap.pprof"] == PROFILE
    assert notes(found, "x") == [f"{server.url}/p/profile?seconds=1: not offered: it answered 404"]


def test_who_says_nowhere_of_profiles_is_not_asked_for_any(server: Server) -> None:
    assert sorted(ask(server.component(pprof_url=None))) == ["scheduler/metrics.txt", "scheduler/snapshot.zip"]


def test_without_seconds_nobody_is_profiled(server: Server) -> None:
    found = bundle_components.ask([server.component()], profile_seconds=0, timeout_seconds=20)
    assert sorted(found) == ["scheduler/heap.pprof", "scheduler/metrics.txt", "scheduler/snapshot.zip"]


NOTES: dict[str, tuple[str, Any, str]] = {
    "no such page": ("/debug/pprof/heap", (404, b""), "not offered: it answered 404"),
    "refused": ("/metrics", (403, b"x"), "not offered: it answered 403"),
    "broken": ("/metrics", (500, b"out of order\n"), "it answered 500 out of order"),
    "no profile": ("/debug/pprof/heap", (200, b"<html>"), "not kept: the answer is no profile"),
    "no zip": ("/get-snapshot", (200, b"text"), "not kept: it is no zip that can be read: File is not a zip file"),
}


@pytest.mark.parametrize("case", NOTES)
def test_what_is_not_given_leaves_a_note_and_the_rest_is_kept(server: Server, case: str) -> None:
    path, answer, note = NOTES[case]
    server.answers[path] = answer
    found = ask(server.component())
    assert notes(found) == [f"{server.url}{path}: {note}"]
    assert len(found) == len(ANSWERS)


def test_nobody_there_leaves_a_note_for_each_question() -> None:
    refused = "no answer: [Errno 111] Connection refused"
    base = "http://127.0.0.1:9"
    found = ask(Component("gone", metrics_url=f"{base}/metrics", pprof_url=f"{base}/debug/pprof"))
    assert notes(found, "gone") == [
        f"{base}/metrics: {refused}",
        f"{base}/debug/pprof/heap: {refused}",
        f"{base}/debug/pprof/profile?seconds=1: {refused}",
    ]


@pytest.mark.parametrize("url", ["file:///etc/hostname", "no url", "http:///x"])
def test_what_is_no_address_is_noted(url: str) -> None:
    assert notes(ask(Component("x", snapshot_url=url)), "x") == [f"{url}: no answer: it is not a http or https URL"]


def test_a_certificate_that_cannot_be_read_is_noted() -> None:
    one = Component("x", snapshot_url="https://127.0.0.1:9/", ca_cert="/no/such/file")
    assert notes(ask(one), "x") == ["https://127.0.0.1:9/: no answer: [Errno 2] No such file or directory"]


@pytest.mark.parametrize("answer", ["never", (200, "drip")], ids=["silent", "endless"])
def test_who_does_not_answer_in_time_does_not_hold_up_the_others(server: Server, answer: Any) -> None:
    server.answers["/get-snapshot"] = answer
    started = time.monotonic()
    found = ask(server.component(), server.component("binder", snapshot_url=None), seconds=1.5)
    assert time.monotonic() - started < 10
    assert {"scheduler/metrics.txt", "binder/profile.pprof"} <= set(found)
    assert "scheduler/snapshot.zip" not in found
    assert f"{server.url}/debug/pprof/profile?seconds=1: no answer" in found["scheduler/notes.txt"].decode()


def test_what_is_too_big_is_cut_or_left_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("METRICS_BYTES", 22), ("PROFILE_BYTES", 5), ("SNAPSHOT_BYTES", 5)):
        monkeypatch.setattr(bundle_components, name, limit)
    found = ask(server.component())
    assert found.pop("scheduler/metrics.txt") == b'# HELP x\nx{a="b"} 1\n'
    assert notes(found) == [
        f"{server.url}/metrics: cut off after 22 bytes",
        f"{server.url}/debug/pprof/heap: not kept: the profile is too big",
        f"{server.url}/get-snapshot: not kept: the snapshot is too big",
        f"{server.url}/debug/pprof/profile?seconds=1: not kept: the profile is too big",
    ]


def test_a_zip_that_unpacks_to_too_much_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_redact, "UNPACKED_BYTES", 3)
    with pytest.raises(NightbenchError, match="it is 4 bytes unpacked, more than 3"):
        bundle_redact.archive(zipped(a=b"1234"))


def test_of_a_session_those_count_that_answer_somewhere() -> None:
    url, certificates = "https://127.0.0.1:1/metrics", {"client_cert": "c", "client_key": "k", "ca_cert": "a"}
    components = {
        "etcd": {"metrics_url": url, "pid": 1, "log": "x"},
        "scheduler": {"metrics_url": None, "snapshot_url": "http://x/get-snapshot", "ca_cert": "own"},
        "silent": {"pid": 2},
        "broken": "text",
    }
    assert bundle_components.from_session(components, [{"name": "etcd", "url": url, **certificates}, {}]) == [
        Component("etcd", metrics_url=url, **certificates),
        Component("scheduler", snapshot_url="http://x/get-snapshot", ca_cert="own"),
    ]


SECRETS: list[tuple[Any, Any]] = [
    ({"kind": "Secret", "data": {"a": "b"}, "stringData": {"c": "d"}, "type": "x"}, {"kind": "Secret", "type": "x"}),
    ({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"}}},
     {"metadata": {"annotations": {"a": "b"}}}),
    ({"apiToken": "abc", "password": "x", "clientSecret": "y"},
     {"apiToken": "********", "password": "********", "clientSecret": "********"}),
    ({"secretName": "kept", "automountServiceAccountToken": False, "tokenSeconds": 3},
     {"secretName": "kept", "automountServiceAccountToken": False, "tokenSeconds": 3}),
    ({"tolerations": [{"key": "kwok.x-k8s.io/node", "value": "fake"}]},
     {"tolerations": [{"key": "kwok.x-k8s.io/node", "value": "fake"}]}),
    ({"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}},
     {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "x", "key": "y"}}}),
    ({"args": ["--token=abc", "--qps=20"]}, {"args": ["--token=********", "--qps=20"]}),
    ([1, None, "https://me:abc@host/"], [1, None, "https://********@host/"]),
]  # fmt: skip


@pytest.mark.parametrize(("given", "kept"), SECRETS)
def test_an_object_loses_its_secrets_and_nothing_else(given: Any, kept: Any) -> None:
    assert bundle_redact.document(given) == kept
    assert json.loads(bundle_redact.text(json.dumps(given).encode())) == kept


def test_what_is_no_json_is_text() -> None:
    assert bundle_redact.text(b"password: abc\n") == b"password: ********\n"


def test_a_damaged_zip_is_not_kept() -> None:
    damaged = bytearray(zipped(a=b"1234"))
    damaged[35] ^= 0xFF
    with pytest.raises(NightbenchError, match="it is no zip that can be read"):
        bundle_redact.archive(bytes(damaged))
