# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of Cloud Storage as the way of large results, by its JSON API with the credentials of the Compute API.

This side opens an upload for a file and gives its address to the host, so the host needs no credentials and no rights;
what has arrived is read from here, verified and removed from the bucket.
"""

from __future__ import annotations

import json
import os
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import gcp_errors
from .errors import CloudError
from .fetch_remote import PUSH, Cut, Remote
from .gcp_errors import Kind

try:
    import requests
    from google.auth import exceptions as auth_exceptions
    from google.auth.transport.requests import AuthorizedSession
except ImportError:  # told by gcp_client.MISSING
    pass

ENDPOINT = "https://storage.googleapis.com"
PIECE = 8 << 20
READ_PIECE = 1 << 20


@dataclass
class Bucket:
    """Objects below `prefix` of one bucket."""

    name: str
    prefix: str
    who: Any
    endpoint: str
    seconds: float
    check: Callable[[str], None]
    _uploads: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.endpoint = self.endpoint.rstrip("/")
        if hasattr(self.who, "with_always_use_jwt_access"):
            self.who = self.who.with_always_use_jwt_access(True)  # no token endpoint is asked for what a key can sign
        self._session = AuthorizedSession(self.who)
        if self.endpoint != ENDPOINT:
            self._session.credentials._maybe_start_regional_access_boundary_refresh = lambda request, url: None

    def push(self, remote: Remote, path: str, one: Mapping[str, Any]) -> None:
        """Have the file in the bucket, from where an upload of it stopped."""
        there = self._object(one)
        if there is not None and int(there.get("size", -1)) == one["bytes"]:
            return
        if one["sha256"] not in self._uploads:
            self._uploads[one["sha256"]] = self._open(one)
        asked = {
            "url": self._uploads[one["sha256"]],
            "path": path,
            "bytes": one["bytes"],
            "piece": PIECE,
            "seconds": self.seconds,
        }
        try:
            with open(os.devnull, "wb") as nothing:
                remote.run(["python3", "-c", PUSH], nothing, json.dumps(asked).encode())
        except Cut as error:
            if "the bucket answered 4" in str(error):
                del self._uploads[one["sha256"]]  # it is over, or another file than before: a new one
            raise
        del self._uploads[one["sha256"]]

    def read(self, one: Mapping[str, Any], start: int, part: Path) -> None:
        """Append what the bucket has from a byte on."""
        what = f"read {one['path']} from bucket {self.name}"
        self.check(what)
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            with self._session.get(
                self._at(one), params={"alt": "media"}, headers=headers, stream=True, timeout=self.seconds
            ) as answer:
                self._refuse(what, answer, 206 if start else 200)
                with part.open("ab") as stream:
                    for piece in answer.iter_content(READ_PIECE):
                        stream.write(piece)
                        self.check(what)
        except requests.exceptions.RequestException as error:
            raise Cut(f"{what}: {error}") from error

    def forget(self, one: Mapping[str, Any]) -> None:
        """What was verified here is not paid for there any longer."""
        self._ask(f"remove {one['path']} from bucket {self.name}", "DELETE", self._at(one), 204, 404)

    def _object(self, one: Mapping[str, Any]) -> dict[str, Any] | None:
        answer = self._ask(f"look for {one['path']} in bucket {self.name}", "GET", self._at(one), 200, 404)
        return dict(answer.json()) if answer.status_code == 200 else None

    def _open(self, one: Mapping[str, Any]) -> str:
        """The address of a new upload; whoever has it may write this one object for a week."""
        what = f"open an upload of {one['path']} into bucket {self.name}"
        answer = self._ask(
            what,
            "POST",
            f"{self.endpoint}/upload/storage/v1/b/{_quoted(self.name)}/o",
            200,
            params={"uploadType": "resumable", "name": self._name(one)},
            headers={"X-Upload-Content-Length": str(one["bytes"])},
            json={"metadata": {"sha256": one["sha256"]}},
        )
        found = str(answer.headers.get("Location", ""))
        if not found.startswith(f"{self.endpoint}/"):
            raise CloudError(
                f"{what}: the answer sends us to {found or 'nowhere'}, and not to {self.endpoint}.",
                kind=Kind.INVALID,
                hint="Nothing was sent there.",
            )
        return found

    def _ask(self, what: str, verb: str, url: str, *good: int, **more: Any) -> Any:
        self.check(what)
        try:
            answer = self._session.request(verb, url, timeout=self.seconds, **more)
        except requests.exceptions.RequestException as error:
            raise Cut(f"{what}: no answer: {error}") from error
        except auth_exceptions.GoogleAuthError as error:
            hint = gcp_errors.NEXT_STEP[Kind.AUTH]
            raise CloudError(f"{what}: the credentials are not accepted: {error}", kind=Kind.AUTH, hint=hint) from error
        self._refuse(what, answer, *good)
        return answer

    def _refuse(self, what: str, answer: Any, *good: int) -> None:
        if answer.status_code in good:
            return
        error = gcp_errors.of_status(what, answer.status_code, answer.text[:300].strip())
        if error.kind == Kind.TRANSIENT:
            raise Cut(str(error))
        raise error

    def _name(self, one: Mapping[str, Any]) -> str:
        """By content: another file of the same name is another object."""
        return f"{self.prefix}/{one['sha256']}"

    def _at(self, one: Mapping[str, Any]) -> str:
        return f"{self.endpoint}/storage/v1/b/{_quoted(self.name)}/o/{_quoted(self._name(one))}"


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
