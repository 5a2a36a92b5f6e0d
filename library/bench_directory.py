#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_directory
version_added: 0.1.0
short_description: Keep a directory with configuration files and free ports
description:
  - Makes a directory that belongs to a process, with the files that it reads and the ports that it listens on.
  - Other than M(ansible.builtin.template) it predicts in check mode what would be written into a directory that is
    not there yet.
author:
  - Nightbench authors (@nightbench)
attributes:
  check_mode:
    description: Predicts exactly what would be written and removed.
    support: full
  diff_mode:
    description: Returns the files before and after.
    support: full
  idempotent:
    description: When run twice with the same arguments, the second call changes nothing.
    support: full
options:
  state:
    description: V(absent) removes the directory with all that is in it. One that is none of ours is refused.
    type: str
    choices: [present, absent]
    default: present
  path:
    description: The directory. It must be missing, empty, or made by this module.
    type: path
    required: true
  files:
    description: Content by name, relative to O(path).
    type: dict
    default: {}
  ports:
    description: Port by name. For 0 a free one on 127.0.0.1 is chosen, which stays until the directory is removed.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: Make the directory of a server
  bench_directory:
    path: /var/tmp/server
    files:
      server.yml: "{{ lookup('ansible.builtin.template', 'server.yml.j2') }}"
    ports:
      server: 0
  register: made

- name: Remove it
  bench_directory:
    path: /var/tmp/server
    state: absent
"""

RETURN = r"""
ports:
  description: Port by name.
  returned: when O(state=present)
  type: dict
  sample: {server: 23917}
files_changed:
  description: Names of the files that differed.
  returned: when O(state=present)
  type: list
  elements: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import run_directory
from ..module_utils.nightbench.module_failure import failures_told

ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "path": {"type": "path", "required": True},
    "files": {"type": "dict", "default": {}},
    "ports": {"type": "dict", "default": {}},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    directory = Path(module.params["path"])
    with failures_told(module):
        result = (present if module.params["state"] == "present" else absent)(module, directory)
    module.exit_json(**result)


def present(module: AnsibleModule, directory: Path) -> dict[str, Any]:
    files = module.params["files"]
    asked = {name: int(port) for name, port in module.params["ports"].items()}
    what = run_directory.plan(directory, files, asked)
    result: dict[str, Any] = {"changed": what.changed, "ports": what.ports, "files_changed": what.files_changed}
    if module._diff:
        result["diff"] = [
            {
                "before_header": str(directory / name),
                "after_header": str(directory / name),
                "before": run_directory.read(directory / name) or "",
                "after": files[name],
            }
            for name in what.files_changed
        ]
    if not module.check_mode:
        run_directory.carry_out(directory, files, what)
    return result


def absent(module: AnsibleModule, directory: Path) -> dict[str, Any]:
    there = os.path.lexists(directory)
    result: dict[str, Any] = {"changed": there}
    if module._diff and there:
        result["diff"] = {"before": f"{directory}\n", "after": ""}
    if there:
        run_directory.check_ours(directory)
        if not module.check_mode:
            run_directory.remove(directory)
    return result


if __name__ == "__main__":
    main()
