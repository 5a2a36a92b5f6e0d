# SPDX-License-Identifier: GPL-3.0-or-later
"""Source `package`: a file out of a Debian package that is fetched and unpacked, never installed.

Nothing of the system changes: no service starts, no maintainer script runs. Where the system's package lists do not
know the package, lists of our own are fetched into the cache, which works without root too.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from pathlib import Path

from .tool_job import Finished, run
from .tool_source import Obtained, SourceError, Surroundings, inside
from .tool_table import Source, Tool

UNKNOWN = re.compile(r"Unable to locate package|Can't select candidate|has no installation candidate|404 +Not Found")
OPTIONS = ("-q", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1")
COMMANDS = ("apt-get", "dpkg-deb")


def obtain(tool: Tool, source: Source, work: Path, around: Surroundings) -> Obtained:
    missing = [command for command in COMMANDS if not shutil.which(command)]
    if missing:
        raise SourceError(f"this is not a Debian system: there is no {' and no '.join(missing)}.")
    archive = _fetch(source.text("package"), work, around)
    tree = work / "tree"
    unpacked = run(["dpkg-deb", "-x", str(archive), str(tree)], around.job, env={"LC_ALL": "C"})
    if unpacked.returncode:
        raise SourceError(f"{unpacked.command}: exit code {unpacked.returncode}: {unpacked.tail}")
    file = work / tool.file
    os.replace(inside(tree, source.text("member")), file)
    return Obtained(file, f"{source.text('member')} of Debian package {archive.name}")


def tried(tool: Tool, source: Source) -> str:
    return f"{source.text('member')} of Debian package {source.text('package')}"


def _fetch(package: str, work: Path, around: Surroundings) -> Path:
    answer = _download(package, work, around, ())
    if answer.returncode and UNKNOWN.search(answer.tail):
        answer = _download(package, work, around, _own_lists(around))
    archives = sorted(work.glob("*.deb"))
    if answer.returncode or not archives:
        raise SourceError(f"{answer.command}: exit code {answer.returncode}: {answer.tail}")
    return archives[0]


def _download(package: str, work: Path, around: Surroundings, options: tuple[str, ...]) -> Finished:
    timeout = ("-o", f"Acquire::http::Timeout={around.timeout_seconds:.0f}")
    argv = ["apt-get", *OPTIONS, *timeout, *options, "download", package]
    return run(argv, around.job, cwd=work, env={"LC_ALL": "C", "TMPDIR": str(work)})


def _own_lists(around: Surroundings) -> tuple[str, ...]:
    """apt's options for package lists in the cache, brought up to date."""
    folder = around.cache_dir / ".apt"
    lists, archives = folder / "lists", folder / "archives"
    for needed in (lists / "partial", archives / "partial"):
        needed.mkdir(parents=True, exist_ok=True)
    options = ("-o", f"Dir::State::Lists={lists}", "-o", f"Dir::Cache={folder}")
    with open(folder / "lock", "a", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        updated = run(["apt-get", *OPTIONS, *options, "update"], around.job, env={"LC_ALL": "C"})
    if updated.returncode:
        raise SourceError(f"the package is unknown here, and {updated.command} failed: {updated.tail}")
    return options
