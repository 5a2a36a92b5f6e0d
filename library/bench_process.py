#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_process
short_description: Start, stop and look at processes that outlive the play
version_added: 0.1.0
description:
  - Starts any number of processes in sessions of their own, waits until all of them are ready, and stops them again.
  - A process is known by its pid together with its start time, so a pid that has passed on to another process is
    never signalled.
  - Each process has a record C(<run_state>/processes/NAME.json), written before its program runs. A module that is
    killed leaves either no process or one that has a record.
  - Each process carries the environment variables E(NIGHTBENCH_RUN_ID) and E(NIGHTBENCH_PROCESS), the path of its
    record. Stopping it also stops its process group and every descendant that carries the same record.
  - A process runs on unchanged while O(processes[].argv), O(processes[].env), O(processes[].cwd) and
    O(processes[].log) are those it was started with; with others it is restarted.
  - When a process cannot be started or is not ready in time, all that the same call has started are stopped again.
author:
  - Nightbench authors (@nightbench)
options:
  run_state:
    description: Folder of the run's state. The records are in its folder C(processes).
    type: path
    required: true
  run_id:
    description:
      - Name of the run, which every process carries in E(NIGHTBENCH_RUN_ID).
      - By default the last part of O(run_state).
    type: str
  state:
    description:
      - V(started) starts what does not run and restarts what was started with other settings.
      - V(restarted) stops and starts each process.
      - V(stopped) ends processes and removes their records.
      - V(info) only looks.
    type: str
    choices: [started, stopped, restarted, info]
    default: started
  processes:
    description:
      - The processes. They are started in this order, then waited for together, and stopped in reverse order.
      - For O(state=stopped) and O(state=info) a name is enough.
      - Without a list, every process that has a record in O(run_state) is meant.
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the process and of its record.
        type: str
        required: true
      argv:
        description: The program and its arguments. No shell is involved.
        type: list
        elements: str
      env:
        description: Environment variables on top of those the module has. They are in no record and no diff.
        type: dict
        default: {}
      log:
        description:
          - File to which standard output and standard error are appended.
          - By default C(<run_state>/logs/NAME.log).
        type: path
      cwd:
        description: Working directory.
        type: path
        default: /
      ports:
        description:
          - TCP ports that the process will listen on. If somebody else listens on one of them, nothing is started
            or stopped and the failure names who it is.
        type: list
        elements: int
        default: []
      ready:
        description:
          - When the process counts as ready. Exactly one of url, tcp and file.
          - Without it, a process that lives for a moment is ready.
        type: dict
        suboptions:
          url:
            description: An address which answers 200 to a GET.
            type: str
          tcp:
            description: HOST:PORT which accepts a connection.
            type: str
          file:
            description: A file that exists.
            type: path
          timeout_seconds:
            description: How long to wait.
            type: float
            default: 30.0
          client_cert:
            description: Client certificate (PEM) for the URL.
            type: path
          client_key:
            description: Key of the client certificate (PEM).
            type: path
          ca_cert:
            description: Certificate authority (PEM) of the URL's certificate. By default those of the system.
            type: path
          validate_certs:
            description: Whether the URL's certificate is checked; V(false) for a self-signed one.
            type: bool
            default: true
      stop_signal:
        description: Signal that asks the process to end.
        type: str
        default: SIGTERM
      stop_seconds:
        description: How long the process may take to end before it gets SIGKILL.
        type: float
        default: 10.0
attributes:
  check_mode:
    description: Says exactly what would be started, restarted and stopped, and does none of it.
    support: full
  diff_mode:
    description: Shows each process before and after; of its environment only a checksum.
    support: full
  idempotent:
    description: A second call with the same settings changes nothing.
    support: partial
    details: With O(state=restarted) each call starts every process anew.
"""

EXAMPLES = r"""
- name: Start etcd
  bench_process:
    run_state: /home/me/.local/state/nightbench/runs/20260101T000000Z-0a1b
    processes:
      - name: etcd
        argv: [/usr/local/bin/etcd, --data-dir, /tmp/etcd, --listen-client-urls, "http://127.0.0.1:2379"]
        ports: [2379]
        ready:
          url: http://127.0.0.1:2379/health
          timeout_seconds: 15

- name: Look at all processes of a run
  bench_process:
    run_state: /home/me/.local/state/nightbench/runs/20260101T000000Z-0a1b
    state: info
  register: found

- name: Stop all processes of a run
  bench_process:
    run_state: /home/me/.local/state/nightbench/runs/20260101T000000Z-0a1b
    state: stopped
"""

RETURN = r"""
processes:
  description: The processes as they are after the call, or would be in check mode.
  returned: always, on failure as far as they are known
  type: list
  elements: dict
  contains:
    name:
      description: Name of the process.
      returned: always
      type: str
    pid:
      description: Process id, null where there is no record or where check mode cannot know it.
      returned: always
      type: int
      sample: 4242
    start_time:
      description: When the process was created, in clock ticks since boot (field 22 of C(/proc/PID/stat)).
      returned: always
      type: int
      sample: 813442
    argv:
      description: The program and its arguments.
      returned: always
      type: list
      elements: str
    log:
      description: Where its output goes.
      returned: always
      type: str
    started_at:
      description: When it was started (RFC 3339).
      returned: always
      type: str
    running:
      description: Whether it runs.
      returned: always
      type: bool
    changed:
      description: Whether this call started, restarted or stopped it.
      returned: always
      type: bool
exit_code:
  description: Exit code of the process that died; -N for signal N, null when it is not known.
  returned: when a process died before it was ready
  type: int
log_tail:
  description: The last 20 lines that the process wrote to its log since it was started.
  returned: when a process died or was not ready in time
  type: str
ports:
  description: Who listens on the ports asked for.
  returned: when a port is taken
  type: list
  elements: dict
  contains:
    port:
      description: The port.
      returned: always
      type: int
    pid:
      description: Process id, 0 when the process belongs to another user.
      returned: always
      type: int
    command:
      description: Command line of the process.
      returned: always
      type: str
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.errors import NightbenchError, Stopped, of_system
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.process import Records, Spec
from ..module_utils.nightbench.process_item import PROCESS_SPEC, wanted_process
from ..module_utils.nightbench.process_plan import Step, Wanted, carry_out, check_start, outcome, plan, shown

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "run_state": {"type": "path", "required": True},
    "run_id": {"type": "str"},
    "state": {"type": "str", "choices": ["started", "stopped", "restarted", "info"], "default": "started"},
    "processes": {"type": "list", "elements": "dict", "options": PROCESS_SPEC},
}


def wanted(params: dict[str, Any], records: Records) -> list[Wanted]:
    """What the parameters ask for; without a list, what there is a record of."""
    items = params["processes"]
    if items is None:
        return [Wanted(Spec(record.name, record.argv, record.log)) for record in records.all()]
    needs_argv = params["state"] in ("started", "restarted")
    return [wanted_process(item, params["run_state"], needs_argv=needs_argv) for item in items]


def diff(steps: Sequence[Step]) -> dict[str, Any]:
    changed = [step for step in steps if step.changes]
    return {
        "before": {step.wanted.spec.name: shown(step, after=False) for step in changed},
        "after": {step.wanted.spec.name: shown(step, after=True) for step in changed},
    }


def run(module: AnsibleModule, steps: Sequence[Step], records: Records) -> dict[str, Any]:
    params = module.params
    run_id = params["run_id"] or os.path.basename(os.path.abspath(params["run_state"]))
    stop_file = os.path.join(params["run_state"], "stop")
    starting = params["state"] in ("started", "restarted")
    if starting:
        if os.path.exists(stop_file):
            raise Stopped(f"start processes: the run was asked to stop ({stop_file} exists).")
        check_start(steps, records)
    if module.check_mode or params["state"] == "info":
        found = [None if step.changes else step.record for step in steps]
    else:
        found = carry_out(steps, records, run_id, lambda: starting and os.path.exists(stop_file))
    result: dict[str, Any] = {
        "changed": any(step.changes for step in steps),
        "processes": [outcome(step, record) for step, record in zip(steps, found, strict=True)],
    }
    if module._diff:
        result["diff"] = diff(steps)
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    records = Records(module.params["run_state"])
    with failures_told(module):
        steps = plan(module.params["state"], wanted(module.params, records), records)
    try:
        result = run(module, steps, records)
    except NightbenchError as error:
        now = [(step, records.get(step.wanted.spec.name)) for step in steps]
        module.fail_json(
            msg=str(error),
            changed=any(step.record != record for step, record in now),
            processes=[outcome(replace(step, stops=False, starts=False), record) for step, record in now],
            **error.details,
        )
    except OSError as error:
        module.fail_json(msg=of_system(error), exit_code=3)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
