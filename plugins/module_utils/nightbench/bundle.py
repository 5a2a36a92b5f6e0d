# SPDX-License-Identifier: GPL-3.0-or-later
"""What explains a failure, in one archive: the ends of the logs, and what cluster and components say of themselves."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from . import bundle_redact, redact
from .errors import NightbenchError
from .kube import Kube

#: Of each log the end, where the reason is.
LOG_BYTES = 2**20
#: In a big cluster the first objects tell as much as all of them.
OBJECTS = 500
#: What is asked of the API server, by the name of its file.
LISTS = {
    "events.json": "/api/v1/events",
    "nodes.json": "/api/v1/nodes",
    "pods.json": "/api/v1/pods",
    "namespaces.json": "/api/v1/namespaces",
}
#: Logs by their ends; the audit log is none of them: it says what was asked, not what went wrong.
LOG_SUFFIXES = (".log", ".err", ".out")
AUDIT = "audit"


def logs(state: Path) -> list[Path]:
    """The logs of a run, and the records of its processes; nothing that holds a key."""
    found = [path for path in state.rglob("*") if path.suffix in LOG_SUFFIXES and AUDIT not in path.name]
    records = [*state.glob("processes/*.json"), *state.glob("modules/*.json")]
    return sorted(path for path in (*found, *records) if path.is_file() and not path.is_symlink())


def tail(path: Path, limit: int = LOG_BYTES) -> bytes:
    """The end of a file from a whole line on, without secrets."""
    with path.open("rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - limit))
        data = stream.read(limit)
    if size > limit:
        data = b"...\n" + data.partition(b"\n")[2]
    return redact.text(data.decode(errors="replace")).encode()


def objects(kube: Kube) -> dict[str, bytes]:
    """Answers of the API server by file name; one that does not answer leaves its error."""
    found = {}
    for name, path in LISTS.items():
        try:
            found[name] = bundle_redact.text(kube.request("GET", path, query={"limit": str(OBJECTS)}).data)
        except NightbenchError as error:
            found[f"{name}.error"] = f"{error}\n".encode()
            if not hasattr(error, "status"):
                break  # nobody is there; asking on would only take time
    return found


def write(
    path: Path,
    state: Path,
    files: Iterable[Path],
    answers: Mapping[str, bytes],
    components: Mapping[str, bytes] | None = None,
) -> list[str]:
    """The archive, whole or not at all; returns the names in it."""
    contents = {str(Path("logs") / file.relative_to(state)): tail(file) for file in files}
    contents |= {f"objects/{name}": data for name, data in answers.items()}
    contents |= {f"components/{name}": data for name, data in sorted((components or {}).items())}
    beside = path.with_name(f".{path.name}")
    try:
        with tarfile.open(beside, "w:gz") as archive:
            for name, data in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return list(contents)


def summary(answers: Mapping[str, bytes]) -> dict[str, int]:
    """How many objects each list has."""
    counts: dict[str, int] = {}
    for name, data in answers.items():
        if name.endswith(".json"):
            document: Any = json.loads(data)
            counts[name.removesuffix(".json")] = len(document.get("items") or [])
    return counts
