#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_job_load
short_description: Create pods and Jobs in several parts and measure what becomes of every one
version_added: 0.1.0
description:
  - Creates the parts of a scenario in order, for example victims that fill the nodes and the gangs that want their
    place; each starts when the one before has reached its milestone.
  - Watches pods, Jobs and, where the scheduler has them, the objects that group pods and that decide on their nodes,
    one watch each; stamps the milestones created, grouped, decided, bound, running, completed, evicted and deleted of
    each pod on one clock, and accounts for every pod.
  - Says what a scenario needs to be true of it, as gangs that were bound whole, domains a job lies in, GPUs a queue had
    at the worst moment, victims left below their minimum.
  - Can start a process when every measured pod exists (a scheduler that was held back).
  - Joins the API server's audit log as a second witness, with microsecond stamps, where there is one.
  - The samples go to a file, one JSON object for a pod; the module returns the summary only.
  - What an earlier load of the same name left is deleted first. What this load created is deleted in the end, also when
    it fails or is stopped.
author:
  - Nightbench authors (@nightbench)
options:
  target:
    description:
      - V(cluster) is the API server of the kubeconfig.
      - V(null_server) is a server of this module that answers everything at once, to see how fast the measured parts
        could be sent; nothing else of the load happens, and RV(calibration) is all that is returned.
    type: str
    choices: [cluster, null_server]
    default: cluster
  null_server_seconds:
    description: How long O(target=null_server) sends.
    type: float
    default: 2.0
  name:
    description:
      - Name of the load. Objects are called NAME-PART-NUMBER and carry the labels C(nightbench.io/load) and
        C(nightbench.io/part).
    type: str
    required: true
  namespace:
    description: Namespace of all objects. It has to exist.
    type: str
    default: default
  parts:
    description: What is created, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the part, unique.
        type: str
        required: true
      form:
        description: Bare pods, or batch/v1 Jobs whose pods the cluster's Job controller makes.
        type: str
        choices: [pods, jobs]
        default: pods
      count:
        description: Number of Jobs; with O(parts[].form=pods), of pods.
        type: int
        required: true
      pods_per_job:
        description: Parallelism and completions of each Job; V(1) with O(parts[].form=pods).
        type: int
        default: 1
      template:
        description:
          - A whole Pod, or a whole Job, without a name.
          - Name, parallelism, completions and our labels are set by the module; restartPolicy, where it is absent, to
            Never.
        type: dict
        required: true
      queue:
        description: What the queue of these pods is called in RV(values); the template says it to the scheduler.
        type: str
      min_member:
        description: How many pods of a Job are bound together or not at all. Without it the Job is no gang.
        type: int
      topology:
        description: What the template asks of the pods' places, for RV(values).
        type: dict
        suboptions:
          level:
            description: A key of O(topology_labels).
            type: str
            required: true
          placement:
            description: Whether all pods of a Job have to be in one domain of that level, or only should be.
            type: str
            choices: [preferred, required]
            default: required
      until:
        description:
          - The milestone that all of the part has to reach before the next part starts, or the load ends.
          - V(completed) means the pods' phase by the watch and, for Jobs, their own status as well.
          - V(unschedulable) means that the scheduler has said so of every Job, on the object of
            O(observed.group.unschedulable), otherwise on its pod (condition PodScheduled).
        type: str
        choices: [created, bound, running, completed, unschedulable]
        default: running
      hold:
        description: Whether the part stays to the end; otherwise it is deleted when it has reached its milestone.
        type: bool
        default: true
      measured:
        description: Whether RV(values) are of this part. Without any such part, they are of the last one.
        type: bool
        default: false
      together:
        description: Whether the part starts at the same time as the one before.
        type: bool
        default: false
      sequential:
        description: Whether each Job waits until the one before has reached O(parts[].until).
        type: bool
        default: false
      rate:
        description:
          - Jobs or pods a second of an open loop; they are sent when they are due, however slow the API server answers.
          - Without it a closed loop creates as fast as the API server answers.
        type: float
      arrivals:
        description: How an open loop is spaced; V(trace) sends at O(parts[].moments) or those of O(parts[].process).
        type: str
        choices: [constant, poisson, trace]
        default: constant
      seed:
        description: Fixes the moments of O(parts[].arrivals=poisson).
        type: int
        default: 0
      moments:
        description: Seconds after the start of the part, one for each Job or pod, for O(parts[].arrivals=trace).
        type: list
        elements: float
      process:
        description:
          - An arrival process that gives the moments for O(parts[].arrivals=trace) instead of O(parts[].moments).
          - It is what C(arrivals) of C(bench_request_load) describes, without C(seconds).
        type: dict
      delete:
        description: What is deleted, and waited for, before this part starts.
        type: dict
        suboptions:
          part:
            description: An earlier part.
            type: str
            required: true
          per_node:
            description:
              - Number of its running pods deleted on each node that has them; of Jobs the whole Job is deleted, counted
                on the node of its first pod.
            type: int
            required: true
  observed:
    description: Objects beside pods and Jobs that are watched.
    type: dict
    suboptions:
      group:
        description: The object that makes one unit of a Job's pods, as a PodGroup. V(null) when there is none.
        type: dict
        suboptions:
          api_version:
            description: Its group and version.
            type: str
            required: true
          kind:
            description: Its kind.
            type: str
            required: true
          job:
            description: Where it names the Job, or the bare pod, that it belongs to; dots between keys and indexes.
            type: str
            default: metadata.ownerReferences.0.name
          member:
            description:
              - Where a pod names the group that it is in; dots between keys and indexes. A pod counts as grouped from
                that moment.
              - V(null) lets it count as grouped from the creation of its group.
            type: str
          member_by:
            description:
              - User agent, up to its first slash, of who writes O(observed.group.member). The audit log's stamp is its.
            type: str
          unschedulable:
            description: How it says that it cannot be scheduled.
            type: dict
            suboptions:
              list:
                description: Where its list of conditions is.
                type: str
                default: status.conditions
              type:
                description: The condition's type.
                type: str
                required: true
              status:
                description: The condition's status; V(null) takes any but V(False).
                type: str
      decision:
        description: The object that says where a pod is to go, as a BindRequest. V(null) when there is none.
        type: dict
        suboptions:
          api_version:
            description: Its group and version.
            type: str
            required: true
          kind:
            description: Its kind.
            type: str
            required: true
          pod:
            description: Where it names the pod.
            type: str
            default: metadata.name
          node:
            description: Where it names the node.
            type: str
  topology_labels:
    description: Levels of the nodes' topology and the node label of each.
    type: dict
    default: {}
  connections:
    description: Connections over which objects are created and deleted.
    type: int
    default: 16
  deadline_seconds:
    description:
      - How long all parts may take before deletion. What has not reached its milestone by then is counted as missing;
        that is a result, not a failure of the module.
    type: float
    default: 1800.0
  release:
    description:
      - A process that is started when every pod of the first stage with a measured part exists, as an item of the
        option O(ignore:processes) of M(nightbench.infra.bench_process).
      - Needs O(run_state).
    type: dict
  processes:
    description:
      - Processes whose use of CPU and memory is recorded, as name and V({pid, start_time, log}); one without a pid
        does not run.
      - When one that ran at the start dies, the load fails with the end of its log.
      - The process of O(release) is added by itself.
    type: dict
    default: {}
  audit_log:
    description: The API server's audit log, if this machine can read it.
    type: path
  client_limits:
    description: Rate limits of clients; RV(client_limits) then says for each whether it explains the time.
    type: list
    elements: dict
    default: []
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
      requests:
        description:
          - Which of the component's requests this client makes, as C(create pods/binding); by default all.
          - How many of them there are for a pod is counted from the audit log.
        type: list
        elements: str
        default: []
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
    description: There is nothing to compare, the cluster is left as it was found.
    support: none
  idempotent:
    description: A load is a measurement; each call creates its objects anew.
    support: none
"""

EXAMPLES = r"""
- name: Measure how ten gangs push 80 single pods off ten nodes
  bench_job_load:
    kubeconfig: /tmp/kubeconfig
    name: reclaim
    namespace: load
    parts:
      - name: victims
        form: jobs
        count: 80
        template: "{{ victim_job }}"
        queue: sanity
      - name: measured
        form: jobs
        count: 10
        pods_per_job: 8
        min_member: 8
        template: "{{ gang_job }}"
        queue: reclaim
        until: bound
        measured: true
    observed:
      group:
        api_version: scheduling.run.ai/v2alpha2
        kind: PodGroup
        member: metadata.annotations.pod-group-name
        member_by: podgrouper
        unschedulable:
          list: status.schedulingConditions
          type: UnschedulableOnNodePool
      decision:
        api_version: scheduling.run.ai/v1alpha2
        kind: BindRequest
        pod: spec.podName
        node: spec.selectedNode
    topology_labels:
      rack: cloud.provider.com/topology-rack
    samples_path: /tmp/samples.jsonl

- name: Measure pods that arrive by chance, 50 a second
  bench_job_load:
    name: arrivals
    parts:
      - name: measured
        count: 4000
        template: "{{ pod }}"
        rate: 50
        arrivals: poisson
        seed: 7
"""

RETURN = r"""
calibration:
  description: What the load generator reaches against a server that does nothing.
  returned: with O(target=null_server)
  type: dict
  contains:
    ceiling_per_second:
      description: Objects created a second.
      type: float
      returned: always
    requests:
      description: How many were created.
      type: int
      returned: always
    seconds:
      description: In how many seconds.
      type: float
      returned: always
values:
  description:
    - What became of the pods, when, and what the machine did; the values of a C(pod_load) observation.
    - The fields of RV(ignore:values) of M(nightbench.infra.bench_pod_load) are there with the same meaning, over the
      measured parts; a pod that a Job made in place of one that was evicted is no pod of its own in them.
    - C(creation_rate) is of the objects that this module sends (C(objects_created)), which for Jobs are not the pods.
      C(rate_asked) is the sum over the measured parts.
    - What happens while the load is deleted, as pods bound to the room that others leave, is not in any value.
    - Moments are seconds after the start of the load.
  returned: not in check mode
  type: dict
  contains:
    measured_part:
      description: Name of the measured part; of several, with commas.
      type: str
      returned: always
    parts:
      description:
        - What became of each part, by name.
        - C(asked) pods are C(created), refused (C(failed)) or neither; C(missing) are those that were not refused and
          did not reach the part's milestone (C(until)).
        - C(evicted) pods were deleted by somebody else before they had ended, C(removed) by us before the end;
          C(replacements) were made by Jobs in place of others.
        - C(start) is the moment of its first request.
      type: dict
      returned: always
      sample:
        victims:
          {form: jobs, until: running, measured: false, queue: sanity, jobs: 80, asked: 80, created: 80, failed: 0,
           missing: 0, bound: 80, running: 80, completed: 0, unschedulable: 0, evicted: 80, removed: 0,
           replacements: 80, deleted: 160, start: 0.01, first_bind: 0.1, last_bind: 0.9, last_running: 1.1,
           last_completed: null, ended: 1.1}
    jobs:
      description:
        - C(asked), C(completed_by_status) and C(completed_by_watch) are Jobs of the measured parts (bare pods count as
          Jobs of one pod; they have no status but their phase).
        - C(gangs), C(gang_min_member) (the least) and C(broken) are of all parts; C(broken) names up to 20 gangs of
          which in the end some pods were bound and fewer than C(min_member), C(broken_count) counts them.
        - C(widest_bind_seconds) is the longest time from the first to the last bind of one gang.
      type: dict
      returned: always
      sample:
        {asked: 10, gangs: 10, gang_min_member: 8, broken: [], broken_count: 0, completed_by_status: 0,
         completed_by_watch: 0, widest_bind_seconds: 0.4}
    domains:
      description:
        - For each level of O(topology_labels), of the Jobs of the measured parts whose pods were all bound, how many
          lie in one domain, how many there are, and the most domains of one Job.
        - C(required) and C(preferred) count the Jobs that ask for this level, C(required_hits) and C(preferred_hits)
          those of them that lie in one domain.
        - A node without the label is a domain of its own.
      type: dict
      returned: always
      sample: {rack: {jobs_in_one: 10, jobs: 10, worst: 1, required: 10, required_hits: 10, preferred: 0,
                      preferred_hits: 0}}
    queues_used_most:
      description: GPUs that bound pods of each queue held at the worst moment, over all parts.
      type: dict
      returned: always
      sample: {sanity: 80, reclaim: 80}
    evicted:
      description: Pods of all parts that were deleted by somebody else before they had ended.
      type: int
      returned: always
    victims_below_min_member:
      description:
        - Up to 20 Jobs of parts that are not measured, with O(parts[].min_member), that lost pods by eviction and were
          left with some, but fewer than that.
      type: list
      elements: str
      returned: always
    unschedulable:
      description: Seconds from the group (without one, the first pod) to the word that it is unschedulable, by Job.
      type: dict
      returned: always
      sample: {samples: [1.2, 1.1]}
    sequential:
      description: Seconds from the request of a Job to its milestone, of each Job of a measured sequential part.
      type: dict
      returned: always
      sample: {samples: [0.4, 0.5]}
    observed:
      description:
        - Objects seen of each kind in O(observed), those that belong to no pod of ours (C(foreign)), and decisions
          whose pod was bound to another node (C(decision_elsewhere)). Null for what is not observed.
      type: dict
      returned: always
      sample: {groups: 90, decisions: 160, foreign: 0, decision_elsewhere: 0}
    audit:
      description:
        - As in bench_pod_load, and C(requests_in_window), the requests between the start of the measured parts and
          their last bind, with C(binds_in_window), and C(requests_per_pod) from these two.
        - The pods of Jobs get their names from the API server, so the log tells of their creation only where its
          policy logs the response.
      type: dict
      returned: always
    memory:
      description:
        - Resident memory of each process of O(processes) over the load, and the slope of a line through its samples
          (null below ten samples).
      type: dict
      returned: always
      sample: {scheduler: {first_bytes: 1000, last_bytes: 1200, max_bytes: 1300, samples: 60, seconds: 60.0,
                           growth_bytes_per_hour: 12000.0}}
samples:
  description:
    - Where the samples are (path, sha256, rows). A row is one of bench_pod_load with C(part), C(measured), C(job),
      C(queue), C(replacement), C(grouped), C(decided), C(completed), C(evicted), C(audit_grouped) and
      C(audit_decided); rows of all parts are there.
    - C(posted) of a Job's pod is the request of its Job, C(created) the watch's word of the pod. C(grouped) is not
      before C(created), also where the group was there first.
    - A pod that never came has a row under the name of its Job and its number (C(JOB/3)).
  returned: when samples_path is given, not in check mode
  type: dict
client_limits:
  description: For each of O(client_limits) what it predicts between first and last bind, and whether that explains it.
  returned: when client_limits are given, not in check mode
  type: list
  elements: dict
  sample:
    - {component: binder, limited: true, predicted: 395.0, observed: 397.8, within: true, requests_per_pod: 2.0}
timed_out:
  description: Whether the deadline came before every part had reached its milestone.
  returned: not in check mode
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

from ..module_utils.nightbench import calibration, client_limit, job_samples, job_summary
from ..module_utils.nightbench.audit import open_audit
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.job_load import JobLoad
from ..module_utils.nightbench.job_plan import JobLoadPlan, load_plan, planned
from ..module_utils.nightbench.load_processes import Release, watched
from ..module_utils.nightbench.load_summary import write_samples
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.machine import MachineSampler
from ..module_utils.nightbench.memory import MemorySampler
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.process_item import PROCESS_SPEC

PART_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "form": {"type": "str", "choices": ["pods", "jobs"], "default": "pods"},
    "count": {"type": "int", "required": True},
    "pods_per_job": {"type": "int", "default": 1},
    "template": {"type": "dict", "required": True},
    "queue": {"type": "str"},
    "min_member": {"type": "int"},
    "topology": {
        "type": "dict",
        "options": {
            "level": {"type": "str", "required": True},
            "placement": {"type": "str", "choices": ["preferred", "required"], "default": "required"},
        },
    },
    "until": {
        "type": "str",
        "choices": ["created", "bound", "running", "completed", "unschedulable"],
        "default": "running",
    },
    "hold": {"type": "bool", "default": True},
    "measured": {"type": "bool", "default": False},
    "together": {"type": "bool", "default": False},
    "sequential": {"type": "bool", "default": False},
    "rate": {"type": "float"},
    "arrivals": {"type": "str", "choices": ["constant", "poisson", "trace"], "default": "constant"},
    "seed": {"type": "int", "default": 0},
    "moments": {"type": "list", "elements": "float"},
    "process": {"type": "dict"},
    "delete": {
        "type": "dict",
        "options": {"part": {"type": "str", "required": True}, "per_node": {"type": "int", "required": True}},
    },
}
OBSERVED_SPEC: dict[str, dict[str, Any]] = {
    "group": {
        "type": "dict",
        "options": {
            "api_version": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "job": {"type": "str", "default": "metadata.ownerReferences.0.name"},
            "member": {"type": "str"},
            "member_by": {"type": "str"},
            "unschedulable": {
                "type": "dict",
                "options": {
                    "list": {"type": "str", "default": "status.conditions"},
                    "type": {"type": "str", "required": True},
                    "status": {"type": "str"},
                },
            },
        },
    },
    "decision": {
        "type": "dict",
        "options": {
            "api_version": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "pod": {"type": "str", "default": "metadata.name"},
            "node": {"type": "str"},
        },
    },
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "target": {"type": "str", "choices": ["cluster", "null_server"], "default": "cluster"},
    "null_server_seconds": {"type": "float", "default": 2.0},
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "parts": {"type": "list", "elements": "dict", "required": True, "options": PART_SPEC},
    "observed": {"type": "dict", "options": OBSERVED_SPEC},
    "topology_labels": {"type": "dict", "default": {}},
    "connections": {"type": "int", "default": 16},
    "deadline_seconds": {"type": "float", "default": 1800.0},
    "release": {"type": "dict"},
    "processes": {"type": "dict", "default": {}},
    "audit_log": {"type": "path"},
    "client_limits": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "component": {"type": "str", "required": True},
            "qps": {"type": "float", "required": True},
            "burst": {"type": "int", "required": True},
            "requests": {"type": "list", "elements": "str", "default": []},
        },
    },
    "samples_path": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
    **AUTH_SPEC,
}


def measure(module: AnsibleModule, made: JobLoadPlan) -> dict[str, Any]:
    """Run the load and write its samples."""
    params = module.params
    validate = ArgumentSpecValidator(PROCESS_SPEC).validate
    release = Release(params["release"], params["run_state"], validate) if params["release"] is not None else None
    audit, why_no_audit = open_audit(params["audit_log"])
    long = LongModule.of("bench_job_load", params)
    with contextlib.closing(client_from(params)) as kube:
        load = JobLoad(kube, made, watched(long, release, params["processes"]))
        long.report = load.progress
        machine = MachineSampler(params["processes"]).start()
        memory = MemorySampler(lambda: machine.processes).start()
        try:
            with long:
                load.run(None if release is None else lambda: release.start(machine))
        finally:
            memory.stop()
            machine.stop()
    findings = None
    if audit is not None:
        with contextlib.closing(audit):
            patching = [made.group.member_by] if made.group is not None and made.group.member_by else []
            findings = audit.read(made.namespace, load.plurals.values(), job_summary.window(load), patching)
    values = job_summary.values(load, machine, memory.values(), findings, why_no_audit)
    result: dict[str, Any] = {"changed": False, "values": values, "timed_out": load.timed_out}
    if params["samples_path"]:
        rows = job_samples.samples(load.tracker, load.timeline.started, load.nodes)
        result["samples"] = write_samples(params["samples_path"], rows)
    if params["client_limits"]:
        limits = params["client_limits"]
        result["client_limits"] = [client_limit.compare_requests(values, limit) for limit in limits]
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with failures_told(module, stoppable=True):
        made = load_plan(module.params)
        if module.check_mode:
            result: dict[str, Any] = {"changed": False, "plan": planned(made)}
        elif module.params["target"] == "null_server":
            seconds = module.params["null_server_seconds"]
            result = {"changed": False, "calibration": calibration.ceiling_of_parts(made, seconds)}
        else:
            result = measure(module, made)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
