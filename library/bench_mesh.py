#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_mesh
short_description: Run a mesh of iperf3 between pods and bring back every cell with its proof
version_added: 0.1.0
description:
  - Asks the agent of every pod what it is, refuses a mesh that could not measure what it says, gives every agent its
    part of the plan and a common moment to start, waits, and collects one row for every cell that was asked for.
  - Talks to the agents through the API server's pod proxy over a few kept connections. It starts no process, and once
    the mesh has begun nothing depends on it. Called again with the same O(name) after it was killed, it goes on with
    the mesh that runs.
  - A cell that could not run is a row with the reason; only a broken preflight or a run that was asked to stop fails
    the module.
author:
  - Nightbench authors (@nightbench)
options:
  name:
    description: Names the mesh; with the plan it is what agents know it by.
    type: str
    required: true
  namespace:
    description: Namespace of the pods.
    type: str
    required: true
  label_selector:
    description:
      - Which pods take part. Each carries the labels C(nightbench.io/mesh-index), a number from 0, and
        C(nightbench.io/mesh-group).
    type: str
    default: nightbench.io/mesh-index
  port:
    description: Port of the agents.
    type: int
    default: 8790
  token:
    description: What the agents want to see.
    type: str
    required: true
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
  resources:
    description: Extended resource of the virtual functions behind an interface, by the interface's name.
    type: dict
    default: {}
  neighbour_limit:
    description:
      - Size of the nodes' neighbour table (C(net.ipv4.neigh.default.gc_thresh3)), where it is known from elsewhere.
      - Pods mostly cannot see it. Where they run on this machine it is read here.
    type: int
  vf_exporter_port:
    description:
      - Port on which every node tells in Prometheus' text form what its NICs have counted for each virtual function, as
        sriov-network-metrics-exporter does.
      - With it these bytes are taken for interfaces that are virtual functions; what nobody tells proves nothing.
    type: int
  deadline_seconds:
    description: How long the mesh may take; what has not run by then is missing.
    type: float
    default: 3600.0
  endless_seconds:
    description: An endless mesh ends after so many seconds.
    type: float
  stop_path:
    description: An endless mesh ends when this file exists.
    type: path
  samples_path:
    description:
      - Beginning of the names of the files with the samples; C(.INTERFACE.NAME.cells.jsonl) and
        C(.INTERFACE.NAME.counters.jsonl) follow. Without it none are written.
    type: path
  run_state:
    description: Folder of the run's state; a file C(stop) in it ends the mesh.
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
    description: Says what the plan comes to; no agent is asked.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: full
  idempotent:
    description: A mesh is a measurement; each call whose mesh was handed over runs it anew.
    support: none
"""

EXAMPLES = r"""
- name: Run every pair of the pods on both interfaces
  bench_mesh:
    kubeconfig: /tmp/kubeconfig
    name: rings.1
    namespace: mesh
    token: "{{ token }}"
    interfaces: [eth0, net1]
    mesh: {plan: rings, streams: 16, bits_per_second: 10000000000, seconds: 10}
    samples_path: /tmp/samples/rings
"""

RETURN = r"""
plan:
  description: What the plan comes to (kind, pods, rounds, rounds_at_least, cells, period_seconds, predicted_seconds).
  returned: when the pods are known
  type: dict
preflight:
  description: Every check that was made before the start, as V({name, expected, observed, holds}).
  returned: when the agents were asked
  type: list
  elements: dict
observations:
  description: For each interface what became of its cells (C(mesh)) and the counters (C(mesh_counters)).
  returned: success, not in check mode
  type: list
  elements: dict
taken_over:
  description: Whether the mesh ran already.
  returned: success, not in check mode
  type: bool
stopped:
  description: Whether it ended because the run was asked to stop.
  returned: failure
  type: bool
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import jsonfile, mesh_plan, mesh_pods, mesh_preflight, mesh_profile, mesh_summary
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.errors import NightbenchError
from ..module_utils.nightbench.kube import Kube
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.machine import MachineSampler
from ..module_utils.nightbench.mesh_agents import Agents
from ..module_utils.nightbench.mesh_run import Mesh
from ..module_utils.nightbench.module_failure import failures_told

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "label_selector": {"type": "str", "default": mesh_pods.INDEX_LABEL},
    "port": {"type": "int", "default": 8790},
    "token": {"type": "str", "required": True, "no_log": True},
    "mesh": {"type": "dict", "required": True},
    "interfaces": {"type": "list", "elements": "str", "required": True},
    "resources": {"type": "dict", "default": {}},
    "neighbour_limit": {"type": "int"},
    "vf_exporter_port": {"type": "int"},
    "deadline_seconds": {"type": "float", "default": 3600.0},
    "endless_seconds": {"type": "float"},
    "stop_path": {"type": "path"},
    "samples_path": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
    **AUTH_SPEC,
}
#: A pod that does not answer must not hold up the others for long; what is due is asked for again anyway.
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 3.0
#: Snapshots of the machine: the load is the pods', minutes long.
MACHINE_SECONDS = 10.0


def run(params: dict[str, Any], kube: Kube, plan: mesh_plan.Plan, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Run the mesh between these pods of the API server, or go on with it; the result of the module."""
    port = params["vf_exporter_port"]
    long = LongModule.of("bench_mesh", params)
    names = [pod.name for pod in plan.pods]
    mesh = Mesh(
        plan=plan,
        agents=Agents(kube, params["namespace"], params["port"], params["token"]),
        identity=mesh_summary.identity(params["name"], plan),
        check=long.check,
        gone=lambda: mesh_pods.gone(mesh_pods.listed(kube, params["namespace"], params["label_selector"]), names),
        deadline_seconds=params["deadline_seconds"],
        endless_seconds=params["endless_seconds"],
        exporters=mesh_pods.exporters(items, port) if port else {},
        stop_path=Path(params["stop_path"]) if params["stop_path"] else None,
    )
    long.report = mesh.progress
    kept = Path(params["run_state"]) / "meshes" / f"{mesh.identity}.json" if params["run_state"] else None
    machine = MachineSampler({}, MACHINE_SECONDS).start()
    try:
        with long:
            if kept is not None and (known := jsonfile.read(kept)) is not None:
                # Everything was written and only the agents were not told: this machine died in between.
                mesh.hand_over()
                return dict(known)
            mesh.look()
            checks = preflight(params, kube, mesh)
            refused = [] if mesh.taken_over else mesh_preflight.refusals(checks)
            if refused:
                raise NightbenchError(
                    "The mesh was not started. " + "; ".join(refused) + ".", preflight=checks, refused=True
                )
            if not mesh.taken_over:
                mesh.deliver()
            collected = mesh.follow()
    finally:
        machine.stop()
    result = mesh_summary.result(mesh, collected, checks, machine, params["samples_path"], params["name"])
    if kept is not None:
        jsonfile.write_atomic(kept, result)
    mesh.hand_over()
    return result


def preflight(params: dict[str, Any], kube: Kube, mesh: Mesh) -> list[dict[str, Any]]:
    if len(mesh.states) < len(mesh.names):
        return []  # it runs already, and not everybody answers any more
    resources = [one.resource for one in mesh.plan.profile.interfaces]
    offered = mesh_pods.allocatable(kube, resources)
    return mesh_preflight.checks(mesh.plan, mesh.states, offered, mesh_summary.own_limit(params["neighbour_limit"]))


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    with failures_told(module, stoppable=True):
        profile = mesh_profile.read(params["mesh"], params["interfaces"], params["resources"])
        kube = client_from(params, retry_seconds=RETRY_SECONDS, timeout=ANSWER_SECONDS)
        try:
            items = mesh_pods.listed(kube, params["namespace"], params["label_selector"])
            plan = mesh_plan.make(mesh_pods.pods(items), profile)
            if module.check_mode:
                module.exit_json(changed=False, plan=mesh_summary.planned(plan))
            result = run(params, kube, plan, items)
        finally:
            kube.close()
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
