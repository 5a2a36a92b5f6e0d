# SPDX-License-Identifier: GPL-3.0-or-later
"""No task hides a failure or a change, or does with a shell or a loop what a module does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.tree import ALL_TASKS, COLLECTION, MODULES, ROLES, ROOT, Task

# Reading modules and role calls that ansible-core has; everything else must say its collection.
SHORT = re.compile(r"^[a-z0-9_]+$")


def is_command(task: Task) -> bool:
    return task.module.removeprefix("ansible.builtin.") in ("command", "raw", "script", "expect")


def is_false(value: Any) -> bool:
    return value is False or (isinstance(value, str) and value.strip().lower() in ("false", "no"))


RULES: dict[str, Callable[[Task], bool]] = {
    "no shell": lambda task: task.module.removeprefix("ansible.builtin.") == "shell",
    "no ignore_errors": lambda task: "ignore_errors" in task.body,
    "no failed_when: false": lambda task: is_false(task.body.get("failed_when")),
    "a command says what it changes": lambda task: is_command(task) and "changed_when" not in task.body,
    "a command is an argv list": lambda task: is_command(task) and "argv" not in (task.options or {}),
    "no loop over a module of ours": lambda task: (
        task.module.removeprefix(COLLECTION) in MODULES
        and ("loop" in task.body or any(key.startswith("with_") for key in task.body))
    ),
    "no with_ loop": lambda task: any(key.startswith("with_") for key in task.body),
    "no async on a module of ours": lambda task: (
        task.module in MODULES and ("async" in task.body or "timeout" in task.body)
    ),
    "other people's modules by their full name": lambda task: (
        bool(SHORT.match(task.module)) and task.module not in MODULES
    ),
    "modules of ours by their short name": lambda task: task.module.startswith(COLLECTION),
    "a task has a name": lambda task: not task.body.get("name"),
    "facts through ansible_facts": lambda task: bool(
        re.search(r"\bansible_(hostname|kernel|distribution|os_family|processor|memtotal|default_ipv4)", str(task.body))
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_every_task_keeps_the_rule(rule: str) -> None:
    assert [task.where for task in ALL_TASKS if RULES[rule](task)] == []


def test_there_are_tasks_to_look_at() -> None:
    """An empty tree would keep every rule."""
    assert {role for role in ROLES if any(f"roles/{role}/" in task.where for task in ALL_TASKS)} == set(ROLES)


BAD_TASKS = {
    "no shell": {"ansible.builtin.shell": "ls | wc"},
    "no ignore_errors": {"ansible.builtin.ping": None, "ignore_errors": True},
    "no failed_when: false": {"ansible.builtin.ping": None, "failed_when": "false"},
    "a command says what it changes": {"ansible.builtin.command": {"argv": ["true"]}},
    "a command is an argv list": {"ansible.builtin.command": "true", "changed_when": False},
    "no loop over a module of ours": {"bench_objects": {}, "loop": [1]},
    "no with_ loop": {"ansible.builtin.ping": None, "with_items": [1]},
    "no async on a module of ours": {"bench_objects": {}, "timeout": 3},
    "other people's modules by their full name": {"ping": None},
    "modules of ours by their short name": {"nightbench.infra.bench_objects": {}},
    "a task has a name": {"ansible.builtin.ping": None, "name": ""},
    "facts through ansible_facts": {"ansible.builtin.debug": {"msg": "{{ ansible_hostname }}"}},
}


@pytest.mark.parametrize("rule", BAD_TASKS)
def test_the_rule_sees_a_task_that_breaks_it(rule: str) -> None:
    task = Task(ROOT / "roles" / "any" / "tasks" / "main.yml", {"name": "Any", **BAD_TASKS[rule]})
    if "bench_objects" in MODULES or "bench_objects" not in str(task.body):
        assert RULES[rule](task)
