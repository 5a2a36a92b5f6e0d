# SPDX-License-Identifier: GPL-3.0-or-later
"""A run from its first file to its last: begin, end, and which old ones are pruned."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import checks, jsonfile, lease, plan, reap, session
from .errors import ConfigurationError, NightbenchError
from .places import Places
from .process import Identity
from .project import Project

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Request:
    """What the caller asked for, as start.yml hands it over."""

    places: Places
    run_id: str = ""
    resume: bool = False
    suites: list[str] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    environment_roles: list[str] = field(default_factory=list)
    keep: str = checks.KEEP[0]
    keep_runs: Any = 30
    kubeconfig: str | None = None
    run_tags: list[str] = field(default_factory=list)
    skip_tags: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    given: dict[str, Any] = field(default_factory=dict)
    #: It runs on another machine: its results may be here before its plan.
    elsewhere: bool = False
    results_bytes: int = 0
    state_bytes: int = 0


@dataclass
class Begun:
    """A run that has begun; in check mode, one that would."""

    session: session.Session
    plan: dict[str, Any]
    reaped: list[reap.Reaped] = field(default_factory=list)
    pruned: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


def prepare(project: Project, request: Request, now: datetime) -> dict[str, Any]:
    """The plan; raises one error that names everything that is wrong with the request."""
    problems = [
        *checks.run_id(request.run_id),
        *checks.tags(project, request.run_tags, request.skip_tags),
        *checks.variables(project, request.names, request.given),
        *checks.suites(project, request.suites),
        *checks.environment_roles(request.environment_roles, project.roles),
        *checks.one_of("nightbench_keep", request.keep, checks.KEEP),
    ]
    counts, wrong_counts = checks.counts(request.counts)
    chosen = plan.selected(project.stages, request.run_tags, request.skip_tags)
    wanted = [stage.name for stage in chosen if stage.name in (request.suites or project.suites)]
    suites = [plan.resolve(project, name, request.settings, problems) for name in wanted if name in project.suites]
    problems += wrong_counts
    plan.whole_number("nightbench_results_keep", request.keep_runs, 1, checks.COUNT_MOST, problems)
    for path, needed in (
        (request.places.results_root, request.results_bytes),
        (request.places.state_root, request.state_bytes),
    ):
        problems += checks.folder(path, needed)
    told = {problem.partition(" ")[0] for problem in problems}
    problems += [one for one in checks.types(project, request.given) if one.partition(" ")[0] not in told]
    if problems:
        raise ConfigurationError("\n".join(dict.fromkeys(problems)), exit_code=2)
    if request.run_id and not request.elsewhere:
        _earlier(request.places.results(request.run_id), request.resume)
    elif request.resume:
        raise ConfigurationError("nightbench_resume needs nightbench_run_id, the run to go on with.", exit_code=2)
    parameters = {
        **counts,
        **{f"{suite.name}_{key}": value for suite in suites for key, value in _settings(suite).items()},
    }
    return plan.make(request.run_id or new_run_id(now), stamp(now), project.stages, chosen, suites, parameters)


def begin(request: Request, planned: dict[str, Any], facts: Mapping[str, Any], me: Identity, now: datetime) -> Begun:
    """Take the machine, end what dead runs left on it, and write what the run begins with."""
    places, run_id = request.places, planned["run_id"]
    with lease.locked(places.state_root):
        held = lease.read(places.state_root)
        if held is not None and held.alive and (held.owner != me or held.run_id != run_id):
            raise lease.taken(held)
        resumed = _earlier(places.results(run_id), request.resume)
        dead = [name for name in reap.dead_runs(places.state_root, me) if not (resumed and name == run_id)]
        reaped = [reap.reap(places.state_root, name) for name in dead]
        made = _make(request, resumed or planned, facts, me, now, resumed=resumed is not None)
    pruned, damaged = prune(places.results_root, int(request.keep_runs), run_id)
    return Begun(made, resumed or planned, reaped, pruned, damaged)


def foresee(request: Request, planned: dict[str, Any], facts: Mapping[str, Any], now: datetime) -> None:
    """What a run on another machine is judged by; nothing is taken and nothing is started here."""
    results = request.places.results(planned["run_id"])
    jsonfile.write_atomic(results / "plan.json", planned)
    jsonfile.write_atomic(results / "run.json", _document(request, planned["run_id"], facts, now))


def end(places: Places, run_id: str, now: datetime, *, keep: bool, check: bool = False) -> reap.Reaped | None:
    """Note the end and free the machine; with `keep` the environment stays until the next start. None: had ended."""
    state, results = places.state(run_id), places.results(run_id)
    with lease.locked(places.state_root) if places.state_root.is_dir() else contextlib.nullcontext():
        held = lease.read(places.state_root)
        if not state.is_dir() and (held is None or held.run_id != run_id):
            return None
        if not keep:
            try:
                if not check:
                    record(results, reap.read_session(state), ended_at=stamp(now))
            finally:  # a full disk is told, and yet nothing may run on
                done = reap.reap(places.state_root, run_id, check=check)
            return done
        if not check:
            record(results, reap.read_session(state), ended_at=stamp(now))
        if not check:
            stored = reap.read_session(state)
            jsonfile.write_atomic(state / "session.json", {**stored, "kept": True}, mode=0o600)
            lease.release(places.state_root, run_id)
    return reap.Reaped(run_id, lease_freed=True)


def record(results: Path, stored: Mapping[str, Any], **more: Any) -> bool:
    """Bring run.json up to what the session and the observations know; whether it changed."""
    document = jsonfile.read(results / "run.json")
    if not isinstance(document, dict):
        raise ConfigurationError(f"read {results / 'run.json'}: it is no object.", hint="The results are half-written.")
    configuration = dict(document.get("effective_configuration") or {})
    for observation in jsonfile.read_lines(results / "observations.jsonl"):
        if observation.get("kind") == "subject" and observation.get("subject"):
            configuration[observation["subject"]] = observation.get("values")
    updated = {
        **document,
        "tools": session.merged_deep(document.get("tools") or {}, stored.get("tools") or {}),
        "effective_configuration": session.merged_deep(configuration, stored.get("effective_configuration") or {}),
        **more,
    }
    if updated == document:
        return False
    jsonfile.write_atomic(results / "run.json", updated)
    return True


def flush(stored: Mapping[str, Any]) -> bool:
    """run.json up to date, and what the run has written so far on the disk, not only in the machine's memory."""
    results = Path(stored["results"])
    changed = record(results, stored)
    stage = [*Path(stored["stage_dir"]).glob("*")] if stored.get("stage_dir") else []
    for path in (*results.glob("*.jsonl"), *results.glob("samples/*/*"), *stage):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
    return changed


def prune(results_root: Path, keep: int, current: str) -> tuple[list[str], list[str]]:
    """Remove the oldest finished runs beyond `keep`; a folder that cannot be read is named and left alone."""
    finished, damaged = [], []
    for folder in sorted(results_root.glob("*")):
        if not folder.is_dir() or folder.is_symlink() or not checks.RUN_ID.fullmatch(folder.name):
            continue
        if folder.name == current:
            continue
        problem = half_written(folder)
        if problem:
            damaged.append(problem)
        elif jsonfile.read(folder / "run.json").get("ended_at"):
            finished.append(folder)
    surplus = finished[: max(0, len(finished) - keep)]  # the names sort by time
    for folder in surplus:
        shutil.rmtree(folder)
    return [str(folder) for folder in surplus], damaged


def half_written(folder: Path) -> str | None:
    """What is wrong with a results folder, or None."""
    for name in ("run.json", "plan.json"):
        try:
            document = jsonfile.read(folder / name)
        except ConfigurationError as error:
            return f"{folder} is half-written and not used: {error.message}. Remove it by hand."
        if document is None:
            return f"{folder} is half-written and not used: it has no {name}. Remove it by hand."
        if not isinstance(document, dict) or document.get("run_id") != folder.name:
            return f"{folder} is not used: its {name} is of another run. Remove it by hand."
    return None


def new_run_id(now: datetime) -> str:
    """`20261122T183000Z-1a2b`: sorts by time, and two in one second still differ."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def stamp(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _earlier(results: Path, resume: bool) -> dict[str, Any] | None:
    """The plan of the run that is resumed; None for a new one."""
    begun = results.is_dir() and {path.name for path in results.iterdir()} - {"stages", "state.json"}
    if not begun:
        if resume:
            raise ConfigurationError(
                f"There is nothing to resume: no results of run {results.name} in {results.parent}.", exit_code=2
            )
        return None
    problem = half_written(results)
    if problem:
        raise ConfigurationError(problem, exit_code=2)
    if not resume:
        raise ConfigurationError(
            f"There are results of run {results.name} already, in {results}.",
            hint="Leave nightbench_run_id out, or go on with that run by -e nightbench_resume=true.",
            exit_code=2,
        )
    planned = jsonfile.read(results / "plan.json")
    assert isinstance(planned, dict)  # half_written has looked
    return planned


def _make(
    request: Request, planned: dict[str, Any], facts: Mapping[str, Any], me: Identity, now: datetime, *, resumed: bool
) -> session.Session:
    """Session and lease first, run.json last: a results folder that has it is whole."""
    places, run_id = request.places, planned["run_id"]
    results, state = places.results(run_id), places.state(run_id)
    new_folder = not results.exists()
    stored = reap.read_session(state) if resumed else {}
    made = {**session.new(run_id, places, me, request.kubeconfig), **stored, "owner": lease.as_json(me)}
    made.pop("kept", None)
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        reap.end_modules(state)
        (state / "stop").unlink(missing_ok=True)
        jsonfile.write_atomic(state / "session.json", made, mode=0o600)
        lease.write(places.state_root, lease.Lease(run_id, me, stamp(now), str(results)))
        for stage in planned["stages"]:
            if stage.get("selected", True):
                (results / "stages" / stage["folder"]).mkdir(parents=True, exist_ok=True)
        session.note_command(results / "stages" / planned["stages"][0]["folder"], str(facts.get("command", "")))
        if resumed:
            record(results, {}, ended_at=None, exit_code=None)
        else:
            jsonfile.write_atomic(results / "plan.json", planned)
            jsonfile.write_atomic(results / "run.json", _document(request, run_id, facts, now))
    except OSError as error:
        _undo(places, run_id, results if new_folder else None, keep_state=resumed)
        raise NightbenchError(
            f"begin run {run_id}: write {error.filename or results}: {os.strerror(error.errno or 0)}.",
            hint="Nothing is left of it.",
            exit_code=3,
        ) from error
    return made


def _document(request: Request, run_id: str, facts: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "started_at": stamp(now),
        "ended_at": None,
        "exit_code": None,
        **facts,
        "variables": request.given,
        "tools": {},
        "effective_configuration": {},
        "environment_roles": request.environment_roles,
    }


def _undo(places: Places, run_id: str, results: Path | None, *, keep_state: bool) -> None:
    """After a failed begin nothing is left behind."""
    if not keep_state:
        shutil.rmtree(places.state(run_id), ignore_errors=True)
    if results is not None:
        shutil.rmtree(results, ignore_errors=True)
    with contextlib.suppress(OSError, NightbenchError):
        lease.release(places.state_root, run_id)


def _settings(suite: plan.Suite) -> dict[str, Any]:
    return {"scenarios": list(suite.scenarios), "subjects": suite.subjects, "repeats": suite.repeats}
