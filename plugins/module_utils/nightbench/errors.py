# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, as a small tree.

NightbenchError
├── ConfigurationError      what the caller gave cannot be used
├── KubeError               the API server answered with an error status
│   ├── Unauthorized        401: who we are is not accepted
│   ├── Forbidden           403: who we are may not do this
│   ├── NotFound            404
│   ├── Conflict            409: it exists already, or somebody else changed it
│   └── Gone                410: the resourceVersion asked for is no longer kept
├── Unreachable             no answer from the API server
├── CloudError              the Compute API answered with an error, at once or in an operation
├── ProcessError            a process did not start, died, or would not stop
├── ToolError               a tool could not be had from any of its sources
├── DeadlineExceeded        it took longer than it was allowed to
└── Stopped                 the run asked us to stop

A message says what was tried, on what, and what was seen; ``hint`` says what to do next.
"""

from __future__ import annotations

import errno
import json
from typing import Any


class NightbenchError(Exception):
    """Base of all errors that are explained to the user."""

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigurationError(NightbenchError):
    """What the caller gave cannot be used."""


class KubeError(NightbenchError):
    """The API server answered with an error status."""

    def __init__(
        self, message: str, *, status: int, method: str = "", path: str = "", reason: str = "", hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint, status=status, method=method, path=path, reason=reason)
        self.status = status
        self.method = method
        self.path = path
        self.reason = reason


class Unauthorized(KubeError):
    """401: the credentials are not accepted."""


class Forbidden(KubeError):
    """403: the credentials are accepted and may not do this."""


class NotFound(KubeError):
    """404: no such object or no such kind."""


class Conflict(KubeError):
    """409: it exists already, or another field manager owns what we set."""


class Gone(KubeError):
    """410: the resourceVersion asked for is no longer kept."""


class Unreachable(NightbenchError):
    """No answer from the API server."""


class CloudError(NightbenchError):
    """The Compute API answered with an error; ``kind`` is that of gcp_errors.py."""

    def __init__(
        self, message: str, *, kind: str, hint: str = "", hints: tuple[str, ...] = (), retry_after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint, kind=kind)
        self.kind = kind
        self.hints = hints
        self.retry_after = retry_after
        #: False where only a look failed: what was asked for may well come about.
        self.decided = True


class ProcessError(NightbenchError):
    """A process did not start, died, or would not stop."""


class ToolError(NightbenchError):
    """A tool could not be had from any of its sources."""


class DeadlineExceeded(NightbenchError):
    """It took longer than it was allowed to."""


class Stopped(NightbenchError):
    """The run's stop file appeared."""


def of_system(error: OSError) -> str:
    """What the system answered where nothing above it had words of its own: mostly a disk that is full."""
    where = f"{error.filename}: " if error.filename else ""
    full = " Free some room there, then resume the run." if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return f"{where}{error.strerror or error}.{full}"


_BY_STATUS: dict[int, type[KubeError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
}


def from_status(status: int, body: bytes, *, method: str, path: str, where: str, hint: str = "") -> KubeError:
    """The error of an answer with ``status`` >= 400; ``body`` is a metav1.Status where the API server wrote one."""
    message, reason = body[:300].decode("utf-8", "replace").strip(), ""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if isinstance(document, dict) and document.get("kind") == "Status":
        message = str(document.get("message") or message)
        reason = str(document.get("reason") or "")
    kind = _BY_STATUS.get(status, KubeError)
    text = f"{method} {path.split('?')[0]} on {where}: {status} {reason or ''}".rstrip() + f": {message}"
    return kind(text, status=status, method=method, path=path, reason=reason, hint=hint)
