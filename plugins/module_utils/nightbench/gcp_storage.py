# SPDX-License-Identifier: GPL-3.0-or-later
"""The objects of one bucket of Cloud Storage, by its JSON API with the credentials of the Compute API.

What a run has there lies below nightbench/RUN-ID/ and carries the labels of its hosts as metadata, so it is found again
whatever became of the run; whatever does not carry them is never touched.
"""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from . import gcp_errors, gcp_labels
from .errors import CloudError
from .gcp_errors import Kind

try:
    import requests
    from google.auth import exceptions as auth_exceptions
    from google.auth.transport.requests import AuthorizedSession
except ImportError:  # told by gcp_client.MISSING
    pass

ENDPOINT = "https://storage.googleapis.com"
#: What the names of all of ours begin with.
ROOT = f"{gcp_labels.OURS}/"
READ_PIECE = 1 << 20
#: What of an object is asked for in a list.
FIELDS = "items(name,size,metadata,generation),nextPageToken"
Plain = dict[str, Any]


@dataclass
class Objects:
    """One bucket. Raises CloudError; `check` is called before every request and ends by raising."""

    bucket: str
    who: Any
    endpoint: str
    seconds: float
    check: Callable[[str], None]
    _ahead: float = 0.0

    def __post_init__(self) -> None:
        self.endpoint = self.endpoint.rstrip("/")
        if hasattr(self.who, "with_always_use_jwt_access"):
            self.who = self.who.with_always_use_jwt_access(True)  # no token endpoint is asked for what a key can sign
        self._session = AuthorizedSession(self.who)
        if self.endpoint != ENDPOINT:
            self._session.credentials._maybe_start_regional_access_boundary_refresh = lambda request, url: None

    def now(self) -> float:
        """The server's clock, as its last answer had it."""
        return time.time() + self._ahead

    def ours(self, prefix: str) -> list[Plain]:
        """What carries our labels, of whatever run."""
        found: list[Plain] = []
        asked = {"prefix": prefix, "fields": FIELDS}
        while True:
            answer = self._ask(f"list {prefix} in bucket {self.bucket}", "GET", self._objects, 200, params=asked).json()
            found += [one for one in answer.get("items", ()) if gcp_labels.is_ours(one.get("metadata"))]
            if not answer.get("nextPageToken"):
                return found
            asked["pageToken"] = answer["nextPageToken"]

    def look(self, name: str) -> Plain | None:
        answer = self._ask(f"look for {name} in bucket {self.bucket}", "GET", self._at(name), 200, 404)
        return dict(answer.json()) if answer.status_code == 200 else None

    def open(self, name: str, size: int, metadata: Mapping[str, str], generation: str) -> str:
        """The address of a new upload; whoever has it may write this one object for a week.

        It only comes to something while the bucket has this generation of it (0, none)."""
        what = f"open an upload of {name} into bucket {self.bucket}"
        answer = self._ask(
            what,
            "POST",
            f"{self.endpoint}/upload/storage/v1/b/{_quoted(self.bucket)}/o",
            200,
            params={"uploadType": "resumable", "name": name, "ifGenerationMatch": generation},
            headers={"X-Upload-Content-Length": str(size)},
            json={"metadata": dict(metadata)},
        )
        return self.checked(str(answer.headers.get("Location", "")))

    def checked(self, url: str) -> str:
        """The address of an upload; raises where it is none of this endpoint."""
        if not url.startswith(f"{self.endpoint}/"):
            raise CloudError(
                f"upload into bucket {self.bucket}: we are sent to {url or 'nowhere'}, and not to {self.endpoint}.",
                kind=Kind.INVALID,
                hint="Nothing was sent there.",
            )
        return url

    def cancel(self, url: str) -> None:
        """End an upload that will not be gone on with: what has arrived of it is forgotten, and nothing comes of it.

        499 is how that is confirmed (cloud.google.com/storage/docs/performing-resumable-uploads#cancel-upload); 404 and
        410, the server has forgotten it already; 200 and 201, it was through."""
        what = f"cancel an upload into bucket {self.bucket}"
        good = (499, 204, 200, 201, 404, 410)
        self._ask(what, "DELETE", self.checked(url), *good, headers={"Content-Length": "0"})

    def read(self, name: str, start: int, part: Path) -> None:
        """Append what the object has from a byte on."""
        what = f"read {name} from bucket {self.bucket}"
        self.check(what)
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            with self._session.get(
                self._at(name), params={"alt": "media"}, headers=headers, stream=True, timeout=self.seconds
            ) as answer:
                _refuse(what, answer, 206 if start else 200)
                with part.open("ab") as stream:
                    for piece in answer.iter_content(READ_PIECE):
                        stream.write(piece)
                        self.check(what)
        except requests.exceptions.RequestException as error:
            raise _no_answer(what, error) from error

    def remove(self, name: str, generation: str) -> None:
        """Of this generation: what somebody has put into its place meanwhile stays (412)."""
        asked = {"ifGenerationMatch": generation}
        what = f"remove {name} from bucket {self.bucket}"
        self._ask(what, "DELETE", self._at(name), 204, 404, 412, params=asked)

    def _ask(self, what: str, verb: str, url: str, *good: int, **more: Any) -> Any:
        self.check(what)
        try:
            answer = self._session.request(verb, url, timeout=self.seconds, **more)
        except requests.exceptions.RequestException as error:
            raise _no_answer(what, error) from error
        except auth_exceptions.GoogleAuthError as error:
            hint = gcp_errors.NEXT_STEP[Kind.AUTH]
            raise CloudError(f"{what}: the credentials are not accepted: {error}", kind=Kind.AUTH, hint=hint) from error
        if answer.headers.get("Date"):
            self._ahead = parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()
        _refuse(what, answer, *good)
        return answer

    @property
    def _objects(self) -> str:
        return f"{self.endpoint}/storage/v1/b/{_quoted(self.bucket)}/o"

    def _at(self, name: str) -> str:
        return f"{self._objects}/{_quoted(name)}"


def _refuse(what: str, answer: Any, *good: int) -> None:
    if answer.status_code not in good:
        raise gcp_errors.of_status(what, answer.status_code, answer.text[:300].strip())


def _no_answer(what: str, error: Exception) -> CloudError:
    return CloudError(f"{what}: no answer: {error}", kind=Kind.TRANSIENT, hint=gcp_errors.NEXT_STEP[Kind.TRANSIENT])


def _quoted(text: str) -> str:
    return urllib.parse.quote(text, safe="")
