# SPDX-License-Identifier: GPL-3.0-or-later
"""The API server's audit log as a second witness: when each pod was created and bound, and who asked how often.

Format: audit.k8s.io/v1 Event, one JSON object a line, microsecond stamps (kubernetes.io/docs/reference/config-api/
apiserver-audit.v1). stageTimestamp of ResponseComplete is the moment at which the API server had answered.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_BINDING = ("create", "pods", "binding")


@dataclass
class AuditFindings:
    """created and bound: pod name → Unix seconds; requests: component → Counter of "verb resource/subresource"."""

    created: dict[str, float] = field(default_factory=dict)
    bound: dict[str, float] = field(default_factory=dict)
    requests: dict[str, Counter[str]] = field(default_factory=dict)


class AuditReader:
    """Reads what is written to the log after it was opened, also over a rotation (which renames the open file)."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._stream: IO[bytes] = self._path.open("rb")
        self._stream.seek(0, 2)

    def read(self, namespace: str) -> AuditFindings:
        """What the log says of the pods of one namespace since the reader was opened."""
        findings = AuditFindings()
        needle = f'"namespace":"{namespace}"'.encode()
        for line in self._lines():
            if needle in line:
                take(findings, json.loads(line))
        return findings

    def close(self) -> None:
        self._stream.close()

    def _lines(self) -> list[bytes]:
        lines = self._stream.read().split(b"\n")
        current = self._path.stat()
        if current.st_ino != _inode(self._stream):
            with self._path.open("rb") as rotated_to:
                lines += rotated_to.read().split(b"\n")
        return [line for line in lines if line.endswith(b"}")]


def take(findings: AuditFindings, event: dict[str, Any]) -> None:
    """Add one audit event to the findings; failed requests count as requests and stamp nothing."""
    if event.get("stage") != "ResponseComplete":
        return
    reference = event.get("objectRef") or {}
    verb, resource = event.get("verb", ""), reference.get("resource", "")
    subresource, name = reference.get("subresource", ""), reference.get("name", "")
    what = f"{verb} {resource}" + (f"/{subresource}" if subresource else "")
    component = event.get("userAgent", "").split("/", 1)[0]
    findings.requests.setdefault(component, Counter())[what] += 1
    if int((event.get("responseStatus") or {}).get("code", 0)) >= 300 or not name:
        return
    if (verb, resource, subresource) == _BINDING:
        findings.bound.setdefault(name, stamp(event["stageTimestamp"]))
    elif (verb, resource, subresource) == ("create", "pods", ""):
        findings.created.setdefault(name, stamp(event["stageTimestamp"]))


def stamp(text: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _inode(stream: IO[bytes]) -> int:
    return os.fstat(stream.fileno()).st_ino
