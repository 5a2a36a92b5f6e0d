# SPDX-License-Identifier: GPL-3.0-or-later
"""The write-ahead journal: what is about to be created stands on the disk before the request is sent.

One file of JSON Lines a run. A process that is killed between request and answer leaves an entry that is open; the next
call goes on with the same requestId, and the reaper looks for what may come of it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import jsonfile
from .errors import ConfigurationError
from .gcp_labels import value

#: The API knows a requestId for at least 60 minutes (its reference, requestId); after that it may create a second one.
REQUEST_SECONDS = 3600.0
#: What ends an entry: it came to nothing, or what it made is gone.
ENDED = ("failed", "deleted")
FIELDS = ("name", "zone", "model", "request_id", "at", "until", "cost_per_hour")
HELD_LOOK_SECONDS = 0.1


@dataclass
class Entry:
    """One host as the journal knows it."""

    name: str
    zone: str
    model: str
    request_id: str
    at: float
    until: float
    cost_per_hour: float | None = None
    #: What was asked for, since a request that is repeated has to be the same; empty where nobody said it.
    kind: str = ""
    event: str = "intent"
    ended_at: float | None = None

    @property
    def ended(self) -> bool:
        return self.event in ENDED

    @property
    def open(self) -> bool:
        """Nobody knows whether it was made."""
        return self.event == "intent"

    @property
    def cost(self) -> float:
        """What it may cost at most: until it ended, else until the server ends it."""
        if self.cost_per_hour is None or self.event == "failed":
            return 0.0
        return self.cost_per_hour * max(0.0, (self.ended_at or self.until) - self.at) / 3600


class Journal:
    """The journal of one run."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self.run = value(run_id)
        self.path = folder / f"{self.run}.jsonl"

    def intend(
        self, name: str, zone: str, model: str, *, now: float, until: float, cost_per_hour: float | None, kind: str = ""
    ) -> Entry:
        """Write down what is about to be asked for, under a new requestId, and have it on the disk."""
        entry = Entry(name, zone, model, str(uuid.uuid4()), now, until, cost_per_hour, kind)
        self._write(
            event="intent", name=name, zone=zone, model=model, request_id=entry.request_id, at=now, until=until,
            cost_per_hour=cost_per_hour, kind=kind,
        )  # fmt: skip
        return entry

    def note(self, entry: Entry, event: str, now: float, **more: Any) -> None:
        """created, failed, deleting, deleted."""
        entry.event = event
        self._write(event=event, name=entry.name, zone=entry.zone, request_id=entry.request_id, at=now, **more)

    @contextlib.contextmanager
    def held(self, patience: Callable[[str], None]) -> Iterator[None]:
        """Nobody else creates or removes hosts of this run meanwhile; the lock goes with its process."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.with_suffix(".lock").open("w") as lock:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    patience(f"another process is at work on the hosts of run {self.run}")
                    time.sleep(HELD_LOOK_SECONDS)
            yield

    def entries(self) -> list[Entry]:
        """Every host that was ever intended, with the last that is known of it."""
        found: dict[str, Entry] = {}
        for number, line in enumerate(jsonfile.read_lines(self.path), start=1):
            event = line.get("event") if isinstance(line, dict) else None
            if not event or not {"request_id", "at", *(FIELDS if event == "intent" else ())} <= line.keys():
                raise ConfigurationError(f"read {self.path}: entry {number} is none of a journal: {str(line)[:80]!r}.")
            if event == "intent":
                found[line["request_id"]] = Entry(**{name: line[name] for name in FIELDS}, kind=line.get("kind", ""))
            elif line["request_id"] in found:
                entry = found[line["request_id"]]
                entry.event = event
                entry.ended_at = line["at"] if entry.ended else None
        return list(found.values())

    def remembered(self, name: str, now: float) -> Entry | None:
        """The open request for this host that the API still knows, if there is one."""
        fresh = [one for one in self.entries() if one.name == name and one.open and now - one.at < REQUEST_SECONDS]
        return fresh[-1] if fresh else None

    def living(self) -> list[Entry]:
        return [entry for entry in self.entries() if not entry.ended]

    def reserved(self) -> float:
        """What the run may cost at most, with all that it has asked for so far."""
        return sum(entry.cost for entry in self.entries())

    def _write(self, **line: Any) -> None:
        jsonfile.append_line(self.path, line)
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def runs(folder: Path) -> Iterable[str]:
    """The runs that have a journal here, by the value of their label."""
    return sorted(path.stem for path in folder.glob("*.jsonl"))
