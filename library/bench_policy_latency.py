#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_policy_latency
short_description: Create and delete a network policy and see on the wire when pods obey it
version_added: 0.1.0
description:
  - Sends UDP packets between pairs of pods every few milliseconds, one of a flow that is established and one of a new
    flow each, while a policy is created and deleted again and again.
  - Tells for every change, pair and flow between which two packets the change took hold, or that it never did. The gap
    between these packets is the resolution of the number, measured in the same run.
  - The probes run in the pods' network namespaces on this machine, so every stamp is of one clock; needs root and
    C(nsenter) where a namespace is given.
  - The policy must not be there before; it is deleted in the end, also when the module fails.
  - A pod that is named has to run on this machine.
author:
  - Nightbench authors (@nightbench)
options:
  name:
    description: What the run is called in the record of itself.
    type: str
    required: true
  namespace:
    description: Namespace of the policy. It has to exist.
    type: str
    default: default
  policy:
    description: The policy, with apiVersion, kind and a name.
    type: dict
    required: true
  creates:
    description: What the policy does to the probes while it is there; while it is not, the other holds.
    type: str
    choices: [allow, deny]
    default: deny
  pairs:
    description: The pairs of pods.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the pair.
        type: str
        required: true
      address:
        description: Address of the pod that receives. By default that of O(pairs[].target_pod).
        type: str
        default: ""
      source_pod:
        description: The pod that sends, in O(namespace) and on this machine; it gives address and network namespace.
        type: str
        default: ""
      target_pod:
        description: The pod that receives, likewise.
        type: str
        default: ""
      port:
        description: Port on which it receives.
        type: int
        default: 7331
      source_address:
        description: Address of the pod that sends. By default the kernel chooses.
        type: str
        default: 0.0.0.0
      source_namespace:
        description:
          - Network namespace of the pod that sends, as a path like C(/proc/PID/ns/net). By default that of
            O(pairs[].source_pod), and without one our own.
        type: str
        default: ""
      target_namespace:
        description: Network namespace of the pod that receives, likewise.
        type: str
        default: ""
  cycles:
    description: How often the policy is created and deleted.
    type: int
    default: 3
  hold_seconds:
    description: How long is looked at after each change. A change that takes longer is counted as never.
    type: float
    default: 2.0
  interval_seconds:
    description: Between two packets of a flow.
    type: float
    default: 0.005
  witnesses:
    description: Counters on pages of metrics; the moment when one moves is a leg of the change.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the leg.
        type: str
        required: true
      url:
        description: URL of the page.
        type: str
        required: true
      metric:
        description: The metric, of a summary with its C(_sum) or C(_count).
        type: str
        required: true
      labels:
        description: Labels that a sample needs to count.
        type: dict
        default: {}
  witness_seconds:
    description: How often the pages are looked at.
    type: float
    default: 0.1
  deadline_seconds:
    description: How long all of it may take.
    type: float
    default: 600.0
  pages:
    description: Metrics pages of programs that tell of their own CPU and memory, as name and URL.
    type: dict
    default: {}
  etcd_url:
    description:
      - Where etcd serves its metrics, asked with the kubeconfig's client certificate. Without it the API server tells
        how large the storage is, and not how much of it is in use.
    type: str
    default: ""
  processes:
    description: Processes whose use of CPU and memory is recorded, as name and V({pid, start_time}).
    type: dict
    default: {}
  samples_path:
    description: File for the samples, one JSON object for each flow, pair and change. Without it none are written.
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
    description: A measurement; each call makes its changes anew and leaves the cluster as it found it.
    support: none
"""

EXAMPLES = r"""
- name: Measure how long a deny takes to reach the wire, and how long its end
  bench_policy_latency:
    kubeconfig: /tmp/kubeconfig
    name: deny-probe
    namespace: load
    policy:
      apiVersion: networking.k8s.io/v1
      kind: NetworkPolicy
      metadata:
        name: deny-probe
      spec:
        podSelector:
          matchLabels:
            app: receiver
        policyTypes: [Ingress]
    pairs:
      - name: same-node
        address: 198.18.1.7
        source_namespace: /proc/4711/ns/net
        target_namespace: /proc/4712/ns/net
    witnesses:
      - name: felix_applied
        url: http://198.18.0.2:9091/metrics
        metric: felix_int_dataplane_apply_time_seconds_count
    samples_path: /tmp/samples.jsonl
"""

RETURN = r"""
values:
  description: Outcomes and latencies by direction and flow, the resolution, and what the probes cost.
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
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import policy_summary
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.kube import Kube
from ..module_utils.nightbench.load_summary import write_samples
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.pod_places import places
from ..module_utils.nightbench.policy_pairs import Pair, in_pods
from ..module_utils.nightbench.policy_run import PolicyPlan, PolicyRun, Witness
from ..module_utils.nightbench.resources import measured

PODS = ("source_pod", "target_pod")
PAIR_SPEC = {
    "name": {"type": "str", "required": True},
    "address": {"type": "str", "default": ""},
    "source_pod": {"type": "str", "default": ""},
    "target_pod": {"type": "str", "default": ""},
    "port": {"type": "int", "default": 7331},
    "source_address": {"type": "str", "default": "0.0.0.0"},
    "source_namespace": {"type": "str", "default": ""},
    "target_namespace": {"type": "str", "default": ""},
}
WITNESS_SPEC = {
    "name": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "metric": {"type": "str", "required": True},
    "labels": {"type": "dict", "default": {}},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": "default"},
    "policy": {"type": "dict", "required": True},
    "creates": {"type": "str", "choices": ["allow", "deny"], "default": "deny"},
    "pairs": {"type": "list", "elements": "dict", "required": True, "options": PAIR_SPEC},
    "cycles": {"type": "int", "default": 3},
    "hold_seconds": {"type": "float", "default": 2.0},
    "interval_seconds": {"type": "float", "default": 0.005},
    "witnesses": {"type": "list", "elements": "dict", "default": [], "options": WITNESS_SPEC},
    "witness_seconds": {"type": "float", "default": 0.1},
    "deadline_seconds": {"type": "float", "default": 600.0},
    "pages": {"type": "dict", "default": {}},
    "etcd_url": {"type": "str", "default": ""},
    "processes": {"type": "dict", "default": {}},
    "samples_path": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
    **AUTH_SPEC,
}


def pair_of(item: dict[str, Any]) -> Pair:
    if not item["address"] and not item["target_pod"]:
        raise ConfigurationError(f"pair {item['name']}: it names neither target_pod nor the address of one.")
    return Pair(**{name: value for name, value in item.items() if name not in PODS})


def located(kube: Kube, plan: PolicyPlan, params: dict[str, Any]) -> PolicyPlan:
    """The plan with the addresses and namespaces of the pods that pairs name."""
    items = {item["name"]: item for item in params["pairs"]}
    names = [item[end] for item in items.values() for end in PODS if item[end]]
    there = places(kube, plan.namespace, names) if names else {}
    pairs = [
        in_pods(pair, there.get(items[pair.name]["source_pod"]), there.get(items[pair.name]["target_pod"]))
        for pair in plan.pairs
    ]
    return replace(plan, pairs=pairs)


def plan_of(params: dict[str, Any]) -> PolicyPlan:
    return PolicyPlan(
        policy=params["policy"],
        namespace=params["namespace"],
        pairs=[pair_of(item) for item in params["pairs"]],
        creates=params["creates"],
        cycles=params["cycles"],
        hold_seconds=params["hold_seconds"],
        interval=params["interval_seconds"],
        witnesses=[Witness(**item) for item in params["witnesses"]],
        witness_seconds=params["witness_seconds"],
    )


def measure(params: dict[str, Any], plan: PolicyPlan) -> dict[str, Any]:
    long = LongModule.of("bench_policy_latency", params)
    with (
        contextlib.closing(client_from(params)) as kube,
        tempfile.TemporaryDirectory(prefix="nightbench-probe-") as folder,
    ):
        plan = located(kube, plan, params)
        with measured(kube, params) as (machine, resources), long:
            run = PolicyRun(kube, plan, Path(folder), long.check)
            long.report = run.progress
            run.run()
    values = policy_summary.values(run, machine) | resources.values(run.started, run.ended)
    result: dict[str, Any] = {"changed": False, "values": values}
    if params["samples_path"]:
        result["samples"] = write_samples(params["samples_path"], policy_summary.rows(run))
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
