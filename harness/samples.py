# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the samples that roles wrote as JSON Lines, checks them against their observation and makes Parquet of them."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from harness.errors import ResultsError
from harness.model import SamplesFile, SamplesReference
from harness.pod_load import PodSample

_MOMENTS = ("posted", "created", "bound", "running", "deleted", "audit_created", "audit_bound")
_PART_MOMENTS = ("grouped", "decided", "completed", "evicted", "audit_grouped", "audit_decided")

#: Column → (DuckDB's type, Python's types, may be null).
Columns = Mapping[str, tuple[str, tuple[type, ...], bool]]

# sample.schema.json says the same to other readers.
COLUMNS: dict[str, tuple[str, tuple[type, ...], bool]] = {
    "name": ("VARCHAR", (str,), False),
    "uid": ("VARCHAR", (str,), True),
    "gpus": ("DOUBLE", (int, float), True),
    **dict.fromkeys(_MOMENTS, ("DOUBLE", (int, float), True)),
    "node": ("VARCHAR", (str,), True),
    "failure": ("VARCHAR", (str,), True),
}
# What kwok was logged to have done and the pod says of itself; a sample may lack it.
CONDITION_COLUMNS: dict[str, tuple[str, tuple[type, ...], bool]] = {
    **dict.fromkeys(("audit_running", "scheduled", "started"), ("DOUBLE", (int, float), True)),
}
# What a load of several parts adds; a sample may lack them.
PART_COLUMNS: dict[str, tuple[str, tuple[type, ...], bool]] = {
    **dict.fromkeys(("part", "job", "queue"), ("VARCHAR", (str,), True)),
    **dict.fromkeys(("measured", "replacement"), ("BOOLEAN", (bool,), True)),
    **dict.fromkeys(_PART_MOMENTS, ("DOUBLE", (int, float), True)),
    "domains": ("MAP(VARCHAR, VARCHAR)", (dict,), True),
}


def read(run: Path, reference: SamplesReference | None) -> tuple[list[PodSample], str]:
    """The pods' samples, and why they cannot be trusted (empty when they can)."""
    rows, problem = read_rows(run, reference, COLUMNS, CONDITION_COLUMNS | PART_COLUMNS)
    return [PodSample.from_document(row) for row in rows], problem


def read_rows(
    run: Path, reference: SamplesReference | None, columns: Columns, may_lack: Columns | None = None
) -> tuple[list[dict[str, Any]], str]:
    """Rows of any kind, and why they cannot be trusted (empty when they can)."""
    if reference is None:
        return [], "the observation names no samples"
    try:
        data = (run / reference.path).read_bytes()
    except OSError as error:
        return [], f"{reference.path} cannot be read: {error.strerror}"
    rows, problem = _rows(data, reference.path, columns, may_lack or {})
    seen = hashlib.sha256(data).hexdigest()
    if seen != reference.sha256:
        problem = f"{reference.path} has sha256 {seen[:12]}…, its observation says {reference.sha256[:12]}…"
    elif not problem and len(rows) != reference.rows:
        problem = f"{reference.path} has {len(rows)} rows, its observation says {reference.rows}"
    return rows, problem


def write_parquet(run: Path, path: str, repeats: Sequence[tuple[int, str]], *, parts: bool = False) -> SamplesFile:
    """The pods' samples of all repeats as one Parquet file."""
    return write_rows(run, path, repeats, COLUMNS | CONDITION_COLUMNS | (PART_COLUMNS if parts else {}))


def write_rows(run: Path, path: str, repeats: Sequence[tuple[int, str]], columns: Columns) -> SamplesFile:
    """Put the samples of all repeats, given as (repeat, path of its JSON Lines), into one Parquet file."""
    struct = _struct(columns)
    target = run / path
    unfinished = target.with_name(f".{target.name}.unfinished")
    # A path may hold any character: globbing is switched off by escaping, quoting by a bound parameter.
    union = " UNION ALL BY NAME ".join(
        f"SELECT CAST(? AS INTEGER) AS repeat, * FROM read_json(?, format = 'newline_delimited', columns = {struct})"  # noqa: S608
        for _ in repeats
    )
    arguments = [item for repeat, source in repeats for item in (repeat, glob.escape(str(run / source)))]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute(f"CREATE TABLE samples AS {union}", arguments)
            quoted = str(unfinished).replace("'", "''")
            connection.execute(f"COPY samples TO '{quoted}' (FORMAT parquet, COMPRESSION zstd)")
        os.replace(unfinished, target)
    except (OSError, duckdb.Error) as error:
        unfinished.unlink(missing_ok=True)
        reason = str(error).splitlines()[0]
        raise ResultsError(
            f"cannot be written: {reason}", path=target, hint="free space there and report again"
        ) from error
    return SamplesFile(path, hashlib.sha256(target.read_bytes()).hexdigest())


def _rows(data: bytes, path: str, columns: Columns, may_lack: Columns) -> tuple[list[dict[str, Any]], str]:
    rows: list[dict[str, Any]] = []
    every = {**columns, **may_lack}
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            document = json.loads(line)
        except ValueError:
            return rows, f"{path}:{number} is not JSON (half written?)"
        wrong = _wrong(document, columns, every)
        if wrong:
            return rows, f"{path}:{number}: {wrong}"
        rows.append(document)
    return rows, ""


def _wrong(document: Any, columns: Columns, every: Columns) -> str:
    if not isinstance(document, dict):
        return "is not an object"
    for name, (_, kinds, nullable) in every.items():
        if name not in document and name in columns:
            return f"{name} is missing"
        value = document.get(name)
        if value is None and nullable:
            continue
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            return f"{name} is {value!r}"
    domains = document.get("domains") or {}
    if not all(domain is None or isinstance(domain, str) for domain in domains.values()):
        return f"domains is {domains!r}"
    return ""


def _struct(columns: Columns) -> str:
    return "{" + ", ".join(f"'{name}': '{column[0]}'" for name, column in columns.items()) + "}"
