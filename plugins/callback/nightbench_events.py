# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes what every task did into the folder of its stage, and says now and then how far a long module is."""

from __future__ import annotations

DOCUMENTATION = r"""
name: nightbench_events
type: aggregate
short_description: One JSON line per task event in the folder of the stage
version_added: 0.1.0
description:
  - Appends to C(events.jsonl) in the folder of the stage that runs. The folder is taken from the session
    (fact C(nightbench_session), entry C(stage_dir)) or from the environment variable E(NIGHTBENCH_STAGE_DIR).
    Events that come before the folder is known wait for it. The plugin never makes the folder of a run.
  - Writes C(command.txt), the line that repeats this one stage, where there is none yet.
  - Prints a line now and then while a module reports its progress in C(progress.jsonl).
  - Keeps names, outcomes and times of tasks, never their arguments; of results only the message of a failure,
    and nothing at all of tasks with C(no_log).
options:
  progress_seconds:
    description: Seconds between two lines of progress; V(0) prints none.
    type: float
    default: 10
    env:
      - name: NIGHTBENCH_PROGRESS_SECONDS
    ini:
      - section: nightbench_events
        key: progress_seconds
author:
  - Nightbench (@nightbench)
"""

EXAMPLES = r"""
# ansible.cfg
# [defaults]
# callback_plugins = plugins/callback
# callbacks_enabled = nightbench_events
"""

import json
import os
import re
import shlex
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from ansible import context
from ansible.plugins.callback import CallbackBase

HIDDEN = "********"
# The same rules as harness/redact.py; a test compares the two.
SECRET_NAME = re.compile(r"pass|token|secret|key|credential", re.IGNORECASE)
URL_LOGIN = re.compile(r"(?<=://)[^/@\s]+(?=@)")
EXTRA_VARS_FLAGS = ("-e", "--extra-vars")
MESSAGE_LIMIT = 4000


class CallbackModule(CallbackBase):
    """Aggregate: works beside whatever prints to the screen."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "nightbench_events"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._lock = threading.Lock()
        self._waiting: list[dict[str, Any]] = []
        self._stage_dir: Path | None = None
        self._fixed_dir: Path | None = None
        self._run_id = os.environ.get("NIGHTBENCH_RUN_ID", "")
        self._playbook = ""
        self._began: dict[tuple[str, str], float] = {}
        self._ended = threading.Event()
        self._printer: threading.Thread | None = None

    def v2_playbook_on_start(self, playbook: Any) -> None:
        self._playbook = str(getattr(playbook, "_file_name", "") or "")
        fixed = os.environ.get("NIGHTBENCH_STAGE_DIR", "")
        if fixed:
            self._stage_dir = self._fixed_dir = Path(fixed)
        self._add("playbook_start", playbook=self._playbook)
        if float(self.get_option("progress_seconds")) > 0:
            self._printer = threading.Thread(target=self._print_progress, name="nightbench-progress", daemon=True)
            self._printer.start()

    def v2_playbook_on_play_start(self, play: Any) -> None:
        path = str(play.get_path() or "").rpartition(":")[0]
        if self._fixed_dir is None and path != self._playbook:
            # Another file is another stage; until its play has loaded the session, the folder is not known.
            self._stage_dir = None
        self._playbook = path or self._playbook
        self._add("play_start", play=play.get_name())

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._add("task_start", **_of_task(task))

    def v2_playbook_on_handler_task_start(self, task: Any) -> None:
        self._add("task_start", handler=True, **_of_task(task))

    def v2_runner_on_start(self, host: Any, task: Any) -> None:
        self._began[(host.get_name(), str(task._uuid))] = time.monotonic()

    def v2_runner_on_ok(self, result: Any) -> None:
        self._learn(result)
        self._result("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._result("failed", result, ignored=bool(ignore_errors))

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._result("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._result("unreachable", result)

    def v2_runner_retry(self, result: Any) -> None:
        self._result("retry", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = {host: dict(stats.summarize(host)) for host in sorted(stats.processed)}
        self._add("stats", hosts=hosts)
        self._ended.set()
        self._flush()
        if self._printer is not None:
            self._printer.join(timeout=2)

    def _result(self, outcome: str, result: Any, **more: Any) -> None:
        task, host, data = _parts(result)
        begun = self._began.pop((host.get_name(), str(task._uuid)), None)
        entry = {"host": host.get_name(), "changed": bool(data.get("changed")), **_of_task(task), **more}
        if begun is not None:
            entry["seconds"] = round(time.monotonic() - begun, 4)
        hidden = bool(data.get("_ansible_no_log") or getattr(task, "no_log", False))
        if outcome in ("failed", "unreachable", "retry"):
            entry["message"] = "hidden by no_log" if hidden else _message(data)
        self._add(f"task_{outcome}", **entry)

    def _learn(self, result: Any) -> None:
        """The session says which folder is this stage's."""
        _, _, data = _parts(result)
        facts = data.get("ansible_facts")
        session = facts.get("nightbench_session") if isinstance(facts, dict) else None
        if not isinstance(session, dict) or not session.get("stage_dir"):
            return
        self._run_id = str(session.get("run_id", self._run_id))
        if self._fixed_dir is None:
            self._stage_dir = Path(str(session["stage_dir"]))

    def _add(self, event: str, **more: Any) -> None:
        with self._lock:
            self._waiting.append({"at": _now(), "event": event, **more})
        self._flush()

    def _flush(self) -> None:
        """What is written is written at once: a kill loses at most the event it interrupts."""
        folder = self._stage_dir
        if folder is None or not (folder.is_dir() or folder.parent.parent.is_dir()):
            return
        with self._lock:
            lines, self._waiting = self._waiting, []
        try:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
            command = folder / "command.txt"
            if not command.exists():
                command.write_text(self._command(), encoding="utf-8")
            with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line, default=str) + "\n" for line in lines)
        except OSError as error:
            # A full disk must not end the run from here: the modules that measure will say it.
            self._display.warning(f"nightbench_events: cannot write into {folder}: {error.strerror}")
            self._stage_dir = self._fixed_dir = None

    def _command(self) -> str:
        """This process's own command line, with the playbook of this stage alone."""
        playbooks = list(context.CLIARGS.get("args", ()))
        shown = _shown(self._playbook)
        argv = redact_argv([word for word in sys.argv[1:] if word not in playbooks])
        if self._run_id and not any(word == f"nightbench_run_id={self._run_id}" for word in argv):
            argv += ["-e", f"nightbench_run_id={self._run_id}"]
        return shlex.join(["ansible-playbook", *argv, shown or " ".join(playbooks)]) + "\n"

    def _print_progress(self) -> None:
        """A thread: long modules do not return before they are done."""
        every = float(self.get_option("progress_seconds"))
        offsets: dict[Path, int] = {}
        while not self._ended.wait(every):
            folder = self._stage_dir
            if folder is None:
                continue
            path = folder / "progress.jsonl"
            step, offsets[path] = _last_step(path, offsets.get(path))
            if step is not None:
                self._display.display(f"nightbench: {progress_text(step)}")


def progress_text(step: dict[str, Any]) -> str:
    """`fill 1/3: 1,234 of 4,000 pods bound`."""
    head = f"{step['task']}: " if step.get("task") else ""
    asked = f" of {step['asked']:,.0f}" if step.get("asked") else ""
    return f"{head}{step.get('done', 0):,.0f}{asked} {step.get('unit', '')}".rstrip()


def redact_argv(argv: list[str]) -> list[str]:
    """The same argv with the secrets in -e values hidden; @files stay as they are."""
    shown: list[str] = []
    for position, word in enumerate(argv):
        flag, equals, value = word.partition("=")
        if position and argv[position - 1] in EXTRA_VARS_FLAGS:
            shown.append(redact_extra_vars(word))
        elif flag == "--extra-vars" and equals:
            shown.append(f"{flag}={redact_extra_vars(value)}")
        elif word.startswith("-e") and len(word) > 2:
            shown.append("-e" + redact_extra_vars(word[2:]))
        else:
            shown.append(URL_LOGIN.sub(HIDDEN, word))
    return shown


def redact_extra_vars(value: str) -> str:
    """One -e value: `@file`, JSON or YAML, or `name=value` words."""
    if value.startswith("@"):
        return value
    if value.lstrip().startswith(("{", "[")):
        try:
            return json.dumps(_redact_tree(yaml.safe_load(value)))
        except yaml.YAMLError:
            return HIDDEN
    try:
        words = shlex.split(value)
    except ValueError:
        words = value.split()
    shown = [_redact_word(word) for word in words]
    return value if shown == words else " ".join(shown)


def _redact_word(word: str) -> str:
    name, equals, value = word.partition("=")
    if equals and value and SECRET_NAME.search(name):
        return f"{name}={HIDDEN}"
    return URL_LOGIN.sub(HIDDEN, word)


def _redact_tree(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {name: HIDDEN if _is_secret(name, value) else _redact_tree(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_redact_tree(value) for value in tree]
    return URL_LOGIN.sub(HIDDEN, tree) if isinstance(tree, str) else tree


def _is_secret(name: Any, value: Any) -> bool:
    return bool(SECRET_NAME.search(str(name))) and not isinstance(value, bool) and value is not None


def _last_step(path: Path, offset: int | None) -> tuple[dict[str, Any] | None, int]:
    """The last whole line appended since the last look; None when nothing came."""
    try:
        size = path.stat().st_size
        if offset is None or size <= offset:
            return None, size if offset is None else offset
        with path.open("rb") as file:
            file.seek(offset)
            chunk = file.read(size - offset)
    except OSError:
        return None, 0 if offset is None else offset
    whole, newline, _ = chunk.rpartition(b"\n")
    if not newline:
        return None, offset
    try:
        step = json.loads(whole.rpartition(b"\n")[2])
    except ValueError:
        step = None
    return (step if isinstance(step, dict) else None), offset + len(whole) + 1


def _parts(result: Any) -> tuple[Any, Any, dict[str, Any]]:
    """ansible-core 2.19 made these public and will take the old names away."""
    if hasattr(result, "result"):
        return result.task, result.host, dict(result.result)
    return result._task, result._host, dict(result._result)


def _of_task(task: Any) -> dict[str, Any]:
    role = getattr(task, "_role", None)
    return {
        "task": str(task.get_name()),
        "action": str(task.action),
        "role": str(role.get_name()) if role is not None else None,
        "path": _shown(task.get_path() or "") or None,
    }


def _shown(path: str) -> str:
    """Relative where that is shorter."""
    return os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path


def _message(data: dict[str, Any]) -> str:
    for name in ("msg", "stderr", "module_stderr"):
        if data.get(name):
            return str(data[name]).strip()[:MESSAGE_LIMIT]
    failed = [item for item in data.get("results", []) if isinstance(item, dict) and item.get("failed")]
    return _message(failed[0]) if failed else "failed without a message"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
