# SPDX-License-Identifier: GPL-3.0-or-later
"""A small project with one suite, and processes that stand for an owner or for what a run has started."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FILES = {
    "playbooks/nightly.yml": """
- {name: a, ansible.builtin.import_playbook: start.yml, tags: [start, always]}
- {name: b, ansible.builtin.import_playbook: environment.yml, tags: [environment, kwok_nodes]}
- {name: c, ansible.builtin.import_playbook: scheduler_scale.yml, tags: [scheduler_scale]}
- {name: d, ansible.builtin.import_playbook: teardown.yml, tags: [teardown, always]}
""",
    "roles/kwok_nodes/tasks/main.yml": "[]",
    "roles/kwok_nodes/meta/argument_specs.yml": """
argument_specs:
  main:
    options:
      kwok_nodes_count: {type: raw}
      kwok_nodes_shape: {}
      kwok_nodes_gpus: {type: int}
      kwok_nodes_qps: {type: float}
      kwok_nodes_stages: {type: bool}
      kwok_nodes_labels: {type: dict}
      kwok_nodes_taints: {type: list}
      kwok_nodes_install: {choices: [auto, never]}
""",
    "roles/scheduler_scale/tasks/main.yml": "[]",
    "roles/scheduler_scale/defaults/main.yml": """
scheduler_scale_scenarios: [fill_off, fill_on]
scheduler_scale_subjects: [one]
scheduler_scale_repeats: 3
scheduler_scale_objectives: "{{ nothing_yet }}"
""",
    "roles/scheduler_scale/meta/argument_specs.yml": """
argument_specs: {main: {options: {scheduler_scale_repeats: {}, scheduler_scale_scenarios: {type: list}}}}
""",
    "roles/scheduler_scale/files/scenarios/fill_off.yml": "{name: fill_off, metrics: [bind_seconds, start_seconds]}",
    "roles/scheduler_scale/files/scenarios/fill_on.yml": "{name: fill_on, metrics: [bind_seconds], subjects: [one]}",
    "roles/scheduler_scale/files/subjects/one.yml": "{name: one}",
    "roles/scheduler_scale/files/subjects/two.yml": "{name: two}",
    "roles/run_results/tasks/main.yml": "[]",
    "roles/run_results/meta/argument_specs.yml": """
argument_specs:
  main: {options: {run_results_dir: {}}}
  nightly: {options: {nightbench_run_id: {}, nightbench_keep: {}}}
""",
}


def write_project(root: Path) -> Path:
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@contextmanager
def sleeper(environment: dict[str, str] | None = None, *, stubborn: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """A process of its own session; a stubborn one does not listen to SIGTERM. It is ready when this returns."""
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN);" if stubborn else ""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import signal, time; {ignore} print(flush=True); time.sleep(300)"],
        env={**os.environ, **(environment or {})},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process ended by now or does so at once."""
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return False
    return True
