#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_calico_node
short_description: Make Calico the network of many real nodes, and take it back
version_added: 0.1.0
description:
  - Writes what Calico needs on real nodes of this machine (the name of the node, a kubeconfig, folders) and puts its
    CNI plugin in the place of the one that connects the first interface of the pods. Felix is started by others.
  - Pods keep the interface that they were made with. The network keeps its name and its range, so that no address is
    given out twice.
  - With O(state=absent) the network is put back, and what a Felix has left in the kernel of a node is removed, also
    when it was killed. A node that does not run any more has nothing left.
author:
  - Nightbench authors (@nightbench)
options:
  state:
    description:
      - V(absent) leaves nothing of it on the nodes.
      - V(cleaned) removes from their kernels what a Felix of another dataplane than O(dataplane) has left, and nothing
        else. No such Felix may run any more.
    type: str
    choices: [present, cleaned, absent]
    default: present
  nodes:
    description: The nodes, with what C(bench_real_node) says of them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      pid:
        description: Its first process. Without one the node does not run yet.
        type: int
      conflists:
        description: Files that say how its pods get their interfaces, the first interface first.
        type: list
        elements: path
        required: true
      plugin_dir:
        description: Folder of its CNI plugins.
        type: path
        required: true
  kubeconfig:
    description: The kubeconfig of the control plane, with the certificate of an administrator.
    type: path
  plugin:
    description: Calico's CNI plugin.
    type: path
  programs:
    description: Other files of this machine that the nodes have to see.
    type: list
    elements: path
    default: []
  bpf_dir:
    description:
      - Folder of the programs for eBPF. Without one the nodes are not made ready for eBPF.
      - With one the kernel is tried first, and what it refuses is said.
    type: path
  dataplane:
    description: The dataplane whose rules stay with O(state=cleaned).
    type: str
    choices: [iptables, nftables, ebpf]
  policy_setup_seconds:
    description: Seconds that a pod waits until its policies are programmed; V(0) for none.
    type: int
    default: 0
attributes:
  check_mode:
    description: Says what would be written and removed, and does none of it.
    support: full
  diff_mode:
    description: Shows what differs before and after.
    support: full
  idempotent:
    description: A second call with the same options changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Have the pods of a node connected by Calico
  bench_calico_node:
    nodes: &nodes
      - name: real-0
        pid: 4711
        conflists: [/srv/nightbench/real_nodes/real-0/net.d/10-eth0.conflist]
        plugin_dir: /srv/nightbench/real_nodes/cni
    kubeconfig: /srv/nightbench/control_plane/clusters/nightbench/kubeconfig.yaml
    plugin: /opt/calico/calico

- name: Take it back
  bench_calico_node:
    state: absent
    nodes: *nodes
"""

RETURN = r"""
changes:
  description: What was written or removed, or would be, by node.
  returned: success
  type: dict
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import bpf_support, calico_on_node, calico_traces, real_nodes
from ..module_utils.nightbench.calico_look import NodeAddress
from ..module_utils.nightbench.calico_on_node import Node, Wanted
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.target import load_target

NODE_SPEC = {
    "name": {"type": "str", "required": True},
    "pid": {"type": "int"},
    "conflists": {"type": "list", "elements": "path", "required": True},
    "plugin_dir": {"type": "path", "required": True},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "cleaned", "absent"], "default": "present"},
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": NODE_SPEC},
    "kubeconfig": {"type": "path"},
    "plugin": {"type": "path"},
    "programs": {"type": "list", "elements": "path", "default": []},
    "bpf_dir": {"type": "path"},
    "dataplane": {"type": "str", "choices": ["iptables", "nftables", "ebpf"]},
    "policy_setup_seconds": {"type": "int", "default": 0},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ("kubeconfig", "plugin")), ("state", "cleaned", ("dataplane",))],
    )
    nodes = [
        Node(one["name"], one["pid"], Path(one["conflists"][0]), Path(one["plugin_dir"]))
        for one in module.params["nodes"]
    ]
    with failures_told(module):
        changes = {"present": present, "cleaned": cleaned, "absent": absent}[module.params["state"]](module, nodes)
    changes = {name: found for name, found in changes.items() if found}
    result: dict[str, Any] = {"changed": bool(changes), "changes": changes}
    if module._diff and changes:
        there, gone = ("before", "after") if module.params["state"] != "present" else ("after", "before")
        result["diff"] = {there: "".join(f"{one}\n" for found in changes.values() for one in found), gone: ""}
    module.exit_json(**result)


def present(module: AnsibleModule, nodes: list[Node]) -> dict[str, list[str]]:
    params = module.params
    if module.check_mode and all(node.pid is None for node in nodes):
        return {node.name: ["everything"] for node in nodes}  # they would be started first, and so would the cluster
    down = [node.name for node in nodes if not node.runs]
    if down:
        raise ConfigurationError(
            f"{', '.join(down)} does not run.", hint="Role real_nodes starts nodes and says their pids."
        )
    if params["bpf_dir"] and (lacking := bpf_support.lacking()):
        raise ConfigurationError(
            f"The kernel of this machine refuses what the dataplane ebpf needs. {'; '.join(lacking)}.",
            hint="Take another dataplane, or a machine whose kernel and rights allow it.",
        )
    target = load_target(kubeconfig=params["kubeconfig"])
    real_nodes.check_target(target)
    wanted = Wanted(
        plugin=Path(params["plugin"]),
        kubeconfig=real_nodes.kubeconfig(target),
        policy_setup_seconds=params["policy_setup_seconds"],
        bpf_dir=Path(params["bpf_dir"]) if params["bpf_dir"] else None,
    )
    needed = [Path(path) for path in (params["plugin"], params["bpf_dir"], *params["programs"]) if path]
    for node in nodes:
        if unseen := calico_on_node.unseen(node, needed):
            raise ConfigurationError(
                f"{node.name} does not see {', '.join(unseen)}: it has folders of its own in the place of some of this "
                "machine's.",
                hint="Put them elsewhere than below /run, /var/lib and /var/log.",
            )
    changes = {node.name: calico_on_node.differences(node, wanted) for node in nodes}
    if not module.check_mode:
        for node in nodes:
            calico_on_node.bring_about(node, wanted)
    return changes


def cleaned(module: AnsibleModule, nodes: list[Node]) -> dict[str, list[str]]:
    changes = {}
    for node in nodes:
        if node.runs:
            address = NodeAddress(node.name, node.namespace)
            left = calico_traces.foreign(calico_traces.traces(address), module.params["dataplane"])
            changes[node.name] = [f"{words} on {node.name}" for words in left.words()]
            if not module.check_mode:
                calico_traces.remove(address, left)
    return changes


def absent(module: AnsibleModule, nodes: list[Node]) -> dict[str, list[str]]:
    changes = {}
    for node in nodes:
        address = NodeAddress(node.name, node.namespace)
        left = calico_traces.traces(address) if node.runs else calico_traces.Traces()
        changes[node.name] = [*calico_on_node.remains(node), *(f"{words} on {node.name}" for words in left.words())]
        if not module.check_mode:
            calico_on_node.remove(node)
            calico_traces.remove(address, left)
    return changes


if __name__ == "__main__":
    main()
