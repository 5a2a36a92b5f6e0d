#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_network_plan
short_description: Plan the networks of many pods, and check that a cluster can carry them
version_added: 0.1.0
description:
  - Gives every pod an address of its own on every network, and returns the objects that have to be applied, the
    annotation and the resources of every pod, and what has to be waited for.
  - Reads nodes, SriovNetworkNodeStates, policies and networks in one list each, and fails with every reason for which
    the plan cannot work, such as an address of two pods, pods in different subnets, fewer VFs than pods, an operator
    that is not installed, or objects of somebody else that are in the way. It changes nothing.
  - With O(state=absent) returns what of an earlier plan is in the cluster, and what has to be waited for when it goes.
author:
  - Nightbench authors (@nightbench)
options:
  state:
    description: Whether networks are planned, or looked for to be removed.
    type: str
    choices: [present, absent]
    default: present
  namespace:
    description: Namespace of the NetworkAttachmentDefinitions.
    type: str
    required: true
  operator_namespace:
    description: Namespace in which the SR-IOV network operator runs.
    type: str
    default: sriov-network-operator
  labels:
    description: Labels by which the objects are known as ours. What carries others is somebody else's.
    type: dict
    required: true
  networks:
    description: The networks.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of its objects.
        type: str
        required: true
      form:
        description:
          - V(operator) for VFs of the SR-IOV network operator, V(device_plugin) for VFs that a device plugin offers
            without one, V(macvlan) for interfaces that need no such hardware.
        type: str
        choices: [operator, device_plugin, macvlan]
        default: operator
      interface:
        description: Name of the interface in the pods.
        type: str
        default: net1
      groups:
        description: Groups of pods that are on it; all pods if empty.
        type: list
        elements: str
        default: []
      subnet:
        description: Its subnet. Not needed where O(networks[].addresses) say the length of their prefix.
        type: str
        default: ""
      ipam:
        description: V(static) for an address in every pod's annotation, V(whereabouts) for the next one of a range.
        type: str
        choices: [static, whereabouts]
        default: static
      ipam_options:
        description: More of the ipam section, such as C(routes).
        type: dict
        default: {}
      addresses:
        description: Addresses of single pods; the others get the next free one.
        type: dict
        default: {}
      range_start:
        description: The first address that is given.
        type: str
        default: ""
      range_end:
        description: The last address that is given.
        type: str
        default: ""
      exclude:
        description: Subnets and addresses that are not given.
        type: list
        elements: str
        default: []
      mtu:
        description: MTU of the interfaces; V(0) for what the network has.
        type: int
        default: 0
      resource:
        description: Name of the resource that its VFs are, without prefix and without hyphens.
        type: str
        default: ""
      resource_prefix:
        description: Prefix of the resource. If empty, V(openshift.io), or V(intel.com) for V(device_plugin).
        type: str
        default: ""
      policy:
        description: Spec of the SriovNetworkNodePolicy that makes the VFs; empty where the nodes offer them.
        type: dict
        default: {}
      options:
        description: Fields of the SriovNetwork, or for V(macvlan) of the CNI plugin.
        type: dict
        default: {}
  pods:
    description: The pods that are going to be on the networks.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the pod.
        type: str
        required: true
      group:
        description: The group that it belongs to.
        type: str
        default: ""
      node:
        description: The node that it is going to be on, if that is known; then its VFs have to be there.
        type: str
        default: ""
  groups:
    description: Groups of pods whose names are the group's and a number from 0 on, after those of O(pods).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the group.
        type: str
        required: true
      count:
        description: How many pods it has.
        type: int
        required: true
      node:
        description: The node that they are going to be on, if that is known.
        type: str
        default: ""
  predict_cluster:
    description:
      - In check mode, do not ask a cluster that does not exist or does not answer, because an earlier task of the same
        play would start it.
    type: bool
    default: false
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
    description: It only reads; check mode does the same.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: The same networks and pods give the same plan.
    support: full
"""

EXAMPLES = r"""
- name: Plan a second interface for two pods
  bench_network_plan:
    kubeconfig: /home/me/kubeconfig
    namespace: mesh
    labels: {app.kubernetes.io/managed-by: nightbench}
    networks:
      - name: net1
        form: macvlan
        subnet: 198.19.0.0/24
        options: {master: eth1}
    pods:
      - {name: mesh-0}
      - {name: mesh-1}
  register: __plan

- name: Apply its objects
  bench_objects:
    kubeconfig: /home/me/kubeconfig
    objects: "{{ __plan['objects'] }}"
"""

RETURN = r"""
objects:
  description: The objects that have to be applied; of O(state=absent) none.
  returned: success
  type: list
  elements: dict
pods:
  description: What every pod has to ask for and the addresses that it will have.
  returned: success
  type: list
  elements: dict
  sample:
    - name: mesh-0
      group: mesh
      node: ""
      annotations: {k8s.v1.cni.cncf.io/networks: '[{"name":"net1","ips":["198.19.0.1/24"]}]'}
      resources: {openshift.io/mlnx_vf: "1"}
      addresses: {net1: 198.19.0.1}
interfaces:
  description: Of every interface its name, subnet, MTU, form, resources, networks and how many pods are on it.
  returned: success
  type: list
  elements: dict
expected:
  description: What C(bench_network_status) has to find.
  returned: success
  type: list
  elements: dict
conditions:
  description:
    - For C(bench_wait). C(synced), C(offered) and C(attachable) after the objects were applied, C(detached) and
      C(reset) after they were removed.
  returned: success
  type: dict
namespace:
  description: Whether the namespace exists, and whether it is ours.
  returned: success
  type: dict
  sample: {exists: true, ours: false}
found:
  description: Of O(state=absent), the names of what is there of C(policies), C(networks) and C(attachments).
  returned: success
  type: dict
asked:
  description: Whether there was a cluster to ask.
  returned: success
  type: bool
problems:
  description: Every reason for which the plan cannot work.
  returned: on failure
  type: list
  elements: str
exit_code:
  description: What the run should end with; 2 for a plan that cannot work or a wrong kubeconfig, else 3.
  returned: on failure
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import network_check, network_cluster
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.cluster_missing import cluster_missing
from ..module_utils.nightbench.errors import ConfigurationError, Forbidden, NightbenchError, Unauthorized
from ..module_utils.nightbench.network_model import FORMS, Pod, network_of
from ..module_utils.nightbench.network_plan import Place, Plan, make
from ..module_utils.nightbench.network_removal import removal
from ..module_utils.nightbench.network_strangers import is_ours

NETWORK_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "form": {"type": "str", "choices": list(FORMS), "default": "operator"},
    "interface": {"type": "str", "default": "net1"},
    "groups": {"type": "list", "elements": "str", "default": []},
    "subnet": {"type": "str", "default": ""},
    "ipam": {"type": "str", "choices": ["static", "whereabouts"], "default": "static"},
    "ipam_options": {"type": "dict", "default": {}},
    "addresses": {"type": "dict", "default": {}},
    "range_start": {"type": "str", "default": ""},
    "range_end": {"type": "str", "default": ""},
    "exclude": {"type": "list", "elements": "str", "default": []},
    "mtu": {"type": "int", "default": 0},
    "resource": {"type": "str", "default": ""},
    "resource_prefix": {"type": "str", "default": ""},
    "policy": {"type": "dict", "default": {}},
    "options": {"type": "dict", "default": {}},
}

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "namespace": {"type": "str", "required": True},
    "operator_namespace": {"type": "str", "default": "sriov-network-operator"},
    "labels": {"type": "dict", "required": True},
    "networks": {"type": "list", "elements": "dict", "default": [], "options": NETWORK_SPEC},
    "pods": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "group": {"type": "str", "default": ""},
            "node": {"type": "str", "default": ""},
        },
    },
    "groups": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "name": {"type": "str", "required": True},
            "count": {"type": "int", "required": True},
            "node": {"type": "str", "default": ""},
        },
    },
    "predict_cluster": {"type": "bool", "default": False},
    **AUTH_SPEC,
}
NOTHING: dict[str, list[Any]] = {"policies": [], "networks": [], "attachments": []}


class PlanError(ConfigurationError):
    """A plan that cannot work, with every reason."""

    def __init__(self, problems: list[str]) -> None:
        told = "\n".join(f"* {one}" for one in dict.fromkeys(problems))
        super().__init__(f"Nothing was made. The networks cannot work:\n{told}", problems=problems)


def planned(params: dict[str, Any], place: Place) -> Plan:
    """The plan as far as it can be made without a cluster; raises PlanError."""
    problems: list[str] = []
    networks = [network_of(one, problems) for one in params["networks"]]
    if not networks:
        problems.append("There are no networks: say at least one.")
    pods = [Pod(**one) for one in params["pods"]]
    for one in params["groups"]:
        pods += [Pod(f"{one['name']}-{number}", one["name"], one["node"]) for number in range(one["count"])]
    plan = make(networks, pods, place, problems)
    if problems:
        raise PlanError(problems)
    return plan


def present(params: dict[str, Any], place: Place, plan: Plan) -> dict[str, Any]:
    """What the cluster says to the plan; raises PlanError."""
    kube = client_from(params)
    try:
        cluster = network_cluster.read(kube, plan)
    finally:
        kube.close()
    problems = network_check.check(plan, cluster)
    if problems:
        raise PlanError(problems)
    ours = cluster.namespace is not None and is_ours(cluster.namespace, place.labels)
    conditions = network_check.conditions(plan, cluster)
    return result(plan, conditions, {"exists": cluster.namespace is not None, "ours": ours})


def absent(params: dict[str, Any], place: Place) -> dict[str, Any]:
    kube = client_from(params)
    try:
        found = removal(kube, place)
        there = network_cluster.namespace(kube, place.namespace)
    finally:
        kube.close()
    conditions = found.pop("conditions")
    ours = there is not None and is_ours(there, place.labels)
    return {**result(Plan(place, ()), conditions, {"exists": there is not None, "ours": ours}), "found": found}


def result(
    plan: Plan, conditions: dict[str, list[dict[str, Any]]], namespace: dict[str, bool], asked: bool = True
) -> dict[str, Any]:
    kinds = ("synced", "offered", "attachable", "detached", "reset")
    return {
        "changed": False,
        "objects": plan.objects(),
        "pods": [{"name": name, **pod} for name, pod in plan.pods().items()],
        "interfaces": [{"name": name, **interface} for name, interface in plan.interfaces().items()],
        "expected": plan.expected(),
        "conditions": {kind: conditions.get(kind, []) for kind in kinds},
        "namespace": namespace,
        "found": NOTHING,
        "asked": asked,
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("client_cert", "client_key")],
    )
    params = module.params
    labels = {str(key): str(value) for key, value in params["labels"].items()}
    place = Place(params["namespace"], params["operator_namespace"], labels)
    plan = Plan(place, ())
    try:
        if params["state"] == "absent":
            module.exit_json(**absent(params, place))
        plan = planned(params, place)
        module.exit_json(**present(params, place, plan))
    except NightbenchError as error:
        missing = module.check_mode and params["predict_cluster"] and cluster_missing(error, params)
        if isinstance(error, PlanError) or not missing:
            code = 2 if isinstance(error, (ConfigurationError, Forbidden, Unauthorized)) else 3
            module.fail_json(msg=str(error), **{"exit_code": code, **error.details})
    module.exit_json(**result(plan, {}, {"exists": False, "ours": False}, asked=False))


if __name__ == "__main__":
    main()
