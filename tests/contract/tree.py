# SPDX-License-Identifier: GPL-3.0-or-later
"""The tree as the contract tests see it: its files, roles, modules, playbooks and tasks."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.playbook.task import Task as AnsibleTask

ROOT = Path(__file__).resolve().parents[2]
NOT_OURS = (".venv/", ".cache/", "results/", "tests/fixtures/")
COLLECTION = "nightbench.infra."
ROLE_CALLS = ("include_role", "import_role", "ansible.builtin.include_role", "ansible.builtin.import_role")
# What a task may hold beside the name of its module and that module's options.
TASK_KEYWORDS = frozenset(AnsibleTask.fattributes) | {"args", "listen"}
CONDITIONS = ("when", "that", "until", "failed_when", "changed_when", "loop")


class Loader(yaml.SafeLoader):
    """Takes Ansible's own tags as plain values."""


for tag in ("!unsafe", "!vault"):
    Loader.add_constructor(tag, lambda loader, node: loader.construct_scalar(node))


@cache
def files() -> tuple[Path, ...]:
    """Every file of the project: what git tracks or would track, or all of it in an unpacked archive."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True
        ).stdout.decode()
        names = [name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*")]
    return tuple(
        ROOT / name
        for name in sorted(names)
        if not name.startswith(NOT_OURS) and "__pycache__" not in name and (ROOT / name).is_file()
    )


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def under(folder: str, *suffixes: str) -> list[Path]:
    """The files below a folder of the project, with one of the suffixes if any is given."""
    return [
        path for path in files() if name_of(path).startswith(f"{folder}/") and (not suffixes or path.suffix in suffixes)
    ]


def read_yaml(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), Loader)


def read_documents(path: Path) -> list[Any]:
    """All documents of a file of manifests."""
    return list(yaml.load_all(path.read_text(encoding="utf-8"), Loader))


ROLES = sorted({path.relative_to(ROOT).parts[1] for path in under("roles")})
MODULES = sorted(path.stem for path in under("library", ".py") if path.stem.startswith("bench_"))
PLAYBOOKS = [path for path in under("playbooks", ".yml") if path.parent == ROOT / "playbooks"]


@dataclass(frozen=True)
class Task:
    path: Path
    body: dict[str, Any]

    @property
    def where(self) -> str:
        return f"{name_of(self.path)}: {self.body.get('name', '(no name)')}"

    @property
    def module(self) -> str:
        """The name of the module as it is written; empty for a block."""
        names = [key for key in self.body if key not in TASK_KEYWORDS and not key.startswith("with_")]
        return names[0] if names else str(self.body.get("action", ""))

    @property
    def options(self) -> Any:
        return self.body.get(self.module)


def tasks_in(path: Path) -> Iterator[Task]:
    """Every task of a task file or a playbook, those inside blocks too."""
    document = read_yaml(path)
    if isinstance(document, list):
        yield from _tasks(path, document)


def _tasks(path: Path, entries: list[Any]) -> Iterator[Task]:
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        inner = [
            entry[key]
            for key in ("block", "rescue", "always", "pre_tasks", "tasks", "post_tasks", "handlers")
            if isinstance(entry.get(key), list)
        ]
        for part in inner:
            yield from _tasks(path, part)
        is_play = "hosts" in entry or "import_playbook" in entry or "ansible.builtin.import_playbook" in entry
        if not inner and not is_play:
            yield Task(path, entry)


def task_files() -> list[Path]:
    inside_roles = [
        path for path in under("roles", ".yml") if path.relative_to(ROOT).parts[2:3] in (("tasks",), ("handlers",))
    ]
    molecule = [
        path for path in under("extensions/molecule", ".yml") if path.name not in ("molecule.yml", "config.yml")
    ]
    return [*inside_roles, *PLAYBOOKS, *molecule]


ALL_TASKS = [task for path in task_files() for task in tasks_in(path)]


def role_file(role: str, *parts: str) -> Path:
    return ROOT.joinpath("roles", role, *parts)


def role_yaml(role: str, *parts: str) -> Any:
    """A file of a role, or an empty mapping where it has none or an empty one."""
    path = role_file(role, *parts)
    return (read_yaml(path) if path.exists() else None) or {}


def role_options(role: str, entry_point: str = "main") -> dict[str, Any]:
    specs = role_yaml(role, "meta", "argument_specs.yml").get("argument_specs", {})
    return dict(specs.get(entry_point, {}).get("options") or {})


def templates_in(value: Any, key: str = "") -> Iterator[str]:
    """Every string below a value in which Ansible looks names up."""
    if isinstance(value, str):
        if "{{" in value or "{%" in value or key in CONDITIONS:
            yield value
    elif isinstance(value, dict):
        for inner_key, inner in value.items():
            yield from templates_in(inner, str(inner_key))
    elif isinstance(value, list):
        for inner in value:
            yield from templates_in(inner, key)


def names_in(text: str) -> set[str]:
    """The identifiers of an expression, without its quoted strings."""
    return set(re.findall(r"[A-Za-z_]\w*", re.sub(r"'[^']*'|\"[^\"]*\"", " ", text)))
