#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_observation
short_description: Write down what was seen
version_added: 0.1.0
description:
  - Appends observations to the C(observations.jsonl) of a run, one JSON object a line, whole lines only.
  - An observation that stands there already, the same in everything but its moment, is not written again.
author:
  - Nightbench authors (@nightbench)
options:
  results:
    description: Folder of the run's results.
    type: path
    required: true
  run_id:
    description: Name of the run.
    type: str
    required: true
  suite:
    description: The suite that saw it.
    type: str
    required: true
  observations:
    description: What was seen. Without it the module only tells what stands there.
    type: list
    elements: dict
    default: []
    suboptions:
      scenario:
        description: The scenario; left out for what holds for the whole suite.
        type: str
      subject:
        description: What was measured; left out for what holds for every subject.
        type: str
      kind:
        description: What kind of observation it is; says which values it has.
        type: str
        required: true
        choices:
          [pod_load, overhead, mesh, mesh_counters, policy_latency, churn, node_load, felix_start, workload,
           request_load, confirmation, calibration, subject, fairness, configuration, nodes, not_runnable, error]
      repeat:
        description: Which repeat of the scenario, from 1; left out for what is seen once.
        type: int
      parameters:
        description: With what it was done.
        type: dict
        default: {}
      values:
        description: What was seen.
        type: dict
        required: true
      samples:
        description: Where the samples are (path, sha256, rows); the path becomes relative to O(results).
        type: dict
attributes:
  check_mode:
    description: Says whether something would be written.
    support: full
  diff_mode:
    description: Shows which observations are written, without their values.
    support: full
  idempotent:
    description: What stands there already is not written again.
    support: full
"""

EXAMPLES = r"""
- name: Write down that the scenario cannot run here
  bench_observation:
    results: results/20260101T000000Z-0a1b
    run_id: 20260101T000000Z-0a1b
    suite: scheduler_scale
    observations:
      - scenario: fill_scheduler_off
        subject: kube-scheduler
        kind: not_runnable
        values:
          reason: this environment cannot stop its scheduler
"""

RETURN = r"""
written:
  description: Number of observations that were appended.
  returned: success
  type: int
known:
  description:
    - Scenario, subject, kind and repeat of every observation of the suite that stands there now, the role of a
      confirmation, and what a load says about a client limit.
  returned: success
  type: list
  elements: dict
"""

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError
from ..module_utils.nightbench.jsonfile import append_line

SCHEMA_VERSION = 1

TOLD = ("scenario", "subject", "kind", "repeat")

OBSERVATION_SPEC: dict[str, dict[str, Any]] = {
    "scenario": {"type": "str"},
    "subject": {"type": "str"},
    "kind": {
        "type": "str",
        "required": True,
        "choices": [
            "pod_load",
            "overhead",
            "mesh",
            "mesh_counters",
            "policy_latency",
            "churn",
            "node_load",
            "felix_start",
            "workload",
            "request_load",
            "confirmation",
            "calibration",
            "subject",
            "fairness",
            "configuration",
            "nodes",
            "not_runnable",
            "error",
        ],
    },
    "repeat": {"type": "int"},
    "parameters": {"type": "dict", "default": {}},
    "values": {"type": "dict", "required": True},
    "samples": {"type": "dict"},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "results": {"type": "path", "required": True},
    "run_id": {"type": "str", "required": True},
    "suite": {"type": "str", "required": True},
    "observations": {"type": "list", "elements": "dict", "default": [], "options": OBSERVATION_SPEC},
}


def complete(item: dict[str, Any], run_id: str, suite: str, results: str) -> dict[str, Any]:
    """The line that is written for one observation."""
    samples = item["samples"]
    if samples is not None:
        samples = {**samples, "path": os.path.relpath(samples["path"], results)}
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "suite": suite,
        **item,
        "samples": samples,
    }


def identity(observation: dict[str, Any]) -> str:
    """What makes two observations the same one: everything but the moment."""
    return json.dumps({name: value for name, value in observation.items() if name != "at"}, sort_keys=True)


def written(path: Path) -> list[dict[str, Any]]:
    """The observations that stand in the file; a torn last line (a killed writer's) is none."""
    if not path.exists():
        return []
    found = []
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise ConfigurationError(
                    f"{path}, line {number} is not JSON ({error}).", hint="Was the file edited? Start a new run."
                ) from error
    return found


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    path = Path(params["results"]) / "observations.jsonl"
    lines = [complete(item, params["run_id"], params["suite"], params["results"]) for item in params["observations"]]
    try:
        before = written(path)
        seen = {identity(line) for line in before}
        new = [line for line in lines if identity(line) not in seen]
        if not module.check_mode:
            for line in new:
                append_line(path, line)
    except NightbenchError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=f"Observations cannot be written to {path}: {error.strerror}. Is the disk full?")
    result: dict[str, Any] = {"changed": bool(new), "written": len(new)}
    result["known"] = [
        {
            **{name: line.get(name) for name in TOLD},
            "role": line["parameters"].get("role"),
            "client_limit": line["values"].get("client_limit"),
        }
        for line in before + new
        if line["suite"] == params["suite"]
    ]
    if module._diff:
        after = [" ".join(str(line[name]) for name in ("suite", *TOLD)) for line in new]
        result["diff"] = {"before": "", "after": "".join(f"{line}\n" for line in after)}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
