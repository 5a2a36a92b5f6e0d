#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_stage_failure
short_description: Write down why a stage of a run failed
version_added: 0.1.0
description:
  - Writes the file C(FAILURE) in the folder of the stage. What looks like a secret is hidden.
  - The first failure of a stage stays; what fails after it is most often its consequence.
author:
  - Nightbench authors (@nightbench)
options:
  stage_dir:
    description: Folder of the stage.
    type: path
    required: true
  stage:
    description: Name of the stage.
    type: str
    required: true
  task:
    description: Name of the task that failed.
    type: str
    default: ""
  result:
    description: What the task returned, as in the variable C(ansible_failed_result).
    type: dict
    default: {}
attributes:
  check_mode:
    description: Says what would be written.
    support: full
  diff_mode:
    description: Shows the file.
    support: full
  idempotent:
    description: A second call changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Write down why the stage failed
  bench_stage_failure:
    stage_dir: /home/me/results/20260101T000000Z-0a1b/stages/02__environment
    stage: environment
    task: "{{ ansible_failed_task.name }}"
    result: "{{ ansible_failed_result }}"
"""

RETURN = r"""
failure:
  description: What the file says.
  returned: success
  type: dict
  sample: {stage: environment, reason: "etcd did not start", task: "Run etcd", at: "2026-01-01T00:00:00.000000Z"}
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import failure, jsonfile
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.run import stamp

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "stage_dir": {"type": "path", "required": True},
    "stage": {"type": "str", "required": True},
    "task": {"type": "str", "default": ""},
    "result": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    path = Path(params["stage_dir"]) / "FAILURE"
    earlier = written(path)
    if earlier is not None:
        module.exit_json(changed=False, failure=earlier)
    now = stamp(datetime.now(UTC))
    document = failure.document(params["stage"], params["task"], params["result"], now)
    if not module.check_mode:
        try:
            jsonfile.write_atomic(path, document)
        except OSError as error:
            module.fail_json(msg=f"write {path}: {error.strerror}. The stage failed: {document['reason']}", exit_code=3)
    module.exit_json(changed=True, failure=document, diff={"before": {}, "after": document})


def written(path: Path) -> dict[str, Any] | None:
    try:
        found = jsonfile.read(path)
    except ConfigurationError:
        return None
    return found if isinstance(found, dict) else None


if __name__ == "__main__":
    main()
