#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_real_node
short_description: Run real nodes on this machine
version_added: 0.1.0
description:
  - Runs any number of nodes, each with a containerd and a kubelet of its own in network, mount and pid namespaces of
    its own, and a network between them. The nodes join a control plane on this machine's loopback.
  - Pods have one or more interfaces. Their addresses are out of 198.18.0.0/15, which is set aside for tests of networks
    (RFC 2544); nothing is masqueraded, and there is no route to anywhere else.
  - Whatever is killed, the kernel takes everything of a node with it. The module has no shell script to undo things.
author:
  - Nightbench authors (@nightbench)
options:
  state:
    description:
      - V(present) runs that many nodes and no others, with the images in them.
      - V(absent) leaves no process, mount, network interface, route, cgroup, setting or file of them.
      - V(info) says what there is, and whether nodes can run here.
    type: str
    choices: [present, absent, info]
    default: present
  directory:
    description: Folder that holds everything of the nodes; one of its own for each run.
    type: path
    required: true
  run_state:
    description: Where the records of the processes go, and whose stop file is obeyed. By default O(directory).
    type: path
  run_id:
    description: The run that the processes belong to.
    type: str
    default: ""
  kubeconfig:
    description: The kubeconfig of the control plane, with the certificate of an administrator.
    type: path
  program:
    description: C(node.py) of role real_nodes.
    type: path
  tools:
    description:
      - Path by tool, for containerd, containerd-shim-runc-v2, ctr, runc, kubelet, cni-bridge, cni-ptp, cni-host-local
        and cni-loopback.
    type: dict
    default: {}
  count:
    description: How many nodes.
    type: int
    default: 2
  prefix:
    description: Names are this and a number.
    type: str
    default: real-
  cidr:
    description:
      - Range of all addresses, inside 198.18.0.0/15.
      - By default one of 4,096 addresses that nobody on this machine uses.
    type: str
    default: ""
  pod_prefix:
    description: Length of the prefix of the addresses that the pods of one node have on one interface.
    type: int
    default: 25
  interfaces:
    description: The interfaces of every pod, eth0 first.
    type: list
    elements: dict
    default: [{}, {}]
    suboptions:
      form:
        description:
          - V(ptp) is a link of its own from each pod to its node, which routes; a pod has one neighbour.
          - V(bridge) is one link for all pods of a node; a pod has each of them as a neighbour.
        type: str
        choices: [ptp, bridge]
        default: ptp
      mtu:
        description: Largest packet.
        type: int
        default: 1500
  labels:
    description: Labels of every node.
    type: dict
    default: {}
  taints:
    description: Taints of every node.
    type: list
    elements: dict
    default: []
  max_pods:
    description: How many pods a node takes.
    type: int
    default: 110
  pause_image:
    description: Archive of the image that holds a pod's namespaces, as bench_image writes it.
    type: path
  images:
    description: Archives of images that the nodes shall have.
    type: list
    elements: path
    default: []
  kubelet:
    description: Fields of the kubelet's configuration (KubeletConfiguration) that take the place of the module's.
    type: dict
    default: {}
  neighbours:
    description:
      - Entries that the machine's neighbour table has to have room for. All network namespaces share it.
      - The former value is put back with V(absent). V(0) leaves the table alone.
    type: int
    default: 0
  timeout_seconds:
    description: Seconds until every node runs and has its images.
    type: float
    default: 60
attributes:
  check_mode:
    description: Says what would be started and ended, and does none of it.
    support: full
  diff_mode:
    description: Shows the processes before and after.
    support: full
  idempotent:
    description: A second call with the same options changes nothing; a node that has died is started again.
    support: full
"""

EXAMPLES = r"""
- name: Run two nodes
  bench_real_node:
    directory: /srv/nightbench/real_nodes
    kubeconfig: /srv/nightbench/control_plane/clusters/nightbench/kubeconfig.yaml
    program: roles/real_nodes/files/node.py
    tools: "{{ paths }}"
    pause_image: /srv/nightbench/pause.tar
    count: 2
    labels: {type: real}

- name: Remove them
  bench_real_node:
    directory: /srv/nightbench/real_nodes
    state: absent
"""

RETURN = r"""
reason:
  description: Why no real node can run here; empty when one can.
  returned: with O(state=info)
  type: str
logs:
  description: The last line that each program of the nodes has written, by the path of its log.
  returned: with O(state=info)
  type: dict
nodes:
  description: The nodes.
  returned: with O(state=present)
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      returned: always
      type: str
    address:
      description: Its address.
      returned: always
      type: str
    pod_ranges:
      description: Addresses of its pods, by interface.
      returned: always
      type: list
      elements: str
    conflists:
      description: >-
        Files that say how its pods get their interfaces, by interface. Whoever changes one has it until the node is
        started anew.
      returned: always
      type: list
      elements: str
    plugin_dir:
      description: Folder of the plugins (CNI) of all nodes.
      returned: always
      type: str
    pid:
      description: The first process of the node as the machine sees it; null in check mode where there is none.
      returned: always
      type: int
    logs:
      description: Logs of the node, its containerd and its kubelet.
      returned: always
      type: list
      elements: str
    images:
      description: Images that this call has brought in.
      returned: always
      type: list
      elements: str
    changed:
      description: Whether this call started the node or brought an image in.
      returned: always
      type: bool
network:
  description: The network.
  returned: with O(state=present)
  type: dict
  contains:
    range:
      description: All addresses.
      returned: always
      type: str
    machine:
      description: The machine's own address in it.
      returned: always
      type: str
    interface:
      description: The machine's network interface to it.
      returned: always
      type: str
    interfaces:
      description: Addresses of all pods, by interface.
      returned: always
      type: list
      elements: str
ended:
  description: What was ended or removed, or would be.
  returned: with O(state=present) and O(state=absent)
  type: list
  elements: str
seconds:
  description: How long it took.
  returned: with O(state=present)
  type: float
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import host_changes, node_config, node_network, real_nodes, real_nodes_end
from ..module_utils.nightbench import process as processes
from ..module_utils.nightbench.errors import ConfigurationError, ProcessError, Stopped
from ..module_utils.nightbench.image import name_in
from ..module_utils.nightbench.kube import Kube
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.node_network import NodeNetwork
from ..module_utils.nightbench.process import Records
from ..module_utils.nightbench.real_nodes import Declaration, Program
from ..module_utils.nightbench.real_nodes_images import bring
from ..module_utils.nightbench.target import Target, load_target

INTERFACE_SPEC: dict[str, dict[str, Any]] = {
    "form": {"type": "str", "choices": ["ptp", "bridge"], "default": "ptp"},
    "mtu": {"type": "int", "default": 1500},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent", "info"], "default": "present"},
    "directory": {"type": "path", "required": True},
    "run_state": {"type": "path"},
    "run_id": {"type": "str", "default": ""},
    "kubeconfig": {"type": "path"},
    "program": {"type": "path"},
    "tools": {"type": "dict", "default": {}},
    "count": {"type": "int", "default": 2},
    "prefix": {"type": "str", "default": "real-"},
    "cidr": {"type": "str", "default": ""},
    "pod_prefix": {"type": "int", "default": 25},
    "interfaces": {"type": "list", "elements": "dict", "options": INTERFACE_SPEC, "default": [{}, {}]},
    "labels": {"type": "dict", "default": {}},
    "taints": {"type": "list", "elements": "dict", "default": []},
    "max_pods": {"type": "int", "default": 110},
    "pause_image": {"type": "path"},
    "images": {"type": "list", "elements": "path", "default": []},
    "kubelet": {"type": "dict", "default": {}},
    "neighbours": {"type": "int", "default": 0},
    "timeout_seconds": {"type": "float", "default": 60},
}
TAKEN = "File exists"  # what ip says when the route to a range is there already


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ("kubeconfig", "program", "pause_image"))],
    )
    with failures_told(module):
        result = {"present": present, "absent": absent, "info": info}[module.params["state"]](module)
    module.exit_json(**result)


def info(module: AnsibleModule) -> dict[str, Any]:
    reason = real_nodes.why_not(module.params["tools"])
    return {"changed": False, "reason": reason, "logs": real_nodes.log_ends(_folder(module))}


def absent(module: AnsibleModule) -> dict[str, Any]:
    folder = _folder(module)
    ended = real_nodes_end.remains(folder)
    if ended and not module.check_mode:
        real_nodes_end.remove(folder, Records(_run_state(module)))
    result: dict[str, Any] = {"changed": bool(ended), "ended": ended}
    if module._diff and ended:
        result["diff"] = {"before": "\n".join(ended) + "\n", "after": ""}
    return result


def present(module: AnsibleModule) -> dict[str, Any]:
    began = time.monotonic()
    reason = real_nodes.why_not(module.params["tools"])
    if reason:
        raise ConfigurationError(f"run real nodes: {reason}.")
    wanted = declaration(module.params, _folder(module), _run_state(module))
    records = Records(wanted.run_state)
    if module.check_mode:
        return predicted(module, wanted, records)
    return brought_about(module, wanted, records, began)


def declaration(params: dict[str, Any], folder: Path, run_state: Path) -> Declaration:
    if params["count"] < 1:
        raise ConfigurationError(f"count is {params['count']}; one node at least has to be asked for.")
    return Declaration(
        folder=folder,
        run_state=run_state,
        run_id=params["run_id"],
        program=Path(params["program"]).absolute(),
        tools={name: str(path) for name, path in params["tools"].items() if name in real_nodes.TOOLS},
        count=params["count"],
        prefix=params["prefix"],
        interfaces=node_config.interfaces(params["interfaces"]),
        pod_prefix=params["pod_prefix"],
        cidr=params["cidr"],
        labels={name: str(value) for name, value in params["labels"].items()},
        taints=params["taints"],
        max_pods=params["max_pods"],
        kubelet=params["kubelet"],
        neighbours=params["neighbours"],
        pause_image=params["pause_image"],
    )


def predicted(module: AnsibleModule, wanted: Declaration, records: Records) -> dict[str, Any]:
    """Nothing is asked of a cluster or of a node, neither of which need be there yet."""
    network = real_nodes.choose_networks(wanted, records, in_use())[0]
    programs = [real_nodes.network_program(wanted, network)]
    network_starts = real_nodes.plan(programs, records)[0].starts
    names = [wanted.node_name(index) for index in range(wanted.count)]
    known = {name: records.get(name) for name in names}
    running = {name for name, record in known.items() if record and processes.is_running(record.identity)}
    fresh = names if network_starts else [name for name in names if name not in running]
    gone = [one.spec.name for one in real_nodes.surplus(wanted, records)]
    low = host_changes.settings_to_raise(dict.fromkeys(real_nodes.NEIGHBOUR_SETTINGS, wanted.neighbours))
    nodes = [
        {**real_nodes.node_facts(wanted, network, index), "pid": None, "images": [], "changed": name in fresh}
        for index, name in enumerate(names)
    ]
    result = {
        "changed": network_starts or bool(fresh) or bool(gone) or bool(low),
        "nodes": nodes,
        "network": real_nodes.network_facts(wanted, network),
        "ended": gone,
        "seconds": 0.0,
    }
    return _with_diff(module, result, [*([real_nodes.NETWORK] if network_starts else []), *fresh], gone)


def brought_about(module: AnsibleModule, wanted: Declaration, records: Records, began: float) -> dict[str, Any]:
    params = module.params
    target = load_target(kubeconfig=params["kubeconfig"])
    real_nodes.check_target(target)
    archives = {name_in(path): path for path in map(Path, [params["pause_image"], *params["images"]])}
    wanted = real_nodes.with_pause_image(wanted, name_in(Path(params["pause_image"])))
    stopped = _stop_asked(wanted.run_state)
    low = host_changes.settings_to_raise(dict.fromkeys(real_nodes.NEIGHBOUR_SETTINGS, wanted.neighbours))
    network, network_process, network_started = run_network(wanted, records, target, stopped)
    if low:
        host_changes.raise_settings(wanted.folder, low)
    gone = real_nodes.end_surplus(wanted, records)
    programs = run_nodes(wanted, network, network_process, target, records)
    started = [step.wanted.spec.name for step in real_nodes.plan(programs, records) if step.starts]
    with contextlib.closing(Kube(target)) as kube:
        real_nodes.forget(kube, started)
    real_nodes.start(programs, records, wanted.run_id, stopped)
    pids = {one.wanted.spec.name: one.namespace_pid() or 0 for one in programs}
    left = params["timeout_seconds"] - (time.monotonic() - began)
    brought = bring(pids, Path(wanted.tools["ctr"]), archives, left, stopped)
    nodes = [
        {
            **real_nodes.node_facts(wanted, network, index),
            "pid": pids[name],
            "images": brought[name],
            "changed": name in started or bool(brought[name]),
        }
        for index, name in enumerate(pids)
    ]
    result = {
        "changed": bool(network_started or started or gone or low) or any(brought.values()),
        "nodes": nodes,
        "network": real_nodes.network_facts(wanted, network),
        "ended": gone,
        "seconds": round(time.monotonic() - began, 3),
    }
    return _with_diff(module, result, [*network_started, *started], gone)


def run_network(
    wanted: Declaration, records: Records, target: Target, stopped: Callable[[], bool]
) -> tuple[NodeNetwork, Program, list[str]]:
    """The network runs; a range that another run takes at the same moment the kernel refuses, and the next is tried."""
    choices = real_nodes.choose_networks(wanted, records, in_use())
    for number, network in enumerate(choices, start=1):
        program = real_nodes.network_program(wanted, network)
        starts = real_nodes.plan([program], records)[0].starts
        wanted.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        real_nodes.store_network(wanted, network)
        real_nodes.write_common(wanted, target)
        try:
            real_nodes.start([program], records, wanted.run_id, stopped)
        except ProcessError as error:
            if number == len(choices) or TAKEN not in str(error.details.get("log_tail", "")):
                raise
            continue
        return network, program, [real_nodes.NETWORK] if starts else []
    raise AssertionError("choose_networks gives one at least")


def run_nodes(
    wanted: Declaration, network: NodeNetwork, network_process: Program, target: Target, records: Records
) -> list[Program]:
    """What the nodes are; they depend on the very process that holds their network."""
    pid = network_process.namespace_pid()
    if pid is None:
        raise ProcessError(f"run real nodes: {real_nodes.NETWORK} did not say its pid.")
    return [real_nodes.node_program(wanted, network, index, target.port, pid) for index in range(wanted.count)]


def in_use() -> list[IPv4Network]:
    """What this machine has routes to or addresses in."""
    said = [
        json.loads(
            subprocess.run([real_nodes.find("ip"), "-json", *words], capture_output=True, check=True).stdout or "[]"
        )
        for words in (["-4", "route", "show", "table", "all"], ["-4", "address"])
    ]
    return node_network.taken(*said)


def _with_diff(
    module: AnsibleModule, result: dict[str, Any], started: Sequence[str], ended: Sequence[str]
) -> dict[str, Any]:
    if module._diff:
        result["diff"] = {"before": {"ends": list(ended)}, "after": {"starts": list(started)}}
    return result


def _stop_asked(run_state: Path) -> Callable[[], bool]:
    stop_file = run_state / "stop"
    if stop_file.exists():
        raise Stopped(f"run real nodes: the run was asked to stop ({stop_file} exists).")
    return stop_file.exists


def _folder(module: AnsibleModule) -> Path:
    return Path(os.path.realpath(module.params["directory"]))


def _run_state(module: AnsibleModule) -> Path:
    return Path(module.params["run_state"] or _folder(module))


if __name__ == "__main__":
    main()
