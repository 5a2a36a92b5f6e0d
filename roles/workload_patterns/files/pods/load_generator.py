#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends HTTP requests at the moments of a plan, whatever becomes of the earlier ones, and writes down each of them.

Open loop: a request that is due is sent at once, over a kept connection that is free or over a new one, so no slow
answer holds back what comes after it. Latency counts from the moment a request was due, so a generator that is late
shows in its own numbers. One thread, one epoll, no more than the standard library of Python 3.9: this file travels
into pods.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import mmap
import os
import resource
import select
import signal
import socket
import struct
import sys
import time
from array import array
from typing import Any

from answer import NONE, Answer

#: Connections at a time; a request that finds none is not sent, and counted as such.
CONNECTIONS = 4096
#: Answers are attended to after so many requests in a row: a burst must not make them look late.
IN_A_ROW = 32
EVENTS = 64
READ = 65536
#: Of the file through which whoever started us sees how far we are: sent, over.
PROGRESS = struct.Struct("=QQ")
PROGRESS_SECONDS = 0.2
NICE = -10
COLUMNS = ("delay", "first", "end", "status", "items", "planted", "loaded")


class Connection:
    __slots__ = ("answer", "connected", "events", "fd", "out", "place", "request", "socket")

    def __init__(self, place: Place, made: socket.socket) -> None:
        self.place = place
        self.socket = made
        self.fd = made.fileno()
        self.connected = False
        self.events = select.EPOLLIN | select.EPOLLOUT
        self.request: int | None = None
        self.out = b""
        self.answer = Answer()


class Place:
    """One address of a service with the connections to it that are free."""

    def __init__(self, address: str, port: int) -> None:
        # A name is looked up once, before the load: a resolver must not hold it up.
        self.family, _, _, _, self.address = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        self.idle: list[Connection] = []


class Service:
    def __init__(self, item: dict[str, Any]) -> None:
        self.places = [Place(address, item["port"]) for address in item["addresses"]]
        self.turn = 0
        self.line = item["method"] + " " + item["path"] + " HTTP/1.1\r\nHost: " + item["host"] + "\r\n"
        self.body = item["body"]

    def place(self) -> Place:
        self.turn = (self.turn + 1) % len(self.places)
        return self.places[self.turn]

    def request(self, number: int, wanted: int, out: int) -> bytes:
        line = self.line.replace("{input}", str(wanted)).replace("{output}", str(out)).replace("{number}", str(number))
        if self.body != "input":
            return line.encode() + (b"\r\n" if self.line.startswith("GET") else b"Content-Length: 0\r\n\r\n")
        return line.encode() + b"Content-Length: %d\r\n\r\n" % wanted + b"x" * wanted


class Generator:
    def __init__(self, plan: dict[str, Any], progress: mmap.mmap | None = None) -> None:
        self.plan, self.progress = plan, progress
        self.at = [moment / 1e6 for moment in plan["at"]]
        self.services = [Service(item) for item in plan["services"]]
        self.poll = select.epoll()
        self.connections: dict[int, Connection] = {}
        self.most = room(CONNECTIONS)
        self.columns = {name: array("q", [NONE]) * len(self.at) for name in COLUMNS}
        self.reasons: dict[int, str] = {}
        self.deadlines: collections.deque[tuple[float, Connection, int]] = collections.deque()
        self.zero = 0.0
        self.sent = self.over = self.opened = 0
        self.stopped = False

    def run(self) -> dict[str, Any]:
        """Everything that was asked for, or what was done of it until `stopped`."""
        self.zero = time.monotonic() + self.plan["start"] - time.time()
        gc.collect()
        gc.freeze()
        gc.disable()
        used = time.process_time()
        self._loop()
        ended = time.monotonic() - self.zero
        for connection in list(self.connections.values()):
            connection.socket.close()
        return {
            "columns": {name: column.tolist() for name, column in self.columns.items()},
            "reasons": {str(number): text for number, text in self.reasons.items()},
            "sent": self.sent,
            "stopped": self.stopped,
            "connections": self.opened,
            "ended": ended,
            "cpu_seconds": time.process_time() - used,
        }

    def _loop(self) -> None:
        count, following, waited, told = len(self.at), 0, self.plan["answer_seconds"], 0.0
        clock, at, poll = time.monotonic, self.at, self.poll.poll
        ready = [self.poll.fileno()]
        while (following < count or self.over < following) and not self.stopped:
            now = clock() - self.zero
            row = 0
            while following < count and at[following] <= now and row < IN_A_ROW:
                self._begin(following, now, waited)
                following += 1
                row += 1
                now = clock() - self.zero
            while self.deadlines and (self.deadlines[0][0] <= now or self.deadlines[0][1].request is None):
                moment, connection, number = self.deadlines.popleft()
                if connection.request == number and moment <= now:
                    self._fail(connection, f"no whole answer in {waited:g} s")
            if now - told > PROGRESS_SECONDS and self.progress is not None:
                told = now
                self.progress[: PROGRESS.size] = PROGRESS.pack(self.sent, self.over)
            if row < IN_A_ROW:
                due = at[following] if following < count else now + PROGRESS_SECONDS
                # epoll counts in milliseconds, select in microseconds.
                if due > now:
                    select.select(ready, (), (), min(due - now, PROGRESS_SECONDS))
            for fd, event in poll(0, EVENTS):
                connection = self.connections.get(fd)
                if connection is not None:
                    self._attend(connection, event)

    def _begin(self, number: int, now: float, waited: float) -> None:
        """Send one that is due."""
        service = self.services[self.plan["service"][number]]
        place = service.place()
        connection = place.idle.pop() if place.idle else self._open(place, number)
        if connection is None:
            self.over += 1
            return
        self.columns["delay"][number] = int((now - self.at[number]) * 1e6)
        self.sent += 1
        connection.request = number
        connection.answer.begin()
        connection.out = service.request(number, self.plan["input"][number], self.plan["output"][number])
        self.deadlines.append((now + waited, connection, number))
        if connection.connected:
            self._push(connection)

    def _open(self, place: Place, number: int) -> Connection | None:
        if len(self.connections) >= self.most:
            self.reasons[number] = f"the load generator has no connection left of {self.most}"
            return None
        try:
            made = socket.socket(place.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            self.reasons[number] = f"the load generator cannot open a connection: {error.strerror}"
            return None
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = Connection(place, made)
        self.connections[connection.fd] = connection
        self.opened += 1
        self.poll.register(connection.fd, connection.events)
        # What a refused connection says comes with the first event, as for one that is refused later.
        made.connect_ex(place.address)
        return connection

    def _attend(self, connection: Connection, event: int) -> None:
        if event & select.EPOLLOUT:
            if not connection.connected:
                wrong = connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if wrong:
                    self._fail(connection, f"connect: {os.strerror(wrong)}")
                    return
                connection.connected = True
            self._push(connection)
        if event & ~select.EPOLLOUT and connection.fd in self.connections:
            self._read(connection)

    def _push(self, connection: Connection) -> None:
        """Send what is left; the rest when there is room."""
        if connection.out:
            try:
                connection.out = connection.out[connection.socket.send(connection.out) :]
            except BlockingIOError:
                pass
            except OSError as error:
                self._fail(connection, f"send: {error.strerror}")
                return
        wanted = select.EPOLLIN | (select.EPOLLOUT if connection.out else 0)
        if wanted != connection.events:
            connection.events = wanted
            self.poll.modify(connection.fd, wanted)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(connection, f"receive: {error.strerror}")
            return
        if not data or connection.request is None:
            self._fail(connection, "the connection was closed before the answer was whole")
            return
        answer, now = connection.answer, time.monotonic() - self.zero
        try:
            answer.feed(data, now)
        except ValueError as error:
            self._fail(connection, f"no HTTP answer: {error}")
            return
        if answer.whole:
            self._finish(connection, connection.request, now)

    def _finish(self, connection: Connection, number: int, now: float) -> None:
        answer, columns, due = connection.answer, self.columns, self.at[number]
        columns["end"][number] = int((now - due) * 1e6)
        columns["first"][number] = int(((answer.first or now) - due) * 1e6)
        columns["status"][number] = answer.status
        columns["items"][number] = answer.items
        columns["planted"][number] = answer.planted
        columns["loaded"][number] = answer.loaded
        self.over += 1
        connection.request = None
        if answer.keep:
            connection.place.idle.append(connection)
        else:
            self._drop(connection)

    def _fail(self, connection: Connection, reason: str) -> None:
        """The request on this connection, if there is one, has failed; the connection is of no more use."""
        number, connection.request = connection.request, None
        if number is not None:
            self.reasons[number] = reason
            self.columns["end"][number] = int((time.monotonic() - self.zero - self.at[number]) * 1e6)
            self.over += 1
        self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self.connections.pop(connection.fd, None)
        if connection in connection.place.idle:
            connection.place.idle.remove(connection)
        connection.socket.close()


def room(most: int) -> int:
    """How many connections the limit on open files leaves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + 64
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return most if soft == resource.RLIM_INFINITY else min(most, soft - 64)


def scheduling() -> str:
    """Ahead of everybody where we may: whoever waits for a processor measures that. It uses a fraction of a core."""
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        return "fifo"
    with contextlib.suppress(OSError):
        # A cgroup without a share of real time refuses that even to whoever has CAP_SYS_NICE.
        return f"nice {os.nice(NICE)}"
    return "other"


def main() -> None:
    plan_path, result_path, progress_path = sys.argv[1:4]
    with open(plan_path) as stream:
        plan = json.load(stream)
    with open(progress_path, "r+b") as stream:
        progress = mmap.mmap(stream.fileno(), PROGRESS.size)
    generator = Generator(plan, progress)

    def stop(*_: Any) -> None:
        generator.stopped = True

    signal.signal(signal.SIGTERM, stop)
    kind = scheduling()
    result = {**generator.run(), "scheduling": kind}
    unfinished = result_path + ".unfinished"
    with open(unfinished, "w") as stream:
        json.dump(result, stream, separators=(",", ":"))
    os.replace(unfinished, result_path)


if __name__ == "__main__":
    main()
