# SPDX-License-Identifier: GPL-3.0-or-later
"""One run at a time on a machine: `<state root>/machine.json` says whose it is.

The lease holds as long as its owner lives; pid and start time say whether it does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import jsonfile
from .errors import ConfigurationError, NightbenchError
from .process import Identity, is_running

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Lease:
    """Who has the machine."""

    run_id: str
    owner: Identity
    since: str
    results: str

    @property
    def alive(self) -> bool:
        return is_running(self.owner)


def taken(held: Lease) -> NightbenchError:
    """Another run that lives has the machine."""
    return NightbenchError(
        f"This machine is taken: run {held.run_id} (pid {held.owner.pid}) has had it since {held.since}. "
        "Nothing was started.",
        hint=f"Wait until it ends, or stop it with: kill -INT {held.owner.pid}",
        exit_code=3,
    )


def path(state_root: Path) -> Path:
    return state_root / "machine.json"


def read(state_root: Path) -> Lease | None:
    """The lease, whether its owner lives or not."""
    value = jsonfile.read(path(state_root))
    if value is None:
        return None
    try:
        owner = owner_of(value)
        if owner is None:
            raise KeyError("owner")
        return Lease(str(value["run_id"]), owner, str(value["since"]), str(value["results"]))
    except (KeyError, TypeError) as error:
        raise ConfigurationError(
            f"read {path(state_root)}: it is not a lease ({error!r} is missing).",
            hint="Make sure that no nightly runs here, then delete it.",
            exit_code=3,
        ) from error


def write(state_root: Path, lease: Lease) -> None:
    """Call it with the lock held."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "run_id": lease.run_id,
        "owner": as_json(lease.owner),
        "since": lease.since,
        "results": lease.results,
    }
    jsonfile.write_atomic(path(state_root), value, mode=0o600)


def release(state_root: Path, run_id: str) -> bool:
    """Free the machine if this run has it; call it with the lock held."""
    held = read(state_root)
    if held is None or held.run_id != run_id:
        return False
    path(state_root).unlink(missing_ok=True)
    return True


@contextlib.contextmanager
def locked(state_root: Path) -> Iterator[None]:
    """Held while the lease is looked at and changed, so that of two that start at once one is told."""
    state_root.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state_root / "machine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def owner_of(value: Any) -> Identity | None:
    """The owner that a lease or a session names."""
    owner = value.get("owner") if isinstance(value, dict) else None
    if not isinstance(owner, dict):
        return None
    pid, start_time = owner.get("pid"), owner.get("start_time")
    return Identity(pid, start_time) if isinstance(pid, int) and isinstance(start_time, int) else None


def as_json(owner: Identity) -> dict[str, int]:
    return {"pid": owner.pid, "start_time": owner.start_time}
