# SPDX-License-Identifier: GPL-3.0-or-later
"""The real playbooks with environment roles that stand for real ones: they write down what they do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BIN = Path(sys.executable).parent

#: `first` starts a process; both say what they do, wait for a file or fail when they are told to.
TASKS = """
- name: Write down what is done
  ansible.builtin.lineinfile:
    path: "{{ stand_in_dir }}/log"
    line: "{{ stand_in_line }}"
    create: true
    mode: "0644"
- name: Start or stop a process
  bench_process:
    state: "{{ 'started' if stand_in_state == 'present' else 'stopped' }}"
    run_state: "{{ ansible_facts['nightbench_session']['state'] }}"
    processes:
      - {name: stand_in, argv: [sleep, "300"]}
  when: stand_in_process
- name: Wait until it may go on
  ansible.builtin.wait_for:
    path: "{{ stand_in_dir }}/go"
    timeout: 120
    sleep: 1
  when: stand_in_waits | default(false) | bool and stand_in_state == 'present'
- name: Fail when told to
  ansible.builtin.fail:
    msg: "etcd did not start, its token=abc was refused"
  when: stand_in_fails | default('') == stand_in_line
"""


@dataclass
class Ended:
    """How ansible-playbook ended."""

    rc: int
    text: str

    @property
    def message(self) -> str:
        """Output as one line, for long messages are wrapped."""
        return " ".join(self.text.split())


@dataclass
class Nightly:
    """Runs playbooks of the project with places of its own."""

    here: Path
    environment: dict[str, str]
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def results(self) -> Path:
        return self.here / "results"

    @property
    def state(self) -> Path:
        return self.here / "state"

    def argv(self, playbook: str, *arguments: str, roles: list[str]) -> list[str]:
        variables = {
            "nightbench_results_dir": str(self.results),
            "nightbench_state_dir": str(self.state),
            "nightbench_state_min_bytes": 1,
            "nightbench_results_min_bytes": 1,
            "nightbench_environment_roles": roles,
            "stand_in_dir": str(self.here),
        }
        return [
            str(BIN / "ansible-playbook"),
            str(ROOT / "playbooks" / f"{playbook}.yml"),
            "-e",
            json.dumps(variables),
            *arguments,
        ]

    def start(self, playbook: str, *arguments: str, roles: list[str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            self.argv(playbook, *arguments, roles=roles or []),
            env=self.environment,
            cwd=self.here,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.started.append(process)
        return process

    def run(self, playbook: str, *arguments: str, roles: list[str] | None = None) -> Ended:
        return self.wait(self.start(playbook, *arguments, roles=roles))

    def wait(self, process: subprocess.Popen[str]) -> Ended:
        text, _ = process.communicate(timeout=300)
        return Ended(process.returncode, text)

    @property
    def log(self) -> list[str]:
        path = self.here / "log"
        return path.read_text().splitlines() if path.exists() else []

    def run_dir(self) -> Path:
        (folder,) = self.results.iterdir()
        return folder

    def left(self) -> list[str]:
        """What there is of runs beside their results."""
        return sorted(str(path.relative_to(self.state)) for path in self.state.rglob("*") if path.is_file())


@pytest.fixture
def nightly(tmp_path: Path) -> Iterator[Nightly]:
    for name, process in (("first", "true"), ("second", "false")):
        tasks = tmp_path / "roles" / name / "tasks" / "main.yml"
        tasks.parent.mkdir(parents=True)
        tasks.write_text(TASKS)
        defaults = tasks.parent.parent / "defaults" / "main.yml"
        defaults.parent.mkdir()
        defaults.write_text(
            f"{name}_state: present\n"
            f'stand_in_state: "{{{{ {name}_state }}}}"\n'
            f'stand_in_line: "{name} {{{{ {name}_state }}}}"\n'
            f"stand_in_process: {process}\n"
        )
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TMPDIR") if name in os.environ}
    environment = {
        **kept,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PWD": str(tmp_path),
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_INVENTORY": str(ROOT / "inventories" / "local"),
        "ANSIBLE_ROLES_PATH": f"{ROOT / 'roles'}:{tmp_path / 'roles'}",
        "ANSIBLE_NOCOLOR": "1",
    }
    runs = Nightly(tmp_path, environment)
    yield runs
    for process in runs.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if any(runs.state.glob("*.json")) or any(runs.state.glob("runs/*")):
        runs.run("reap")


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]
