#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_fetch
short_description: Bring the results of a host here, verified and as often as it takes
version_added: 0.1.0
description:
  - Asks the host for one manifest of all files with their sha256, then brings each file that is not here yet over ssh.
  - A connection that is cut is gone on with where it stopped, also by a later call. A file only gets its name when its
    checksum is that of the manifest.
  - C(manifest.json) in O(dest) says what there is, what of it is here and whether that is all. It is written too when
    the
    host does not answer any more, so partial results are never taken for whole ones.
  - Runs on the control host; the host needs python3 and C(tail).
author:
  - Nightbench authors (@nightbench)
options:
  ssh:
    description:
      - The command line up to the host, to which the remote command is added.
      - Through IAP it contains C(-o ProxyCommand=gcloud compute start-iap-tunnel …).
    type: list
    elements: str
    required: true
  source:
    description: Folder on the host.
    type: str
    required: true
  dest:
    description: Folder here.
    type: path
    required: true
  facts:
    description: What else the manifest is to say, such as the host's name and id.
    type: dict
    default: {}
  partial_reason:
    description: Why the results are known to be partial whatever arrives, such as V(preempted); empty when they are
      not.
    type: str
    default: ""
  allow_partial:
    description: Whether partial results are a success.
    type: bool
    default: false
  attempts:
    description: How often one file is tried.
    type: int
    default: 5
  pause_seconds:
    description: Pause between two attempts.
    type: float
    default: 2.0
  request_seconds:
    description: How long one ssh may take.
    type: float
    default: 600.0
  timeout_seconds:
    description: How long the whole call may take.
    type: float
    default: 1800.0
  run_state:
    description: State directory of the run; its file C(stop) ends the module.
    type: path
  progress_path:
    description: File that gets one line of progress a second.
    type: path
attributes:
  check_mode:
    description: Asks for the manifest and brings nothing.
    support: full
  diff_mode:
    description: Shows which files are brought.
    support: full
  idempotent:
    description: A second call brings nothing.
    support: full
"""

EXAMPLES = r"""
- name: Bring the results
  bench_fetch:
    ssh: [ssh, -o, BatchMode=yes, bench@203.0.113.7]
    source: /var/tmp/nightbench/results
    dest: results/20260101T000000Z-0a1b/hosts/gpu-0
"""

RETURN = r"""
complete:
  description: Whether everything that the host has is here and nothing says that it is partial.
  returned: success
  type: bool
reason:
  description: Why it is not complete.
  returned: success
  type: str
brought:
  description: The files that this call has brought, or would bring.
  returned: success
  type: list
  elements: str
missing:
  description: The files that are not here.
  returned: success
  type: list
  elements: str
files:
  description: How many files the host has.
  returned: success
  type: int
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import fetch
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError, of_system
from ..module_utils.nightbench.long_module import LongModule

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "ssh": {"type": "list", "elements": "str", "required": True},
    "source": {"type": "str", "required": True},
    "dest": {"type": "path", "required": True},
    "facts": {"type": "dict", "default": {}},
    "partial_reason": {"type": "str", "default": ""},
    "allow_partial": {"type": "bool", "default": False},
    "attempts": {"type": "int", "default": 5},
    "pause_seconds": {"type": "float", "default": 2.0},
    "request_seconds": {"type": "float", "default": 600.0},
    "timeout_seconds": {"type": "float", "default": 1800.0},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    long = LongModule(
        "bench_fetch",
        task=f"fetch {params['source']}",
        deadline_seconds=params["timeout_seconds"],
        run_state=params["run_state"],
        progress_path=params["progress_path"],
    )
    try:
        if params["attempts"] < 1 or not params["ssh"]:
            raise ConfigurationError("attempts has to be at least 1, and ssh a command line.")
        with long:
            job = fetch.Fetch(
                ssh=params["ssh"],
                source=params["source"].rstrip("/"),
                folder=Path(params["dest"]),
                facts=params["facts"],
                attempts=params["attempts"],
                pause=params["pause_seconds"],
                check=long.check,
                request_seconds=params["request_seconds"],
            )
            done = fetch.fetch(job, params["partial_reason"], check=module.check_mode)
    except NightbenchError as error:
        module.fail_json(msg=str(error), **error.details)
    except OSError as error:
        module.fail_json(msg=of_system(error), exit_code=3)
    missing = [one["path"] for one in done["missing"]]
    brought = missing if module.check_mode else job.got
    result = {
        "changed": bool(brought),
        "complete": done["complete"],
        "reason": done["reason"],
        "brought": brought,
        "missing": missing,
        "files": len(done["files"]),
        "diff": {"before": {"brought": []}, "after": {"brought": brought}},
    }
    if not (done["complete"] or params["allow_partial"] or module.check_mode):
        module.fail_json(
            msg=f"fetch {params['source']}: partial, {len(missing)} of {len(done['files'])} files are not here: "
            f"{done['reason']} What is here stays in {params['dest']}, marked partial; the same call goes on with it.",
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
