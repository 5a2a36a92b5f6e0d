# SPDX-License-Identifier: GPL-3.0-or-later
"""The cache of tools: <root>/<name>/<version>-<recipe>/<file> with a metadata.json beside the file.

A folder appears by one rename, so what is there is whole. Writers of one tool exclude each other by a lock; readers
need none. Work folders are made only under the lock: one that is found under it belongs to a writer that was killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from . import jsonfile
from .errors import NightbenchError
from .tool_job import Job

METADATA = "metadata.json"
WORK_PREFIX = ".work-"
LOCKS = ".lock"
LOCK_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Entry:
    """A tool in the cache."""

    path: str
    version: str
    source: str
    sha256: str
    detail: str


class Cache:
    """All tools under one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, name: str, recipe: str) -> tuple[Entry | None, str]:
        """The entry made by this recipe, or None and, where there is one that cannot be used, why."""
        for folder in self.root.joinpath(name).glob(f"*-{recipe[:12]}"):
            try:
                return _read(folder, recipe), ""
            except (NightbenchError, OSError, KeyError, TypeError) as error:
                return None, f"{folder}: {error}"
        return None, ""

    @contextlib.contextmanager
    def writing(self, name: str, job: Job) -> Iterator[Path]:
        """A fresh work folder for one writer of this tool; waits for another one to end, and cleans up after it."""
        with self._locked(name, job):
            self._sweep(name)
            work = self.root / name / f"{WORK_PREFIX}{os.getpid()}-{secrets.token_hex(4)}"
            work.mkdir(parents=True)
            try:
                yield work
            finally:
                _remove(work)
                with contextlib.suppress(OSError):  # not empty: there is a tool in it
                    work.parent.rmdir()

    def store(self, name: str, recipe: str, file: Path, facts: dict[str, str]) -> Entry:
        """Move a finished file in, under the lock. `facts` are version, source and detail."""
        staged = file.parent / f"{facts['version']}-{recipe[:12]}"
        staged.mkdir()
        kept = staged / file.name
        os.chmod(file, 0o755)
        with open(file, "rb") as stream:
            os.fsync(stream.fileno())
        os.replace(file, kept)
        final = self.root / name / staged.name
        entry = Entry(path=str(final / file.name), sha256=file_sha256(kept), **facts)
        jsonfile.write_atomic(
            staged / METADATA,
            {**asdict(entry), "recipe": recipe, "file": file.name, "stored_at": time.time(), "seen": _seen(kept)},
        )
        for old in self.root.joinpath(name).glob(f"*-{recipe[:12]}"):
            os.replace(old, file.parent / f"old-{secrets.token_hex(4)}")  # goes with the work folder
        os.replace(staged, final)
        return entry

    def sweep(self, name: str, job: Job) -> None:
        """Remove what killed writers left, unless one is writing now."""
        if any(self.root.joinpath(name).glob(f"{WORK_PREFIX}*")):
            with contextlib.suppress(OSError), self._locked(name, job, wait=False):
                self._sweep(name)

    def names(self) -> list[str]:
        """The tools that have anything in the cache."""
        return sorted(p.name for p in self.root.glob("[!.]*") if p.is_dir()) if self.root.is_dir() else []

    def remove(self, name: str, job: Job) -> bool:
        """Remove every version of a tool; True when there was one. The last tool takes the whole cache with it."""
        folder, lock = self.root / name, self.root / LOCKS / name
        if not folder.exists() and not lock.exists():
            return False
        with self._locked(name, job):
            stored = any(folder.glob("[!.]*"))
            _remove(folder)
            lock.unlink()
        if not self.names():
            _remove(self.root / ".apt")
            with contextlib.suppress(OSError):  # not empty: somebody is at work in it
                self.root.joinpath(LOCKS).rmdir()
                self.root.rmdir()
        return stored

    def _sweep(self, name: str) -> None:
        for left in self.root.joinpath(name).glob(f"{WORK_PREFIX}*"):
            _remove(left)

    @contextlib.contextmanager
    def _locked(self, name: str, job: Job, *, wait: bool = True) -> Iterator[None]:
        path = self.root / LOCKS / name
        while (stream := _try_lock(path)) is None:
            if not wait:
                raise BlockingIOError(f"{path} is held by another process")
            job.check()
            time.sleep(LOCK_POLL_SECONDS)
        with stream:
            yield


def _try_lock(path: Path) -> IO[str] | None:
    """The locked file, or None while somebody else has it."""
    stream = _open_lock(path)
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Who removes a tool unlinks its lock too: a lock on an unlinked file excludes nobody.
        if os.path.samestat(os.fstat(stream.fileno()), path.stat()):
            return stream
    except (BlockingIOError, FileNotFoundError):
        pass
    stream.close()
    return None


def _open_lock(path: Path, tries: int = 10) -> IO[str]:
    """The lock file, made where it is missing; its folder may go away once or twice while somebody removes tools."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return open(path, "a", encoding="utf-8")
    except FileNotFoundError:
        if not tries:
            raise
        return _open_lock(path, tries - 1)


def file_sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(folder: Path, recipe: str) -> Entry:
    metadata: dict[str, Any] = jsonfile.read(folder / METADATA) or {}
    if metadata.get("recipe") != recipe:
        raise NightbenchError("its metadata is missing or belongs to another recipe")
    path = folder / metadata["file"]
    # Size, inode and modification time as they were after the last check stand for the content: hashing 100 MB a
    # tool would make every start slow. Whatever writes to the file moves at least one of them.
    if _seen(path) != metadata["seen"]:
        if (actual := file_sha256(path)) != metadata["sha256"]:
            raise NightbenchError(f"{path.name} has sha256 {actual[:12]}…, {metadata['sha256'][:12]}… was stored")
        with contextlib.suppress(OSError):  # a read-only cache is only slower
            jsonfile.write_atomic(folder / METADATA, {**metadata, "seen": _seen(path)})
    return Entry(str(path), metadata["version"], metadata["source"], metadata["sha256"], metadata["detail"])


def _seen(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns]


def _remove(path: Path) -> None:
    """Remove a tree; Go leaves folders without write permission in it."""
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        os.chmod(folder, 0o755)
    shutil.rmtree(path, ignore_errors=True)
