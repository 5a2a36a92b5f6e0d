# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings a folder of another machine here: first one manifest with checksums, then file by file what is not here yet.

What was cut is gone on with where it stopped, and a file only gets its name once its checksum is that of the manifest.
The folder's manifest.json says which files there are, which of them are here, and whether that is all.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from . import jsonfile
from .errors import CloudError, ConfigurationError, DeadlineExceeded
from .fetch_remote import LIST, READ, Cut, Remote

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
#: A file on its way; a folder beside, so that no half file ever lies among the results.
UNFINISHED = ".unfinished"


class Detour(Protocol):
    """A place that files go through, such as a bucket; without one they come by the way that programs are run."""

    def push(self, remote: Remote, path: str, one: Mapping[str, Any]) -> None: ...

    def read(self, one: Mapping[str, Any], start: int, part: Path) -> None: ...

    def forget(self, one: Mapping[str, Any]) -> None: ...

    def sweep(self, wanted: Collection[Mapping[str, Any]]) -> None: ...


@dataclass
class Fetch:
    """One folder of one host or pod."""

    remote: Remote
    detour: Detour | None
    source: str
    folder: Path
    facts: dict[str, Any]
    attempts: int
    pause: float
    check: Callable[[str], None]
    got: list[str] = field(default_factory=list)
    #: Objects of the detour that could not be removed.
    left: list[str] = field(default_factory=list)

    def listed(self) -> list[dict[str, Any]]:
        """What the host has."""
        text = self._again("list what is there", self._list)
        try:
            files = json.loads(text)
        except ValueError as error:
            raise ConfigurationError(f"list {self.source}: the answer is no JSON: {text[:200]!r}") from error
        for one in files:
            path = PurePosixPath(one["path"])
            if path.is_absolute() or ".." in path.parts or path.parts[0] in (MANIFEST, UNFINISHED):
                raise ConfigurationError(f"list {self.source}: {one['path']!r} is no name that results may have.")
        return list(files)

    def sweep(self, wanted: Sequence[dict[str, Any]]) -> None:
        """End what a killed fetch has left on the way; what is wanted is gone on with."""
        if self.detour is not None:
            detour = self.detour
            self._remove("remove what earlier fetches have left", lambda: detour.sweep(wanted))

    def here(self, one: dict[str, Any]) -> bool:
        path = self.folder / one["path"]
        if not path.is_file() or path.stat().st_size != one["bytes"]:
            return False
        return checksum(path) == str(one["sha256"])

    def bring(self, one: dict[str, Any]) -> None:
        """One file, from where it stopped; raises Cut when the attempts are used up."""
        part = self.folder / UNFINISHED / one["sha256"]
        part.parent.mkdir(parents=True, exist_ok=True)

        def attempt() -> None:
            there = part.stat().st_size if part.exists() else 0
            if there < one["bytes"] or not part.exists():
                self._append(one, there, part)
            if part.stat().st_size != one["bytes"] or checksum(part) != one["sha256"]:
                if part.stat().st_size >= one["bytes"]:
                    part.unlink()  # whole, and another content: from the beginning
                raise Cut(f"{one['path']}: {self._size(part)} of {one['bytes']} bytes are here, or another content.")

        self._again(f"bring {one['path']}", attempt)
        path = self.folder / one["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        self.got.append(one["path"])
        if self.detour is not None:
            detour = self.detour
            self._remove(f"remove what {one['path']} came through", lambda: detour.forget(one))

    def write(self, files: Sequence[dict[str, Any]], reason: str) -> dict[str, Any]:
        """The manifest; `reason` says why it may not be all, and is empty when it is."""
        marked = [{**one, "fetched": self.here(one)} for one in files]
        complete = not reason and all(one["fetched"] for one in marked)
        document = {
            "schema_version": SCHEMA_VERSION,
            **self.facts,
            "source": self.source,
            "complete": complete,
            "reason": "" if complete else (reason or "some files are not here"),
            "files": marked,
        }
        path = self.folder / MANIFEST
        if jsonfile.read(path) != document:
            jsonfile.write_atomic(path, document)
        return document

    def clean(self) -> None:
        folder = self.folder / UNFINISHED
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def _remove(self, what: str, do: Callable[[], None]) -> None:
        """What cannot be removed there keeps nothing from coming here; it is told."""
        try:
            self._again(what, do)
        except (Cut, CloudError) as error:
            self.left.append(str(error))

    def _list(self) -> str:
        said = io.BytesIO()
        self.remote.run(["python3", "-c", LIST, self.source], said)
        return said.getvalue().decode(errors="replace")

    def _append(self, one: Mapping[str, Any], start: int, part: Path) -> None:
        path = f"{self.source}/{one['path']}"
        if self.detour is not None:
            self.detour.push(self.remote, path, one)
            self.detour.read(one, start, part)
            return
        with part.open("ab") as stream:
            self.remote.run(["python3", "-c", READ, path, str(start)], stream)

    def _again(self, what: str, do: Callable[[], Any]) -> Any:
        for attempt in range(1, self.attempts + 1):
            try:
                return do()
            except Cut as error:
                if attempt == self.attempts:
                    raise Cut(f"{what}: {self.attempts} attempts, the last one: {error}") from error
                self.check(f"{what}: {error}")
                time.sleep(self.pause)
        raise AssertionError("there is at least one attempt")

    def _size(self, part: Path) -> int:
        return part.stat().st_size if part.exists() else 0


def fetch(job: Fetch, partial_reason: str, *, check: bool) -> dict[str, Any]:
    """Bring what is missing; the manifest, which is also written when the host does not answer any more."""
    files: list[dict[str, Any]] = []
    reason = partial_reason
    try:
        files = job.listed()
        missing = [one for one in files if not job.here(one)]
        if check:
            return {"complete": not missing and not reason, "reason": reason, "files": files, "missing": missing}
        job.sweep(missing)
        for one in missing:
            job.bring(one)
    except (Cut, DeadlineExceeded, CloudError) as error:
        reason = f"{partial_reason}; {error}" if partial_reason else str(error)
        if check:
            return {"complete": False, "reason": reason, "files": files, "missing": files}
        earlier = jsonfile.read(job.folder / MANIFEST) or {}
        files = files or [{key: one[key] for key in ("path", "bytes", "sha256")} for one in earlier.get("files", [])]
    document = job.write(files, reason)
    job.clean()
    return {**document, "missing": [one for one in document["files"] if not one["fetched"]]}


def checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
