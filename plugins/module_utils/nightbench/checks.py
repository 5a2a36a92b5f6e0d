# SPDX-License-Identifier: GPL-3.0-or-later
"""What the caller gave, checked before anything is started: each function returns sentences about what is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from .names import nearest, unknown
from .plan import whole_number
from .project import Project

RUN_ID = re.compile(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}")
#: Tags that Ansible itself knows.
SPECIAL_TAGS = frozenset({"all", "always", "never", "tagged", "untagged"})
PREFIX = "nightbench_"
#: When the environment outlives the run.
KEEP = ("never", "on_failure", "always")
#: A name without a prefix of ours is only doubted when it is nearly one of ours.
ALIKE_TO_DOUBT = 0.85
#: What the local environment has been sized for; a typo of one more zero is told and not tried.
COUNT_MOST = 50_000


def run_id(value: str) -> list[str]:
    if not value or RUN_ID.fullmatch(value):
        return []
    return [f"nightbench_run_id is '{value}'; it has to look like 20261122T183000Z-1a2b, or be left out."]


def tags(project: Project, run_tags: Iterable[str], skip_tags: Iterable[str]) -> list[str]:
    """Ansible runs nothing for a tag that does not exist, and calls that a success."""
    stages = {stage.name for stage in project.stages}
    known = stages | {tag for stage in project.stages for tag in stage.tags} | SPECIAL_TAGS
    problems = unknown("tag", run_tags, known)
    for tag in skip_tags:
        if tag in known - stages - SPECIAL_TAGS:
            problems.append(
                f"--skip-tags {tag} would skip the whole stage that the role {tag} belongs to; "
                "leave the role out of nightbench_environment_roles instead."
            )
        else:
            problems += unknown("tag", [tag], known)
    return problems


def variables(project: Project, names: Iterable[str], given: Iterable[str]) -> list[str]:
    """`names` are all variables in scope, `given` those from the command line: argument_specs refuse neither."""
    known = project.variables
    owners = [PREFIX, *(f"{role}_" for role in project.declared)]
    problems = []
    for name in dict.fromkeys([*names, *given]):
        owner = max((one for one in owners if name.startswith(one)), key=len, default="")
        if name in known or not (owner or name in given):
            continue
        theirs = {one for one in known if owner and one.startswith(owner)}
        rest = nearest(name.removeprefix(owner), {one.removeprefix(owner) for one in theirs})
        near = owner + rest if rest else nearest(name, known, ALIKE_TO_DOUBT)
        if near:
            problems.append(f"There is no variable '{name}'; the nearest is '{near}'.")
        elif owner:
            problems.append(
                f"There is no variable '{name}'; those that begin with {owner} are: {', '.join(sorted(theirs))}."
            )
    return problems


def suites(project: Project, asked: Iterable[str]) -> list[str]:
    return unknown("suite", asked, project.suites)


def one_of(name: str, value: str, choices: Collection[str]) -> list[str]:
    return [] if value in choices else [f"{name} is '{value}'; it is one of: {', '.join(choices)}."]


def counts(values: Mapping[str, Any]) -> tuple[dict[str, int], list[str]]:
    """Sizes, converted once; NODE_COUNT is where kwok_nodes_count comes from when nobody gives it."""
    problems: list[str] = []
    converted = {name: whole_number(_origin(name), value, 1, COUNT_MOST, problems) for name, value in values.items()}
    return converted, problems


def folder(path: Path, needed: int) -> list[str]:
    """A folder that can be written to and has room; the nearest existing parent stands for one that is missing."""
    found = path
    while not found.exists() and found != found.parent:
        found = found.parent
    if not found.is_dir():
        return [f"{path} cannot be made a folder: {found} is a file."]
    if not os.access(found, os.W_OK | os.X_OK):
        return [f"{path} cannot be written to: {found} is not writable for this user."]
    room = os.statvfs(found)
    free = room.f_bavail * room.f_frsize
    if free < needed:
        return [
            f"{path} has too little room: needed {size(needed)}, free {size(free)}. Free some, or name another place."
        ]
    return []


def size(count: int) -> str:
    return f"{count / 2**20:,.1f} MiB"


def environment_roles(names: Iterable[str], known: Collection[str]) -> list[str]:
    """A role of the caller's own is fine; a name that is nearly one of ours is a typo."""
    return unknown("role", (name for name in names if name not in known and nearest(name, known)), known)


def _origin(name: str) -> str:
    return f"{name} (NODE_COUNT)" if name == "kwok_nodes_count" else name
