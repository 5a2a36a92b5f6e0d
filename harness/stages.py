# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages of the nightly and the exact ansible-playbook line of each: pure functions."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UsageError

FIRST = "start"
ENVIRONMENT = "environment"
# These run whatever happened before, in this order, so that nothing measured is lost and nothing is left behind.
FINAL = ("report", "teardown", "verdict")
ALWAYS = (FIRST, *FINAL)


@dataclass(frozen=True)
class Stage:
    """One line of playbooks/nightly.yml."""

    number: int
    name: str
    playbook: Path
    tags: frozenset[str] = frozenset()

    @property
    def folder(self) -> str:
        return f"{self.number:02d}__{self.name}"


@dataclass(frozen=True)
class AnsibleOptions:
    """What the caller gave for ansible-playbook, unchanged."""

    inventories: tuple[str, ...] = ()
    extra_vars: tuple[str, ...] = ()
    limit: str | None = None
    tags: tuple[str, ...] = ()
    skip_tags: tuple[str, ...] = ()
    check: bool = False
    diff: bool = False
    verbosity: int = 0
    forks: int | None = None
    vault_ids: tuple[str, ...] = ()
    vault_password_files: tuple[str, ...] = ()
    more: tuple[str, ...] = field(default=())


def read_stages(nightly: Path) -> list[Stage]:
    """The list of stages is what the nightly playbook imports, in that order, and nothing else."""
    try:
        plays: Any = yaml.safe_load(nightly.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read {nightly}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{nightly} is not YAML: {error}") from error
    if not isinstance(plays, list):
        raise UsageError(f"{nightly} is not a list of import_playbook lines")
    stages = []
    for number, play in enumerate(plays, start=1):
        imported = _imported(play)
        if imported is None:
            raise UsageError(f"{nightly}: entry {number} imports no playbook; the nightly is only a list of them")
        playbook = nightly.parent / imported
        stages.append(Stage(number, playbook.stem, playbook, frozenset(_names(play.get("tags")))))
    return stages


def selected(stage: Stage, stages: Sequence[Stage], options: AnsibleOptions) -> bool:
    """Can any task of this stage run under these tags? When in doubt yes: Ansible decides task by task.

    A tag that no stage declares may sit on a task of any of them, so only declared ones exclude.
    """
    declared = {other.name for other in stages}.union(*(other.tags for other in stages))
    tags, skip = set(_split(options.tags)), set(_split(options.skip_tags))
    if stage.name in skip:
        return False
    if stage.name in ALWAYS or not tags or tags & {"all", "tagged", "untagged"}:
        return True
    return bool(tags & ({stage.name} | stage.tags)) or not tags <= declared


def stage_argv(
    stage: Stage,
    options: AnsibleOptions,
    variables: dict[str, str],
    playbook: str | None = None,
) -> list[str]:
    """The ansible-playbook line of one stage; the harness's own variables come last, so they win."""
    argv = ["ansible-playbook"]
    for inventory in options.inventories:
        argv += ["-i", inventory]
    for value in options.extra_vars:
        argv += ["-e", value]
    if options.limit:
        argv += ["--limit", with_localhost(options.limit)]
    if options.tags:
        argv += ["--tags", ",".join(options.tags)]
    if options.skip_tags:
        argv += ["--skip-tags", ",".join(options.skip_tags)]
    argv += ["--check"] * options.check + ["--diff"] * options.diff
    if options.verbosity:
        argv.append("-" + "v" * options.verbosity)
    if options.forks is not None:
        argv += ["--forks", str(options.forks)]
    for vault_id in options.vault_ids:
        argv += ["--vault-id", vault_id]
    for path in options.vault_password_files:
        argv += ["--vault-password-file", path]
    argv += options.more
    for name, value in variables.items():
        argv += ["-e", f"{name}={value}"]
    return [*argv, playbook or os.fspath(stage.playbook)]


def with_localhost(limit: str) -> str:
    """Every stage has plays on localhost; a limit without it would match nothing and succeed."""
    return limit if "localhost" in limit.replace(":", ",").split(",") else f"{limit},localhost"


def _imported(play: Any) -> str | None:
    if not isinstance(play, dict):
        return None
    value = play.get("ansible.builtin.import_playbook", play.get("import_playbook"))
    return value if isinstance(value, str) else None


def _names(tags: Any) -> list[str]:
    if tags is None:
        return []
    return _split(tags if isinstance(tags, list) else [str(tags)])


def _split(values: Iterable[str]) -> list[str]:
    return [name.strip() for value in values for name in str(value).split(",") if name.strip()]
