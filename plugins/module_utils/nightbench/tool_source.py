# SPDX-License-Identifier: GPL-3.0-or-later
"""What all sources share: what they are given, what they give back, and how they say no."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from .errors import NightbenchError
from .tool_job import Job


class SourceError(NightbenchError):
    """This source cannot give the tool; the next one is tried. The message is what the source answered."""


@dataclass(frozen=True)
class Surroundings:
    """What a source may use; the same for all tools of one call."""

    job: Job
    arch: str
    cache_dir: Path
    go_dir: Path
    registry: str = ""
    registry_verify_tls: bool = True
    timeout_seconds: float = 20.0
    dead_hosts: dict[str, str] = field(default_factory=dict)  # host -> why; not asked a second time in one call


@dataclass(frozen=True)
class Obtained:
    """A file that a source brought into the work folder, and one line on where it is from."""

    path: Path
    detail: str


def inside(root: Path, member: str) -> Path:
    """The file `member` of an unpacked tree; symbolic links are followed as if `root` were /."""
    rest = [part for part in member.split("/") if part not in ("", ".")]
    done: list[str] = []
    for _ in range(255):
        if not rest:
            break
        part = rest.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        step = root.joinpath(*done, part)
        if step.is_symlink():
            target = os.readlink(step)
            done = [] if target.startswith("/") else done
            rest = [name for name in target.split("/") if name not in ("", ".")] + rest
        else:
            done.append(part)
    found = root.joinpath(*done)
    if rest or not found.is_file():
        raise SourceError(f"there is no file {member} in it.")
    return found
