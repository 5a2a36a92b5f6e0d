# SPDX-License-Identifier: GPL-3.0-or-later
"""One stage, run once: its process, its folder and what came of it."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness import exit_codes, processes, runner
from harness.errors import ResultsError
from harness.interrupt import Interrupt
from harness.orphans import END_SECONDS, end_orphans, stage_mark
from harness.progress import Progress, Tail, parse_steps
from harness.redact import redact_argv
from harness.results import write_atomic
from harness.screen import Row, Screen
from harness.stages import FIRST, Stage, stage_argv
from harness.state import FAILURE_FILE, RunState

# A module that was asked to stop cleans up its load first; then the play flushes what it has.
STOP_SECONDS = 90.0
GRACE_SECONDS = 20.0
TICK_SECONDS = 0.2
ERROR_LINES = 12


@dataclass
class Context:
    """What all stages of a run share."""

    project: Path
    state: RunState
    screen: Screen
    interrupt: Interrupt
    run_dir: Path | None = None
    resuming: bool = False
    write_error: str = ""

    @property
    def stop_file(self) -> Path | None:
        return Path(self.state.run_state) / "stop" if self.state.run_state else None

    def learn(self, session: dict[str, Any]) -> None:
        """Stage start says where the run's results and state lie; from then on a killed run can be resumed."""
        self.run_dir, self.state.run_state = Path(session["results"]), str(session["state"])
        self.save()

    def save(self) -> None:
        run_dir = self.run_dir
        if run_dir is not None and run_dir.is_dir():
            self.writing(lambda: self.state.save(run_dir))

    def writing(self, write: Callable[[], object]) -> None:
        """A full disk ends the measuring, but never the way to teardown."""
        try:
            write()
        except (OSError, ResultsError) as error:
            if not self.write_error:
                self.write_error = str(error)
                self.screen.note(f"the run cannot write its results and is torn down: {error}")


@dataclass
class Seen:
    """What ansible-playbook told while it ran."""

    plays: int = 0
    task: str = ""
    failure: str = ""
    asked_code: Any = None
    rescued: bool = False
    lines: list[str] = field(default_factory=list)


class Attempt:
    """After run(): code, and reason when the code is not 0."""

    def __init__(self, context: Context, stage: Stage, row: Row) -> None:
        self.context, self.stage, self.row = context, stage, row
        self.code, self.reason = exit_codes.GOOD, ""
        self._began = time.monotonic()
        self._seen = Seen()
        self._task_began = 0.0
        self._shown = self._written = 0
        self._progress: Tail | None = None
        self._command = ""

    def run(self) -> None:
        argv = self._argv()
        self._command = shlex.join(redact_argv(argv)) + "\n"
        if self.context.resuming and self.folder is not None:
            for name in (FAILURE_FILE, "rc"):
                (self.folder / name).unlink(missing_ok=True)
        if self._loud:
            self.context.screen.note(f"$ {self._command.rstrip()}")
        process = runner.PlaybookRun(argv, self._environment(), Path(self.context.state.cwd), self._event)
        process.start()
        try:
            stopping = Stopping(self.context)
            while not process.wait(TICK_SECONDS):
                self._tick()
                if self.context.interrupt.requested and stopping.patience_is_over():
                    process.cancel()
            self._tick()
        except BaseException:
            process.cancel()
            process.wait(END_SECONDS)
            self._end_orphans()
            raise
        if process.rc is None:
            self._end_orphans()
        self._judge(process.rc)

    @property
    def folder(self) -> Path | None:
        """None until stage start has made the run's folder."""
        run_dir = self.context.run_dir
        return run_dir / "stages" / self.stage.folder if run_dir is not None and run_dir.is_dir() else None

    @property
    def _loud(self) -> bool:
        options = self.context.state.options
        return bool(options.verbosity or options.check or options.diff)

    def _argv(self) -> list[str]:
        state = self.context.state
        variables = {"nightbench_run_id": state.run_id}
        if self.context.resuming and self.stage.name == FIRST:
            variables["nightbench_resume"] = "true"
        return stage_argv(self.stage, state.options, variables, shown_path(self.stage.playbook, Path(state.cwd)))

    def _environment(self) -> dict[str, str]:
        state = self.context.state
        return {
            **runner.ansible_environment(self.context.project, Path(state.cwd)),
            **state.environment,
            "NIGHTBENCH_RUN_ID": state.run_id,
            "NIGHTBENCH_OWNER_PID": str(os.getpid()),
            "NIGHTBENCH_STAGE": stage_mark(state.run_id, self.stage.folder),
            "NIGHTBENCH_STAGE_DIR": str(self.folder or ""),
            # The harness draws the progress itself.
            "NIGHTBENCH_PROGRESS_SECONDS": "0",
        }

    def _event(self, event: runner.Event) -> None:
        """Called in runner's thread: takes notes, writes nothing."""
        data = event.get("event_data") or {}
        res = data.get("res")
        result: dict[str, Any] = res if isinstance(res, dict) else {}
        if event.get("stdout"):
            self._seen.lines.append(str(event["stdout"]).replace("\r\n", "\n"))
        if event.get("event") == "playbook_on_play_start":
            self._seen.plays += 1
        if event.get("event") == "playbook_on_task_start":
            self._seen.task = self.row.activity = str(data.get("task", ""))
            # What an earlier module of the stage reported is no news any more.
            self._task_began, self.row.progress = time.time(), Progress()
        if event.get("event") == "playbook_on_stats":
            self._seen.rescued = bool(data.get("rescued"))
        session = session_of(result)
        if session is not None:
            self.context.learn(session)
        failure = runner.failure_text(event)
        if failure is not None:
            self._seen.failure, self._seen.asked_code = failure, result.get("exit_code")

    def _tick(self) -> None:
        self.context.interrupt.tick()
        self._flush()
        if self.folder is not None:
            if self._progress is None:
                self._progress = self._open_progress(self.folder / "progress.jsonl")
            for step in parse_steps(self._progress.lines()):
                if step.at >= self._task_began:
                    self.row.progress.add(step)
        self.row.seconds = time.monotonic() - self._began
        self.context.screen.tick()

    def _open_progress(self, path: Path) -> Tail:
        """Only what this attempt appends counts."""
        self.row.progress = Progress()
        return Tail(path, path.stat().st_size if path.exists() and self.context.resuming else 0)

    def _flush(self) -> None:
        known = len(self._seen.lines)
        if self._loud:
            for text in self._seen.lines[self._shown : known]:
                self.context.screen.output(text)
            self._shown = known
        folder = self.folder
        if folder is None:
            return
        self.context.writing(lambda: self._write_log(folder, self._seen.lines[self._written : known]))
        self._written = known

    def _write_log(self, folder: Path, lines: list[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "command.txt").exists() or not self._written:
            write_atomic(folder / "command.txt", self._command)
        if lines:
            with (folder / "stdout").open("a", encoding="utf-8") as file:
                file.writelines(f"{text}\n" for text in lines)

    def _end_orphans(self) -> None:
        state = self.context.state
        end_orphans([stage_mark(state.run_id, self.stage.folder)], state.run_state)

    def _judge(self, rc: int | None) -> None:
        """What the end of this stage means, written into its folder."""
        folder = self.folder
        said = read_failure(folder) if folder else {}
        # What runs after the interruption is judged by what it does, unless it was forced to end.
        interrupt = self.context.interrupt
        interrupted = interrupt.reason if rc is None or not interrupt.tearing_down else ""
        self.code, self.reason = outcome(rc, said, self._seen, interrupted, check=self.context.state.options.check)
        if folder is None:
            return
        self.context.writing(lambda: write_atomic(folder / "rc", f"{137 if rc is None else rc}\n"))
        if self.code != exit_codes.GOOD and not said and self.stage.name != "verdict":
            at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
            failure = {"stage": self.stage.name, "reason": self.reason, "task": self._seen.task, "at": at}
            self.context.writing(lambda: write_atomic(folder / FAILURE_FILE, json.dumps(failure) + "\n"))


class Stopping:
    """The way from the first signal to the end of a stage: modules stop, the play flushes, then it is cancelled."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._modules_until: float | None = None
        self._stage_until: float | None = None

    def patience_is_over(self) -> bool:
        interrupt, stop = self._context.interrupt, self._context.stop_file
        if interrupt.forced:
            return True
        if interrupt.tearing_down:
            return False
        now = time.monotonic()
        if self._modules_until is None:
            self._modules_until = now + STOP_SECONDS
        if stop is not None and stop.parent.is_dir() and not stop.exists():
            self._context.writing(lambda: write_atomic(stop, f"{interrupt.reason}\n"))
        modules = processes.recorded(stop.parent / "modules") if stop is not None else set()
        if now < self._modules_until and any(module.alive for module in modules):
            return False
        if self._stage_until is None:
            self._stage_until = now + GRACE_SECONDS
        return now >= self._stage_until


def outcome(
    rc: int | None, said: dict[str, Any], seen: Seen, interrupted: str, *, check: bool = False
) -> tuple[int, str]:
    """Our exit code and the reason of a stage; `said` is its FAILURE file."""
    if interrupted and (rc != 0 or said):
        return exit_codes.INTERRUPTED, str(said.get("reason") or f"{interrupted} in '{seen.task}'")
    if rc is None:
        return exit_codes.INFRASTRUCTURE, f"ansible-playbook was killed in '{seen.task}'"
    if rc != 0:
        asked = seen.asked_code if seen.asked_code in exit_codes.PRECEDENCE else None
        # Without a single play begun, the command line, the inventory or a playbook is wrong.
        code = exit_codes.of_ansible(rc) if seen.plays else exit_codes.USAGE
        return asked or code, seen.failure or errors_in(seen.lines) or f"ansible-playbook ended with {rc}, silently"
    if said:
        return int(said.get("exit_code") or exit_codes.INFRASTRUCTURE), str(said.get("reason", ""))
    if check and seen.rescued:
        # A check run writes no FAILURE file, so what a stage would have written down is only seen here.
        return exit_codes.INFRASTRUCTURE, seen.failure
    return exit_codes.GOOD, ""


def errors_in(lines: Sequence[str]) -> str:
    """What Ansible printed from its last error on, for errors that are no task's; else the end of its output."""
    text = "\n".join(lines).strip().splitlines()
    begins = [
        place for place, line in enumerate(text) if line.startswith(("[ERROR]", "ERROR!", "ansible-playbook: error:"))
    ]
    return "\n".join(text[begins[-1] :][:ERROR_LINES] if begins else text[-ERROR_LINES:])


def session_of(result: dict[str, Any]) -> dict[str, Any] | None:
    """The session in a task's result, when it has one."""
    session = (result.get("ansible_facts") or {}).get("nightbench_session")
    return session if isinstance(session, dict) and session.get("results") and session.get("state") else None


def shown_path(path: Path, cwd: Path) -> str:
    """Relative where that is shorter to read and to type."""
    try:
        return str(path.relative_to(cwd))
    except ValueError:
        return str(path)


def read_failure(folder: Path) -> dict[str, Any]:
    """The stage's FAILURE file; one that is damaged still says that it failed."""
    path = folder / FAILURE_FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        document = None
    return document if isinstance(document, dict) and document else {"reason": f"{path} is damaged"}
