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
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

_BINDING = ("create", "pods", "binding")
_STATUS = ("patch", "pods", "status")
#: kwok as it calls itself (kwok.x-k8s.io, cmd/kwok). Its Stage pod-running is one patch; a kubelet sends several, and
#: a log without bodies does not tell which of them said Running.
_PLAYS_THE_KUBELET = "kwok-controller"


@dataclass
class AuditFindings:
    """created, bound, running: pod name → Unix seconds; requests: component → Counter of "verb resource/subresource".

    patched: component → pod name → Unix seconds of the first patch, for the components that are asked for.
    others: plural of a resource → name → Unix seconds of its creation. in_window: as requests, from a moment to the
    last binding of the pods that are asked for; bound_in_window: how many of their bindings there were. since: what was
    asked after the latest of these.
    """

    created: dict[str, float] = field(default_factory=dict)
    bound: dict[str, float] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    requests: dict[str, Counter[str]] = field(default_factory=dict)
    patched: dict[str, dict[str, float]] = field(default_factory=dict)
    others: dict[str, dict[str, float]] = field(default_factory=dict)
    in_window: dict[str, Counter[str]] = field(default_factory=dict)
    bound_in_window: int = 0
    since: dict[str, Counter[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Window:
    """From a moment (Unix seconds) to the last binding of ``pods``, whose names these are.

    The last binding and no second moment, because a watch may tell of a binding before its request has ended.
    """

    begin: float
    pods: Container[str]


class AuditReader:
    """Reads what is written to the log after it was opened, also over a rotation (which renames the open file)."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._stream: IO[bytes] = self._path.open("rb")
        self._stream.seek(0, 2)

    def read(
        self,
        namespace: str,
        others: Iterable[str] = (),
        window: Window | None = None,
        patching: Iterable[str] = (),
    ) -> AuditFindings:
        """What the log says of one namespace since the reader was opened.

        ``others`` names resources beside pods (plural) whose creation is wanted, ``patching`` components whose patches
        of pods are.
        """
        findings = AuditFindings(
            others={plural: {} for plural in others}, patched={component: {} for component in patching}
        )
        needle = f'"namespace":"{namespace}"'.encode()
        for line in self._lines():
            if needle in line:
                take(findings, json.loads(line), window)
        return findings

    def close(self) -> None:
        self._stream.close()

    def _lines(self) -> Iterator[bytes]:
        """Line by line: the log of a large load does not fit into the memory that we may take."""
        yield from _whole(self._stream)
        if self._path.stat().st_ino != _inode(self._stream):
            with self._path.open("rb") as rotated_to:
                yield from _whole(rotated_to)


def open_audit(path: str | None) -> tuple[AuditReader | None, str]:
    """A reader at the log's end, or why there is none."""
    if not path:
        return None, "this environment gives no audit log"
    try:
        return AuditReader(path), ""
    except OSError as error:
        return None, f"{path} cannot be read: {error.strerror}"


def take(findings: AuditFindings, event: dict[str, Any], window: Window | None = None) -> None:
    """Add one audit event to the findings; failed requests count as requests and stamp nothing."""
    if event.get("stage") != "ResponseComplete":
        return
    reference = event.get("objectRef") or {}
    verb, resource = event.get("verb", ""), reference.get("resource", "")
    subresource, name = reference.get("subresource", ""), reference.get("name", "") or _generated_name(event)
    what = f"{verb} {resource}" + (f"/{subresource}" if subresource else "")
    component = event.get("userAgent", "").split("/", 1)[0]
    findings.requests.setdefault(component, Counter())[what] += 1
    at = stamp(event["stageTimestamp"])
    if window is not None and at >= window.begin:
        findings.since.setdefault(component, Counter())[what] += 1
    if int((event.get("responseStatus") or {}).get("code", 0)) >= 300 or not name:
        return
    if (verb, resource, subresource) == _BINDING:
        findings.bound.setdefault(name, at)
        if window is not None and at >= window.begin and name in window.pods:
            findings.bound_in_window += 1
            for asker, requests in findings.since.items():
                findings.in_window.setdefault(asker, Counter()).update(requests)
            findings.since.clear()
    elif (verb, resource, subresource) == ("create", "pods", ""):
        findings.created.setdefault(name, at)
    elif (verb, resource, subresource) == _STATUS and component == _PLAYS_THE_KUBELET:
        findings.running.setdefault(name, at)
    elif (verb, resource, subresource) == ("patch", "pods", "") and component in findings.patched:
        findings.patched[component].setdefault(name, at)
    elif verb == "create" and not subresource and resource in findings.others:
        findings.others[resource].setdefault(name, at)


def stamp(text: str) -> float:
    """Unix seconds of an RFC 3339 time."""
    return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def _generated_name(event: dict[str, Any]) -> str:
    """The name that the API server gave, as to a Job's pods; only a policy of level RequestResponse logs it."""
    return str(((event.get("responseObject") or {}).get("metadata") or {}).get("name", ""))


def _whole(stream: IO[bytes]) -> Iterator[bytes]:
    """The lines of the stream; one that is still being written is left out."""
    for line in stream:
        line = line.rstrip(b"\n")
        if line.endswith(b"}"):
            yield line


def _inode(stream: IO[bytes]) -> int:
    return os.fstat(stream.fileno()).st_ino
