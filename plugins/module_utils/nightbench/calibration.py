# SPDX-License-Identifier: GPL-3.0-or-later
"""How fast the load generator itself is: the same code against a null server that answers every request at once.

The null server is a stand-in, so what it gives is the subject `calibration` and never anything else. It is a child
process (no shared interpreter lock) on loopback and speaks TLS like an API server, with an anonymous cipher suite
(RFC 4492, ECDH_anon) because there is no certificate to be had and none is needed between two of our own processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from . import load_summary
from .job_load import JobLoad
from .job_plan import JobLoadPlan, Part
from .kube import Kube
from .pod_load import LoadPlan, PodLoad
from .target import Target

_CIPHERS = "AECDH-AES128-SHA:@SECLEVEL=0"
_RESOURCES = {
    "resources": [
        {"name": "pods", "kind": "Pod", "namespaced": True},
        {"name": "jobs", "kind": "Job", "namespaced": True},
    ]
}
#: Objects of a part in one slice; more show nothing more.
SLICE = 1000
_BACKLOG = 64


def ceiling(plan: LoadPlan, seconds: float) -> dict[str, Any]:
    """Creates per second that this generator reaches with the plan's template and connections, within ``seconds``.

    Repeats the plan's creation in slices until the time is used; returns {"ceiling_per_second", "requests", "seconds"}.
    """

    def create(kube: Kube) -> tuple[int, float]:
        load = PodLoad(kube, plan, lambda _: None)
        load.create()
        created = load.tracker.counts["created"]
        return created, created / load_summary.creation_rate(load.timeline, created)

    return _ceiling(create, seconds)


def ceiling_of_parts(plan: JobLoadPlan, seconds: float) -> dict[str, Any]:
    """The same for a load of several parts: its measured ones, as fast as they can be sent."""
    parts = tuple(_unbound(part) for part in plan.measured)
    closed = replace(plan, parts=parts, group=None, decision=None, topology_labels={})

    def create(kube: Kube) -> tuple[int, float]:
        load = JobLoad(kube, closed, lambda _: None)
        load.create()
        states = load.tracker.parts.values()
        first = min(state.started for state in states if state.started is not None)
        last = max(state.sent for state in states if state.sent is not None)
        return sum(1 for job in load.tracker.jobs.values() if job.answered is not None), last - first

    return _ceiling(create, seconds)


def _unbound(part: Part) -> Part:
    """The part without a rate, and without a word on what comes before or after it."""
    return replace(
        part,
        count=min(part.count, SLICE),
        together=True,
        sequential=False,
        rate=None,
        arrivals="constant",
        moments=(),
        delete=None,
    )


def _ceiling(create: Callable[[Kube], tuple[int, float]], seconds: float) -> dict[str, Any]:
    """``create`` sends one slice and returns how many were created in how many seconds."""
    with null_server() as port:
        kube = Kube(_target(port))
        done, used = 0, 0.0
        deadline = time.monotonic() + seconds
        while used == 0.0 or time.monotonic() < deadline:
            created, took = create(kube)
            done += created
            used += took
        kube.close()
    return {"ceiling_per_second": round(done / used, 1), "requests": done, "seconds": round(used, 3)}


@contextlib.contextmanager
def null_server() -> Iterator[int]:
    """A child process that answers every request on a free loopback port; gone when the context is left."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        try:
            _serve(listener, parent)
        finally:
            os._exit(0)
    try:
        port = int(listener.getsockname()[1])
        listener.close()
        yield port
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _target(port: int) -> Target:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    return Target("https", "127.0.0.1", port, "", f"null server 127.0.0.1:{port}", context=context)


def _serve(listener: socket.socket, parent: int) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    listener.settimeout(1.0)
    while os.getppid() == parent:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            continue
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=_answer, args=(connection, context), daemon=True).start()


def _answer(connection: socket.socket, context: ssl.SSLContext) -> None:
    """Answer requests of one connection: discovery to a GET, a pod with a uid to anything else."""
    discovery, pod = _reply(200, _RESOURCES), _reply(201, _pod())
    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as stream:
        pending = b""
        while True:
            head, mark, rest = pending.partition(b"\r\n\r\n")
            if not mark:
                block = stream.recv(65536)
                if not block:
                    return
                pending += block
                continue
            length = _content_length(head)
            while len(rest) < length:
                block = stream.recv(65536)
                if not block:
                    return
                rest += block
            pending = rest[length:]
            stream.sendall(discovery if head.startswith(b"GET") else pod)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        if line[:15].lower() == b"content-length:":
            return int(line[15:])
    return 0


def _pod() -> dict[str, Any]:
    """About as long as an API server's answer to a created pod (1.5 to 2 kB)."""
    metadata = {"name": "calibration", "uid": "00000000-0000-4000-8000-000000000000", "resourceVersion": "1"}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": {"filler": "x" * 1500}}


def _reply(status: int, document: dict[str, Any]) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
