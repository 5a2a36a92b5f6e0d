# SPDX-License-Identifier: GPL-3.0-or-later
"""A lean client of the Kubernetes API: keep-alive connections, raw bodies, bounded and counted retries.

The typed clients of the kubernetes package spend milliseconds an object; a load generator that does that measures
itself. Where the credentials come from is left to the kubernetes package (target.py).
"""

from __future__ import annotations

import http.client
import itertools
import json
import queue
import random
import socket
import ssl
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError, KubeError, NightbenchError, Unauthorized, Unreachable, from_status
from .exchange import Exchange
from .target import Target

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
JSON = "application/json"

#: Answers that another try can change: too many requests, and the server's passing troubles.
RETRIED_STATUSES = frozenset({429, 500, 502, 503, 504})
#: The API server calls it its own error (500) and no other try changes it: server-side apply of a field that the kind
#: does not have (structured-merge-diff: typed/validate.go).
NOT_DECLARED = b"field not declared in schema"
_DROPPED = (ConnectionError, http.client.HTTPException, TimeoutError, socket.gaierror, ssl.SSLError, OSError)


@dataclass(frozen=True)
class Call:
    """One request, as data, for Kube.map."""

    method: str
    path: str
    query: Mapping[str, str] | None = None
    body: Any = None
    content_type: str = JSON


@dataclass(frozen=True)
class Response:
    """An answer below 400; the names of its headers in small letters."""

    status: int
    data: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        return json.loads(self.data)


@dataclass(frozen=True)
class Resource:
    """Where a kind lives in the API."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool

    def collection(self, namespace: str | None = None) -> str:
        """Path of all objects of the kind, in one namespace or in all."""
        prefix = "/api/v1" if self.api_version == "v1" else f"/apis/{self.api_version}"
        if self.namespaced and namespace:
            return f"{prefix}/namespaces/{urllib.parse.quote(namespace)}/{self.plural}"
        return f"{prefix}/{self.plural}"

    def item(self, name: str, namespace: str | None = None) -> str:
        if self.namespaced and not namespace:
            raise ConfigurationError(f"{self.kind} {name!r} needs a namespace and has none.")
        return f"{self.collection(namespace)}/{urllib.parse.quote(name)}"


class Kube:
    """A pool of connections to one API server; safe to share between threads.

    ``retry_seconds`` bounds how long one request is tried again; ``connect_seconds`` how long the very first one is.
    ``retries`` counts what was tried again, by cause: "429", "5xx", "dropped".
    """

    def __init__(
        self, target: Target, *, retry_seconds: float = 30.0, connect_seconds: float = 5.0, timeout: float = 60.0
    ) -> None:
        self.target = target
        self.retry_seconds = retry_seconds
        self.connect_seconds = connect_seconds
        self.timeout = timeout
        self.retries: Counter[str] = Counter()
        self._idle: queue.LifoQueue[Exchange] = queue.LifoQueue()
        self._discovered: dict[str, list[dict[str, Any]]] = {}
        self._answered = False
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Send and return the answer; raises KubeError for a status >= 400 and Unreachable when nobody answers.

        ``headers`` are more of them, for what the API server passes on.
        """
        url = _with_query(self.target.base_path + path, query)
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        started = time.monotonic()
        for attempt in itertools.count():
            try:
                response = self._send(method, url, data, content_type, headers or {})
            except ssl.SSLCertVerificationError as error:
                raise Unreachable(
                    f"{method} {path} on {self.target.where}: the server's certificate is not accepted: "
                    f"{error.verify_message}.",
                    hint="Check the kubeconfig's certificate authority, and whether a certificate has expired.",
                ) from error
            except _DROPPED as error:
                cause, wait = "dropped", None
                failure: NightbenchError = self._unreachable(method, path, error)
                bound = self.retry_seconds if self._answered else self.connect_seconds
            else:
                self._answered = True
                if response.status < 400:
                    return response
                failure = self._error(method, path, response)
                if response.status not in RETRIED_STATUSES or NOT_DECLARED in response.data:
                    raise failure
                cause = "429" if response.status == 429 else "5xx"
                wait = _retry_after(response)
                bound = self.retry_seconds
            pause = wait if wait is not None else min(2.0, 0.05 * 2**attempt) * random.uniform(0.5, 1.0)
            if time.monotonic() - started + pause > bound:
                raise failure
            with self._lock:
                self.retries[cause] += 1
            time.sleep(pause)
        raise AssertionError("unreachable")

    def map(
        self,
        calls: Sequence[Call],
        connections: int = 16,
        stop: Callable[[], bool] | None = None,
        done: Callable[[int, Response | NightbenchError], None] | None = None,
    ) -> list[Response | NightbenchError | None]:
        """Send many calls over several connections; the answers (or errors) in the order of the calls.

        ``stop`` is asked before every call; what was not sent is None. ``done`` hears of every answer, in any order.
        """
        results: list[Response | NightbenchError | None] = [None] * len(calls)
        indexes = iter(range(len(calls)))

        def work() -> None:
            for index in indexes:
                if stop is not None and stop():
                    return
                call = calls[index]
                result: Response | NightbenchError
                try:
                    result = self.request(
                        call.method, call.path, query=call.query, body=call.body, content_type=call.content_type
                    )
                except NightbenchError as error:
                    result = error
                results[index] = result
                if done is not None:
                    done(index, result)

        run_threads(work, min(connections, len(calls)))
        return results

    def resource(self, api_version: str, kind: str) -> Resource:
        """Where ``kind`` lives, by discovery (asked once for each group and version)."""
        for entry in self._discover(api_version):
            if entry["kind"] == kind and "/" not in entry["name"]:
                return Resource(api_version, kind, entry["name"], bool(entry["namespaced"]))
        raise ConfigurationError(
            f"{self.target.where} knows no kind {kind} in {api_version}.",
            hint="Is its CustomResourceDefinition installed?",
        )

    def list_pages(
        self, path: str, *, label_selector: str = "", field_selector: str = "", limit: int = 2000
    ) -> tuple[list[dict[str, Any]], str]:
        """All objects of a collection, page by page, and the list's resourceVersion."""
        items: list[dict[str, Any]] = []
        version = ""
        pages = self.pages(path, label_selector=label_selector, field_selector=field_selector, limit=limit)
        for page, listed in pages:
            items.extend(page)
            version = listed
        return items, version

    def pages(
        self, path: str, *, label_selector: str = "", field_selector: str = "", limit: int = 2000
    ) -> Iterator[tuple[list[dict[str, Any]], str]]:
        """Page by page with the list's resourceVersion, for who must not hold all objects at once."""
        query = {"limit": str(limit)}
        if label_selector:
            query["labelSelector"] = label_selector
        if field_selector:
            query["fieldSelector"] = field_selector
        while True:
            page = self.request("GET", path, query=query).json()
            yield page.get("items") or [], str(page["metadata"].get("resourceVersion", ""))
            token = page["metadata"].get("continue")
            if not token:
                return
            query["continue"] = token

    def connect(self, timeout: float | None = None) -> http.client.HTTPConnection:
        """A new connection of its own, for a stream."""
        return self.target.connection(self.timeout if timeout is None else timeout)

    def close(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _send(self, method: str, url: str, data: bytes | None, content_type: str, more: Mapping[str, str]) -> Response:
        """One exchange; a connection that was idle may have been closed under us, so that is tried once anew."""
        headers = {**self.target.headers(), **more}
        if data is not None:
            headers["Content-Type"] = content_type
        try:
            exchange = self._idle.get_nowait()
        except queue.Empty:
            exchange = Exchange(self.connect())
        try:
            status, found, body = exchange.send(method, url, headers, data)
        except BaseException:
            exchange.close()
            raise
        if exchange.keeps:
            self._idle.put(exchange)
        else:
            exchange.close()
        return Response(status, body, found)

    def _discover(self, api_version: str) -> list[dict[str, Any]]:
        if api_version not in self._discovered:
            path = "/api/v1" if api_version == "v1" else f"/apis/{api_version}"
            try:
                self._discovered[api_version] = self.request("GET", path).json()["resources"]
            except KubeError as error:
                if error.status != 404:
                    raise
                raise ConfigurationError(
                    f"{self.target.where} does not serve {api_version}.",
                    hint="Is its CustomResourceDefinition installed?",
                ) from error
        return self._discovered[api_version]

    def forget_discovery(self) -> None:
        """After new CustomResourceDefinitions."""
        self._discovered.clear()

    def _unreachable(self, method: str, path: str, error: BaseException) -> Unreachable:
        return Unreachable(
            f"{method} {path} on {self.target.where}: no answer: {str(error) or type(error).__name__}.",
            hint="Is the API server running, and is the address in the kubeconfig right?",
        )

    def _error(self, method: str, path: str, response: Response) -> KubeError:
        error = from_status(response.status, response.data, method=method, path=path, where=self.target.where)
        if isinstance(error, Unauthorized):
            error.hint = self.target.why_unauthorized()
        elif NOT_DECLARED in response.data:
            error.hint = "Leave the field out, or install the version of the kind that has it."
        return error


def run_threads(work: Callable[[], None], count: int) -> None:
    """Run ``work`` in ``count`` threads and wait; the first exception of any of them is raised here."""
    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - a thread has nobody above it; raised again below
            failures.append(error)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def _with_query(path: str, query: Mapping[str, str] | None) -> str:
    return f"{path}?{urllib.parse.urlencode(query)}" if query else path


def _retry_after(response: Response) -> float | None:
    """Seconds the server asks us to wait, where it says so in seconds; never more than 5."""
    value = response.headers.get("retry-after", "")
    return min(5.0, float(value)) if value.isdigit() else None
