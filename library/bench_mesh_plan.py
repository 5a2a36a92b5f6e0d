#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_mesh_plan
short_description: Say which pods of a mesh talk in which round, and how long that will take
version_added: 0.1.0
description:
  - Plans a mesh of pods without touching any of them.
  - Needs no cluster. The plan only depends on where the pods are, so M(nightbench.infra.bench_mesh) makes the same one.
author:
  - Nightbench authors (@nightbench)
options:
  mesh:
    description:
      - What the mesh does. V(plan) is C(isolated), C(rings), C(all_at_once) or C(coloured) with V(limits) for each
        C(node), C(nic) or C(link); V(protocol) C(tcp) or C(udp); V(direction) C(forward), C(reverse) or C(both);
        V(server_ports) C(one_per_interface) or C(one_per_peer); V(bits_per_second) of a connection over all of its
        V(streams); V(seconds) of a test and V(slack_seconds) after it; V(endless) with V(keep_slices); V(pairs)
        C(all), C(across_nodes) or C(within_node), or a list with a word for each interface.
    type: dict
    required: true
  interfaces:
    description: Interfaces of the pods on which the cells run.
    type: list
    elements: str
    required: true
  groups:
    description: Groups of pods in their order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the group and prefix of its pods' names.
        type: str
        required: true
      count:
        description: Number of its pods.
        type: int
        required: true
  nodes:
    description: Nodes over which the pods are spread, one after the other; without any, as if there were two.
    type: list
    elements: str
    default: []
attributes:
  check_mode:
    description: Nothing is ever changed.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: full
  idempotent:
    description: The same input gives the same plan.
    support: full
"""

EXAMPLES = r"""
- name: See how long a mesh of 49 pods would take
  bench_mesh_plan:
    groups:
      - {name: mesh, count: 3}
      - {name: lb-bgp, count: 6}
      - {name: mg, count: 40}
    interfaces: [eth0, net1]
    mesh: {plan: rings, streams: 16, seconds: 10}
"""

RETURN = r"""
plan:
  description: What the plan comes to (kind, pods, rounds, rounds_at_least, cells, period_seconds, predicted_seconds).
  returned: success
  type: dict
pods:
  description: Every pod with its name, group and index, and the node it would be on.
  returned: success
  type: list
  elements: dict
message:
  description: The plan as a sentence.
  returned: success
  type: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import mesh_plan, mesh_pods, mesh_profile, mesh_summary
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.module_failure import failures_told

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "mesh": {"type": "dict", "required": True},
    "interfaces": {"type": "list", "elements": "str", "required": True},
    "groups": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "count": {"type": "int", "required": True}},
    },
    "nodes": {"type": "list", "elements": "str", "default": []},
}
#: Where it is not known yet; a word for pairs that means nodes needs two of them.
UNKNOWN_NODES = ("first node", "second node")


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with failures_told(module):
        names = [group["name"] for group in params["groups"]]
        if len(set(names)) < len(names) or any(group["count"] < 0 for group in params["groups"]):
            raise ConfigurationError(f"groups: {params['groups']} has a name twice or a count below 0.")
        profile = mesh_profile.read(params["mesh"], params["interfaces"], {})
        pods = mesh_pods.predicted(params["groups"], params["nodes"] or UNKNOWN_NODES)
        plan = mesh_plan.make(pods, profile)
    module.exit_json(
        changed=False,
        plan=mesh_summary.planned(plan),
        pods=[{**vars(pod), "index": index} for index, pod in enumerate(pods)],
        message=mesh_summary.sentence(plan),
    )


if __name__ == "__main__":
    main()
