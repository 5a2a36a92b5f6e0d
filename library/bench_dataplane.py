#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_dataplane
short_description: See which dataplane many nodes run
version_added: 0.1.0
description:
  - Looks at nodes in their network namespaces on this machine (nft, iptables, programs, kube-proxy's traces) and at the
    metrics of their Felix, and says what each node runs. What was asked of Calico is not looked at.
  - Says whether all nodes run one dataplane with one mode of kube-proxy, and whether it is the one that was asked for.
    That they do not is a finding, no failure of the module.
  - A tool that is not there is left out; looking needs root.
  - On a cluster with O(pods) it looks in the pods of calico-node, through the API server.
author:
  - Nightbench authors (@nightbench)
options:
  nodes:
    description: The nodes, as far as they are on this machine. Either these or O(pods).
    type: list
    elements: dict
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      namespace:
        description: Its network namespace, as a path like C(/proc/PID/ns/net). By default our own.
        type: str
        default: ""
      metrics_url:
        description: Where its Felix serves its metrics. Without it Felix is not asked.
        type: str
        default: ""
  pods:
    description:
      - The pods of calico-node, one on every node of a cluster that is no fake one. A node without one is unknown.
      - Their tools are run in them (exec), and their metrics are asked for by the API server's proxy.
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
      container:
        description: The container that has the tools.
        type: str
        default: calico-node
      port:
        description: Port on which Felix serves its metrics; V(0) where it does not, then Felix is not asked.
        type: int
        default: 9091
  node_selector:
    description: Labels of the nodes that are looked at with O(pods); by default of those that are no fake ones.
    type: str
    default: type!=kwok
  asked:
    description: The dataplane that was asked for; V(none) for a network without a policy engine.
    type: str
    choices: [iptables, nftables, ebpf, none]
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
    description: It only looks, also in check mode.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: See that every node runs nftables
  bench_dataplane:
    asked: nftables
    nodes:
      - name: node-1
        namespace: /proc/4711/ns/net
        metrics_url: http://198.18.0.2:9091/metrics

- name: See what the nodes of a cluster run
  bench_dataplane:
    asked: ebpf
    pods: {namespace: calico-system, label_selector: k8s-app=calico-node}
"""

RETURN = r"""
observed:
  description: The dataplane of all nodes; null where they run none in common.
  returned: success
  type: str
holds:
  description: Whether all nodes agree, and with what was asked for.
  returned: success
  type: bool
reason:
  description: What was seen, in words.
  returned: success
  type: str
nodes:
  description: Of each node what it runs, kube-proxy's mode, its kernel, why it is said, and what Felix says of itself.
  returned: success
  type: list
  elements: dict
"""

import contextlib
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import calico_look, calico_pods
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.calico_dataplane import agree
from ..module_utils.nightbench.module_failure import failures_told

NODE_SPEC = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": ""},
    "metrics_url": {"type": "str", "default": ""},
}
PODS_SPEC = {
    "namespace": {"type": "str", "required": True},
    "label_selector": {"type": "str", "required": True},
    "container": {"type": "str", "default": "calico-node"},
    "port": {"type": "int", "default": 9091},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "nodes": {"type": "list", "elements": "dict", "options": NODE_SPEC},
    "pods": {"type": "dict", "options": PODS_SPEC},
    "node_selector": {"type": "str", "default": "type!=kwok"},
    "asked": {"type": "str", "choices": ["iptables", "nftables", "ebpf", "none"]},
    **AUTH_SPEC,
}


def states_of(params: dict[str, Any]) -> list[calico_look.NodeState]:
    if params["pods"] is None:
        return calico_look.look_at([calico_look.NodeAddress(**node) for node in params["nodes"]])
    with contextlib.closing(client_from(params)) as kube:
        return calico_pods.look_at(kube, calico_pods.CalicoPods(**params["pods"]), params["node_selector"])


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[("nodes", "pods")],
        required_one_of=[("nodes", "pods")],
    )
    with failures_told(module):
        states = states_of(module.params)
    found = agree([state.dataplane for state in states], module.params["asked"])
    nodes = [
        {**asdict(state.dataplane), "felix": asdict(state.felix) if state.felix is not None else None}
        for state in states
    ]
    module.exit_json(changed=False, observed=found.observed, holds=found.holds, reason=found.reason, nodes=nodes)


if __name__ == "__main__":
    main()
