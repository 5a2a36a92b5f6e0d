#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_workload
short_description: Carry out the steps of a workload, and measure what becomes of its pods and Jobs
version_added: 0.1.0
description:
  - Applies the manifests of a workload and does with them what its steps say, as scale, evict or claim; each step ends
    when as many pods (or Jobs) are in the state that it waits for.
  - Takes the part of who decides (a queue, an autoscaler, a culler). What the cluster does after that is what is timed,
    by one watch of the pods and one of the Jobs, on one clock.
  - Where a HorizontalPodAutoscaler is among the objects that are run, it decides. What the metrics API tells, what the
    autoscaler wants and what becomes of the replicas is written down with the moment of each change.
  - Looks at every form of the manifests by the linter, and asks the API server about each by a dry run.
  - What an earlier run of the same name left is deleted first, and what this one made in the end, also when it fails.
author:
  - Nightbench authors (@nightbench)
options:
  name:
    description: Name of the workload (a label's value). All of its objects carry it as C(nightbench.io/workload).
    type: str
    required: true
  namespace:
    description: Namespace of all objects. It has to exist.
    type: str
    default: default
  forms:
    description: Manifests by the name of their form. O(form) is run, the others are looked at only.
    type: dict
    required: true
  form:
    description: The form that is run.
    type: str
    default: plain
  steps:
    description: What is done, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the step, unique.
        type: str
        required: true
      action:
        description:
          - V(apply) creates objects, V(trigger) makes the Job of a CronJob, V(patch) merges a patch into objects.
          - V(evict) asks for the eviction of Ready pods, V(delete) deletes Ready pods.
          - V(claim) merges a patch into Ready pods, one after the other.
        type: str
        choices: [apply, trigger, patch, evict, delete, claim]
        required: true
      objects:
        description: Objects as Kind/name. V(apply) without any takes all that no step has applied.
        type: list
        elements: str
        default: []
      copies:
        description: How often V(apply) makes each object, with a number in its name.
        type: int
        default: 0
      arrivals:
        description:
          - When each copy is due; without it all at once.
          - A process as C(services[].arrivals) of M(nightbench.infra.bench_request_load), without its seconds, or
            C(moments), seconds after the step began, one for each copy.
        type: dict
      after_seconds:
        description: How long the run lets the workload be before it acts. It is planted, as a failure's moment.
        type: float
        default: 0.0
      within_seconds:
        description: It acts at a moment drawn at random out of so many seconds more, as a load that nobody announced.
        type: float
        default: 0.0
      patch:
        description: The merge patch.
        type: dict
      labels:
        description: Labels of the pods that are evicted, deleted or claimed.
        type: dict
        default: {}
      count:
        description: How many of them.
        type: int
        default: 0
      until:
        description: What the step waits for.
        type: dict
        required: true
        suboptions:
          state:
            description:
              - State of pods; V(finished) is one of Jobs, C(Complete) or C(Failed).
              - V(metered) are those of which C(metrics.k8s.io) tells what they use, where an autoscaler is run.
            type: str
            choices: [running, ready, completed, gone, metered, finished]
            required: true
          count:
            description: How many at least.
            type: int
            required: true
          labels:
            description: Labels that they have at that time.
            type: dict
            default: {}
          new:
            description: Whether only those count that came after the step began.
            type: bool
            default: false
  leave_out:
    description: Kinds that are not applied, because nothing in this cluster would act on them.
    type: list
    elements: str
    default: []
  lifetimes:
    description: How long pods run, by their label C(app), as seconds and spread. It is planted and no result.
    type: dict
    default: {}
  usage:
    description:
      - What pods use from their start, by their label C(app), as cpu and memory. It is planted and no result.
      - It takes a kwok that tells it (annotations C(kwok.x-k8s.io/usage-cpu) and C(kwok.x-k8s.io/usage-memory)).
    type: dict
    default: {}
  operators:
    description:
      - What serves the kinds that Kubernetes does not have. Where O(form) has a kind that the cluster does not serve
        nothing is run, and RV(not_runnable) says what to install; of the other forms it is told.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: What is installed.
        type: str
        required: true
      serves:
        description: The API's group and version.
        type: str
        required: true
      source:
        description: Where it comes from, as owner and repository.
        type: str
        required: true
  infrastructure:
    description:
      - What the cluster needs to have, as need with count or serves. Where something is lacking nothing is run and
        RV(not_runnable) says why; an API may be lacking where something is left out.
    type: list
    elements: dict
    default: []
    suboptions:
      need:
        description: What.
        type: str
        choices: [gpus, storage, api, network_policy]
        required: true
      count:
        description: How many GPUs, on the nodes of O(node_selector).
        type: int
      serves:
        description: The API's group and version.
        type: str
      why:
        description: Why.
        type: str
  labels:
    description: More labels of everything.
    type: dict
    default: {}
  node_selector:
    description: Where the pods may run.
    type: dict
    default: {}
  tolerations:
    description: Tolerations of the pods.
    type: list
    elements: dict
    default: []
  priority_class:
    description: Priority class of the pods. It has to exist.
    type: str
    default: ""
  static_volumes:
    description: Give each claim a volume that holds nothing, where the cluster has no provisioner.
    type: bool
    default: false
  storage_class:
    description: Class of the claims instead of the cluster's default.
    type: str
  deadline_seconds:
    description: How long all steps may take. What is not reached by then is missing; that is a result.
    type: float
    default: 300.0
  processes:
    description: Processes whose use of CPU is recorded, as name and V({pid, start_time}).
    type: dict
    default: {}
  samples_path:
    description: File for the samples. Without it none are written.
    type: path
  run_state:
    description: Folder of the run's state; a file C(stop) in it ends the run.
    type: path
  progress_path:
    description: File to which a line of progress is appended every second.
    type: path
  task:
    description: What the progress is called. By default O(name).
    type: str
  kubeconfig:
    description: Path of a kubeconfig. If unset, E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG), then the default place.
    type: path
  context:
    description: Context of the kubeconfig. If unset, E(K8S_AUTH_CONTEXT).
    type: str
  host:
    description: URL of an API server, instead of a kubeconfig. If unset, E(K8S_AUTH_HOST).
    type: str
  api_key:
    description: Bearer token. If unset, E(K8S_AUTH_API_KEY).
    type: str
  client_cert:
    description: Client certificate (PEM). If unset, E(K8S_AUTH_CERT_FILE).
    type: path
  client_key:
    description: Key of the client certificate (PEM). If unset, E(K8S_AUTH_KEY_FILE).
    type: path
  ca_cert:
    description: Certificate authority (PEM) of the API server. If unset, E(K8S_AUTH_SSL_CA_CERT).
    type: path
  validate_certs:
    description: Whether the API server's certificate is checked. If unset, E(K8S_AUTH_VERIFY_SSL).
    type: bool
attributes:
  check_mode:
    description: Returns the plan and creates nothing.
    support: full
  diff_mode:
    description: There is nothing to compare, the cluster is left as it was found.
    support: none
  idempotent:
    description: A run is a measurement; each call creates its objects anew.
    support: none
"""

EXAMPLES = r"""
- name: Measure how long a Deployment takes from one pod to four, and to replace an evicted one
  bench_workload:
    kubeconfig: /tmp/kubeconfig
    name: chat
    namespace: load
    forms:
      plain: "{{ lookup('ansible.builtin.file', 'chat.yml') | from_yaml_all | list }}"
    steps:
      - name: start
        action: apply
        until: {state: ready, count: 1, labels: {app: chat}}
      - name: scale_out
        action: patch
        objects: [Deployment/chat]
        patch: {spec: {replicas: 4}}
        until: {state: ready, count: 4, labels: {app: chat}}
      - name: replace
        action: evict
        labels: {app: chat}
        count: 1
        until: {state: ready, count: 1, labels: {app: chat}, new: true}
"""

RETURN = r"""
values:
  description: What was done and what came of it; the values of a C(workload) observation.
  returned: not in check mode
  type: dict
  contains:
    asked: {description: Number of steps., returned: always, type: int}
    done: {description: Steps that got what they wait for., returned: always, type: int}
    missing: {description: Those that did not., returned: always, type: int}
    waited_for: {description: What those wait for., returned: always, type: list, elements: str}
    requests: {description: How many were sent and failed., returned: always, type: dict}
    autoscaler: {description: "Its name, bounds and target, and whether it was active.", returned: always, type: dict}
    planted: {description: "What the caller planted (O(lifetimes), O(usage)).", returned: always, type: dict}
    forms:
      description:
        - Of each form its objects, kinds, number of fields, findings of the linter and the API server's answers.
      returned: always
      type: dict
    infrastructure:
      description: Of each of O(infrastructure) what was expected and observed, and whether it holds.
      returned: always
      type: list
      elements: dict
    machine: {description: What the machine did meanwhile., returned: always, type: dict}
not_runnable:
  description: Why nothing was run; empty where it was.
  returned: not in check mode
  type: str
samples:
  description:
    - Where the samples are (path, sha256, rows).
    - A row is a step, a request, a pod, a Job, or a change that an autoscaler was told or made.
  returned: when samples_path is given, not in check mode
  type: dict
timed_out:
  description: Whether the deadline came before the last step was done.
  returned: not in check mode
  type: bool
stopped:
  description: Whether it ended because the run was asked to stop.
  returned: failure
  type: bool
plan:
  description: What would be done.
  returned: in check mode
  type: list
  elements: dict
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import workload_forms, workload_needs, workload_plan, workload_summary
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.load_summary import write_samples
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.machine import MachineSampler
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.workload_manifest import Settings
from ..module_utils.nightbench.workload_plan import ACTIONS, STATES, Step
from ..module_utils.nightbench.workload_run import WorkloadRun

UNTIL_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": list(STATES), "required": True},
    "count": {"type": "int", "required": True},
    "labels": {"type": "dict", "default": {}},
    "new": {"type": "bool", "default": False},
}
STEP_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "action": {"type": "str", "choices": list(ACTIONS), "required": True},
    "objects": {"type": "list", "elements": "str", "default": []},
    "copies": {"type": "int", "default": 0},
    "arrivals": {"type": "dict"},
    "after_seconds": {"type": "float", "default": 0.0},
    "within_seconds": {"type": "float", "default": 0.0},
    "patch": {"type": "dict"},
    "labels": {"type": "dict", "default": {}},
    "count": {"type": "int", "default": 0},
    "until": {"type": "dict", "required": True, "options": UNTIL_SPEC},
}
NEED_SPEC: dict[str, dict[str, Any]] = {
    "need": {"type": "str", "choices": ["gpus", "storage", "api", "network_policy"], "required": True},
    "count": {"type": "int"},
    "serves": {"type": "str"},
    "why": {"type": "str"},
}
OPERATOR_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "serves": {"type": "str", "required": True},
    "source": {"type": "str", "required": True},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "forms": {"type": "dict", "required": True},
    "form": {"type": "str", "default": "plain"},
    "steps": {"type": "list", "elements": "dict", "required": True, "options": STEP_SPEC},
    "leave_out": {"type": "list", "elements": "str", "default": []},
    "lifetimes": {"type": "dict", "default": {}},
    "usage": {"type": "dict", "default": {}},
    "operators": {"type": "list", "elements": "dict", "default": [], "options": OPERATOR_SPEC},
    "infrastructure": {"type": "list", "elements": "dict", "default": [], "options": NEED_SPEC},
    "labels": {"type": "dict", "default": {}},
    "node_selector": {"type": "dict", "default": {}},
    "tolerations": {"type": "list", "elements": "dict", "default": []},
    "priority_class": {"type": "str", "default": ""},
    "static_volumes": {"type": "bool", "default": False},
    "storage_class": {"type": "str"},
    "deadline_seconds": {"type": "float", "default": 300.0},
    "processes": {"type": "dict", "default": {}},
    "samples_path": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
    **AUTH_SPEC,
}


def settings_of(params: dict[str, Any]) -> Settings:
    return Settings(
        name=params["name"],
        namespace=params["namespace"],
        labels=params["labels"],
        node_selector=params["node_selector"],
        tolerations=params["tolerations"],
        priority_class=params["priority_class"],
        lifetimes=params["lifetimes"],
        usage=params["usage"],
        storage_class="" if params["static_volumes"] else params["storage_class"] or None,
        leave_out=params["leave_out"],
    )


def measure(params: dict[str, Any], steps: list[Step]) -> dict[str, Any]:
    long = LongModule.of("bench_workload", params)

    def check(what: str) -> None:
        """The deadline is a result, not a failure."""
        if long.stop_asked():
            long.check(what)

    with contextlib.closing(client_from(params)) as kube:
        settings = settings_of(params)
        needs = workload_needs.looked_up(kube, params["infrastructure"], settings)
        if lacking := workload_needs.lacking(needs, bool(settings.leave_out)):
            return {"changed": False, "not_runnable": lacking, "values": {}, "timed_out": False}
        run = WorkloadRun(kube, settings, params["forms"][params["form"]], steps, check, long.stopped)
        long.report = run.progress
        machine = MachineSampler(params["processes"]).start()
        try:
            with long:
                forms = workload_forms.looked_at(kube, params["forms"], params["operators"], params["namespace"])
                if lacking := workload_forms.lacking(forms[params["form"]], settings.leave_out):
                    return {"changed": False, "not_runnable": lacking, "values": {"forms": forms}, "timed_out": False}
                run.run()
        finally:
            machine.stop()
    values = {**workload_summary.values(run, machine), "forms": forms, "infrastructure": needs}
    result: dict[str, Any] = {"changed": False, "not_runnable": "", "values": values, "timed_out": run.timed_out}
    if params["samples_path"]:
        result["samples"] = write_samples(params["samples_path"], workload_summary.rows(run))
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with failures_told(module, stoppable=True):
        params = module.params
        if params["form"] not in params["forms"]:
            raise ConfigurationError(f"form: there is no {params['form']}, only {', '.join(params['forms'])}.")
        steps = workload_plan.steps_of(params["steps"])
        if module.check_mode:
            module.exit_json(changed=False, plan=workload_plan.document(steps))
        result = measure(params, steps)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
