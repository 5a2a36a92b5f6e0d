#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_session
short_description: Read and extend the session of a run
version_added: 0.1.0
description:
  - The session is what the stages of a run have to know of each other. It lies in the state of the run, so that any
    stage can be run alone.
  - Returns it as the fact C(nightbench_session), together with C(failed_stages), and with O(stage) also C(stage),
    C(stage_dir), C(progress) and C(planned), the scenarios and subjects that the plan expects of it.
  - A run whose process is gone is adopted, so the stage goes on with it.
author:
  - Nightbench authors (@nightbench)
options:
  run_id:
    description: The run; by default the one that this ansible-playbook (or its harness) has begun.
    type: str
    default: ""
  session:
    description:
      - The session as it is known already. Names the run and where it lies.
      - In check mode nothing may be on disk; then this is what O(merge) goes into.
    type: dict
    default: {}
  state_dir:
    description:
      - Folder of the machine's lease and of the state of runs.
      - By default E(NIGHTBENCH_STATE_DIR), then C(nightbench) in E(XDG_STATE_HOME), then C(~/.local/state/nightbench).
    type: path
  results_dir:
    description: Folder that holds one folder of results for each run.
    type: path
    default: results
  project_dir:
    description: Folder that holds C(playbooks). Required with O(stage).
    type: path
  stage:
    description:
      - Begin this stage. Its folder is made, what it wrote as C(FAILURE) earlier is removed, and a long module of an
        earlier stage that is still at work is ended.
    type: str
  ended_too:
    description: Whether a run that has ended will do. Its session says where the results are and little more.
    type: bool
    default: false
  merge:
    description: What is added to the session. Mappings are merged key by key, other values replace what was there.
    type: dict
  flush:
    description: Bring C(run.json) up to date with the session, and have everything of the stage on the disk.
    type: bool
    default: false
attributes:
  check_mode:
    description: Reads, and returns the session as it would be. Without a session it returns a predicted one.
    support: full
  diff_mode:
    description: Shows the session before and after O(merge).
    support: full
  idempotent:
    description: The same O(merge) again changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Begin the stage environment
  bench_session:
    project_dir: /home/me/nightbench
    stage: environment

- name: Tell the run where its API server is
  bench_session:
    session: "{{ ansible_facts['nightbench_session'] }}"
    merge:
      kubeconfig: /home/me/.local/state/nightbench/runs/20260101T000000Z-0a1b/kubeconfig
"""

RETURN = r"""
ended:
  description: Pid and command of each long module that an earlier stage had left at work.
  returned: success
  type: list
  elements: dict
exit_code:
  description: The exit code of the harness that this failure stands for.
  returned: on failure
  type: int
ansible_facts:
  description: The session, as C(nightbench_session).
  returned: success
  type: dict
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils.nightbench import owner, redact, run, session
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError
from ..module_utils.nightbench.places import Places, default_state_root
from ..module_utils.nightbench.process import Identity
from ..module_utils.nightbench.project import Project, Stage

#: Stands for the run-id that nobody has made up yet.
PREDICTED = "00000000T000000Z-0000"

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "run_id": {"type": "str", "default": ""},
    "session": {"type": "dict", "default": {}},
    "state_dir": {"type": "path", "fallback": (env_fallback, ["NIGHTBENCH_STATE_DIR"])},
    "results_dir": {"type": "path", "default": "results"},
    "project_dir": {"type": "path"},
    "stage": {"type": "str"},
    "ended_too": {"type": "bool", "default": False},
    "merge": {"type": "dict"},
    "flush": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    try:
        result = answer(module)
    except NightbenchError as error:
        usual = 2 if isinstance(error, ConfigurationError) else 3
        module.fail_json(msg=str(error), exit_code=error.details.get("exit_code", usual))
    except OSError as error:
        module.fail_json(msg=f"session: {error.filename}: {error.strerror}.", exit_code=3)
    module.exit_json(**result)


def answer(module: AnsibleModule) -> dict[str, Any]:
    params, check = module.params, module.check_mode
    places = places_of(params)
    stage = stage_of(params)
    me = owner.find_owner(os.environ)
    found = read(params, places, me, check)
    result: dict[str, Any] = {"changed": False, "ended": []}
    if params["merge"] is not None:
        before = found
        found, result["changed"] = session.merge(found, params["merge"], check=check)
        result["diff"] = {"before": before, "after": found}
    if params["flush"] and not check:
        result["changed"] |= run.flush(found)
    if stage is not None and params["stage"]:
        found, result["ended"] = session.begin_stage(found, stage, command(), check=check)
    else:
        found = session.view(found, stage)
    return {**result, "ansible_facts": {"nightbench_session": found}}


def read(params: dict[str, Any], places: Places, me: Identity, check: bool) -> session.Session:
    """The stored session; in check mode the one at hand, or a predicted one, where there is none."""
    run_id = params["run_id"] or str(params["session"].get("run_id", ""))
    try:
        return session.find(
            places, run_id, me, since=run.stamp(datetime.now(UTC)), ended_too=params["ended_too"], check=check
        )
    except ConfigurationError:
        if not check:
            raise
    known = {key: value for key, value in params["session"].items() if key not in session.COMPUTED}
    return known or session.new(run_id or PREDICTED, places, me, None)


def places_of(params: dict[str, Any]) -> Places:
    """Of the session at hand, else as given."""
    known = params["session"]
    state = Path(known["state"]).parent.parent if known.get("state") else None
    results = Path(known["results"]).parent if known.get("results") else None
    return Places(
        state_root=state or Path(params["state_dir"] or default_state_root(os.environ)).absolute(),
        results_root=results or Path(params["results_dir"]).absolute(),
    )


def stage_of(params: dict[str, Any]) -> Stage | None:
    """The stage to begin, or the one that has begun."""
    if params["stage"]:
        if not params["project_dir"]:
            raise ConfigurationError("With stage, project_dir says where the playbooks are.")
        return session.stage_named(Project(params["project_dir"]), params["stage"])
    folder = params["session"].get("stage_dir")
    if not folder:
        return None
    number, _, name = os.path.basename(folder).partition("__")
    return Stage(int(number), name, f"{name}.yml")


def command() -> str:
    """The line by which this ansible-playbook was started, without secrets."""
    playbook = owner.ansible_process()
    return redact.command(owner.argv_of(playbook.pid)) if playbook else ""


if __name__ == "__main__":
    main()
