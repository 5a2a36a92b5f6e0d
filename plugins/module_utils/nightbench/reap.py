# SPDX-License-Identifier: GPL-3.0-or-later
"""Ends what runs left behind: processes by record and by run-id, changes of the machine, then the run's state.

A run whose owner lives is left alone. Results are left alone too, but for a folder whose start was cut short.
"""

from __future__ import annotations

import fnmatch
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import host_changes, jsonfile, lease, owner, process
from .errors import ConfigurationError, NightbenchError, ProcessError
from .places import state_folder
from .process import Identity

GRACE_SECONDS = 10.0
POLL_SECONDS = 0.05
#: Beside plan.json, the only file that start writes before run.json.
UNBORN = "stages/*__start/command.txt"


@dataclass
class Reaped:
    """What was done about one run; in check mode, what would be."""

    run_id: str
    processes: list[dict[str, Any]] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    lease_freed: bool = False
    kubeconfig: str | None = None

    @property
    def changed(self) -> bool:
        return bool(self.processes or self.removed or self.lease_freed)

    def as_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "processes": self.processes,
            "removed": self.removed,
            "lease_freed": self.lease_freed,
            "kubeconfig": self.kubeconfig,
        }


def dead_runs(state_root: Path, me: Identity) -> list[str]:
    """The runs whose owner is gone, kept ones too; call it with the lock held."""
    known = {path.name for path in (state_root / "runs").glob("*") if path.is_dir()}
    held = lease.read(state_root)
    if held is not None:
        known.add(held.run_id)
    return sorted(run_id for run_id in known if not _alive(state_root, run_id, held, me))


def refuse_living(state_root: Path, run_id: str, me: Identity) -> None:
    held = lease.read(state_root)
    if held is not None and held.run_id == run_id and held.alive and held.owner != me:
        raise NightbenchError(
            f"Run {run_id} is alive: it belongs to pid {held.owner.pid} since {held.since}.",
            hint=f"Stop it with: kill -INT {held.owner.pid}",
            exit_code=3,
        )


def reap(state_root: Path, run_id: str, *, check: bool = False) -> Reaped:
    """End and remove everything of one run; call it with the lock held."""
    state = state_folder(state_root, run_id)
    session = read_session(state)
    done = Reaped(run_id, kubeconfig=_foreign_kubeconfig(session, state))
    done.processes = end_all(lambda: leftovers(state, run_id), owner.protected(), check=check)
    for changed in sorted(path.parent for path in state.glob(f"*/{host_changes.FILE}")):
        done.removed += host_changes.remains(changed) if check else host_changes.put_back(changed)
    if state.is_dir():
        done.removed.append(str(state))
        if not check:
            shutil.rmtree(state)
    unborn = _unborn_results(session, state_root)
    if unborn is not None:
        done.removed.append(str(unborn))
        if not check:
            shutil.rmtree(unborn)
    held = lease.read(state_root)
    if held is not None and held.run_id == run_id:
        done.lease_freed = True
        if not check:
            lease.release(state_root, run_id)
    return done


def end_modules(state: Path, *, check: bool = False) -> list[dict[str, Any]]:
    """Long modules outlive their play; when a stage begins, none of an earlier one may still be at work."""
    done = end_all(lambda: recorded(state / "modules"), owner.protected(), check=check)
    if not check:
        for path in (state / "modules").glob("*.json"):
            path.unlink(missing_ok=True)
    return done


def leftovers(state: Path, run_id: str) -> list[Identity]:
    """Every process of a run that lives: those with a record, and all that carry its run-id."""
    known = [*recorded(state / "modules"), *recorded(state / "processes"), *process.find_run(run_id)]
    return list(dict.fromkeys(known))


def recorded(folder: Path) -> list[Identity]:
    """The living processes that records in this folder name; a damaged record names none."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = jsonfile.read(path)
        except (ConfigurationError, OSError):
            continue
        who = lease.owner_of({"owner": record})
        if who is not None and process.is_running(who):
            found.append(who)
    return found


def end_all(
    find: Callable[[], Iterable[Identity]], spared: Collection[int], *, check: bool = False
) -> list[dict[str, Any]]:
    """Ask, after a while force; asked again each time, for children are born late."""
    ended: dict[Identity, str] = {}
    began = time.monotonic()
    while left := [who for who in find() if who.pid not in spared]:
        waited = time.monotonic() - began
        for who in left:
            new = who not in ended
            ended.setdefault(who, process.command_of(who.pid))
            if not check and (new or waited > GRACE_SECONDS):
                process.send_signal(who, signal.SIGKILL if waited > GRACE_SECONDS else signal.SIGTERM)
        if check:
            break
        if waited > 2 * GRACE_SECONDS:
            raise ProcessError(
                f"end pid {', '.join(str(who.pid) for who in left)}: still there {GRACE_SECONDS:g} s after SIGKILL.",
                hint="It hangs in the kernel, most likely on a disk or network file system.",
            )
        time.sleep(POLL_SECONDS)
    return [{"pid": who.pid, "command": command[:200]} for who, command in ended.items()]


def read_session(state: Path) -> dict[str, Any]:
    """The run's session; empty when there is none or it is damaged, for what is to be removed need not be whole."""
    try:
        session = jsonfile.read(state / "session.json")
    except (ConfigurationError, OSError):
        return {}
    return session if isinstance(session, dict) else {}


def _alive(state_root: Path, run_id: str, held: lease.Lease | None, me: Identity) -> bool:
    if held is not None and held.run_id == run_id:
        return held.alive
    session = read_session(state_folder(state_root, run_id))
    who = lease.owner_of(session)
    # A run is only begun with the lease in hand, so one that does not have it is over, even if its owner lives on.
    return who is not None and held is None and who != me and process.is_running(who) and not session.get("kept")


def _foreign_kubeconfig(session: dict[str, Any], state: Path) -> str | None:
    """That of a cluster which was there before the run: what the run left in it is not gone with the state."""
    path = session.get("kubeconfig")
    return path if isinstance(path, str) and not Path(path).is_relative_to(state) else None


def _unborn_results(session: dict[str, Any], state_root: Path) -> Path | None:
    """The results folder of a run whose start was cut short: it has what start writes first, and no run.json."""
    results = session.get("results")
    if not isinstance(results, str) or Path(results).name != session.get("run_id"):
        return None
    folder = Path(results)
    if not folder.is_dir() or folder.is_relative_to(state_root) or (folder / "run.json").exists():
        return None
    inside = {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}
    return folder if all(fnmatch.fnmatchcase(name, UNBORN) or name == "plan.json" for name in inside) else None
