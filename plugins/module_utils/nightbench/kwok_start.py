# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring a control plane up by kwokctl, and say why when a component of it does not live."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import ports, process
from .errors import ConfigurationError, DeadlineExceeded, ProcessError, Stopped
from .kwok_cluster import MARK, NAME, Cluster, Declaration, State, end_processes, remove
from .process import log_tail

RELEASE_SECONDS = 10.0
POLL_SECONDS = 0.05
API_SERVER = "kube-apiserver"
#: It ends when the API server is not healthy within 10 s (WaitForAPIServer), and a busy machine takes longer.
IMPATIENT = "kube-controller-manager"


class ComponentEnded(ProcessError):
    """A component has ended before all of them were ready."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


def create(cluster: Cluster, wanted: Declaration) -> State:
    """A new control plane, ready; when it fails nothing runs any more and the directory keeps the logs."""
    remove(cluster)
    _refuse_taken_ports(wanted)
    state = State(run_id=wanted.run_id, ports=dict(wanted.ports))
    cluster.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    cluster.save(state)
    write_files(cluster, wanted.files)
    tools = cluster.directory / "bin"
    tools.mkdir()
    (tools / "kubectl").symlink_to(wanted.kubectl)
    arguments = ["create", "cluster", "--kubeconfig=", f"--config={cluster.directory / 'kwokctl.yaml'}"]
    return _bring_up(cluster, wanted, state, arguments)


def restart(cluster: Cluster, wanted: Declaration, state: State, dead: Sequence[str]) -> State:
    """Start the components that have ended; their data is kept."""
    for name in dead:
        # A pid that another process has now would make kwokctl believe that the component runs.
        (cluster.home / "pids" / f"{name}.pid").unlink(missing_ok=True)
    return _bring_up(cluster, wanted, state, ["start", "cluster"])


def _bring_up(cluster: Cluster, wanted: Declaration, state: State, arguments: list[str]) -> State:
    deadline = time.monotonic() + wanted.timeout_seconds
    try:
        try:
            _run_kwokctl(cluster, wanted, arguments, deadline)
            _wait_ready(cluster, wanted, deadline)
        except ComponentEnded as error:
            if error.name != IMPATIENT or not probe(cluster, wanted.components.get(API_SERVER, "")):
                raise
            _start_impatient(cluster, wanted, deadline)
        state.components = {name: _component(cluster, name, state.components.get(name)) for name in wanted.components}
        state.ready = True
    except BaseException as error:
        state.ready = False
        end_processes(cluster)
        if isinstance(error, ProcessError | DeadlineExceeded):
            # A port that was taken between the look and the start explains more than the component's last words.
            _refuse_taken_ports(wanted)
        raise
    finally:
        cluster.save(state)
    return state


def _holders(wanted: Declaration) -> list[ports.Holder]:
    """Who listens on our ports; a process that was killed does, unseen, until the last of its threads is gone."""
    deadline = time.monotonic() + RELEASE_SECONDS
    while True:
        taken = ports.holders(set(wanted.ports.values()))
        if not taken or any(holder.pid for holder in taken) or time.monotonic() > deadline:
            return taken
        time.sleep(POLL_SECONDS)


def _refuse_taken_ports(wanted: Declaration) -> None:
    """Nothing of ours runs when this is called; `ports_taken` names the ports, so that others can be chosen."""
    taken = _holders(wanted)
    if taken:
        numbers = {holder.port for holder in taken}
        raise ConfigurationError(
            f"start the control plane: {'; '.join(str(holder) for holder in taken)}.",
            hint="End that process, or leave the port at 0 so that a free one is chosen.",
            ports_taken=[name for name, port in wanted.ports.items() if port in numbers],
        )


def _start_impatient(cluster: Cluster, wanted: Declaration, deadline: float) -> None:
    """Once the rest is ready, start the component that did not wait for it; once, for it may have ended otherwise."""
    patient = {name: url for name, url in wanted.components.items() if name != IMPATIENT}
    _wait_ready(cluster, replace(wanted, components=patient), deadline)
    (cluster.home / "pids" / f"{IMPATIENT}.pid").unlink(missing_ok=True)
    _run_kwokctl(cluster, wanted, ["start", "cluster"], deadline)
    _wait_ready(cluster, wanted, deadline)


def _run_kwokctl(cluster: Cluster, wanted: Declaration, arguments: list[str], deadline: float) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("KWOK_", "KUBECONFIG"))}
    environment = {
        **inherited,
        "PATH": f"{cluster.directory / 'bin'}:{os.environ.get('PATH', os.defpath)}",
        "KWOK_WORKDIR": str(cluster.directory),
        process.RUN_VARIABLE: wanted.run_id,
        MARK: str(cluster.directory),
    }
    argv = [wanted.kwokctl, *arguments, "--name", NAME]
    log_path = cluster.directory / "kwokctl.log"
    with open(log_path, "ab") as log:
        try:
            running = subprocess.Popen(
                argv, env=environment, cwd=cluster.directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        except OSError as error:
            raise ConfigurationError(f"start the control plane: execute {wanted.kwokctl}: {error.strerror}.") from error
    try:
        while running.poll() is None:
            _check(cluster, wanted, deadline, "kwokctl has not returned")
            time.sleep(POLL_SECONDS)
    finally:
        if running.poll() is None:
            running.kill()
            running.wait()
    if running.returncode:
        raise ProcessError(
            f"start the control plane: {' '.join(argv)} ended with {running.returncode}. The end of {log_path}:\n"
            f"{log_tail(log_path)}"
        )


def _wait_ready(cluster: Cluster, wanted: Declaration, deadline: float) -> None:
    waiting = dict(wanted.components)
    seen = ""
    while waiting:
        for name, url in list(waiting.items()):
            seen = probe(cluster, url)
            if seen:
                break
            del waiting[name]
        if waiting:
            _check(cluster, wanted, deadline, f"{next(iter(waiting))} answers {seen}")
            time.sleep(POLL_SECONDS)


def _check(cluster: Cluster, wanted: Declaration, deadline: float, seen: str) -> None:
    """Raise when there is no use in waiting on: a component has ended, time is up, or the run wants to stop."""
    for name in wanted.components:
        pid = _pid(cluster, name)
        if pid is not None and process.identity(pid) is None:
            raise ComponentEnded(f"start the control plane: {_died(cluster, name)}", name)
    if wanted.stop_file is not None and wanted.stop_file.exists():
        raise Stopped("start the control plane: stopped, because the run asked for it.")
    if time.monotonic() > deadline:
        missing = next((name for name, url in wanted.components.items() if probe(cluster, url)), "")
        raise DeadlineExceeded(
            f"start the control plane: not ready after {wanted.timeout_seconds:g} s: {seen}. "
            f"The end of {cluster.log(missing)}:\n{log_tail(cluster.log(missing))}"
        )


def _died(cluster: Cluster, name: str) -> str:
    return f"{name} has ended. The end of {cluster.log(name)}:\n{log_tail(cluster.log(name))}"


def probe(cluster: Cluster, url: str) -> str:
    """Empty when the URL answers 200 to the cluster's administrator, else what was seen."""
    try:
        _get(cluster, url)
    except urllib.error.HTTPError as error:
        return f"{url}: {error.code} {error.reason}"
    except (OSError, ValueError) as error:
        return f"{url}: {error}"
    return ""


def versions(cluster: Cluster, urls: Mapping[str, str]) -> dict[str, str]:
    """What the components say about themselves, as far as they do; `urls` as in Declaration.components."""
    found = {}
    for name, url in urls.items():
        with contextlib.suppress(OSError, ValueError):
            said = json.loads(_get(cluster, f"{url.rsplit('/', 1)[0]}/version"))
            found[name] = said.get("gitVersion") or said.get("etcdserver")
    return {name: version for name, version in found.items() if version}


def _get(cluster: Cluster, url: str) -> bytes:
    context = None
    if url.startswith("https:"):
        context = ssl.create_default_context(cafile=str(cluster.pki / "ca.crt"))
        context.load_cert_chain(cluster.pki / "admin.crt", cluster.pki / "admin.key")
    with urllib.request.urlopen(url, timeout=2, context=context) as answer:
        body: bytes = answer.read()
    return body


def _component(cluster: Cluster, name: str, known: dict[str, Any] | None) -> dict[str, Any]:
    pid = _pid(cluster, name)
    who = process.identity(pid) if pid is not None else None
    if who is None:
        raise ProcessError(f"start the control plane: {_died(cluster, name)}")
    if known and (known["pid"], known["start_time"]) == (who.pid, who.start_time):
        return known
    argv = Path(f"/proc/{who.pid}/cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    return {
        **asdict(who),
        "argv": argv,
        "log": str(cluster.log(name)),
        "started_at": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
    }


def _pid(cluster: Cluster, name: str) -> int | None:
    try:
        return int((cluster.home / "pids" / f"{name}.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


def write_files(cluster: Cluster, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = cluster.directory / name
        new = path.with_name(f".{name}.new")
        new.write_text(text, encoding="utf-8")
        new.chmod(0o600)
        new.replace(path)
