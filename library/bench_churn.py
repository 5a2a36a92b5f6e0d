#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_churn
short_description: Make gangs of pods come and go at a rate and look on the wire at who reaches whom
version_added: 0.1.0
description:
  - Creates and deletes gangs of pods at a rate, each with a policy that lets in the pods of its own job alone, and
    stamps created, Running, reachable, deleted and gone of every one.
  - Meanwhile each pod sends packets to the next pod of its job, a pod outside of the jobs sends some to each of them,
    and requests run between two pods that stay. So it is seen for how long what should pass did not, for how long what
    should not did, and what the churn costs others.
  - The probes run in the pods' network namespaces, so the pods have to run on this machine, and this needs root and
    C(nsenter). Every stamp is of one clock.
  - Nothing of an earlier churn of the same name may be left; it is deleted first, and all of this one in the end, also
    when the module fails.
author:
  - Nightbench authors (@nightbench)
options:
  name:
    description: Prefix of the names of jobs and pods.
    type: str
    required: true
  namespace:
    description: Namespace of all of them. It has to exist.
    type: str
    default: default
  template:
    description: A Pod without a name.
    type: dict
    required: true
  labels:
    description: Labels of everything that is created.
    type: dict
    default: {}
  stranger:
    description: Name of a pod outside of the jobs, which sends to all of them. It has to run.
    type: str
    required: true
  source:
    description: Name of the pod that sends requests. It has to run.
    type: str
    required: true
  target:
    description: Name of the pod that answers them. It has to run.
    type: str
    required: true
  gangs:
    description: How many gangs come and go.
    type: int
    default: 8
  pods_per_gang:
    description: Pods of each.
    type: int
    default: 4
  gangs_per_second:
    description: How many begin in a second, whatever became of those before.
    type: float
    default: 0.5
  lifetime_seconds:
    description: How long a gang lives once all its pods run.
    type: float
    default: 3.0
  start_seconds:
    description: How long a gang may take until all its pods run, and until they are gone.
    type: float
    default: 60.0
  interval_seconds:
    description: Between two packets of a flow.
    type: float
    default: 0.02
  requests_per_second:
    description: Requests between the two pods that stay.
    type: float
    default: 25.0
  quiet_seconds:
    description: How long requests run before the churn begins, to compare with.
    type: float
    default: 5.0
  policies_per_gang:
    description: How many policies each gang has, all with the same meaning; V(0) for none.
    type: int
    default: 1
  background_policies:
    description: Policies that select no pod, there from before the first request until the end.
    type: int
    default: 0
  nodes:
    description: How many nodes the cluster is said to have. They are counted before and after in any case.
    type: int
  pages:
    description:
      - Metrics pages of programs that tell of their own CPU and memory, as name and URL; of Felix with the node as its
        name, for it tells the policies and endpoints that are active on its node, too.
    type: dict
    default: {}
  etcd_url:
    description:
      - Where etcd serves its metrics, asked with the kubeconfig's client certificate. Without it the API server tells
        how large the storage is, and not how much of it is in use.
    type: str
    default: ""
  deadline_seconds:
    description: How long all of it may take.
    type: float
    default: 600.0
  processes:
    description: Processes whose use of CPU and memory is recorded, as name and V({pid, start_time}).
    type: dict
    default: {}
  samples_path:
    description: File for the samples, one JSON object for each pod and for each request. Without it none are written.
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
    description: Returns the plan and changes nothing.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: A measurement; each call makes its gangs anew and leaves the cluster as it found it.
    support: none
"""

EXAMPLES = r"""
- name: Sixteen jobs of four pods, one every second
  bench_churn:
    kubeconfig: /tmp/kubeconfig
    name: job
    namespace: load
    gangs: 16
    gangs_per_second: 1
    stranger: sender
    source: sender
    target: across
    template:
      spec:
        terminationGracePeriodSeconds: 1
        containers:
          - name: main
            image: registry.example.com/pause:1
    samples_path: /tmp/samples.jsonl
"""

RETURN = r"""
values:
  description: Pods and gangs by what became of them, rates, requests before and during the churn, the probe's cost.
  returned: not in check mode
  type: dict
samples:
  description: Where the samples are (path, sha256, rows).
  returned: when samples_path is given, not in check mode
  type: dict
plan:
  description: What would be done.
  returned: in check mode
  type: dict
stopped:
  description: Whether it ended because the run was asked to stop.
  returned: failure
  type: bool
"""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import churn_summary
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.churn_plan import ChurnPlan
from ..module_utils.nightbench.churn_run import ChurnRun
from ..module_utils.nightbench.load_summary import write_samples
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.resources import measured

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "template": {"type": "dict", "required": True},
    "labels": {"type": "dict", "default": {}},
    "stranger": {"type": "str", "required": True},
    "source": {"type": "str", "required": True},
    "target": {"type": "str", "required": True},
    "gangs": {"type": "int", "default": 8},
    "pods_per_gang": {"type": "int", "default": 4},
    "gangs_per_second": {"type": "float", "default": 0.5},
    "lifetime_seconds": {"type": "float", "default": 3.0},
    "start_seconds": {"type": "float", "default": 60.0},
    "interval_seconds": {"type": "float", "default": 0.02},
    "requests_per_second": {"type": "float", "default": 25.0},
    "quiet_seconds": {"type": "float", "default": 5.0},
    "policies_per_gang": {"type": "int", "default": 1},
    "background_policies": {"type": "int", "default": 0},
    "nodes": {"type": "int"},
    "pages": {"type": "dict", "default": {}},
    "etcd_url": {"type": "str", "default": ""},
    "deadline_seconds": {"type": "float", "default": 600.0},
    "processes": {"type": "dict", "default": {}},
    "samples_path": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
    **AUTH_SPEC,
}
SAME = ("name", "namespace", "template", "labels", "stranger", "source", "target", "gangs", "lifetime_seconds",
        "start_seconds", "requests_per_second", "quiet_seconds", "background_policies", "nodes")  # fmt: skip


def plan_of(params: dict[str, Any]) -> ChurnPlan:
    return ChurnPlan(
        pods=params["pods_per_gang"],
        policies=params["policies_per_gang"],
        per_second=params["gangs_per_second"],
        interval=params["interval_seconds"],
        **{name: params[name] for name in SAME},
    )


def measure(params: dict[str, Any], plan: ChurnPlan) -> dict[str, Any]:
    long = LongModule.of("bench_churn", params)
    with (
        contextlib.closing(client_from(params)) as kube,
        tempfile.TemporaryDirectory(prefix="nightbench-churn-") as folder,
        measured(kube, params) as (machine, resources),
        long,
    ):
        run = ChurnRun(kube, plan, Path(folder), long.check, resources.look)
        long.report = run.progress
        run.run()
    values = churn_summary.values(run, machine) | resources.values(run.churn_started, run.ended)
    result: dict[str, Any] = {"changed": False, "values": values}
    if params["samples_path"]:
        result["samples"] = write_samples(params["samples_path"], churn_summary.rows(run))
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with failures_told(module, stoppable=True):
        plan = plan_of(module.params)
        if module.check_mode:
            module.exit_json(changed=False, plan=plan.document())
        result = measure(module.params, plan)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
