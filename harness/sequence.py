# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the stages one after another; report, teardown and verdict run whatever happened before them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from harness import exit_codes, presentation
from harness.attempt import Attempt, Context
from harness.console import records_table, wants_colour
from harness.ending import write_exit_code
from harness.errors import ResultsError, UsageError
from harness.interrupt import Interrupt
from harness.model import Record
from harness.results import RunFolder
from harness.screen import Row, open_screen, write
from harness.stages import ENVIRONMENT, FINAL, FIRST, Stage, selected
from harness.state import STATE_FILE, RunState

DONE = ("finished", "kept", "skipped")


class Sequence:
    """One run of the nightly, new or resumed. `finished` names the stages that are not redone."""

    def __init__(
        self,
        project: Path,
        stages: list[Stage],
        state: RunState,
        out: TextIO,
        *,
        finished: frozenset[str] = frozenset(),
        run_dir: Path | None = None,
    ) -> None:
        if stages[0].name != FIRST:
            raise UsageError(f"the first stage of the nightly is '{stages[0].name}'; it has to be '{FIRST}'")
        self.stages, self.finished, self.out = stages, finished, out
        self.rows = {stage.name: Row(stage.name) for stage in stages}
        self.screen = open_screen(out, list(self.rows.values()))
        self.interrupt = Interrupt(self.screen.note)
        self.context = Context(project, state, self.screen, self.interrupt, run_dir, resuming=run_dir is not None)
        self.codes: list[int] = []

    def run_and_tell(self) -> int:
        """Run, then show what came of it and where it lies."""
        self.screen.note(f"run {self.context.state.run_id}")
        code = self.run()
        run_dir = self.context.run_dir
        if run_dir is not None and run_dir.is_dir():
            write(self.out, f"\n{closing_words(RunFolder(run_dir), wants_colour(self.out))}\n")
        write(self.out, f"exit code {code}: {exit_codes.MEANING.get(code, 'unknown')}\n")
        return code

    def run(self) -> int:
        """The exit code of the run."""
        with self.interrupt:
            try:
                if self._begin():
                    try:
                        self._measure()
                    finally:
                        self._finish()
            finally:
                self.screen.close()
        return self._conclude()

    def _begin(self) -> bool:
        """Stage start; False when there is no run to go on with."""
        attempt = self._attempt(self.stages[0])
        if attempt.code == exit_codes.GOOD:
            return True
        if not self.interrupt.requested:
            self.codes.append(attempt.code)
            self.screen.note(attempt.reason)
        # A start that got as far as making the run's folder may hold the machine: teardown gives it back.
        if attempt.folder is not None:
            self._finish()
        return False

    def _measure(self) -> None:
        options = self.context.state.options
        for stage in self.stages:
            if stage.name in (FIRST, *FINAL):
                continue
            if self.interrupt.requested:
                self._pass_over(stage, "waiting", "not run: interrupted before it")
            elif self.context.write_error:
                self.codes.append(exit_codes.INFRASTRUCTURE)
                self._pass_over(stage, "waiting", "not run: the results cannot be written")
            elif not selected(stage, self.stages, options):
                self._pass_over(stage, "skipped", "not selected by the tags")
            elif stage.name in self.finished:
                self._pass_over(stage, "kept", "finished before")
            else:
                self._count(self._attempt(stage))

    def _finish(self) -> None:
        """Report, teardown, verdict. The stop file goes first: it would stop them too."""
        if self.context.stop_file is not None:
            self.context.stop_file.unlink(missing_ok=True)
        self.interrupt.tearing_down = True
        for stage in self.stages:
            if stage.name not in FINAL:
                continue
            if self.interrupt.forced:
                self._pass_over(stage, "waiting", "not run: forced to end")
            elif not selected(stage, self.stages, self.context.state.options):
                self._pass_over(stage, "skipped", "not selected by the tags")
            else:
                self._count(self._attempt(stage))

    def _count(self, attempt: Attempt) -> None:
        # The verdict fails its play to say what it found; the file exit_code has the number.
        if attempt.stage.name == "verdict":
            return
        self.codes.append(attempt.code)
        if attempt.code not in (exit_codes.GOOD, exit_codes.INTERRUPTED):
            where = f"\n  see {attempt.folder}/stdout" if attempt.folder is not None else ""
            self.screen.note(f"{attempt.stage.name} failed: {attempt.reason}{where}")

    def _attempt(self, stage: Stage) -> Attempt:
        row = self.rows[stage.name]
        self._mark(row, "running")
        self.screen.started(row)
        attempt = Attempt(self.context, stage, row)
        ended = "failed"
        try:
            attempt.run()
            ended = state_of(attempt)
        finally:
            row.activity = "" if ended == "finished" else attempt.reason.partition("\n")[0]
            self._mark(row, ended)
            self.screen.ended(row)
        return attempt

    def _mark(self, row: Row, state: str) -> None:
        row.state = self.context.state.stages[row.name] = state
        self.context.save()

    def _pass_over(self, stage: Stage, state: str, why: str) -> None:
        row = self.rows[stage.name]
        row.activity = why
        self._mark(row, state)
        self.screen.ended(row)

    def _conclude(self) -> int:
        run_dir, state = self.context.run_dir, self.context.state
        codes = [*self.codes, *([exit_codes.INTERRUPTED] if self.interrupt.requested else [])]
        if run_dir is None or not run_dir.is_dir():
            return exit_codes.worst(codes)
        said = RunFolder(run_dir).exit_code()
        # A run that cannot say how it went did not go well; a check run says nothing on purpose.
        codes.append(
            said if said is not None else exit_codes.GOOD if state.options.check else exit_codes.INFRASTRUCTURE
        )
        code = exit_codes.worst(codes)
        if said != code:
            self.context.writing(lambda: write_exit_code(RunFolder(run_dir), code))
        self._reopen(RunFolder(run_dir))
        if not self.interrupt.requested and all(stage in DONE for stage in state.stages.values()):
            (run_dir / STATE_FILE).unlink(missing_ok=True)
        return code

    def _reopen(self, folder: RunFolder) -> None:
        """A suite whose scenarios broke is not finished, though its stage wrote that down and ended with 0."""
        stages = self.context.state.stages
        try:
            broken = broken_suites(folder.records(), stages.get(ENVIRONMENT) == "failed")
        except ResultsError:
            return
        again = [name for name in broken if stages.get(name) in ("finished", "kept")]
        if again:
            stages.update(dict.fromkeys(again, "failed"))
            self.context.save()


def broken_suites(records: Iterable[Record], environment_failed: bool) -> set[str]:
    """Suites that ended in order and yet have nothing to show for it: another attempt may."""
    broken = {"error", "not_runnable"} if environment_failed else {"error"}
    return {record.suite for record in records if record.verdict in broken}


def state_of(attempt: Attempt) -> str:
    """What a stage that has run is called from then on. The verdict fails its play to say what it found."""
    if attempt.code == exit_codes.INTERRUPTED:
        return "interrupted"
    return "finished" if attempt.code == exit_codes.GOOD or attempt.stage.name == "verdict" else "failed"


def closing_words(folder: RunFolder, colour: bool) -> str:
    """The records, what each number is the limit of, and where the rest is."""
    lines: list[str] = []
    try:
        records = folder.records()
        limits = presentation.limits(records)
        lines = [records_table(records, colour=colour), *limits, *([""] if limits else [])] if records else []
    except ResultsError as error:
        lines = [str(error), ""]
    report = folder.path / "report.html"
    lines.append(f"report:  {report}" if report.is_file() else f"results: {folder.path}")
    if (folder.path / STATE_FILE).exists():
        # resume looks under results/ of the caller's folder unless told where.
        where = f" --results-dir {folder.path.parent}" if folder.path.parent != Path("results").resolve() else ""
        lines.append(f"not everything is finished; go on with: python -m harness resume {folder.run_id}{where}")
    return "\n".join(lines)
