#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_run
short_description: Begin and end a run, and end what dead runs left behind
version_added: 0.1.0
description:
  - O(state=started) checks what the caller gave (tags, variables, suites, scenarios, subjects, sizes, room on disk),
    takes the machine's lease, ends what runs whose process is gone left behind, and writes C(plan.json), C(run.json)
    and the session.
  - O(state=planned) checks the same and writes C(plan.json) and C(run.json) of a run that is on another machine, beside
    the results that were brought from there. Nothing is taken or started here.
  - A run belongs to the process in the environment variable E(NIGHTBENCH_OWNER_PID), else to the ansible-playbook that
    the module runs under. The lease holds as long as that process lives.
  - A request that cannot be carried out writes nothing at all.
  - Old finished runs beyond O(keep_runs) are removed. A results folder that is half-written is named in a warning and
    left alone.
author:
  - Nightbench authors (@nightbench)
options:
  state:
    description:
      - V(started) begins a run, or goes on with one (O(resume)).
      - V(planned) only writes the plan of the run O(run_id) where there is none.
      - V(ended) notes the end, ends every process that is left and frees the machine.
      - V(absent) ends and removes everything of runs whose process is gone, or of the run O(run_id). Results stay.
    type: str
    choices: [started, planned, ended, absent]
    default: started
  run_id:
    description:
      - The run. By default a new one is made up for O(state=started), and every dead run is meant for O(state=absent).
    type: str
    default: ""
  results_dir:
    description: Folder that holds one folder of results for each run.
    type: path
    default: results
  state_dir:
    description:
      - Folder of the machine's lease and of the state of runs.
      - By default E(NIGHTBENCH_STATE_DIR), then C(nightbench) in E(XDG_STATE_HOME), then C(~/.local/state/nightbench).
    type: path
  project_dir:
    description: Folder that holds C(playbooks) and C(roles). Required for O(state=started)
      and O(state=planned).
    type: path
  resume:
    description: Go on with the run O(run_id), whose results exist.
    type: bool
    default: false
  suites:
    description: The suites to measure; by default all. Tags choose among them.
    type: list
    elements: str
    default: []
  settings:
    description:
      - The variables of the suites by their names, such as C(scheduler_scale_repeats).
      - A suite has C(scenarios), C(subjects), C(repeats), C(scenario_dirs), C(subject_dirs) and C(objectives); what is
        missing here is taken from the defaults of its role.
    type: dict
    default: {}
  counts:
    description: Sizes by the name of their variable; each has to be a whole number greater than 0.
    type: dict
    default: {}
  environment_roles:
    description: The roles that make the environment, in order.
    type: list
    elements: str
    default: []
  kubeconfig:
    description: Kubeconfig of a cluster that is there already.
    type: path
  run_tags:
    description: The tags of C(--tags).
    type: list
    elements: str
    default: []
  skip_tags:
    description: The tags of C(--skip-tags).
    type: list
    elements: str
    default: []
  variable_names:
    description:
      - Names of all variables in scope. Those that begin with C(nightbench_) or the name of a role have to be declared.
    type: list
    elements: str
    default: []
  inventory:
    description: The inventories, for the record.
    type: list
    elements: str
    default: []
  keep:
    description: What the caller wants to be kept of the environment (V(never), V(on_failure), V(always)); only checked.
    type: str
    default: never
  keep_runs:
    description: How many finished runs stay in O(results_dir).
    type: raw
    default: 30
  results_min_bytes:
    description: Room that O(results_dir) has to have.
    type: int
    default: 268435456
  state_min_bytes:
    description: Room that O(state_dir) has to have.
    type: int
    default: 1073741824
  keep_environment:
    description: With O(state=ended), leave the environment until the next run or until O(state=absent).
    type: bool
    default: false
attributes:
  check_mode:
    description: Checks everything and says what would be done; takes no lease and writes nothing.
    support: full
  diff_mode:
    description: Shows the stages and the number of records planned, or what is ended and removed.
    support: full
  idempotent:
    description: Whether a second call changes nothing.
    details: A second V(ended) or V(absent) changes nothing. V(started) begins a new run each time.
    support: partial
"""

EXAMPLES = r"""
- name: Begin a run
  bench_run:
    project_dir: /home/me/nightbench
    results_dir: /home/me/results
    settings:
      scheduler_scale_repeats: 3
    counts:
      kwok_nodes_count: 500

- name: Write what results from another machine are judged by
  bench_run:
    state: planned
    project_dir: /home/me/nightbench
    results_dir: /home/me/results/gpu_hosts/gpu-0
    run_id: 20260101T000000Z-0a1b
    suites: [gpu_overhead]

- name: End it
  bench_run:
    state: ended
    run_id: 20260101T000000Z-0a1b
    results_dir: /home/me/results

- name: End what killed runs left behind
  bench_run:
    state: absent
"""

RETURN = r"""
run_id:
  description: The run that has begun or ended.
  returned: with state=started, state=planned and state=ended
  type: str
  sample: 20260101T000000Z-0a1b
plan:
  description: The stages that will run and how many records are expected.
  returned: with state=started and state=planned
  type: dict
  sample: {stages: [start, environment, scheduler_scale, report, teardown, verdict], records: 15}
stage_dirs:
  description: The folder of each suite's stage.
  returned: with state=planned
  type: dict
damaged:
  description: Results folders that are half-written, each with what is wrong; they are neither used nor removed.
  returned: with state=started
  type: list
  elements: str
runs:
  description: What was ended and removed of each run, or would be in check mode.
  returned: success
  type: list
  elements: dict
  contains:
    run_id:
      description: The run.
      returned: always
      type: str
    processes:
      description: Pid and command of each process that was ended.
      returned: always
      type: list
      elements: dict
    removed:
      description: The folders that were removed.
      returned: always
      type: list
      elements: str
    lease_freed:
      description: Whether the run had the machine.
      returned: always
      type: bool
    kubeconfig:
      description: Kubeconfig of a cluster that was there before the run and may still hold objects of it.
      returned: always
      type: str
pruned:
  description: The results that were removed.
  returned: with state=started
  type: list
  elements: str
exit_code:
  description: The exit code of the harness that this failure stands for; 2 usage or configuration, 3 infrastructure.
  returned: on failure
  type: int
ansible_facts:
  description: The session, as C(nightbench_session).
  returned: with state=started
  type: dict
"""

import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, env_fallback

from ..module_utils.nightbench import about, lease, owner, reap, redact, run, session
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError
from ..module_utils.nightbench.places import Places, default_state_root
from ..module_utils.nightbench.project import Project

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["started", "planned", "ended", "absent"], "default": "started"},
    "run_id": {"type": "str", "default": ""},
    "results_dir": {"type": "path", "default": "results"},
    "state_dir": {"type": "path", "fallback": (env_fallback, ["NIGHTBENCH_STATE_DIR"])},
    "project_dir": {"type": "path"},
    "resume": {"type": "bool", "default": False},
    "suites": {"type": "list", "elements": "str", "default": []},
    "settings": {"type": "dict", "default": {}},
    "counts": {"type": "dict", "default": {}},
    "environment_roles": {"type": "list", "elements": "str", "default": []},
    "kubeconfig": {"type": "path"},
    "run_tags": {"type": "list", "elements": "str", "default": []},
    "skip_tags": {"type": "list", "elements": "str", "default": []},
    "variable_names": {"type": "list", "elements": "str", "default": []},
    "inventory": {"type": "list", "elements": "str", "default": []},
    "keep": {"type": "str", "default": "never"},
    "keep_runs": {"type": "raw", "default": 30},
    "results_min_bytes": {"type": "int", "default": 256 * 2**20},
    "state_min_bytes": {"type": "int", "default": 2**30},
    "keep_environment": {"type": "bool", "default": False},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[
            ("state", "started", ["project_dir"]),
            ("state", "planned", ["project_dir", "run_id"]),
            ("state", "ended", ["run_id"]),
        ],
        supports_check_mode=True,
    )
    params = module.params
    places = Places(
        state_root=Path(params["state_dir"] or default_state_root(os.environ)).absolute(),
        results_root=Path(params["results_dir"]).absolute(),
    )
    states = {"started": started, "planned": foreseen, "ended": ended, "absent": absent}
    try:
        result = states[params["state"]](module, places)
    except NightbenchError as error:
        usual = 2 if isinstance(error, ConfigurationError) else 3
        module.fail_json(msg=str(error), exit_code=error.details.get("exit_code", usual))
    except OSError as error:
        module.fail_json(msg=f"{params['state']}: {error.filename}: {error.strerror}.", exit_code=3)
    for message in result.get("damaged", []):
        module.warn(message)
    module.exit_json(**result)


def started(module: AnsibleModule, places: Places) -> dict[str, Any]:
    params = module.params
    project = Project(params["project_dir"])
    playbook = owner.ansible_process()
    argv = owner.argv_of(playbook.pid) if playbook else []
    me = owner.find_owner(os.environ)
    request = request_of(params, places, argv)
    now = datetime.now(UTC)
    planned = run.prepare(project, request, now)
    if module.check_mode:
        begun = run.Begun(session.new(planned["run_id"], places, me, request.kubeconfig), planned)
    else:
        begun = run.begin(request, planned, facts_of(params, project, argv), me, now)
    chosen = [stage["name"] for stage in begun.plan["stages"] if stage.get("selected", True)]
    plan = {"stages": chosen, "records": len(begun.plan["records"])}
    return {
        "changed": True,
        "run_id": planned["run_id"],
        "plan": plan,
        "runs": [one.as_json() for one in begun.reaped],
        "pruned": begun.pruned,
        "damaged": begun.damaged,
        "diff": {"before": {}, "after": plan},
        "ansible_facts": {"nightbench_session": session.view(begun.session, project.stages[0])},
    }


def request_of(params: dict[str, Any], places: Places, argv: list[str]) -> run.Request:
    return run.Request(
        places=places,
        run_id=params["run_id"],
        resume=params["resume"],
        suites=params["suites"],
        settings=params["settings"],
        counts=params["counts"],
        environment_roles=params["environment_roles"],
        keep=params["keep"],
        keep_runs=params["keep_runs"],
        kubeconfig=params["kubeconfig"],
        run_tags=params["run_tags"],
        skip_tags=params["skip_tags"],
        names=params["variable_names"],
        given=redact.given_variables(argv),
        results_bytes=params["results_min_bytes"],
        state_bytes=params["state_min_bytes"],
    )


def facts_of(params: dict[str, Any], project: Project, argv: list[str]) -> dict[str, Any]:
    return {
        "host": about.host(),
        "git": about.git(project.root),
        "inventory": params["inventory"],
        "command": redact.command(argv),
    }


def foreseen(module: AnsibleModule, places: Places) -> dict[str, Any]:
    """The plan of a run on another machine; roles that are no suites have none."""
    params = module.params
    project = Project(params["project_dir"])
    suites = [name for name in params["suites"] if name in project.suites]
    if not suites:
        return {"changed": False, "run_id": params["run_id"], "plan": {"stages": [], "records": 0}, "stage_dirs": {}}
    playbook = owner.ansible_process()
    argv = owner.argv_of(playbook.pid) if playbook else []
    request = replace(request_of(params, places, argv), suites=suites, run_tags=suites, elsewhere=True)
    now = datetime.now(UTC)
    planned = run.prepare(project, request, now)
    there = (places.results(params["run_id"]) / "plan.json").exists()
    if not there and not module.check_mode:
        facts = facts_of(params, project, argv)
        del facts["host"]  # that is another one
        run.foresee(request, planned, facts, now)
    folders = {stage["name"]: stage["folder"] for stage in planned["stages"] if stage["name"] in suites}
    plan = {"stages": list(folders), "records": len(planned["records"])}
    return {
        "changed": not there,
        "run_id": params["run_id"],
        "plan": plan,
        "stage_dirs": {name: str(places.results(params["run_id"]) / "stages" / at) for name, at in folders.items()},
        "diff": {"before": {}, "after": {} if there else plan},
    }


def ended(module: AnsibleModule, places: Places) -> dict[str, Any]:
    params = module.params
    done = run.end(
        places,
        params["run_id"],
        datetime.now(UTC),
        keep=params["keep_environment"],
        check=module.check_mode,
    )
    runs = [] if done is None else [done.as_json()]
    return {
        "changed": done is not None,
        "run_id": params["run_id"],
        "runs": runs,
        "diff": {"before": {"runs": runs}, "after": {"runs": []}},
    }


def absent(module: AnsibleModule, places: Places) -> dict[str, Any]:
    run_id = module.params["run_id"]
    if not places.state_root.is_dir():
        return {"changed": False, "runs": []}
    me = owner.find_owner(os.environ)
    with lease.locked(places.state_root):
        if run_id:
            reap.refuse_living(places.state_root, run_id, me)
        names = [run_id] if run_id else reap.dead_runs(places.state_root, me)
        reaped = [reap.reap(places.state_root, name, check=module.check_mode) for name in names]
    runs = [one.as_json() for one in reaped if one.changed]
    return {"changed": bool(runs), "runs": runs, "diff": {"before": {"runs": runs}, "after": {"runs": []}}}


if __name__ == "__main__":
    main()
