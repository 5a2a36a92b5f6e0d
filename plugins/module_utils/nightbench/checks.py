# SPDX-License-Identifier: GPL-3.0-or-later
"""What the caller gave, checked before anything is started: each function returns sentences about what is wrong."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from . import redact
from .names import nearest, unknown
from .plan import is_number, whole_number
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
#: Where kwok_nodes_count comes from when nobody gives it.
SIZE = "NODE_COUNT"
#: What Ansible takes for a truth value.
YES_OR_NO = frozenset(["y", "yes", "on", "1", "true", "t", "1.0", "n", "no", "off", "0", "false", "f", "0.0"])
#: Lists that also go as `a,b`.
COMMA_LISTS = ("_suites", "_scenarios", "_subjects")


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
        if name.upper() == SIZE and name in given:
            problems.append(f"{SIZE} is read from the environment ({SIZE}=9 make nightly); with -e: kwok_nodes_count.")
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


def types(project: Project, given: Mapping[str, Any]) -> list[str]:
    """Values from the command line that are not of the type that their role declares.

    The role would refuse them as well, but not before the stages in front of it have run.
    """
    problems = []
    for name, value in given.items():
        option = project.options.get(name, {})
        if not option or value is None or value == redact.HIDDEN or "{{" in str(value):
            continue
        if "choices" in option and option.get("type") != "list":
            problems += one_of(name, str(value), option["choices"])
        elif option.get("type") in TYPES:
            wanted, fits = TYPES[option["type"]]
            if not (fits(value) or (isinstance(value, str) and name.endswith(COMMA_LISTS))):
                problems.append(f"{name} is {_shown(value)}; it has to be {wanted}.{_as_json(name, value)}")
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


def _is_whole(value: Any) -> bool:
    return not isinstance(value, bool) and re.fullmatch(r"\s*[+-]?[0-9]+\s*", str(value)) is not None


#: By the type in an argument specification: what it is called, and whether a value fits.
TYPES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", _is_whole),
    "float": ("a number", is_number),
    "bool": ("true or false", lambda value: str(value).lower() in YES_OR_NO),
    "list": ("a list", lambda value: isinstance(value, list)),
    "dict": ("a mapping", lambda value: isinstance(value, dict)),
}


def _shown(value: Any) -> str:
    return f"the text '{value}'" if isinstance(value, str) else f"'{value}'"


def _as_json(name: str, value: Any) -> str:
    """NAME=VALUE always gives a text; where that is JSON, the way to give it as such."""
    try:
        meant = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        meant = None
    if isinstance(meant, (list, dict)):
        return f" Give it as JSON: -e '{json.dumps({name: meant})}'."
    return ""


def _origin(name: str) -> str:
    return f"{name} ({SIZE})" if name == "kwok_nodes_count" else name
