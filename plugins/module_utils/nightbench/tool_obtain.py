# SPDX-License-Identifier: GPL-3.0-or-later
"""From a row of the table to a usable tool: what is there already wins, else the sources are tried in their order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import tool_download, tool_go_module, tool_image, tool_package, tool_path, tool_version
from .tool_cache import Cache, Entry, file_sha256
from .tool_job import Job, run
from .tool_source import SourceError, Surroundings
from .tool_table import Source, Tool, recipe

Recipes = list[tuple[Source, str]]  # sources that fill the cache, each with the hash of what decides its result

VERSION_SECONDS = 20.0
VERSION_LINES = 200
TRIED = {
    "path": tool_path.tried,
    "package": tool_package.tried,
    "download": tool_download.tried,
    "image": tool_image.tried,
    "go_module": tool_go_module.tried,
}
OBTAIN = {
    "package": tool_package.obtain,
    "download": tool_download.obtain,
    "image": tool_image.obtain,
    "go_module": tool_go_module.obtain,
}


@dataclass
class Result:
    """How it went with one tool; `path` is None where it could not be had, or in check mode not yet."""

    name: str
    asked: str
    required: bool = True
    path: str | None = None
    version: str | None = None
    source: str | None = None
    sha256: str | None = None
    detail: str = ""
    changed: bool = False
    failed: bool = False
    attempts: list[dict[str, str]] = field(default_factory=list)

    def attempt(self, source: str, tried: str, answer: str) -> None:
        self.attempts.append({"source": source, "tried": tried, "answer": answer})

    @property
    def reason(self) -> str:
        """Why it could not be had, in one line: what was tried, what answered."""
        tried = "; ".join(f"{a['source']}: {a['tried']}: {a['answer'].strip().rstrip('.')}" for a in self.attempts)
        return " ".join(f"{self.name} {self.asked} could not be had: {tried or 'no source is left'}.".split())

    def take(self, entry: Entry, *, changed: bool = False) -> None:
        for name, value in asdict(entry).items():
            setattr(self, name, value)
        self.changed = changed


def obtain(tools: Sequence[Tool], cache: Cache, around: Surroundings, *, check: bool = False) -> list[Result]:
    """Every tool of the list; one that cannot be had is `failed` and does not keep the others from being tried."""
    results = []
    for number, tool in enumerate(tools, start=1):
        around.job.task = f"toolchain {number}/{len(tools)}: {tool.name}"
        around.job.check()
        results.append(_one(tool, cache, around, check))
        around.job.progress(number, len(tools), "tools")
    return results


def explain(results: Sequence[Result]) -> str:
    """What was tried for each tool that could not be had, what answered, and what to do."""
    failed = [result for result in results if result.failed]
    lines = [f"{len(failed)} of {len(results)} tools could not be had."]
    for result in failed:
        lines.append(f"{result.name} {result.asked}:")
        lines += [f"  {a['source']}: {a['tried']}: {a['answer']}" for a in result.attempts]
    lines.append(
        "To go on, put what is missing on PATH or into one of toolchain_path_directories, or mend a source above."
    )
    return "\n".join(lines)


def _one(tool: Tool, cache: Cache, around: Surroundings, check: bool) -> Result:
    result = Result(tool.name, tool.version, tool.required)
    recipes = [(source, _recipe(tool, source, around)) for source in tool.sources if source.kind in OBTAIN]
    cache.sweep(tool.name, around.job)
    if _already_there(tool, cache, recipes, around.job, result):
        return result
    if not recipes:
        result.failed = True
    elif check:
        source = recipes[0][0]
        result.changed, result.source = True, source.kind
        result.detail = f"would come from {source.kind}: {_tried(tool, source)}"
    else:
        _make(tool, cache, around, recipes, result)
    if result.failed:
        for source in tool.left_out:
            result.attempt(source.kind, _tried(tool, source), "not tried, toolchain_sources leaves it out.")
    return result


def _already_there(tool: Tool, cache: Cache, recipes: Recipes, job: Job, result: Result) -> bool:
    """Whether a source of the order is at hand without any work: on PATH, or in the cache from an earlier run."""
    waiting = iter(recipes)
    return any(
        _from_path(tool, source, job, result)
        if source.kind == "path"
        else _from_cache(tool, cache, [next(waiting)], result)
        for source in tool.sources
    )


def _make(tool: Tool, cache: Cache, around: Surroundings, recipes: Recipes, result: Result) -> None:
    try:
        with cache.writing(tool.name, around.job) as work:
            # Whoever held the lock before us may have made it meanwhile.
            if not _from_cache(tool, cache, recipes, result):
                _fetch(tool, cache, around, recipes, work, result)
    except OSError as error:
        result.attempt("cache", str(cache.root), f"it cannot be written: {error}")
        result.failed = True


def _from_path(tool: Tool, source: Source, job: Job, result: Result) -> bool:
    tried = _tried(tool, source)
    try:
        path = tool_path.look(tool, source)
        version = read_version(tool, path, job)
    except SourceError as error:
        result.attempt("path", tried, str(error))
        return False
    result.attempt("path", tried, f"{path} is there, version {version}.")
    result.take(Entry(str(path), version, "path", file_sha256(path), f"found at {path}"))
    return True


def _from_cache(tool: Tool, cache: Cache, recipes: Recipes, result: Result) -> bool:
    for source, digest in recipes:
        entry, problem = cache.find(tool.name, digest)
        if problem:
            result.attempt("cache", _tried(tool, source), f"{problem}; it is made anew.")
        if entry:
            result.attempt("cache", _tried(tool, source), f"{entry.path} is there, version {entry.version}.")
            result.take(entry)
            return True
    return False


def _fetch(tool: Tool, cache: Cache, around: Surroundings, recipes: Recipes, work: Path, result: Result) -> None:
    for source, digest in recipes:
        folder = work / source.kind
        try:
            folder.mkdir()
            got = OBTAIN[source.kind](tool, source, folder, around)
            got.path.chmod(0o755)
            version = read_version(tool, got.path, around.job)
            facts = {"version": version, "source": source.kind, "detail": got.detail}
            result.take(cache.store(tool.name, digest, got.path, facts), changed=True)
        except (SourceError, OSError) as error:
            result.attempt(source.kind, _tried(tool, source), str(error))
        else:
            result.attempt(source.kind, _tried(tool, source), f"stored as {result.path}, version {version}.")
            return
    result.failed = True


def read_version(tool: Tool, path: Path, job: Job) -> str:
    """The version that the tool itself states; a SourceError where it does not start or is not the one asked for."""
    if not tool.version_arguments:
        return tool_version.exact(tool.version) or "unknown"
    argv = [str(path), *tool.version_arguments]
    finished = run(argv, job, cwd=Path("/"), timeout_seconds=VERSION_SECONDS, tail_lines=VERSION_LINES)
    match = re.search(tool.version_regex, finished.tail)
    if not match:
        raise SourceError(
            f"{finished.command} (exit code {finished.returncode}) does not say a version: {finished.tail[-300:]!r}"
        )
    version = match.group(1).removeprefix("v")
    if not tool_version.satisfies(version, tool.version):
        raise SourceError(f"{path} is version {version}, {tool.version} is asked for.")
    return version


def _recipe(tool: Tool, source: Source, around: Surroundings) -> str:
    inputs = tool_go_module.inputs(source, around.go_dir) if source.kind == "go_module" else {}
    return recipe(tool, source, around.arch, inputs)


def _tried(tool: Tool, source: Source) -> str:
    return TRIED[source.kind](tool, source)
