# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of Cloud Storage for tests: resumable uploads, objects and ranges over real HTTP, as badly as it is told.

Rules of the real one that it keeps: an upload's address needs no credentials, pieces but the last are multiples of
256 KiB, `bytes */N` asks how far an upload is, what does not fit is refused, a list comes in pages, and a request that
names another generation than there is does nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.serving import QuietHandler, serving

PIECE = 256 * 1024
NAME = "results"


#: Objects of one page of a list.
PAGE = 2


@dataclass
class Upload:
    name: str
    metadata: dict[str, str]
    size: int
    generation: str
    data: bytearray = field(default_factory=bytearray)
    done: bool = False
    cancelled: bool = False


@dataclass(frozen=True)
class Stored:
    content: bytes
    metadata: dict[str, str] = field(default_factory=dict)
    generation: str = "1"


@dataclass
class FakeBucket:
    """`faults`, each once, by kind of request: a status, or how much goes through (PUT: pieces, READ: bytes)."""

    url: str = ""
    objects: dict[str, Stored] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    faults: list[tuple[str, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    location: str = ""
    spoil: bool = False
    #: Ports of those whose connections are open.
    connections: set[int] = field(default_factory=set)
    #: Called when somebody wants to open an upload.
    before: Callable[[], object] = lambda: None
    #: Called before and after each request is carried out, whoever sends it.
    passing: Callable[[str], object] = lambda _moment: None

    @property
    def open_uploads(self) -> list[Upload]:
        return [one for one in self.uploads.values() if not (one.done or one.cancelled)]

    def generation(self, name: str) -> str:
        """0 where there is none."""
        return self.objects[name].generation if name in self.objects else "0"

    def fault(self, verb: str) -> int | None:
        for number, (wanted, what) in enumerate(self.faults):
            if wanted == verb:
                del self.faults[number]
                return what
        return None


class Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    bucket: FakeBucket

    def handle(self) -> None:
        self.bucket.connections.add(self.client_address[1])
        try:
            super().handle()
        finally:
            self.bucket.connections.discard(self.client_address[1])

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        query, body = parse_qs(url.query), json.loads(self.body() or b"{}")
        self.bucket.before()
        if not self._may("POST"):
            return None
        if url.path != f"/upload/storage/v1/b/{NAME}/o":
            return self.answer_json(404, {"error": {"code": 404, "message": "The specified bucket does not exist."}})
        name, generation = query["name"][0], query["ifGenerationMatch"][0]
        if generation != self.bucket.generation(name):
            return self.answer_json(412, {"error": {"code": 412, "message": "conditionNotMet"}})
        key = f"upload-{len(self.bucket.uploads)}"
        size = int(self.headers["X-Upload-Content-Length"])
        self.bucket.uploads[key] = Upload(name, body["metadata"], size, generation)
        where = self.bucket.location or f"{self.bucket.url}/upload/storage/v1/b/{NAME}/o?uploadType=resumable"
        return self.answer_json(200, {}, {"Location": f"{where}&upload_id={key}"})

    def do_PUT(self) -> None:
        assert "Authorization" not in self.headers, "the host has no credentials"
        upload = self.bucket.uploads.get(parse_qs(urlsplit(self.path).query)["upload_id"][0])
        span, _, total = self.headers["Content-Range"].removeprefix("bytes ").partition("/")
        fault = self.bucket.fault("PUT") if span != "*" else None
        data = self.body()
        self.bucket.passing("before")
        if upload is None or upload.cancelled or int(total) != upload.size or (fault or 0) >= 400:
            return self.answer_json(fault or 404, {})
        if span != "*":
            start, end = map(int, span.split("-"))
            whole = end + 1 == upload.size
            if start != len(upload.data) or not (whole or len(data) % PIECE == 0):
                return self.answer_json(400, {})
            upload.data += data if fault is None else data[: fault * PIECE]
        if fault is not None:
            self.close_connection = True
            return None
        if len(upload.data) == upload.size:
            if not upload.done and upload.generation != self.bucket.generation(upload.name):
                return self.answer_json(412, {})
            if not upload.done:
                upload.done = True
                content = bytes(upload.data)[::-1] if self.bucket.spoil else bytes(upload.data)
                generation = str(int(upload.generation) + 1)
                self.bucket.objects[upload.name] = Stored(content, upload.metadata, generation)
            return self.answer_json(200, {"name": upload.name, "size": str(upload.size)})
        headers = {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}
        return self.answer_json(308, {}, headers)

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        if not self._may("LIST" if "prefix" in query else "GET"):
            return None
        if "prefix" in query:
            return self._list(url.path, query["prefix"][0], int(query.get("pageToken", ["0"])[0]))
        found = self.bucket.objects.get(self._object(url.path))
        if found is None:
            return self.answer_json(404, {"error": {"code": 404, "message": "No such object"}})
        if "alt" not in query:
            return self.answer_json(200, self._resource(self._object(url.path), found))
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        rest = found.content[int(start.group(1)) :] if start else found.content
        cut = self.bucket.fault("READ") if rest else None
        self.bucket.passing("after")
        with contextlib.suppress(OSError):
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(rest)))
            self.end_headers()
            self.wfile.write(rest if cut is None else rest[:cut])
        self.close_connection = cut is not None
        return None

    def _list(self, path: str, prefix: str, start: int) -> None:
        if path != f"/storage/v1/b/{NAME}/o":
            return self.answer_json(404, {"error": {"code": 404, "message": "The specified bucket does not exist."}})
        found = sorted((name, one) for name, one in self.bucket.objects.items() if name.startswith(prefix))
        page = {"items": [self._resource(name, one) for name, one in found[start : start + PAGE]]} if found else {}
        following = {"nextPageToken": str(start + PAGE)} if len(found) > start + PAGE else {}
        return self.answer_json(200, {**page, **following})

    def _resource(self, name: str, one: Stored) -> dict[str, Any]:
        """As the API has it: without metadata there is no such key."""
        found = {"name": name, "size": str(len(one.content)), "generation": one.generation}
        return {**found, "metadata": one.metadata} if one.metadata else found

    def do_DELETE(self) -> None:
        url = urlsplit(self.path)
        if url.path == f"/upload/storage/v1/b/{NAME}/o":
            return self._cancel(parse_qs(url.query)["upload_id"][0])
        name = self._object(url.path)
        if not self._may("DELETE"):
            return None
        if name not in self.bucket.objects:
            return self.answer(404, b"")
        if parse_qs(url.query)["ifGenerationMatch"][0] != self.bucket.generation(name):
            return self.answer(412, b"")
        del self.bucket.objects[name]
        return self.answer(204, b"")

    def _cancel(self, key: str) -> None:
        if not self._may("CANCEL"):
            return None
        upload = self.bucket.uploads.get(key)
        if upload is None or upload.cancelled or upload.done:
            return self.answer(404, b"")
        upload.cancelled = True
        return self.answer(499, b"")

    def _may(self, verb: str) -> bool:
        self.bucket.asked.append(verb)
        self.bucket.passing("before")
        fault = self.bucket.fault(verb)
        if self.headers.get("Authorization", "").removeprefix("Bearer ") in ("", "expired"):
            fault = 401
        if fault is not None:
            self.answer_json(fault, {"error": {"code": fault, "message": "scripted"}})
        return fault is None

    def _object(self, path: str) -> str:
        return unquote(path.removeprefix(f"/storage/v1/b/{NAME}/o/"))

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.bucket.passing("after")
        super().answer(status, body, headers)


@contextlib.contextmanager
def fake_bucket(address: str = "127.0.0.1") -> Iterator[FakeBucket]:
    bucket = FakeBucket()
    with serving(Handler, address, bucket=bucket) as server:
        bucket.url = server.url
        yield bucket
