# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs one ansible-playbook line by ansible-runner in a thread; what runner would leave on disk is not kept."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ansible_runner
from ansible_runner.runner import Runner

from harness.options import PROJECT
from harness.processes import Process, this_process

SCRATCH = "nightbench-runner-"
Event = dict[str, Any]
FAILED_EVENTS = ("runner_on_failed", "runner_on_unreachable", "runner_item_on_failed")


class PlaybookRun:
    """One ansible-playbook process: start it, ask whether it ended, cancel it."""

    def __init__(
        self, argv: list[str], environment: Mapping[str, str], cwd: Path, on_event: Callable[[Event], None]
    ) -> None:
        self._cancel = threading.Event()
        self._on_event = on_event
        self._scratch = Path(tempfile.mkdtemp(prefix=_scratch_prefix(this_process())))
        self._error: BaseException | None = None
        self._runner: Runner = ansible_runner.interface.init_command_config(
            executable(argv[0]),
            cmdline_args=argv[1:],
            private_data_dir=str(self._scratch),
            host_cwd=str(cwd),
            # Ansible's own scratch goes with ours, so that a kill leaves it in one known place.
            envvars={**environment, "ANSIBLE_LOCAL_TEMP": str(self._scratch / "ansible")},
            # How soon a cancel is noticed; runner's own output file would only double ours.
            settings={"pexpect_timeout": 0.2, "suppress_output_file": True},
            fact_cache_type="memory",
            suppress_env_files=True,
            quiet=True,
            event_handler=self._handle,
            status_handler=self._status,
            cancel_callback=self._cancel.is_set,
        )
        self._thread = threading.Thread(target=self._run, name="ansible-runner", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def cancel(self) -> None:
        """Kills ansible-playbook; modules that are at work outlive it and are the caller's to end."""
        self._cancel.set()

    def wait(self, seconds: float) -> bool:
        """True once the process has ended and nothing of runner is left on disk."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            return False
        shutil.rmtree(self._scratch, ignore_errors=True)
        if self._error is not None:
            raise self._error
        return True

    @property
    def rc(self) -> int | None:
        """ansible-playbook's exit status; None when a signal ended it."""
        return None if self._cancel.is_set() else self._runner.rc

    def _run(self) -> None:
        try:
            self._runner.run()
        except BaseException as error:  # noqa: BLE001 - it is raised again in the thread that waits
            self._error = error

    def _handle(self, event: Event) -> bool:
        # Not kept: the stage folder has stdout and events.jsonl, and runner's files would hold every result whole.
        self._on_event(event)
        return False

    def _status(self, status: Mapping[str, Any], **_: Any) -> None:
        # The file "command" holds the whole argv and environment: it is there from "starting", gone from "running" on.
        if status.get("status") == "running":
            with contextlib.suppress(FileNotFoundError):
                (Path(self._runner.config.artifact_dir) / "command").unlink()


def remove_stale_scratch() -> list[Path]:
    """What runner had on disk when a harness was killed: the process named in the folder's name is gone."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        pid, _, begun = folder.name.removeprefix(SCRATCH).partition("-")[0].partition(".")
        if not (pid.isdigit() and begun.isdigit()) or Process(int(pid), int(begun)).alive:
            continue
        if folder.lstat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder)
    return removed


def _scratch_prefix(owner: Process) -> str:
    return f"{SCRATCH}{owner.pid}.{owner.start_time}-"


def ansible_environment(project: Path, cwd: Path) -> dict[str, str]:
    """What ansible-playbook needs of us in any directory and under runner."""
    plugins = [os.environ.get("ANSIBLE_CALLBACK_PLUGINS", ""), str(PROJECT / "plugins" / "callback")]
    return {
        # In a world-writable directory Ansible ignores ansible.cfg unless it is named.
        "ANSIBLE_CONFIG": os.environ.get("ANSIBLE_CONFIG") or str(project / "ansible.cfg"),
        # Runner sets this variable, and what is set beats callback_plugins of ansible.cfg.
        "ANSIBLE_CALLBACK_PLUGINS": ":".join(filter(None, plugins)),
        "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "PWD": str(cwd),
    }


def executable(name: str) -> str:
    """The program of our own Python environment, else the one in PATH."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or name


def failure_text(event: Event) -> str | None:
    """Why a task failed, when this event tells of a failure; our own modules need no task's name to be understood."""
    if event.get("event") not in FAILED_EVENTS:
        return None
    data = event.get("event_data", {})
    if data.get("ignore_errors"):
        return None
    result = data.get("res")
    message = message_of(result)
    ours = isinstance(result, dict) and "exit_code" in result
    return message if ours else f"{data.get('task', 'a task')}: {message}"


def message_of(result: Any) -> str:
    """The one sentence of a result that says what went wrong."""
    if not isinstance(result, dict):
        return str(result)
    for name in ("msg", "stderr", "module_stderr", "stdout", "exception"):
        text = result.get(name)
        if text:
            return "\n".join(map(str, text)) if isinstance(text, list) else str(text).strip()
    return "failed without a message"
