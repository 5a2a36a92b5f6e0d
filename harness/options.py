# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of ansible-playbook that `run` and `resume` take and pass on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from harness.errors import UsageError
from harness.stages import AnsibleOptions

PROJECT = Path(__file__).resolve().parent.parent
# The stages run without a keyboard: a question would wait for ever.
ASKING = {
    "--ask-vault-pass": "--vault-password-file FILE",
    "--ask-vault-password": "--vault-password-file FILE",
    "-J": "--vault-password-file FILE",
    "-K": "--become-password-file FILE after --",
    "--ask-become-pass": "--become-password-file FILE after --",
    "-k": "--connection-password-file FILE after --",
    "--ask-pass": "--connection-password-file FILE after --",
    "--step": "nothing (a night has nobody to ask)",
}


def add_ansible_arguments(parser: argparse.ArgumentParser) -> None:
    """Spelled as ansible-playbook spells them."""
    group = parser.add_argument_group("passed on to ansible-playbook", "anything else it takes goes after --")
    group.add_argument("-i", "--inventory", action="append", default=[], metavar="PATH", help="repeatable")
    group.add_argument(
        "-e", "--extra-vars", action="append", default=[], metavar="NAME=VALUE", help="also JSON or @FILE; repeatable"
    )
    group.add_argument("-l", "--limit", metavar="HOSTS", help="localhost is added: every stage has plays on it")
    group.add_argument("-t", "--tags", action="append", default=[], metavar="TAGS")
    group.add_argument("--skip-tags", action="append", default=[], metavar="TAGS")
    group.add_argument("-C", "--check", action="store_true", help="change nothing, say what would change")
    group.add_argument("-D", "--diff", action="store_true", help="show what changes")
    group.add_argument("-v", "--verbose", action="count", default=0, help="show ansible's output; more with -vvv")
    group.add_argument("-f", "--forks", type=int, metavar="N")
    group.add_argument("--vault-id", action="append", default=[], metavar="LABEL@FILE")
    group.add_argument("--vault-password-file", "--vault-pass-file", action="append", default=[], metavar="FILE")
    parser.set_defaults(more=[])


def ansible_options(args: argparse.Namespace) -> AnsibleOptions:
    """Refuses what would ask the keyboard and files that are not there."""
    more = tuple(args.more)
    for word in more:
        flag = word.partition("=")[0]
        if flag in ASKING:
            raise UsageError(f"{flag} asks a question and the stages have no keyboard", hint=f"use {ASKING[flag]}")
    if any(value.endswith("@prompt") for value in args.vault_id):
        raise UsageError("--vault-id …@prompt asks a question and the stages have no keyboard", hint="use LABEL@FILE")
    for path in [*args.vault_password_file, *(v[1:] for v in args.extra_vars if v.startswith("@"))]:
        if not os.path.exists(os.path.expanduser(path)):
            raise UsageError(f"{path} does not exist")
    for value in args.extra_vars:
        _check_extra_vars(value)
    for path in args.inventory:
        if "," not in path and not os.path.exists(os.path.expanduser(path)):
            raise UsageError(f"there is no inventory {path}", hint=_inventories())
    if args.forks is not None and args.forks < 1:
        raise UsageError(f"--forks {args.forks}: at least 1")
    return AnsibleOptions(
        inventories=tuple(args.inventory),
        extra_vars=tuple(args.extra_vars),
        limit=args.limit,
        tags=tuple(args.tags),
        skip_tags=tuple(args.skip_tags),
        check=args.check,
        diff=args.diff,
        verbosity=args.verbose,
        forks=args.forks,
        vault_ids=tuple(args.vault_id),
        vault_password_files=tuple(args.vault_password_file),
        more=more,
    )


def extra_var(extra_vars: Iterable[str], name: str) -> str | None:
    """The value that -e gives a variable, as far as it can be seen without Ansible; the last one wins."""
    found = None
    for value in extra_vars:
        document = _as_mapping(value)
        if name in document:
            found = str(document[name])
    return found


def _as_mapping(value: str) -> dict[str, Any]:
    try:
        if value.startswith("@"):
            document = yaml.safe_load(Path(value[1:]).expanduser().read_text(encoding="utf-8"))
        elif value.lstrip().startswith("{"):
            document = yaml.safe_load(value)
        else:
            document = dict(word.split("=", 1) for word in value.split() if "=" in word)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def _check_extra_vars(value: str) -> None:
    """Ansible tells text that is not JSON as an inventory that cannot be parsed."""
    if not value.lstrip().startswith(("{", "[")):
        return
    try:
        document = yaml.safe_load(value)
    except yaml.YAMLError as error:
        # The line stays untold: it may hold a secret.
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise UsageError(
            f"-e {value[:1]}…: not JSON: {problem}", hint="""for example -e '{"nightbench_keep": "always"}'"""
        ) from error
    if not isinstance(document, dict):
        raise UsageError(f"-e {value[:1]}…: a list is no variables", hint="give NAME=VALUE or a JSON object")


def _inventories() -> str:
    there = sorted(path.name for path in (PROJECT / "inventories").glob("*") if path.is_dir())
    return f"the project has: {', '.join(f'inventories/{name}' for name in there)}" if there else ""
