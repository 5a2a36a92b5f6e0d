# SPDX-License-Identifier: GPL-3.0-or-later
"""The session of a run: what its stages have to know of each other, in `<run state>/session.json`."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from . import jsonfile, lease, reap
from .errors import ConfigurationError, NightbenchError, Stopped
from .names import unknown
from .places import Places
from .process import Identity
from .project import Project, Stage

SCHEMA_VERSION = 1
NO_SESSION = "Run playbooks/start.yml first, or give -e nightbench_run_id=RUN-ID of a run that has not ended."
#: These run although the run was asked to stop, so that it ends in order.
FINAL_STAGES = frozenset({"report", "teardown", "verdict"})
#: What view() adds for the caller; never stored.
COMPUTED = ("failed_stages", "stage", "stage_dir", "progress", "planned")
Session = dict[str, Any]


def new(run_id: str, places: Places, owner: Identity, kubeconfig: str | None) -> Session:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "results": str(places.results(run_id)),
        "state": str(places.state(run_id)),
        "owner": lease.as_json(owner),
        "kubeconfig": kubeconfig,
        "audit_log": None,
        "tools": {},
        "components": {},
    }


def find(places: Places, run_id: str, me: Identity, *, since: str, ended_too: bool, check: bool = False) -> Session:
    """The session of the run that this process belongs to, or of the one that is named.

    A run whose owner is gone is adopted: a stage that is run alone goes on with it, and so does `resume`.
    """
    with lease.locked(places.state_root) if places.state_root.is_dir() else contextlib.nullcontext():
        held = lease.read(places.state_root)
        if not run_id:
            if held is None:
                raise ConfigurationError("There is no session: no run has been started.", hint=NO_SESSION)
            if held.owner != me and held.alive:
                raise lease.taken(held)
            if held.owner != me:
                raise ConfigurationError(
                    f"Run {held.run_id} was left by its process (pid {held.owner.pid}) and no run-id is given.",
                    hint=f"Go on with -e nightbench_run_id={held.run_id}, or end it with playbooks/reap.yml.",
                )
            run_id = held.run_id
        session = jsonfile.read(places.state(run_id) / "session.json")
        if session is None:
            return _ended(places, run_id, ended_too)
        if held is not None and held.alive and held.owner != me:
            raise lease.taken(held)
        if held is not None and held.run_id != run_id:
            gone = "" if held.alive else f", though its process (pid {held.owner.pid}) is gone"
            raise NightbenchError(
                f"Run {run_id} was asked for, but run {held.run_id} has the machine{gone}.",
                hint=f"End that one first: playbooks/reap.yml or 'python -m harness clean {held.run_id}'.",
                exit_code=3,
            )
        if (held is None or held.owner != me) and not check:
            _adopt(places, session, me, since)
    return dict(session)


def begin_stage(
    session: Session, stage: Stage, command: str, *, check: bool = False
) -> tuple[Session, list[dict[str, Any]]]:
    """The session as the stage sees it; its folder is there, and nothing of an earlier stage is at work."""
    folder = Path(session["results"]) / "stages" / stage.folder
    state = Path(session["state"]) if session.get("state") else None
    ended: list[dict[str, Any]] = []
    if state is not None and state.is_dir():
        stop = state / "stop"
        if stop.exists() and stage.name not in FINAL_STAGES:
            raise Stopped(f"Stage {stage.name} was not begun: the run was asked to stop.", exit_code=130)
        ended = reap.end_modules(state, check=check)
        if not check:
            stop.unlink(missing_ok=True)
    if not check:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "FAILURE").unlink(missing_ok=True)
        note_command(folder, command)
    return view(session, stage), ended


def note_command(folder: Path, command: str) -> None:
    """How to run the stage again; the harness has written its own, exact line before."""
    path = folder / "command.txt"
    if not path.exists():
        path.write_text(f"{command}\n", encoding="utf-8")


def view(session: Session, stage: Stage | None) -> Session:
    """The session with what is computed for the caller and never stored."""
    results = Path(session["results"])
    seen = {**session, "failed_stages": failed_stages(results)}
    if stage is not None:
        folder = results / "stages" / stage.folder
        seen |= {
            "stage": stage.name,
            "stage_dir": str(folder),
            "progress": str(folder / "progress.jsonl"),
            "planned": planned(results, stage.name),
        }
    return seen


def planned(results: Path, suite: str) -> list[dict[str, str]]:
    """Every scenario and subject that the plan expects of a suite."""
    document = jsonfile.read(results / "plan.json") or {}
    pairs = ((one["scenario"], one["subject"]) for one in document.get("records", []) if one["suite"] == suite)
    return [{"scenario": scenario, "subject": subject} for scenario, subject in dict.fromkeys(pairs)]


def failed_stages(results: Path) -> dict[str, str]:
    """Name and reason of every stage that has a FAILURE file."""
    failed = {}
    for path in sorted(results.glob("stages/*/FAILURE")):
        name = path.parent.name.partition("__")[2]
        try:
            failure = jsonfile.read(path)
        except ConfigurationError:
            failure = None
        failed[name] = str((failure or {}).get("reason") or f"{path} is damaged")
    return failed


def merge(session: Session, change: Mapping[str, Any], *, check: bool = False) -> tuple[Session, bool]:
    """Merge into the stored session; two at once both keep what they brought."""
    if session.get("state") is None:
        raise ConfigurationError(f"Run {session['run_id']} has ended: nothing more goes into its session.")
    path = Path(session["state"]) / "session.json"
    if check:
        merged = merged_deep(session, change)
        return merged, merged != session
    with _locked(path.with_name(".session.lock")):
        stored = jsonfile.read(path)
        if stored is None:
            raise ConfigurationError(f"There is no session {path}.", hint=NO_SESSION)
        merged = merged_deep(stored, change)
        if merged != stored:
            jsonfile.write_atomic(path, merged, mode=0o600)
    return merged, merged != stored


def merged_deep(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; anything else replaces what was there."""
    merged = dict(base)
    for name, value in change.items():
        old = merged.get(name)
        merged[name] = merged_deep(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def stage_named(project: Project, name: str) -> Stage:
    for stage in project.stages:
        if stage.name == name:
            return stage
    raise ConfigurationError(unknown("stage", [name], [stage.name for stage in project.stages])[0])


def _adopt(places: Places, session: Session, me: Identity, since: str) -> None:
    session["owner"] = lease.as_json(me)
    session.pop("kept", None)
    jsonfile.write_atomic(places.state(session["run_id"]) / "session.json", session, mode=0o600)
    lease.write(places.state_root, lease.Lease(session["run_id"], me, since, session["results"]))


def _ended(places: Places, run_id: str, allowed: bool) -> Session:
    """What is left of the session of a run that has ended: where its results lie."""
    results = places.results(run_id)
    document = jsonfile.read(results / "run.json")
    if not isinstance(document, dict):
        raise ConfigurationError(f"There is no session of run {run_id}, and no results in {results}.", hint=NO_SESSION)
    if not allowed:
        raise ConfigurationError(
            f"Run {run_id} has ended, its environment is gone.",
            hint=f"Go on with -e nightbench_run_id={run_id} -e nightbench_resume=true from playbooks/start.yml on.",
        )
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "results": str(results),
        "state": None,
        "owner": None,
        "kubeconfig": None,
        "audit_log": None,
        "tools": document.get("tools") or {},
        "components": {},
    }


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
