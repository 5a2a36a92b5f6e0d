#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_pod_load
short_description: Create many pods and measure what becomes of every one
version_added: 0.1.0
description:
  - Creates pods as fast as possible or at a rate, watches them from before the first create, stamps the milestones
    created, bound, running and deleted of each on one clock, and accounts for every pod.
  - Can start a process when every pod exists (a scheduler that was held back), so that its start is on the same clock.
  - Joins the API server's audit log as a second witness, with microsecond stamps, where there is one.
  - Records what the machine and the named processes did meanwhile.
  - The samples go to a file, one JSON object for a pod; the module returns the summary only.
  - Pods of an earlier load of the same name are deleted first; those of this load also when it fails or is stopped.
author:
  - Nightbench authors (@nightbench)
options:
  name:
    description: Name of the load and prefix of its pods' names; every pod carries it as label C(nightbench.io/load).
    type: str
    required: true
  namespace:
    description: Namespace of the pods. It has to exist.
    type: str
    default: default
  count:
    description: Number of pods.
    type: int
    required: true
  template:
    description: The pod without its name.
    type: dict
    required: true
  target:
    description:
      - V(cluster) loads the cluster.
      - V(null_server) measures the load generator itself against a server of its own on loopback that answers at once
        and keeps nothing; no cluster is needed.
    type: str
    choices: [cluster, null_server]
    default: cluster
  null_server_seconds:
    description: How long the load generator is measured with O(target=null_server).
    type: float
    default: 3.0
  connections:
    description: Connections over which the pods are created and deleted.
    type: int
    default: 16
  rate:
    description:
      - Pods a second of an open loop; pods are sent when they are due, however slow the API server answers.
      - Without it a closed loop creates as fast as the API server answers.
    type: float
  arrivals:
    description: How the pods of an open loop are spaced.
    type: str
    choices: [constant, poisson]
    default: constant
  seed:
    description: Fixes the moments of O(arrivals=poisson).
    type: int
    default: 0
  until:
    description: The milestone that is waited for.
    type: str
    choices: [created, bound, running]
    default: running
  delete:
    description: Whether the pods are deleted in the end and waited for.
    type: bool
    default: true
  deadline_seconds:
    description:
      - How long the load may take before deletion. What has not reached the milestone by then is counted as missing;
        that is a result, not a failure of the module.
    type: float
    default: 600.0
  release:
    description:
      - A process that is started when every pod exists, as an item of the option O(ignore:processes) of
        M(nightbench.infra.bench_process).
      - Needs O(run_state).
    type: dict
  processes:
    description:
      - Processes whose use of CPU is recorded, as name and V({pid, start_time, log}); one without a pid does not run.
      - When one that ran at the start dies, the load fails with the end of its log.
      - The process of O(release) is added by itself.
    type: dict
    default: {}
  audit_log:
    description: The API server's audit log, if this machine can read it.
    type: path
  client_limit:
    description:
      - Rate limit of the client whose requests bind the pods; RV(client_limit) then says whether it explains the time.
    type: dict
    suboptions:
      component:
        description: The client's name in the audit log (first part of its user agent).
        type: str
        required: true
      qps:
        description: Requests a second; V(0) or less when the limit is off.
        type: float
        required: true
      burst:
        description: Requests that may be saved up.
        type: int
        required: true
  samples_path:
    description: File for the samples. Without it none are written.
    type: path
  run_state:
    description: Folder of the run's state; a file C(stop) in it ends the load.
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
    description: Returns the plan of the load and creates nothing.
    support: full
  diff_mode:
    description: There is nothing to compare; with O(delete=false) the number of pods is shown.
    support: full
  idempotent:
    description: A load is a measurement; each call creates its pods anew.
    support: none
"""

EXAMPLES = r"""
- name: Measure how fast 4,000 pods are bound by a scheduler that starts when all of them exist
  bench_pod_load:
    kubeconfig: /tmp/kubeconfig
    name: fill
    namespace: load
    count: 4000
    template:
      spec:
        containers:
          - name: main
            image: registry.k8s.io/pause:3.10
            resources:
              limits:
                nvidia.com/gpu: 1
    run_state: /tmp/state
    release:
      name: kube-scheduler
      argv: [kube-scheduler, --kubeconfig, /tmp/kubeconfig]
      ready:
        tcp: 127.0.0.1:10259
    samples_path: /tmp/samples.jsonl

- name: Measure the load generator itself
  bench_pod_load:
    target: null_server
    name: fill
    count: 2000
    template: "{{ pod }}"
"""

RETURN = r"""
values:
  description: What became of the pods, when, and what the machine did; the values of a C(pod_load) observation.
  returned: with target cluster, not in check mode
  type: dict
samples:
  description: Where the samples are (path, sha256, rows).
  returned: when samples_path is given, not in check mode
  type: dict
client_limit:
  description: What the client's limit predicts between first and last bind, and whether that explains what was seen.
  returned: when client_limit is given, not in check mode
  type: dict
calibration:
  description: Creates a second that the load generator reaches by itself (ceiling_per_second, requests, seconds).
  returned: with target null_server, not in check mode
  type: dict
timed_out:
  description: Whether the deadline came before every pod had reached the milestone.
  returned: with target cluster, not in check mode
  type: bool
stopped:
  description: Whether the load ended because the run was asked to stop.
  returned: failure
  type: bool
plan:
  description: What the load would do.
  returned: in check mode
  type: dict
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..module_utils.nightbench import calibration, client_limit, load_summary
from ..module_utils.nightbench.audit import open_audit
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.errors import ConfigurationError, DeadlineExceeded
from ..module_utils.nightbench.load_processes import Release, watched
from ..module_utils.nightbench.load_summary import write_samples
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.machine import MachineSampler
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.pod_load import LoadPlan, PodLoad, pod_body, send_times
from ..module_utils.nightbench.process_item import PROCESS_SPEC

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "count": {"type": "int", "required": True},
    "template": {"type": "dict", "required": True},
    "target": {"type": "str", "choices": ["cluster", "null_server"], "default": "cluster"},
    "null_server_seconds": {"type": "float", "default": 3.0},
    "connections": {"type": "int", "default": 16},
    "rate": {"type": "float"},
    "arrivals": {"type": "str", "choices": ["constant", "poisson"], "default": "constant"},
    "seed": {"type": "int", "default": 0},
    "until": {"type": "str", "choices": ["created", "bound", "running"], "default": "running"},
    "delete": {"type": "bool", "default": True},
    "deadline_seconds": {"type": "float", "default": 600.0},
    "release": {"type": "dict"},
    "processes": {"type": "dict", "default": {}},
    "audit_log": {"type": "path"},
    "client_limit": {
        "type": "dict",
        "options": {
            "component": {"type": "str", "required": True},
            "qps": {"type": "float", "required": True},
            "burst": {"type": "int", "required": True},
        },
    },
    "samples_path": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
    **AUTH_SPEC,
}


def load_plan(params: dict[str, Any]) -> LoadPlan:
    """The plan that the parameters describe; raises ConfigurationError for one that cannot be carried out."""
    for name in ("count", "connections"):
        if params[name] < 1:
            raise ConfigurationError(f"{name}: {params[name]} is not a number of at least 1.")
    names = ("name", "namespace", "count", "template", "connections", "rate", "arrivals", "seed", "until", "delete")
    made = LoadPlan(**{name: params[name] for name in names})
    pod_body(made)
    send_times(made)
    if params["release"] is not None and not params["run_state"]:
        raise ConfigurationError("release needs run_state, where the record of the process goes.")
    return made


def planned(made: LoadPlan) -> dict[str, Any]:
    return {
        "pods": made.count,
        "first": made.names()[0],
        "last": made.names()[-1],
        "namespace": made.namespace,
        "connections": made.connections,
        "seconds_to_send": None if made.rate is None else round(made.count / made.rate, 3),
        "until": made.until,
        "delete": made.delete,
    }


def measure(module: AnsibleModule, made: LoadPlan) -> dict[str, Any]:
    """Run the load and write its samples."""
    params = module.params
    validate = ArgumentSpecValidator(PROCESS_SPEC).validate
    release = Release(params["release"], params["run_state"], validate) if params["release"] is not None else None
    audit, why_no_audit = open_audit(params["audit_log"])
    long = LongModule.of("bench_pod_load", params)
    load = PodLoad(client_from(params), made, watched(long, release, params["processes"]))
    long.report = load.progress
    machine = MachineSampler(params["processes"]).start()
    timed_out = False
    try:
        with long:
            try:
                load.run(None if release is None else lambda: release.start(machine))
            except DeadlineExceeded:
                timed_out = True
    finally:
        machine.stop()
        load.kube.close()
    findings = None
    if audit is not None:
        with contextlib.closing(audit):
            findings = audit.read(made.namespace)
    values = load_summary.values(load, machine, findings, why_no_audit)
    result: dict[str, Any] = {
        "changed": not made.delete and values["created"] > 0 and not timed_out,
        "values": values,
        "timed_out": timed_out,
    }
    if params["samples_path"]:
        result["samples"] = write_samples(params["samples_path"], load.tracker.samples(load.timeline.started))
    if params["client_limit"]:
        limit = params["client_limit"]
        result["client_limit"] = client_limit.compare(values, limit["qps"], limit["burst"], limit["component"])
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with failures_told(module, stoppable=True):
        made = load_plan(module.params)
        if module.check_mode:
            result: dict[str, Any] = {"changed": not made.delete, "plan": planned(made)}
        elif module.params["target"] == "null_server":
            result = {"changed": False, "calibration": calibration.ceiling(made, module.params["null_server_seconds"])}
        else:
            result = measure(module, made)
    if module._diff and result["changed"]:
        result["diff"] = {"before": "", "after": f"{made.count} pods in {made.namespace}\n"}
    module.exit_json(**result)


if __name__ == "__main__":
    main()
