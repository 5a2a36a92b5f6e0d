# SPDX-License-Identifier: GPL-3.0-or-later
"""Source `go_module`: a main package built from a pinned Go module; go.sum checks every byte of its source."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from .tool_cache import file_sha256
from .tool_job import Finished, run
from .tool_source import Obtained, SourceError, Surroundings
from .tool_table import Source, Tool

PINS = ("go.mod", "go.sum")
REQUIREMENT = re.compile(r"^\s+(?:require\s+)?\S+ v\S+( // indirect)?$", re.MULTILINE)
IMPORT_PATH = re.compile(r"[\w.~-]+(/[\w.~-]+)*")
ENVIRONMENT = {"CGO_ENABLED": "0", "GOWORK": "off", "GOOS": "linux"}


def obtain(tool: Tool, source: Source, work: Path, around: Surroundings) -> Obtained:
    if not shutil.which("go"):
        raise SourceError("there is no go on PATH; install Go (the version is in go.mod).")
    module = around.go_dir / source.text("directory")
    if not (module / "go.mod").is_file():
        raise SourceError(f"there is no go.mod in {module}.")
    scratch = work / "tmp"
    scratch.mkdir()
    # Go's own scratch folder too: what a killed build leaves is swept with the work folder.
    environment = {**ENVIRONMENT, "GOARCH": around.arch, "GOTMPDIR": str(scratch)}
    _build(source, work / tool.file, module, environment, around)
    return Obtained(work / tool.file, f"built from {source.text('package')}, tools/go/{source.text('directory')}")


def tried(tool: Tool, source: Source) -> str:
    return f"go build {source.text('package')} in tools/go/{source.text('directory')}"


def inputs(source: Source, go_dir: Path) -> dict[str, str]:
    """The pins decide what is built, wherever the checkout lies."""
    module = go_dir / source.text("directory")
    return {name: file_sha256(module / name) for name in PINS if (module / name).is_file()}


def _build(source: Source, file: Path, module: Path, environment: dict[str, str], around: Surroundings) -> None:
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", *_tags(source)]
    asked = _count_packages(source, module, flags, environment, around)
    built = 0

    def on_line(line: str) -> bool:
        nonlocal built
        if not IMPORT_PATH.fullmatch(line):
            return False
        built += 1
        around.job.progress(built, max(asked, built), "packages built")
        return True

    argv = ["go", "build", *flags, "-v", "-o", str(file), *_ldflags(source), source.text("package")]
    around.job.progress(0, asked, "packages built")
    _succeed(run(argv, around.job, cwd=module, env=environment, on_line=on_line))


def _count_packages(
    source: Source, module: Path, flags: list[str], environment: dict[str, str], around: Surroundings
) -> int:
    """How many packages are not in Go's build cache; asking downloads the modules that are missing."""
    modules = len(REQUIREMENT.findall((module / "go.mod").read_text(encoding="utf-8")))
    downloaded = stale = 0

    def on_line(line: str) -> bool:
        nonlocal downloaded, stale
        if line.startswith("go: downloading "):
            downloaded += 1
            around.job.progress(downloaded, max(modules, downloaded), "modules downloaded")
        elif line in ("true", "false"):
            stale += line == "true"
        else:
            return False
        return True

    argv = ["go", "list", "-deps", *flags, "-f", "{{.Stale}}", source.text("package")]
    _succeed(run(argv, around.job, cwd=module, env=environment, on_line=on_line))
    return stale


def _succeed(finished: Finished) -> None:
    if finished.returncode:
        raise SourceError(f"{finished.command}: exit code {finished.returncode}: {finished.tail}")


def _tags(source: Source) -> list[str]:
    tags = ",".join(source.texts("tags"))
    return ["-tags", tags] if tags else []


def _ldflags(source: Source) -> list[str]:
    flags = " ".join(source.texts("ldflags"))
    return ["-ldflags", flags] if flags else []
