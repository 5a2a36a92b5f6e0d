# SPDX-License-Identifier: GPL-3.0-or-later
"""100,000 watch events: CPU seconds and memory that taking them costs, against the limits of 5 CPU-s and 300 MB.

A child process streams the events of 20,000 pods (five each, as long as a real API server's) over TLS on loopback; the
watch and the tracker of a pod load take them. test_watch_events.py runs it.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import ssl
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "plugins" / "module_utils"))

from nightbench.calibration import _CIPHERS, _target
from nightbench.kube import Kube
from nightbench.tracker import PodTracker
from nightbench.watch import ListWatch

PODS = 20_000
EVENTS_A_POD = 5
LIMIT_CPU_SECONDS = 5.0
LIMIT_BYTES = 300_000_000
#: Makes an event as long as a real one: kube-apiserver 1.36.3 sent 51.1 MB for 20,652 of such pods, mostly this.
FIELDS = 115
POD_LIST = b'{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[]}'


def pod_event(kind: str, index: int, version: int, node: str, phase: str) -> bytes:
    metadata = {
        "name": f"pod-{index:05d}",
        "namespace": "load",
        "uid": f"00000000-0000-4000-8000-{index:012d}",
        "resourceVersion": str(version),
        "managedFields": [{"manager": "nightbench", "fieldsV1": {f"f:field-{n}": {} for n in range(FIELDS)}}],
    }
    resources = {"limits": {"nvidia.com/gpu": "1"}, "requests": {"nvidia.com/gpu": "1"}}
    spec = {"nodeName": node, "containers": [{"name": "main", "image": "pause", "resources": resources}]}
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": metadata, "spec": spec, "status": {"phase": phase}}
    return json.dumps({"type": kind, "object": pod}, separators=(",", ":")).encode() + b"\n"


def stream() -> list[bytes]:
    """The events, as the API server writes them: one chunk for each."""
    lines = []
    for index in range(PODS):
        node = f"node-{index // 8}"
        steps = (("ADDED", "", "Pending"), ("MODIFIED", node, "Pending"), ("MODIFIED", node, "Running"))
        steps += (("MODIFIED", node, "Running"), ("DELETED", node, "Running"))
        lines += [pod_event(kind, index, index * 5 + n + 2, at, phase) for n, (kind, at, phase) in enumerate(steps)]
    return [b"%x\r\n%s\r\n" % (len(line), line) for line in lines]


def serve(listener: socket.socket) -> None:
    """Answer one list, then one watch with all events."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    chunks = stream()
    while True:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as tls:
            head = tls.recv(65536)
            if b"watch=true" not in head:
                tls.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(POD_LIST) + POD_LIST
                )
                continue
            tls.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for chunk in chunks:
                tls.sendall(chunk)
            time.sleep(60)


def main() -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        serve(listener)
    try:
        tracker = PodTracker(f"pod-{index:05d}" for index in range(PODS))
        kube = Kube(_target(int(listener.getsockname()[1])))
        watch = ListWatch(kube, "/api/v1/pods", lambda event: tracker.event(event.type, event.object, event.at))
        before = time.process_time()
        started = time.monotonic()
        thread = watch.start()
        while tracker.counts["deleted"] < PODS:
            time.sleep(0.05)
        used, took = time.process_time() - before, time.monotonic() - started
        watch.stop()
        thread.join()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"watch events: {watch.events}, {watch.bytes / 1e6:.0f} MB in {took:.1f} s")
    print(f"CPU    {used:6.2f} s   of {LIMIT_CPU_SECONDS:.0f} s allowed    ratio {used / LIMIT_CPU_SECONDS:.2f}")
    print(f"memory {memory / 1e6:6.0f} MB of {LIMIT_BYTES / 1e6:.0f} MB allowed  ratio {memory / LIMIT_BYTES:.2f}")
    return 0 if used <= LIMIT_CPU_SECONDS and memory <= LIMIT_BYTES else 1


if __name__ == "__main__":
    sys.exit(main())
