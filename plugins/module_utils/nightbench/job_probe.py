# SPDX-License-Identifier: GPL-3.0-or-later
"""Packets within jobs and from outside of them, from one process, in one file without anything beside the standard
library.

It holds a socket in the network namespace of every pod that it is told of. Every few milliseconds each pod of a job
sends one packet to the next pod of its job (flow `job`), and a pod outside of all jobs sends one to each (flow
`stranger`). What was sent when, and which of it arrived, goes into a file; nobody answers a packet, so no flow becomes
an established one.

    job_probe.py --interval 0.02 --port P --seconds N --out FILE   with lines of JSON on standard input:
        {"do": "stranger", "address": A, "namespace": PATH}
        {"do": "add", "job": J, "pod": I, "of": PODS_OF_THE_JOB, "address": A, "namespace": PATH}
        {"do": "drop", "job": J}
        {"do": "end"}
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import gc
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

#: Magic, number of the flow, number of the packet.
PACKET = struct.Struct("!4sII")
MAGIC = b"nbjp"
JOB, STRANGER = "job", "stranger"
CLONE_NEWNET = 0x40000000
BUFFER_BYTES = 2**20


class Flow:
    """One direction into one pod: moments at which packets were sent, and which of them arrived."""

    def __init__(self, kind: str, job: int, pod: int) -> None:
        self.kind, self.job, self.pod = kind, job, pod
        self.sent: list[int] = []
        self.arrived: list[int] = []

    def document(self) -> dict[str, Any]:
        return {"kind": self.kind, "job": self.job, "pod": self.pod, "sent": self.sent, "arrived": self.arrived}


class Probe:
    def __init__(self, interval: float, port: int, seconds: float) -> None:
        self.interval, self.port = int(interval * 1e9), port
        self.ends = time.monotonic() + seconds
        self.asked_to_end = False
        self.flows: list[Flow] = []
        self.errors: Counter[str] = Counter()
        self.opened: list[dict[str, Any]] = []
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._own = os.open("/proc/self/ns/net", os.O_RDONLY)
        self._epoll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        self._stranger: socket.socket | None = None
        self._jobs: dict[int, dict[int, tuple[socket.socket, str]]] = {}
        self._sizes: dict[int, int] = {}
        self._sending: dict[tuple[int, int], list[tuple[socket.socket, Flow, int]]] = {}

    def run(self, commands: int) -> None:
        os.set_blocking(commands, False)
        self._epoll.register(commands, select.EPOLLIN | select.EPOLLHUP)
        unread, due = b"", time.monotonic_ns()
        while not self.asked_to_end and time.monotonic() < self.ends:
            late = time.monotonic_ns() - due
            if late >= 0:
                self._send()
                # Whole intervals: a late one is not followed by a hurried one.
                due += self.interval * max(1, -(-late // self.interval))
            for number, _ in self._epoll.poll(max(0, due - time.monotonic_ns()) / 1e9):
                if number != commands:
                    self._read(self._sockets[number])
                    continue
                more = os.read(commands, 65536)
                if not more:
                    self.asked_to_end = True
                *lines, unread = (unread + more).split(b"\n")
                for line in lines:
                    self._obey(json.loads(line))

    def _obey(self, told: dict[str, Any]) -> None:
        if told["do"] == "end":
            self.asked_to_end = True
        elif told["do"] == "stranger":
            self._stranger = self._open(told["namespace"], told["address"], 0)
        elif told["do"] == "drop":
            self._drop(told["job"])
        elif told["do"] == "add":
            self._add(told)

    def _add(self, told: dict[str, Any]) -> None:
        job, pod, address = told["job"], told["pod"], told["address"]
        there = self._jobs.setdefault(job, {})
        self._sizes[job] = told["of"]
        try:
            sock = self._open(told["namespace"], address, self.port)
        except OSError as error:
            self.errors[f"open: {errno.errorcode.get(error.errno or 0, 'unknown')}"] += 1
            return
        there[pod] = (sock, address)
        self.opened.append({"job": job, "pod": pod, "at": time.monotonic_ns()})
        if self._stranger is not None:
            self._begin(self._stranger, Flow(STRANGER, job, pod))
        before, after = (pod - 1) % told["of"], (pod + 1) % told["of"]
        if before in there and before != pod:
            self._begin(there[before][0], Flow(JOB, job, pod))
        if after in there and after != pod:
            self._begin(sock, Flow(JOB, job, after))

    def _begin(self, sock: socket.socket, flow: Flow) -> None:
        self.flows.append(flow)
        self._sending.setdefault((flow.job, flow.pod), []).append((sock, flow, len(self.flows) - 1))

    def _drop(self, job: int) -> None:
        there = self._jobs.pop(job, {})
        for pod, (sock, _) in there.items():
            self._read(sock)
            self._sending.pop((job, pod), None)
            self._epoll.unregister(sock.fileno())
            del self._sockets[sock.fileno()]
            sock.close()

    def _send(self) -> None:
        for (job, pod), flows in self._sending.items():
            target = (self._jobs[job][pod][1], self.port)
            for sock, flow, number in flows:
                data = PACKET.pack(MAGIC, number, len(flow.sent))
                flow.sent.append(time.monotonic_ns())
                try:
                    sock.sendto(data, target)
                except OSError as error:  # a policy on the way out refuses it like this
                    self.errors[f"send: {errno.errorcode.get(error.errno or 0, 'unknown')}"] += 1

    def _read(self, sock: socket.socket) -> None:
        while True:
            try:
                data = sock.recv(64)
            except BlockingIOError:
                return
            except OSError as error:  # ICMP errors of what this socket has sent come back here
                self.errors[f"receive: {errno.errorcode.get(error.errno or 0, 'unknown')}"] += 1
                continue
            if len(data) != PACKET.size or not data.startswith(MAGIC):
                self.errors["a packet that is not ours"] += 1
                continue
            _, flow, number = PACKET.unpack(data)
            self.flows[flow].arrived.append(number)

    def _open(self, namespace: str, address: str, port: int) -> socket.socket:
        """A socket stays in the namespace in which it was made; this thread comes back."""
        there = os.open(namespace, os.O_RDONLY)
        try:
            self._enter(there)
            try:
                sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
            finally:
                self._enter(self._own)
        finally:
            os.close(there)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        try:
            sock.bind((address, port))
        except OSError:
            sock.close()
            raise
        self._sockets[sock.fileno()] = sock
        self._epoll.register(sock.fileno(), select.EPOLLIN)
        return sock

    def _enter(self, namespace: int) -> None:
        if self._libc.setns(namespace, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))


def scheduling() -> str:
    """Ahead of everybody where we may: a probe that waits for a busy machine sees less."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return "other"
    return "fifo"


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--interval", type=float, default=0.02)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    gc.disable()  # nothing here makes cycles, and a collection is a gap
    probe = Probe(args.interval, args.port, args.seconds)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: setattr(probe, "asked_to_end", True))
    header = {"scheduling": scheduling(), "started": time.monotonic_ns()}
    used = time.process_time()
    print("ready", flush=True)
    probe.run(sys.stdin.fileno())
    found = header | {
        "ended": time.monotonic_ns(),
        "cpu_seconds": time.process_time() - used,
        "opened": probe.opened,
        "errors": dict(probe.errors),
        "flows": [flow.document() for flow in probe.flows],
    }
    partial = args.out.with_name(args.out.name + ".partial")
    partial.write_text(json.dumps(found))
    partial.replace(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
