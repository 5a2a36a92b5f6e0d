# SPDX-License-Identifier: GPL-3.0-or-later
"""What running components say of themselves after a failure: metrics, profiles, and the scheduler's snapshot."""

from __future__ import annotations

import http.client
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import bundle_redact, redact
from .errors import NightbenchError

METRICS_BYTES = 4 * 2**20
PROFILE_BYTES = 8 * 2**20
SNAPSHOT_BYTES = 64 * 2**20
ANSWER_SECONDS = 10.0
_CHUNK = 2**16
_GZIP = b"\x1f\x8b"
_FAILURES = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True)
class Component:
    """Where one component answers, and with which certificates. pprof_url: the folder of its profiles, /debug/pprof."""

    name: str
    metrics_url: str | None = None
    pprof_url: str | None = None
    snapshot_url: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    ca_cert: str | None = None


@dataclass(frozen=True)
class Question:
    """One address of a component and what becomes of its answer."""

    file: str
    url: str
    limit: int
    kept: Callable[[bytes, bool], bytes]
    seconds: float = ANSWER_SECONDS


def from_session(components: Mapping[str, Any], scrapes: Sequence[Mapping[str, Any]] = ()) -> list[Component]:
    """Those that answer somewhere. What a component lacks of certificates, Prometheus's scrape of the same URL has."""
    found = []
    by_url = {str(scrape.get("url")): scrape for scrape in scrapes}
    for name, given in components.items():
        if not isinstance(given, Mapping):
            continue
        certificates = {**by_url.get(str(given.get("metrics_url")), {}), **{k: v for k, v in given.items() if v}}
        fields = {key: certificates.get(key) or None for key in Component.__dataclass_fields__ if key != "name"}
        if fields["metrics_url"] or fields["snapshot_url"] or fields["pprof_url"]:
            found.append(Component(name=str(name), **fields))
    return found


def ask(components: Iterable[Component], *, profile_seconds: int, timeout_seconds: float) -> dict[str, bytes]:
    """Answers by file name, and for each component a file of notes on what gave none; never raises.

    All components are asked at once, and who has not answered in time is left.
    """
    answers: dict[str, bytes] = {}
    notes: dict[str, list[str]] = {}
    lock = threading.Lock()
    deadline = time.monotonic() + timeout_seconds

    def work(component: Component, asked: list[Question]) -> None:
        while asked:
            question = asked[0]
            kept, note = _answer(component, question, deadline)
            with lock:
                asked.pop(0)
                if kept is not None:
                    answers[f"{component.name}/{question.file}"] = kept
                if note:
                    notes.setdefault(component.name, []).append(f"{question.url}: {note}")

    pending = {one: questions(one, profile_seconds) for one in components}
    threads = [threading.Thread(target=work, args=each, daemon=True) for each in pending.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    with lock:
        for component, left in pending.items():
            late = [f"{one.url}: no answer within the {timeout_seconds:g} s for all of them" for one in left]
            if late:
                notes.setdefault(component.name, []).extend(late)
        told = {f"{name}/notes.txt": redact.text("\n".join(lines) + "\n").encode() for name, lines in notes.items()}
        return {**answers, **told}


def questions(component: Component, profile_seconds: int) -> list[Question]:
    """The quick ones first."""
    asked = []
    if component.metrics_url:
        asked.append(Question("metrics.txt", component.metrics_url, METRICS_BYTES, _metrics))
    if component.pprof_url:
        asked.append(Question("heap.pprof", f"{component.pprof_url}/heap", PROFILE_BYTES, _profile))
    if component.snapshot_url:
        asked.append(Question("snapshot.zip", component.snapshot_url, SNAPSHOT_BYTES, _snapshot))
    if component.pprof_url and profile_seconds:
        url = f"{component.pprof_url}/profile?seconds={profile_seconds}"
        asked.append(Question("profile.pprof", url, PROFILE_BYTES, _profile, ANSWER_SECONDS + profile_seconds))
    return asked


def _answer(component: Component, question: Question, deadline: float) -> tuple[bytes | None, str]:
    """What is kept of an answer, and what has to be said about it."""
    try:
        status, data, whole = _get(component, question, deadline)
        if status in (401, 403, 404, 405, 501):
            return None, f"not offered: it answered {status}"
        if status != 200:
            return None, f"it answered {status} {data[:200].decode(errors='replace').strip()}".rstrip()
        return question.kept(data, whole), "" if whole else f"cut off after {question.limit} bytes"
    except NightbenchError as error:
        return None, f"not kept: {error}"
    except _FAILURES as error:
        return None, f"no answer: {str(error) or type(error).__name__}"


def _get(component: Component, question: Question, deadline: float) -> tuple[int, bytes, bool]:
    """Status, body up to the limit, and whether that is all of it."""
    end = min(deadline, time.monotonic() + question.seconds)
    url = urllib.parse.urlsplit(question.url)
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError("it is not a http or https URL")
    left = max(0.1, end - time.monotonic())
    connection: http.client.HTTPConnection
    if url.scheme == "https":
        connection = http.client.HTTPSConnection(url.hostname, url.port, timeout=left, context=_tls(component))
    else:
        connection = http.client.HTTPConnection(url.hostname, url.port, timeout=left)
    try:
        connection.request("GET", (url.path or "/") + (f"?{url.query}" if url.query else ""))
        answer = connection.getresponse()
        data = bytearray()
        while len(data) <= question.limit:
            if time.monotonic() > end:
                raise TimeoutError(f"{len(data)} bytes had come when its time was over")
            part = answer.read(_CHUNK)
            if not part:
                return answer.status, bytes(data), True
            data += part
        return answer.status, bytes(data[: question.limit]), False
    finally:
        connection.close()


def _tls(component: Component) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=component.ca_cert)
    if component.client_cert:
        context.load_cert_chain(component.client_cert, component.client_key)
    return context


def _metrics(data: bytes, whole: bool) -> bytes:
    """Whole lines."""
    return redact.text((data if whole else data.rpartition(b"\n")[0] + b"\n").decode(errors="replace")).encode()


def _profile(data: bytes, whole: bool) -> bytes:
    if not whole:
        raise NightbenchError("the profile is too big")
    if not data.startswith(_GZIP):
        raise NightbenchError("the answer is no profile")
    return data


def _snapshot(data: bytes, whole: bool) -> bytes:
    if not whole:
        raise NightbenchError("the snapshot is too big")
    return bundle_redact.archive(data)
