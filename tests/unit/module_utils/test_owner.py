# SPDX-License-Identifier: GPL-3.0-or-later
"""A run belongs to the harness that is named, else to the ansible-playbook at the top of its own line of parents."""

from __future__ import annotations

import os

import pytest
from ansible.module_utils.nightbench import owner
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.process import Identity, identity

PLAYBOOK = ["/usr/bin/python3", "/venv/bin/ansible-playbook", "nightly.yml"]


@pytest.fixture
def tree(monkeypatch: pytest.MonkeyPatch) -> dict[int, tuple[int, list[str]]]:
    """pid: (parent, argv). 10 is the playbook, 11 and 12 its workers, 20 the module, 21 its shell."""
    processes = {
        1: (0, ["/sbin/init"]),
        5: (1, ["/usr/bin/ansible-playbook", "an.outer.one"]),
        9: (5, ["bash"]),
        10: (9, PLAYBOOK),
        11: (10, PLAYBOOK),
        12: (10, PLAYBOOK),
        13: (10, ["ssh", "host"]),
        20: (21, ["python3", "AnsiballZ_bench_run.py"]),
        21: (11, ["/bin/sh", "-c", "python3"]),
    }
    monkeypatch.setattr(owner, "parent_of", lambda pid: processes[pid][0])
    monkeypatch.setattr(owner, "argv_of", lambda pid: processes[pid][1])
    monkeypatch.setattr(owner, "identity", lambda pid: Identity(pid, 7) if pid in processes else None)
    monkeypatch.setattr(owner, "all_processes", lambda: iter(Identity(pid, 7) for pid in processes))
    return processes


def test_the_owner_is_the_first_of_the_nearest_line_of_ansible_processes(tree: object) -> None:
    """Not its worker, and not the ansible-playbook that an outer one runs in a task."""
    assert owner.find_owner({}, 20) == Identity(10, 7)


def test_the_named_owner_wins(tree: object) -> None:
    assert owner.find_owner({owner.OWNER_VARIABLE: "5"}, 20) == Identity(5, 7)


@pytest.mark.parametrize("named", ["", "abc", "-1", "99999999"])
def test_a_named_owner_that_does_not_run_is_refused(tree: object, named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"NIGHTBENCH_OWNER_PID is '{named}'"):
        owner.find_owner({owner.OWNER_VARIABLE: named}, 20)


def test_without_any_ansible_process_it_says_what_to_give(tree: dict[int, tuple[int, list[str]]]) -> None:
    tree[21] = (1, ["/bin/sh"])
    with pytest.raises(ConfigurationError, match="Give the pid of one in the environment variable"):
        owner.find_owner({}, 20)


def test_itself_its_parents_and_the_workers_of_its_playbook_are_never_ended(tree: object) -> None:
    assert owner.protected(20) == {20, 21, 11, 12, 10, 9, 5, 1}


def test_the_real_parents_of_this_process_end_with_the_first_process() -> None:
    line = list(owner.ancestors(os.getpid()))
    assert line[0] == os.getppid()
    assert identity(line[-1]) is not None
    assert owner.parent_of(line[-1]) == 0


def test_a_process_that_is_gone_has_neither_parent_nor_command() -> None:
    assert (owner.parent_of(2**30), owner.argv_of(2**30)) == (0, [])
