# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of Cloud Storage for tests: resumable uploads, objects and ranges over real HTTP, as badly as it is told.

Rules of the real one that it keeps: an upload's address needs no credentials, pieces but the last are multiples of
256 KiB, `bytes */N` asks how far an upload is, and what does not fit is refused.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from tests.fakes.serving import QuietHandler, serving

PIECE = 256 * 1024
NAME = "results"


@dataclass
class Upload:
    name: str
    metadata: dict[str, str]
    size: int
    data: bytearray = field(default_factory=bytearray)


@dataclass
class FakeBucket:
    """`faults`, each once, by kind of request: a status, or how much goes through (PUT: pieces, READ: bytes)."""

    url: str = ""
    objects: dict[str, tuple[bytes, dict[str, str]]] = field(default_factory=dict)
    uploads: dict[str, Upload] = field(default_factory=dict)
    faults: list[tuple[str, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    location: str = ""
    spoil: bool = False
    #: Called when somebody wants to open an upload.
    before: Callable[[], object] = lambda: None

    def fault(self, verb: str) -> int | None:
        for number, (wanted, what) in enumerate(self.faults):
            if wanted == verb:
                del self.faults[number]
                return what
        return None


class Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    bucket: FakeBucket

    def do_POST(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        body = json.loads(self.body() or b"{}")
        self.bucket.before()
        if not self._may("POST"):
            return None
        if urlsplit(self.path).path != f"/upload/storage/v1/b/{NAME}/o":
            return self.answer_json(404, {"error": {"code": 404, "message": "The specified bucket does not exist."}})
        key = f"upload-{len(self.bucket.uploads)}"
        size = int(self.headers["X-Upload-Content-Length"])
        self.bucket.uploads[key] = Upload(query["name"][0], body["metadata"], size)
        where = self.bucket.location or f"{self.bucket.url}/upload/storage/v1/b/{NAME}/o?uploadType=resumable"
        return self.answer_json(200, {}, {"Location": f"{where}&upload_id={key}"})

    def do_PUT(self) -> None:
        assert "Authorization" not in self.headers, "the host has no credentials"
        upload = self.bucket.uploads.get(parse_qs(urlsplit(self.path).query)["upload_id"][0])
        span, _, total = self.headers["Content-Range"].removeprefix("bytes ").partition("/")
        fault = self.bucket.fault("PUT") if span != "*" else None
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if upload is None or int(total) != upload.size or (fault or 0) >= 400:
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
            content = bytes(upload.data)
            self.bucket.objects[upload.name] = (content[::-1] if self.bucket.spoil else content, upload.metadata)
            return self.answer_json(200, {"name": upload.name, "size": str(upload.size)})
        headers = {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {}
        return self.answer_json(308, {}, headers)

    def do_GET(self) -> None:
        if not self._may("GET"):
            return None
        url = urlsplit(self.path)
        found = self._found(url.path)
        if found is None:
            return self.answer_json(404, {"error": {"code": 404, "message": "No such object"}})
        data, metadata = found
        if "alt" not in parse_qs(url.query):
            return self.answer_json(200, {"size": str(len(data)), "metadata": metadata})
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        rest = data[int(start.group(1)) :] if start else data
        cut = self.bucket.fault("READ") if rest else None
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        self.wfile.write(rest if cut is None else rest[:cut])
        self.close_connection = cut is not None
        return None

    def do_DELETE(self) -> None:
        if self._may("DELETE"):
            gone = self.bucket.objects.pop(self._object(urlsplit(self.path).path), None)
            self.answer(204 if gone else 404, b"")

    def _may(self, verb: str) -> bool:
        self.bucket.asked.append(verb)
        fault = self.bucket.fault(verb)
        if self.headers.get("Authorization", "").removeprefix("Bearer ") in ("", "expired"):
            fault = 401
        if fault is not None:
            self.answer_json(fault, {"error": {"code": fault, "message": "scripted"}})
        return fault is None

    def _object(self, path: str) -> str:
        return unquote(path.removeprefix(f"/storage/v1/b/{NAME}/o/"))

    def _found(self, path: str) -> tuple[bytes, dict[str, str]] | None:
        return self.bucket.objects.get(self._object(path))


@contextlib.contextmanager
def fake_bucket() -> Iterator[FakeBucket]:
    bucket = FakeBucket()
    with serving(Handler, bucket=bucket) as server:
        bucket.url = server.url
        yield bucket
