# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads and writes the files of results/<run-id>/. Everything is checked against its schema on the way in and out."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import schemas
from harness.errors import ResultsError, UsageError
from harness.model import Failure, Observation, Plan, Record
from harness.words import nearest

RUN_ID = re.compile(r"^\d{8}T\d{6}Z-[0-9a-f]{4}$")
STAGE_FOLDER = re.compile(r"^(\d{2,})__(.+)$")


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run. A method that reads raises ResultsError, naming the file and the line."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    def plan(self) -> Plan | None:
        """None where the run ended before anything was planned."""
        document = self._document("plan.json", "plan", "start the run anew: a plan is not written twice")
        return Plan.from_document(document) if document is not None else None

    def run(self) -> dict[str, Any]:
        """What ran where; only the id when the run ended before it was written."""
        document = self._document("run.json", "run", "restore run.json or remove it: a report can do without it")
        return document if document is not None else {"schema_version": 1, "run_id": self.run_id, "started_at": ""}

    def observations(self) -> list[Observation]:
        """All observations; of those that were made twice (resume) the later one, in the place of the first."""
        path = self.path / "observations.jsonl"
        found: dict[tuple[Any, ...], Observation] = {}
        hint = (
            f"`python -m harness resume {self.run_id}` repeats what is not finished; "
            "to judge what is there, remove the line and report again"
        )
        for line, document in read_lines(path, hint=hint):
            schemas.check("observation", document, path=path, line=line, hint=hint)
            schemas.check_values(document["kind"], document["values"], path=path, line=line, hint=hint)
            self._belongs(document, path, line)
            observation = Observation.from_document(document)
            key = (observation.suite, observation.scenario, observation.subject, observation.kind)
            found[(*key, observation.repeat, observation.role)] = observation
        return list(found.values())

    def records(self) -> list[Record]:
        path = self.path / "records.jsonl"
        hint = f"`python -m harness report {self.run_id}` writes it anew from the observations"
        records = []
        for line, document in read_lines(path, hint=hint):
            schemas.check("record", document, path=path, line=line, hint=hint)
            records.append(Record.from_document(document))
        return records

    def write_records(self, records: Iterable[Record]) -> None:
        self._write_lines("record", (json.loads(dumps(asdict(record))) for record in records))

    def write_observations(self, documents: Iterable[Mapping[str, Any]]) -> None:
        """For results published elsewhere; what roles see they write themselves."""
        self._write_lines("observation", documents)

    def write_document(self, kind: str, document: Mapping[str, Any]) -> None:
        """run.json or plan.json."""
        path = self.path / f"{kind}.json"
        schemas.check(kind, document, path=path)
        write_atomic(path, json.dumps(document, indent=1, ensure_ascii=False) + "\n")

    def failures(self) -> dict[str, Failure]:
        """stage → why it failed, in the order of the stages."""
        found = {}
        for folder in self.stage_folders():
            path = folder / "FAILURE"
            if not path.exists():
                continue
            stage = folder.name.split("__", 1)[1]
            try:
                document = json.loads(path.read_text(encoding="utf-8"))
                schemas.check("failure", document, path=path)
                found[stage] = Failure(**{k: document.get(k) for k in ("stage", "reason", "task", "at", "exit_code")})
            except (ValueError, ResultsError):
                # The file's presence says that the stage failed, whatever became of its text.
                found[stage] = Failure(stage, f"its FAILURE file cannot be read ({path})")
        return found

    def stage_folders(self) -> list[Path]:
        stages = self.path / "stages"
        if not stages.is_dir():
            return []
        return sorted(p for p in stages.iterdir() if p.is_dir() and STAGE_FOLDER.match(p.name))

    def exit_code(self) -> int | None:
        try:
            return int((self.path / "exit_code").read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            return None

    def _write_lines(self, kind: str, documents: Iterable[Mapping[str, Any]]) -> None:
        path = self.path / f"{kind}s.jsonl"
        lines = []
        for line, document in enumerate(documents, start=1):
            schemas.check(kind, document, path=path, line=line, hint="nothing was written: this is a defect")
            lines.append(dumps(document) + "\n")
        write_atomic(path, "".join(lines))

    def _document(self, name: str, kind: str, hint: str) -> dict[str, Any] | None:
        path = self.path / name
        if not path.exists():
            return None
        document = read_json(path, hint=hint)
        schemas.check(kind, document, path=path, hint=hint)
        self._belongs(document, path, None)
        return dict(document)

    def _belongs(self, document: Any, path: Path, line: int | None) -> None:
        if document["run_id"] != self.run_id:
            raise ResultsError(
                f"belongs to run {document['run_id']}, not to {self.run_id}",
                path=path,
                line=line,
                hint="a run's folder bears its run-id; move what was copied here back where it came from",
            )


def runs(results: Path) -> list[RunFolder]:
    """All runs under a results root, oldest first."""
    if not results.is_dir():
        return []
    return [RunFolder(p) for p in sorted(results.iterdir()) if p.is_dir() and RUN_ID.match(p.name)]


def find_run(results: Path, name: str) -> RunFolder:
    """The run of that id (or its only run beginning so), the path of its folder, or `latest`."""
    there = runs(results)
    if name == "latest":
        if not there:
            raise UsageError(f"there is no run under {results}", hint="`python -m harness run nightly` makes one")
        return there[-1]
    as_path = Path(name)
    if len(as_path.parts) > 1 and as_path.is_dir() and RUN_ID.match(as_path.resolve().name):
        return RunFolder(as_path.resolve())
    matching = [run for run in there if run.run_id.startswith(name)] if name else []
    if len(matching) != 1:
        seen = "several runs begin with" if matching else "there is no run"
        listed = ", ".join(run.run_id for run in (matching or there)[-5:]) or "none"
        near = None if matching else nearest(name, ["latest", *(run.run_id for run in there)])
        guess = f"; did you mean '{near}'?" if near else ""
        raise UsageError(f"{seen} {name!r} under {results}", hint=f"runs there: {listed}{guess}")
    return matching[0]


def read_json(path: Path, *, hint: str = "") -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"cannot be read: {error.strerror}", path=path, hint=hint) from error
    except json.JSONDecodeError as error:
        raise ResultsError(f"is not JSON: {_cut_off(error)}", path=path, line=error.lineno, hint=hint) from error
    except UnicodeDecodeError as error:
        raise ResultsError("is not UTF-8 text", path=path, hint=hint) from error


def read_lines(path: Path, *, hint: str = "") -> Iterator[tuple[int, Any]]:
    """(line number, document) of a JSON Lines file; none when there is no such file."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise ResultsError(f"cannot be read: {error.strerror}", path=path, hint=hint) from error
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line.decode("utf-8"))
        except json.JSONDecodeError as error:
            raise ResultsError(f"is not JSON: {_cut_off(error)}", path=path, line=number, hint=hint) from error
        except UnicodeDecodeError as error:
            raise ResultsError("is not UTF-8 text", path=path, line=number, hint=hint) from error


def drop_half_written_line(path: Path) -> str | None:
    """Cut off a last line that a killed writer left without its end; returns what was cut off."""
    data = path.read_bytes() if path.exists() else b""
    whole, _, rest = data.rpartition(b"\n")
    if not rest.strip():
        return None
    try:
        json.loads(rest)
        return None
    except ValueError:
        write_atomic(path, whole.decode("utf-8") + "\n" if whole else "")
        return rest.decode("utf-8", "replace")


def dumps(document: Any) -> str:
    """JSON without NaN or Infinity (no JSON reader has to know them): they become null."""
    return json.dumps(_finite(document), ensure_ascii=False, allow_nan=False)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write so that a reader, or a crash, sees the old file or the new one and nothing between."""
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.fchmod(file.fileno(), 0o644)
                os.replace(file.name, path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        hint = "free space on that disk and report again" if error.errno == 28 else "check the folder's rights"
        raise ResultsError(f"cannot be written: {error.strerror}", path=path, hint=hint) from error


def _cut_off(error: json.JSONDecodeError) -> str:
    ended = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
    return f"{error.msg.removesuffix(' at')} at column {error.colno}" + (" (half written)" if ended else "")


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
