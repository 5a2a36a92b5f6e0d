#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_felix_start
short_description: Start the Felix of many nodes again and again, and see how far each start came when
version_added: 0.1.0
description:
  - Stops every Felix, starts them all at once, and stamps of each the process's start (the kernel), its first line of
    log, its datastore in sync and its first apply (Felix's log), and its own readiness (asked for every so often).
  - Every Felix runs in the end, also when the module fails. Meanwhile the rules of the last one stay.
author:
  - Nightbench authors (@nightbench)
options:
  felix:
    description:
      - By node an item of bench_process in C(process), as role calico leaves it in C(components.calico.felix); it
        needs C(ready.url). Other keys are left alone.
    type: dict
    required: true
  starts:
    description: How many times each is started.
    type: int
    default: 3
  poll_seconds:
    description: Time between two looks at the readiness of a Felix.
    type: float
    default: 0.01
  processes:
    description: Processes whose use of CPU is recorded, as name and V({pid, start_time}).
    type: dict
    default: {}
  deadline_seconds:
    description: How long all of it may take.
    type: float
    default: 600.0
  samples_path:
    description: File for the samples, one JSON object for each start and node. Without it none are written.
    type: path
  run_state:
    description: Folder of the run's state with the records of the processes; a file C(stop) in it ends the run.
    type: path
    required: true
  progress_path:
    description: File to which a line of progress is appended every second.
    type: path
  task:
    description: What the progress is called.
    type: str
    default: felix_start
attributes:
  check_mode:
    description: Returns how many starts there would be and changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: A measurement; each call starts every Felix anew.
    support: none
"""

EXAMPLES = r"""
- name: See how long each Felix takes to start
  bench_felix_start:
    felix: "{{ ansible_facts['nightbench_session']['components']['calico']['felix'] }}"
    run_state: "{{ ansible_facts['nightbench_session']['state'] }}"
    starts: 5
"""

RETURN = r"""
values:
  description: How many starts were asked for and seen whole, why others were not, and what the machine did.
  returned: not in check mode
  type: dict
samples:
  description: Where the samples are (path, sha256, rows).
  returned: when samples_path is given, not in check mode
  type: dict
asked:
  description: How many starts there would be.
  returned: in check mode
  type: int
stopped:
  description: Whether it ended because the run was asked to stop.
  returned: failure
  type: bool
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..module_utils.nightbench.calico_restart import Restarts, values
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.load_summary import write_samples
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.machine import MachineSampler
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.process_item import PROCESS_SPEC, wanted_process
from ..module_utils.nightbench.process_plan import Wanted

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "felix": {"type": "dict", "required": True},
    "starts": {"type": "int", "default": 3},
    "poll_seconds": {"type": "float", "default": 0.01},
    "processes": {"type": "dict", "default": {}},
    "deadline_seconds": {"type": "float", "default": 600.0},
    "samples_path": {"type": "path"},
    "run_state": {"type": "path", "required": True},
    "progress_path": {"type": "path"},
    "task": {"type": "str", "default": "felix_start"},
}


def felixes(params: dict[str, Any]) -> dict[str, Wanted]:
    found = {}
    for node, told in params["felix"].items():
        item = told.get("process") if isinstance(told, dict) else None
        if not isinstance(item, dict):
            raise ConfigurationError(
                f"felix: {node} has no process.", hint="Each is {process: an item of bench_process}."
            )
        checked = ArgumentSpecValidator(PROCESS_SPEC).validate(item)
        if checked.error_messages:
            raise ConfigurationError(f"felix: {node}: {'; '.join(checked.error_messages)}.")
        found[node] = wanted_process(checked.validated_parameters, params["run_state"])
    return found


def measure(params: dict[str, Any], restarts: Restarts, long: LongModule) -> dict[str, Any]:
    machine = MachineSampler(params["processes"]).start()
    try:
        with long:
            long.report = restarts.progress
            restarts.run()
    finally:
        machine.stop()
    result: dict[str, Any] = {"changed": False, "values": values(restarts, machine.whole())}
    if params["samples_path"]:
        result["samples"] = write_samples(params["samples_path"], (start.row() for start in restarts.found))
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with failures_told(module, stoppable=True):
        long = LongModule.of("bench_felix_start", params, task=params["task"])
        wanted = felixes(params)
        restarts = Restarts(
            wanted, params["run_state"], params["starts"], params["poll_seconds"], long.check, long.stopped
        )
        if module.check_mode:
            module.exit_json(changed=False, asked=restarts.progress()["asked"])
        result = measure(params, restarts, long)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
