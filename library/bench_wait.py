#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_wait
short_description: Wait until many Kubernetes objects are ready, or gone
version_added: 0.1.0
description:
  - Waits until all conditions hold at the same time. Each is one list and one watch, however many objects it is about.
  - When the time is over, up to ten objects that are not ready are named with the reason.
  - A kind that is not served yet is waited for too. A Job that has failed ends the wait at once.
author:
  - Nightbench authors (@nightbench)
options:
  conditions:
    description:
      - What has to hold.
      - With O(conditions[].names), each of these objects has to be ready.
      - Else as many as O(conditions[].count) says, of those that carry O(conditions[].label_selector).
      - Without a count all that are there, and at least one.
    type: list
    elements: dict
    required: true
    suboptions:
      api_version:
        description: API version of the kind.
        type: str
        default: v1
      kind:
        description: Kind of the objects.
        type: str
        required: true
      namespace:
        description: Namespace of the objects; all namespaces if unset.
        type: str
      names:
        description: Names of the objects.
        type: list
        elements: str
        default: []
      label_selector:
        description: Labels that the objects carry; all objects if unset.
        type: str
        default: ""
      predicate:
        description:
          - When an object counts as ready.
          - V(absent) holds when no such object, or no such kind, is there.
          - V(condition) looks for a condition of the status, V(field) and V(at_least) at the value of a field; see
            O(conditions[].parameters).
          - V(sriov_synced) holds when policies are planned on a node and their VFs are there, V(sriov_reset) when
            nothing of them is left.
        type: str
        required: true
        choices:
          - absent
          - at_least
          - condition
          - crd_established
          - daemonset_ready
          - deployment_available
          - exists
          - field
          - job_complete
          - namespace_active
          - node_ready
          - pod_bound
          - pod_ready
          - pod_running
          - sriov_reset
          - sriov_synced
      count:
        description: How many objects have to be ready.
        type: int
      parameters:
        description:
          - For V(condition) C(type), and C(status) unless it is V("True").
          - For V(field) C(path), such as C(status.phase) or C(metadata.labels['a.b/c']), and C(value); without a value
            the field only has to be there.
          - For V(at_least) C(path) and C(value), a quantity.
          - For V(sriov_synced) and V(sriov_reset), of a SriovNetworkNodeState, C(policies), and for V(sriov_reset)
            C(devices), the PCI addresses of PFs by node. A node that has been Failed for C(failed_seconds) (60) ends
            the wait.
        type: dict
        default: {}
  timeout_seconds:
    description: How long all conditions together may take.
    type: float
    default: 120.0
  predict_cluster:
    description:
      - In check mode, take a cluster that does not exist or does not answer for one where nothing is there yet, because
        an earlier task of the same play would start it.
    type: bool
    default: false
  run_state:
    description: Folder of the run's state; a file C(stop) in it ends the wait.
    type: path
  progress_path:
    description: File to which a line of progress is appended every second.
    type: path
  task:
    description: What the progress is called.
    type: str
    default: wait
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
    description: Looks once and returns what it saw; what is not ready yet is no failure then.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Wait for 500 fake nodes and for the definitions of their scheduler
  bench_wait:
    kubeconfig: /home/me/kubeconfig
    timeout_seconds: 60
    conditions:
      - kind: Node
        label_selector: type=kwok
        predicate: node_ready
        count: 500
      - api_version: apiextensions.k8s.io/v1
        kind: CustomResourceDefinition
        names: [queues.scheduling.run.ai]
        predicate: crd_established

- name: Wait until the pods of a load are gone
  bench_wait:
    kubeconfig: /home/me/kubeconfig
    conditions:
      - {kind: Pod, namespace: load, label_selector: nightbench.io/load=fill, predicate: absent}
"""

RETURN = r"""
conditions:
  description: How far each condition is, in the order of O(conditions).
  returned: always, on failure as far as it is known
  type: list
  elements: dict
  contains:
    kind:
      description: Kind of the objects.
      returned: always
      type: str
    namespace:
      description: Their namespace, null for all.
      returned: always
      type: str
    predicate:
      description: When an object counts as ready.
      returned: always
      type: str
    asked:
      description: How many objects have to be ready.
      returned: always
      type: int
    existing:
      description: How many are there.
      returned: always
      type: int
    ready:
      description: How many of them are ready.
      returned: always
      type: int
    met:
      description: Whether the condition holds.
      returned: always
      type: bool
    not_ready:
      description: Up to ten objects that are not ready, each with its reason.
      returned: always
      type: list
      elements: dict
    problem:
      description: Why the objects could not be looked for, null when they could.
      returned: always
      type: str
met:
  description: Whether all conditions hold.
  returned: always, on failure as far as it is known
  type: bool
waited_seconds:
  description: How long it took.
  returned: always, on failure as far as it is known
  type: float
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.cluster_missing import cluster_missing
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError, of_system
from ..module_utils.nightbench.kube import Kube
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.predicates import PREDICATES
from ..module_utils.nightbench.waiting import Goal, Look, Waiting

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "conditions": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "api_version": {"type": "str", "default": "v1"},
            "kind": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "names": {"type": "list", "elements": "str", "default": []},
            "label_selector": {"type": "str", "default": ""},
            "predicate": {"type": "str", "required": True, "choices": sorted(PREDICATES)},
            "count": {"type": "int"},
            "parameters": {"type": "dict", "default": {}},
        },
    },
    "timeout_seconds": {"type": "float", "default": 120.0},
    "predict_cluster": {"type": "bool", "default": False},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str", "default": "wait"},
    **AUTH_SPEC,
}


def goal(condition: dict[str, Any]) -> Goal:
    return Goal(**{**condition, "names": tuple(condition["names"])})


def wait(kube: Kube, waiting: Waiting, params: dict[str, Any]) -> None:
    """Wait within the time allowed; raises when that is over, the run is to stop, or there is no hope."""
    long = LongModule.of("bench_wait", params, task=params["task"], seconds="timeout_seconds")
    long.report = waiting.progress
    with long:
        waiting.wait(params["timeout_seconds"], long.stop_asked)


def result(looks: list[Look], started: float) -> dict[str, Any]:
    return {
        "changed": False,
        "conditions": [look.as_json() for look in looks],
        "met": all(look.met for look in looks),
        "waited_seconds": round(time.monotonic() - started, 3),
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("client_cert", "client_key")],
    )
    started = time.monotonic()
    looks: list[Look] = []
    try:
        goals = [goal(condition) for condition in module.params["conditions"]]
        if not goals:
            raise ConfigurationError("conditions is empty: there is nothing to wait for.")
        looks = [Look(one) for one in goals]
        kube = client_from(module.params)
        try:
            waiting = Waiting(kube, looks)
            if module.check_mode:
                waiting.look_once()
            else:
                wait(kube, waiting, module.params)
        finally:
            kube.close()
    except NightbenchError as error:
        if not (module.check_mode and module.params["predict_cluster"] and cluster_missing(error, module.params)):
            module.fail_json(msg=str(error), **{**error.details, **result(looks, started)})
    except OSError as error:
        module.fail_json(msg=of_system(error), exit_code=3)
    module.exit_json(**result(looks, started))


if __name__ == "__main__":
    main()
