# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks are stages; nightly.yml is the only list of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.contract.tree import PLAYBOOKS, ROOT, files, name_of, read_yaml, under

IMPORT = "ansible.builtin.import_playbook"
FIRST, LAST = ["start.yml", "environment.yml"], ["report.yml", "teardown.yml", "verdict.yml"]
# Playbooks a user calls by themselves.
ALONE = {"gpu_hosts.yml", "nightly.yml", "reap.yml"}
# Plays on a group that the play before them has filled, or has failed.
ON_GROUPS = {("gpu_hosts.yml", "gpu_hosts")}
PLAY_KEYWORDS = {
    "name",
    "hosts",
    "gather_facts",
    "tags",
    "tasks",
    "roles",
    "vars",
    "module_defaults",
    "any_errors_fatal",
    "ignore_unreachable",
}


def nightly() -> list[dict[str, Any]]:
    return list(read_yaml(ROOT / "playbooks" / "nightly.yml"))


def plays() -> list[tuple[str, dict[str, Any]]]:
    return [(path.name, play) for path in PLAYBOOKS if path.name != "nightly.yml" for play in read_yaml(path)]


def test_nightly_is_a_list_of_imports_and_nothing_else() -> None:
    assert [sorted(entry) for entry in nightly() if not set(entry) <= {"name", "tags", IMPORT}] == []


def test_nightly_starts_with_start_and_ends_with_the_verdict() -> None:
    order = [entry[IMPORT] for entry in nightly()]
    assert (order[:2], order[-3:]) == (FIRST, LAST)


def test_every_playbook_is_a_stage_of_the_nightly_or_stands_alone() -> None:
    assert {path.name for path in PLAYBOOKS} == {entry[IMPORT] for entry in nightly()} | ALONE


def test_a_play_runs_where_there_is_always_a_host() -> None:
    """A play on an empty group does nothing and says nothing."""
    elsewhere = {(name, play.get("hosts")) for name, play in plays() if play.get("hosts") != "localhost"}
    assert elsewhere == ON_GROUPS


def test_a_play_gathers_no_facts_it_did_not_ask_for() -> None:
    assert [name for name, play in plays() if play.get("gather_facts") is not False] == []


def test_a_play_is_a_name_and_a_short_list() -> None:
    assert [(name, sorted(set(play) - PLAY_KEYWORDS)) for name, play in plays() if set(play) - PLAY_KEYWORDS] == []


def test_a_play_has_the_tags_that_the_nightly_gives_its_stage() -> None:
    """So that a stage that is run alone, with the tags of the whole, does what it does in the nightly."""
    tags = {name: play.get("tags") for name, play in plays() if name not in ALONE}
    assert tags == {entry[IMPORT]: entry["tags"] for entry in nightly()}


@pytest.mark.parametrize("path", PLAYBOOKS, ids=lambda path: path.name)
def test_ansible_takes_the_syntax(path: Path) -> None:
    ansible = Path(sys.executable).parent
    answer = subprocess.run(
        # With the inventory that has every group: another one lacks those that a play fills itself.
        [ansible / "ansible-playbook", "-i", "inventories/gcp", "--syntax-check", name_of(path)],
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PATH": f"{ansible}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    warnings = [line for line in answer.stderr.splitlines() if "WARNING" in line]
    assert (answer.returncode, warnings) == (0, []), answer.stdout + answer.stderr


def test_no_suite_asks_in_which_environment_it_runs() -> None:
    """Environments differ by the roles the inventory names, never by a branch."""
    asking = re.compile(r"nightbench_environment\b\s*(==|!=|in\b)|group_names|inventory_dir|groups\[")
    found = [
        f"{name_of(path)}: {line.strip()}"
        for folder in ("roles", "playbooks")
        for path in under(folder, ".yml", ".j2")
        for line in path.read_text(encoding="utf-8").splitlines()
        if asking.search(line)
    ]
    assert found == []


def test_an_inventory_holds_hosts_and_variables_of_groups_only() -> None:
    """Any other YAML below an inventory would be read as inventory too, and no encrypted file is committed."""
    allowed = re.compile(r"^inventories/\w+/(hosts\.yml|group_vars/\w+/\w+\.yml)$")
    inventories = [path for path in files() if name_of(path).startswith("inventories/")]
    assert [name_of(path) for path in inventories if not allowed.match(name_of(path))] == []
    assert [name_of(path) for path in inventories if "$ANSIBLE_VAULT" in path.read_text(encoding="utf-8")] == []


def test_the_local_inventory_keeps_to_the_interpreter_of_ansible_itself() -> None:
    """Discovery would pick the system's Python, which has no kubernetes package."""
    text = "".join(path.read_text(encoding="utf-8") for path in under("inventories/local", ".yml"))
    assert 'ansible_python_interpreter: "{{ ansible_playbook_python }}"' in text
    assert "ansible_connection: local" in text
