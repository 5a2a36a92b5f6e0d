# SPDX-License-Identifier: GPL-3.0-or-later
"""What is to run, and the records of what was started: `<run state>/processes/NAME.json`."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from . import jsonfile
from .errors import ConfigurationError


@dataclass(frozen=True)
class Identity:
    """A pid comes back after a while; together with the start time (clock ticks since boot) it does not."""

    pid: int
    start_time: int


@dataclass(frozen=True)
class Spec:
    """What to run and how to end it."""

    name: str
    argv: list[str]
    log: str
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    stop_signal: str = "SIGTERM"
    stop_seconds: float = 10.0

    def digest(self) -> str:
        """Changes when the process has to be restarted; how it is stopped does not count."""
        settings = json.dumps([self.argv, self.env, self.cwd, self.log], sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()


@dataclass(frozen=True)
class Record:
    """A process that was started; its environment is known by the digest only, for it may hold secrets."""

    name: str
    pid: int
    start_time: int
    argv: list[str]
    log: str
    started_at: str
    run_id: str = ""
    cwd: str = "/"
    digest: str = ""
    stop_signal: str = "SIGTERM"
    stop_seconds: float = 10.0

    @property
    def identity(self) -> Identity:
        return Identity(self.pid, self.start_time)


class Records:
    """The folder `<run state>/processes`."""

    def __init__(self, run_state: str | Path) -> None:
        self.folder = Path(run_state).absolute() / "processes"

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def get(self, name: str) -> Record | None:
        return _decode(self.path(name), jsonfile.read(self.path(name)))

    def all(self) -> list[Record]:
        """In the order in which they were started."""
        found = (self.get(path.stem) for path in self.folder.glob("*.json"))
        return sorted((record for record in found if record), key=lambda record: (record.started_at, record.name))

    def put(self, record: Record) -> None:
        jsonfile.write_atomic(self.path(record.name), asdict(record), mode=0o600)

    def remove(self, record: Record) -> None:
        """Remove the record of this very process, not that of one started under its name meanwhile."""
        if not self.folder.is_dir():
            return
        with self.lock():
            current = self.get(record.name)
            if current and current.identity == record.identity:
                self.path(record.name).unlink()

    @contextlib.contextmanager
    def lock(self) -> Iterator[int]:
        """Held only while a process is created or a record removed, never while something is waited for."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def _decode(path: Path, value: Any) -> Record | None:
    if value is None:
        return None
    names = {entry.name for entry in fields(Record)}
    try:
        return Record(**{key: item for key, item in value.items() if key in names})
    except (AttributeError, TypeError) as error:
        raise ConfigurationError(
            f"read {path}: it is not the record of a process ({error})", hint="delete it when its process is gone"
        ) from error
