# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checkout (or the installed collection) offers: stages, roles, suites, scenarios, subjects, variables."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from . import suite_keys
from .errors import ConfigurationError


@dataclass(frozen=True)
class Stage:
    """One line of nightly.yml."""

    number: int
    name: str
    playbook: str
    tags: frozenset[str] = field(default=frozenset())

    @property
    def folder(self) -> str:
        return f"{self.number:02d}__{self.name}"


class Project:
    """Read once per module call; every list has the order of its files."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    @functools.cached_property
    def stages(self) -> list[Stage]:
        """The imports of nightly.yml are the only list of stages."""
        nightly = self.root / "playbooks" / "nightly.yml"
        plays = load_yaml(nightly)
        if not isinstance(plays, list):
            raise ConfigurationError(f"read {nightly}: it is not a list of plays.")
        stages = []
        for number, play in enumerate(plays, start=1):
            playbook = str(play.get("ansible.builtin.import_playbook", ""))
            tags = play.get("tags", [])
            stages.append(
                Stage(number, Path(playbook).stem, playbook, frozenset(tags if isinstance(tags, list) else [tags]))
            )
        return stages

    @functools.cached_property
    def roles(self) -> list[str]:
        return sorted(path.parent.parent.name for path in (self.root / "roles").glob("*/tasks/main.yml"))

    @functools.cached_property
    def declared(self) -> list[str]:
        """The roles that say which variables they have."""
        return [role for role in self.roles if (self.root / "roles" / role / "meta" / "argument_specs.yml").is_file()]

    @functools.cached_property
    def suites(self) -> list[str]:
        """The stages whose role brings scenarios."""
        return [stage.name for stage in self.stages if (self._files(stage.name) / "scenarios").is_dir()]

    @functools.cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """Every variable that a role or the nightly itself declares, with its type and choices."""
        known: dict[str, dict[str, Any]] = {}
        for spec in (self.root / "roles").glob("*/meta/argument_specs.yml"):
            for entry in ((load_yaml(spec) or {}).get("argument_specs") or {}).values():
                known.update(entry.get("options") or {})
        return known

    @property
    def variables(self) -> set[str]:
        return set(self.options)

    def defaults(self, role: str) -> dict[str, Any]:
        """The role's defaults; those that are templates are left out, for only Ansible can fill them in."""
        values = load_yaml(self.root / "roles" / role / "defaults" / "main.yml") or {}
        return {name: value for name, value in values.items() if "{{" not in str(value)}

    def scenarios(self, suite: str, more: Iterable[str | Path] = ()) -> dict[str, dict[str, Any]]:
        """By name; a file in one of the caller's folders wins over ours of the same name."""
        return _by_name([self._files(suite) / "scenarios", *(Path(folder) for folder in more)])

    def subjects(self, suite: str, more: Iterable[str | Path] = ()) -> dict[str, dict[str, Any]]:
        return _by_name([self._files(suite) / "subjects", *(Path(folder) for folder in more)])

    def faults(self, suite: str, kind: str, items: Iterable[dict[str, Any]]) -> list[str]:
        """What the suite's role does not understand of scenarios or subjects (`kind`), where it says what it knows."""
        rules = (load_yaml(self._files(suite) / "keys.yml") or {}).get(kind)
        if not rules:
            return []
        if kind == "scenario":
            # Those of our own scenarios are the ones that a load of the suite can give.
            metrics = sorted({metric for one in self.scenarios(suite).values() for metric in one.get("metrics", [])})
            rules = {**rules, "choices": {**rules["choices"], "metrics": metrics}}
        return [fault for item in items for fault in suite_keys.faults(kind, item, rules)]

    def _files(self, suite: str) -> Path:
        return self.root / "roles" / suite / "files"


def load_yaml(path: Path) -> Any:
    """The decoded file; None when there is none."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, yaml.YAMLError) as error:
        raise ConfigurationError(f"read {path}: {error}") from error


def _by_name(folders: Iterable[Path]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ConfigurationError(
                f"read the folder {folder}: there is none.",
                hint="Look at <suite>_scenario_dirs and <suite>_subject_dirs.",
            )
        for path in sorted(folder.glob("*.yml")):
            value = load_yaml(path)
            if not isinstance(value, dict) or not isinstance(value.get("name"), str):
                raise ConfigurationError(f"read {path}: it has no name.", hint="Give it a key 'name'.")
            if value["name"] != path.stem:
                raise ConfigurationError(
                    f"read {path}: it is named '{value['name']}' inside.", hint="File and key 'name' have one name."
                )
            found[value["name"]] = value
    return found
