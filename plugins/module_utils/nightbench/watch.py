# SPDX-License-Identifier: GPL-3.0-or-later
"""List, then watch: every change of a collection, in order, through dropped connections and 410 Gone."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .errors import Gone, KubeError, NightbenchError, from_status
from .kube import _DROPPED, Kube, _with_query

#: The server ends a watch after this time and we go on from the last resourceVersion; also finds dead connections.
WATCH_SECONDS = 300
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to an object and when we read it (client monotonic clock, seconds).

    type: LISTED (it was there when we looked), ADDED, MODIFIED or DELETED.
    """

    type: str
    object: dict[str, Any]
    at: float


class ListWatch:
    """Reads a collection and follows it, calling ``handle`` for every Event in the thread of ``run``.

    After 410 Gone it lists again: what is there is handed out as LISTED, what vanished meanwhile as DELETED with its
    last known state, so nobody who counts loses an object. ``relists`` and ``reconnects`` count both.
    """

    def __init__(
        self,
        kube: Kube,
        path: str,
        handle: Callable[[Event], None],
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        self._kube = kube
        self._path = path
        self._handle = handle
        self._label_selector = label_selector
        self._field_selector = field_selector
        self._known: dict[str, dict[str, Any]] = {}
        self._stopped = threading.Event()
        self._socket: socket.socket | None = None
        self.listed = threading.Event()
        self.error: NightbenchError | None = None
        self.relists = 0
        self.reconnects = 0
        self.events = 0
        self.bytes = 0

    def run(self) -> None:
        """Follow until stop(); an error that trying again cannot mend ends it and stands in ``error``."""
        version = ""
        try:
            while not self._stopped.is_set():
                if not version:
                    version = self._list()
                    self.listed.set()
                try:
                    version = self._watch(version)
                except Gone:
                    self.relists += 1
                    version = ""
        except NightbenchError as error:
            self.error = error
        finally:
            self.listed.set()

    def start(self) -> threading.Thread:
        """run() in a thread of its own; returns when the first list has been handed out (or failed)."""
        thread = threading.Thread(target=self.run, name=f"watch {self._path}", daemon=True)
        thread.start()
        self.listed.wait()
        if self.error is not None:
            raise self.error
        return thread

    def stop(self) -> None:
        """End the watch from any thread."""
        self._stopped.set()
        if self._socket is not None:
            # Closing alone would not wake a thread that is blocked in a read. That of SSLSocket would take TLS off
            # first: a thread in the middle of a read would be handed cipher text.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def _list(self) -> str:
        before, self._known = self._known, {}
        version, now = "", time.monotonic()
        pages = self._kube.pages(self._path, label_selector=self._label_selector, field_selector=self._field_selector)
        for items, listed in pages:
            version, now = listed, time.monotonic()
            for item in items:
                uid = item["metadata"]["uid"]
                before.pop(uid, None)
                self._known[uid] = _last_state(item)
                self._handle(Event("LISTED", item, now))
        for vanished in before.values():
            self._handle(Event("DELETED", vanished, now))
        return version

    def _watch(self, version: str) -> str:
        """Follow from ``version``; returns where to go on. Raises Gone when the server no longer has it."""
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        if self._label_selector:
            query["labelSelector"] = self._label_selector
        if self._field_selector:
            query["fieldSelector"] = self._field_selector
        url = _with_query(self._kube.target.base_path + self._path, query)
        pause = 0.05
        while not self._stopped.is_set():
            try:
                connection, response = self._open(url)
                break
            except KubeError as error:
                if error.status != 429 and error.status < 500:
                    raise
            except _DROPPED:
                if self._stopped.is_set():
                    break
            self.reconnects += 1
            self._stopped.wait(pause)
            pause = min(2.0, pause * 2)
        if self._stopped.is_set():
            return version
        try:
            with contextlib.closing(connection), response:
                for line, now in self._lines(response):
                    version = self._event(line, now) or version
        except _DROPPED:
            self.reconnects += not self._stopped.is_set()
        return version

    def _open(self, url: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = self._kube.connect(timeout=WATCH_SECONDS + 30)
        try:
            connection.request("GET", url, headers=self._kube.target.headers())
            # Kept apart: the connection lets go of it when the server says that it will close.
            self._socket = connection.sock
            if self._stopped.is_set():
                raise ConnectionAbortedError("stopped while it was opened")
            response = connection.getresponse()
            if response.status >= 400:
                body = response.read()
                raise from_status(response.status, body, method="WATCH", path=self._path, where=self._kube.target.where)
        except BaseException:
            connection.close()
            raise
        return connection, response

    def _lines(self, response: http.client.HTTPResponse) -> Iterator[tuple[bytes, float]]:
        """The stream's lines, each with the moment at which its last byte was read."""
        rest = b""
        while True:
            block = response.read1(_BLOCK)
            now = time.monotonic()
            if not block:
                return
            self.bytes += len(block)
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for line in lines:
                if line:
                    yield line, now

    def _event(self, line: bytes, now: float) -> str:
        """Hand out one event; returns the resourceVersion it brings."""
        document = json.loads(line)
        kind, item = document["type"], document["object"]
        if kind == "ERROR":
            status = int(item.get("code") or 500)
            error = from_status(status, line, method="WATCH", path=self._path, where=self._kube.target.where)
            if status == 410:
                raise error
            if status != 429 and status < 500:
                raise error
            raise ConnectionError(str(error))
        metadata = item["metadata"]
        if kind != "BOOKMARK":
            self.events += 1
            if kind == "DELETED":
                self._known.pop(metadata["uid"], None)
            else:
                self._known[metadata["uid"]] = _last_state(item)
            self._handle(Event(kind, item, now))
        return str(metadata["resourceVersion"])


def _last_state(item: dict[str, Any]) -> dict[str, Any]:
    """What a DELETED event needs after a relist; small, because there may be 100,000 of them."""
    metadata = item["metadata"]
    kept = {"name": metadata["name"], "uid": metadata["uid"], "namespace": metadata.get("namespace", "")}
    return {"metadata": kept}
