# SPDX-License-Identifier: GPL-3.0-or-later
"""A control plane that kwokctl starts as processes of this machine: what is there, what has to be done, the end of it.

kwokctl forks the components and leaves; from then on they are known by pid and start time (control_plane.json) and,
after a kill at any moment, by the directory that each of them carries in its environment.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from . import jsonfile, process
from .errors import ConfigurationError

NAME = "nightbench"
MARK = "NIGHTBENCH_CONTROL_PLANE"  # the directory, in the environment of every process of the control plane
STATE_FILE = "control_plane.json"
GONE_SECONDS = 10.0


@dataclass(frozen=True)
class Declaration:
    """What the caller asks for."""

    directory: Path
    kwokctl: str = ""
    kubectl: str = ""
    run_id: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    #: Files that are only written: a change of one of the others needs a new control plane.
    loose_files: Sequence[str] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    components: Mapping[str, str] = field(default_factory=dict)
    timeout_seconds: float = 60.0
    stop_file: Path | None = None


@dataclass
class State:
    """control_plane.json; `ready` only once every component has answered."""

    ready: bool = False
    run_id: str = ""
    ports: dict[str, int] = field(default_factory=dict)
    components: dict[str, dict[str, Any]] = field(default_factory=dict)


class Cluster:
    """The directory and what runs out of it."""

    def __init__(self, directory: Path) -> None:
        self.directory = Path(os.path.realpath(directory))
        self.home = self.directory / "clusters" / NAME
        self.kubeconfig = self.home / "kubeconfig.yaml"
        self.audit_log = self.home / "logs" / "audit.log"
        self.pki = self.home / "pki"

    def log(self, component: str) -> Path:
        return self.home / "logs" / f"{component}.log"

    def state(self) -> State | None:
        value = jsonfile.read(self.directory / STATE_FILE)
        return None if value is None else State(**{key: value[key] for key in State.__dataclass_fields__})

    def save(self, state: State) -> None:
        jsonfile.write_atomic(self.directory / STATE_FILE, asdict(state), mode=0o600)

    def file(self, name: str) -> str | None:
        try:
            return (self.directory / name).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None

    def processes(self) -> list[process.Identity]:
        """Every living process that was started out of the directory, whoever started it."""
        mark = f"{MARK}={self.directory}".encode()
        return [
            process.Identity(found.pid, found.start_time)
            for found in process.all_processes()
            if found.running and found.pid != os.getpid() and mark in process.environment_of(found.pid)
        ]

    def recorded(self) -> set[process.Identity]:
        """The components that control_plane.json names, whether they run or not."""
        items = state.components.values() if (state := self.state()) else ()
        return {process.Identity(item["pid"], item["start_time"]) for item in items}

    def dead(self, state: State) -> list[str]:
        return [
            name
            for name, item in state.components.items()
            if not process.is_running(process.Identity(item["pid"], item["start_time"]))
        ]


# --- what has to be done


def plan(state: State | None, run_id: str, dead: Sequence[str], changed: Sequence[str], loose: Sequence[str]) -> str:
    """`create`, `recreate`, `restart` (dead components), `write` (files only) or `nothing`."""
    if state is None:
        return "create"
    if not state.ready or state.run_id != run_id or set(changed) - set(loose):
        return "recreate"
    if dead:
        return "restart"
    return "write" if changed else "nothing"


def changed_files(cluster: Cluster, files: Mapping[str, str]) -> list[str]:
    return [name for name, text in files.items() if cluster.file(name) != text]


# --- absent


def exists(cluster: Cluster) -> bool:
    return os.path.lexists(cluster.directory) or bool(cluster.processes())


def remove(cluster: Cluster) -> None:
    """No process, no port, no file of it is left; a directory that is none of ours is refused."""
    if cluster.directory.is_dir() and any(cluster.directory.iterdir()) and cluster.file(STATE_FILE) is None:
        raise ConfigurationError(
            f"{cluster.directory} holds files and no {STATE_FILE}: it is no control plane of ours.",
            hint="Name another directory; nothing in this one was touched.",
        )
    end_processes(cluster)
    if cluster.directory.is_dir():
        # The state file goes last: a removal that is cut short is still known as ours.
        for entry in sorted(cluster.directory.iterdir(), key=lambda entry: entry.name == STATE_FILE):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        cluster.directory.rmdir()


def end_processes(cluster: Cluster) -> None:
    """Kill everything that carries the directory; the data is thrown away, so nothing needs time to say goodbye."""
    process.kill_all(lambda: cluster.recorded().union(cluster.processes()), "stop the control plane", GONE_SECONDS)
