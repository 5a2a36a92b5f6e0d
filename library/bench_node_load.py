#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_node_load
short_description: Create many fake nodes, follow each until it is Ready, count what is there and delete them
version_added: 0.1.0
description:
  - Creates Node objects over several connections, stamps when each was created, Ready and gone, and counts nodes as
    asked for, existing, Ready and streaming from Typha while they are all there.
  - Says what it cost, too - CPU and memory of processes and of programs with metrics pages, and the size of the API
    server's storage.
  - Nodes of an earlier load of the same name are deleted first, and all of this one in the end, also when the module
    fails. Other nodes are counted and left alone.
author:
  - Nightbench authors (@nightbench)
options:
  name:
    description: Prefix of the nodes' names.
    type: str
    required: true
  count:
    description: How many nodes.
    type: int
    required: true
  template:
    description: A Node without a name. Somebody has to play it (kwok, by its annotation).
    type: dict
    required: true
  fake_label:
    description: Label by which fake nodes are known, as C(name=value); the template needs it.
    type: str
    default: type=kwok
  clients:
    description:
      - How many nodes stream from Typha in all. By default what streamed before and O(mock_nodes).
      - Without either Typha is left out of the comparison.
    type: int
  typha_urls:
    description: Where each Typha serves its metrics.
    type: list
    elements: str
    default: []
  typha_pods:
    description: The pods of Typha, instead of O(typha_urls); they are asked through the API server's proxy.
    type: dict
    suboptions:
      namespace:
        description: Their namespace.
        type: str
        required: true
      label_selector:
        description: Labels that they carry.
        type: str
        required: true
      port:
        description: Port of their metrics.
        type: int
        required: true
  mock_nodes:
    description:
      - A Deployment of pods that stream from Typha as a node does. It is made when every node is Ready and there are as
        many Typhas as they need, and removed once it was counted. One of this name that is there before is removed.
    type: dict
  settle_seconds:
    description: How long the numbers of Typhas and of what streams may take to be right, each.
    type: float
    default: 120.0
  connections:
    description: Connections over which nodes are created and deleted.
    type: int
    default: 16
  deadline_seconds:
    description: How long all of it may take.
    type: float
    default: 600.0
  processes:
    description: Processes whose use of CPU and memory is recorded, as name and V({pid, start_time}).
    type: dict
    default: {}
  pages:
    description: Metrics pages of programs that tell of their own CPU and memory (Felix, Typha), as name and URL.
    type: dict
    default: {}
  etcd_url:
    description:
      - Where etcd serves its metrics, asked with the kubeconfig's client certificate. Without it the API server tells
        how large the storage is, and not how much of it is in use.
    type: str
    default: ""
  samples_path:
    description: File for the samples, one JSON object for each node. Without it none are written.
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
    description: A measurement; each call makes its nodes anew and leaves the cluster as it found it.
    support: none
"""

EXAMPLES = r"""
- name: See how fast 3,000 more nodes are Ready
  bench_node_load:
    kubeconfig: /tmp/kubeconfig
    name: scale
    count: 3000
    template:
      metadata:
        labels: {type: kwok}
        annotations: {kwok.x-k8s.io/node: fake}
      spec:
        taints: [{key: kwok.x-k8s.io/node, value: fake, effect: NoSchedule}]
"""

RETURN = r"""
values:
  description:
    - Nodes by what became of them, the columns asked, existing, ready and schedulable of all nodes, and what it cost.
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
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import node_load
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.load_summary import write_samples
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.mock_nodes import Typhas
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.node_load import NodeLoad, NodePlan
from ..module_utils.nightbench.resources import measured

TYPHA_SPEC = {
    "namespace": {"type": "str", "required": True},
    "label_selector": {"type": "str", "required": True},
    "port": {"type": "int", "required": True},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "count": {"type": "int", "required": True},
    "template": {"type": "dict", "required": True},
    "fake_label": {"type": "str", "default": "type=kwok"},
    "clients": {"type": "int"},
    "typha_urls": {"type": "list", "elements": "str", "default": []},
    "typha_pods": {"type": "dict", "options": TYPHA_SPEC},
    "mock_nodes": {"type": "dict"},
    "settle_seconds": {"type": "float", "default": 120.0},
    "connections": {"type": "int", "default": 16},
    "deadline_seconds": {"type": "float", "default": 600.0},
    "processes": {"type": "dict", "default": {}},
    "pages": {"type": "dict", "default": {}},
    "etcd_url": {"type": "str", "default": ""},
    "samples_path": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
    **AUTH_SPEC,
}


def plan_of(params: dict[str, Any]) -> NodePlan:
    name, equals, value = params["fake_label"].partition("=")
    if not name or not equals:
        raise ConfigurationError(f"fake_label: {params['fake_label']!r} is not a label as name=value.")
    told = bool(params["typha_urls"]) + bool(params["typha_pods"])
    if told > 1:
        raise ConfigurationError("typha_urls and typha_pods both say where Typhas serve their metrics; give one.")
    if params["mock_nodes"] is not None and not told:
        raise ConfigurationError(
            "mock_nodes: nobody says where Typhas serve their metrics, so what streams cannot be counted.",
            hint="Give typha_pods, or typha_urls.",
        )
    same = ("name", "count", "template", "clients", "connections", "mock_nodes", "settle_seconds")
    return NodePlan(fake_label=(name, value), **{key: params[key] for key in same})


def measure(params: dict[str, Any], plan: NodePlan) -> dict[str, Any]:
    long = LongModule.of("bench_node_load", params)
    typhas = Typhas(params["typha_urls"], **(params["typha_pods"] or {}))
    with contextlib.closing(client_from(params)) as kube, measured(kube, params) as (machine, resources), long:
        load = NodeLoad(kube, plan, long.check, lambda: typhas.look(kube), resources.look)
        long.report = load.progress
        load.run()
    values = node_load.values(load, machine) | resources.values(load.started, load.waited)
    result: dict[str, Any] = {"changed": False, "values": values}
    if params["samples_path"]:
        result["samples"] = write_samples(params["samples_path"], node_load.rows(load))
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
