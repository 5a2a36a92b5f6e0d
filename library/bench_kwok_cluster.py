#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_kwok_cluster
version_added: 0.1.0
short_description: Start, mend and remove a control plane that kwokctl runs as processes of this machine
description:
  - Writes the given files into one directory, lets kwokctl start etcd, kube-apiserver, kube-controller-manager and
    kwok-controller out of it, and returns once each of them answers.
  - A component that ends meanwhile is reported at once with the end of its log. One that ended since is started again.
  - Every process carries the directory and the run in its environment, so O(state=absent) finds all of them, also
    after kwokctl, this module or a component was killed at any moment.
author:
  - Nightbench authors (@nightbench)
attributes:
  check_mode:
    support: full
    description: Can run in check_mode and return changed status prediction without modifying target.
  diff_mode:
    support: full
    description: Returns the configuration files before and after.
  idempotent:
    support: full
    description: When run twice with the same arguments, the second call changes nothing.
options:
  state:
    description:
      - V(present) creates the control plane, creates it anew when one of its files has changed, and starts components
        that have ended.
      - V(absent) leaves no process, port or file. V(info) reads, and chooses O(ports) that are still 0.
    type: str
    choices: [present, absent, info]
    default: present
  directory:
    description: Directory that holds everything of the control plane. It must be empty, missing, or one of ours.
    type: path
    required: true
  run_id:
    description: The run that the processes belong to; they carry it as E(NIGHTBENCH_RUN_ID).
    type: str
    default: ""
  run_state:
    description: State directory of the run. Process records go into its folder processes, and its stop file is obeyed.
    type: path
  kwokctl:
    description: Path of kwokctl.
    type: path
  kubectl:
    description: Path of what kwokctl calls as kubectl to see whether the API server answers.
    type: path
  files:
    description: Configuration files by name. C(kwokctl.yaml) is the one that kwokctl reads.
    type: dict
    default: {}
  loose_files:
    description: Names out of O(files) whose change is only written and needs no new control plane.
    type: list
    elements: str
    default: []
  ports:
    description: Port by name (etcd, etcd_peer, kube_apiserver, kube_controller_manager, kube_scheduler,
      kwok_controller). 0 and missing ones are chosen by O(state=info).
    type: dict
    default: {}
  components:
    description: URL by component that answers 200 to the cluster's administrator once the component works.
    type: dict
    default: {}
  timeout_seconds:
    description: How long the control plane may take until it is ready.
    type: float
    default: 60
"""

EXAMPLES = r"""
- name: Choose the ports
  bench_kwok_cluster:
    state: info
    directory: /var/tmp/control_plane
  register: found

- name: Start the control plane
  bench_kwok_cluster:
    directory: /var/tmp/control_plane
    kwokctl: /usr/local/bin/kwokctl
    kubectl: /usr/local/bin/kubectl
    files:
      kwokctl.yaml: "{{ lookup('ansible.builtin.template', 'kwokctl.yaml.j2') }}"
    ports: "{{ found['ports'] }}"
    components:
      kube-apiserver: "https://127.0.0.1:{{ found['ports']['kube_apiserver'] }}/readyz"

- name: Remove it
  bench_kwok_cluster:
    state: absent
    directory: /var/tmp/control_plane
"""

RETURN = r"""
action:
  description: What was done or, in check mode, would be done.
  returned: always
  type: str
  sample: create
ports:
  description: Port by name.
  returned: when O(state) is not V(absent)
  type: dict
components:
  description: pid, start_time, argv, log and started_at by component; empty in check mode before the first creation.
  returned: when O(state) is not V(absent)
  type: dict
restarted:
  description: The components that had ended, each with the end of its log.
  returned: when O(state=present)
  type: dict
files_changed:
  description: Names of the files that differed.
  returned: when O(state=present)
  type: list
  elements: str
kubeconfig:
  description: Path of the administrator's kubeconfig.
  returned: when O(state) is not V(absent)
  type: str
audit_log:
  description: Path of the API server's audit log.
  returned: when O(state) is not V(absent)
  type: str
ca_cert:
  description: Path of the cluster's certificate authority.
  returned: when O(state) is not V(absent)
  type: str
client_cert:
  description: Path of the administrator's certificate.
  returned: when O(state) is not V(absent)
  type: str
client_key:
  description: Path of the administrator's key.
  returned: when O(state) is not V(absent)
  type: str
versions:
  description: Version by component, as the component itself reports it.
  returned: when O(state) is not V(absent)
  type: dict
  sample: {kube-apiserver: v1.36.3, etcd: 3.6.10}
running:
  description: Whether every component runs.
  returned: when O(state) is not V(absent)
  type: bool
seconds:
  description: How long it took until everything answered.
  returned: when O(state=present)
  type: float
"""

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import kwok_cluster, kwok_start
from ..module_utils.nightbench.kwok_cluster import Cluster, Declaration, State
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.port_choice import choose_ports
from ..module_utils.nightbench.process import Record, Records, log_tail

PORTS = ("etcd", "etcd_peer", "kube_apiserver", "kube_controller_manager", "kube_scheduler", "kwok_controller")
ARGUMENTS: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent", "info"], "default": "present"},
    "directory": {"type": "path", "required": True},
    "run_id": {"type": "str", "default": ""},
    "run_state": {"type": "path"},
    "kwokctl": {"type": "path"},
    "kubectl": {"type": "path"},
    "files": {"type": "dict", "default": {}},
    "loose_files": {"type": "list", "elements": "str", "default": []},
    "ports": {"type": "dict", "default": {}},
    "components": {"type": "dict", "default": {}},
    "timeout_seconds": {"type": "float", "default": 60},
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENTS,
        supports_check_mode=True,
        required_if=[("state", "present", ("kwokctl", "kubectl", "files", "ports", "components"))],
    )
    cluster = Cluster(Path(module.params["directory"]))
    with failures_told(module):
        result = {"present": present, "absent": absent, "info": info}[module.params["state"]](module, cluster)
    module.exit_json(**result)


def present(module: AnsibleModule, cluster: Cluster) -> dict[str, Any]:
    params = module.params
    run_state = Path(params["run_state"]) if params["run_state"] else None
    wanted = Declaration(
        directory=cluster.directory,
        kwokctl=params["kwokctl"],
        kubectl=params["kubectl"],
        run_id=params["run_id"],
        files=params["files"],
        loose_files=params["loose_files"],
        ports={name: int(port) for name, port in params["ports"].items()},
        components=params["components"],
        timeout_seconds=params["timeout_seconds"],
        stop_file=run_state / "stop" if run_state else None,
    )
    began = time.monotonic()
    state = cluster.state()
    dead = cluster.dead(state) if state else []
    changed = kwok_cluster.changed_files(cluster, wanted.files)
    action = kwok_cluster.plan(state, wanted.run_id, dead, changed, wanted.loose_files)
    result: dict[str, Any] = {
        "changed": action != "nothing",
        "action": action,
        "files_changed": changed,
        "restarted": {name: log_tail(cluster.log(name)) for name in dead} if action == "restart" else {},
    }
    if module._diff:
        result["diff"] = [_file_diff(cluster, name, wanted.files[name]) for name in changed]
    if not module.check_mode:
        if action in ("create", "recreate"):
            state = kwok_start.create(cluster, wanted)
        else:
            kwok_start.write_files(cluster, wanted.files)
        if action == "restart" and state:
            state = kwok_start.restart(cluster, wanted, state, dead)
        if state and run_state:
            _write_records(Records(run_state), state)
    if result["restarted"]:
        module.warn(f"{', '.join(dead)} had ended and is started again; the end of its log stands in 'restarted'.")
    facts = _facts(cluster, state, wanted.ports, wanted.components)
    return {**result, **facts, "seconds": round(time.monotonic() - began, 3)}


def absent(module: AnsibleModule, cluster: Cluster) -> dict[str, Any]:
    there = kwok_cluster.exists(cluster)
    state = cluster.state()
    if there and not module.check_mode:
        kwok_cluster.remove(cluster)
        if module.params["run_state"] and state:
            records = Records(module.params["run_state"])
            for record in _records_of(state):
                records.remove(record)
    result: dict[str, Any] = {"changed": there, "action": "remove" if there else "nothing"}
    if module._diff and there:
        result["diff"] = {"before": f"{cluster.directory}\n", "after": ""}
    return result


def info(module: AnsibleModule, cluster: Cluster) -> dict[str, Any]:
    state = cluster.state()
    asked = {name: int(port) for name, port in module.params["ports"].items()}
    ports = choose_ports(PORTS, asked, state.ports if state and state.ready else {})
    return {"changed": False, "action": "nothing", **_facts(cluster, state, ports, module.params["components"])}


def _facts(cluster: Cluster, state: State | None, ports: dict[str, int], urls: dict[str, str]) -> dict[str, Any]:
    running = bool(state and state.ready and not cluster.dead(state))
    return {
        "ports": ports,
        "components": state.components if state else {},
        "versions": kwok_start.versions(cluster, urls) if running else {},
        "running": running,
        "kubeconfig": str(cluster.kubeconfig),
        "audit_log": str(cluster.audit_log),
        "ca_cert": str(cluster.pki / "ca.crt"),
        "client_cert": str(cluster.pki / "admin.crt"),
        "client_key": str(cluster.pki / "admin.key"),
    }


def _write_records(records: Records, state: State) -> None:
    for record in _records_of(state):
        if records.get(record.name) != record:
            records.put(record)


def _records_of(state: State) -> list[Record]:
    known = {entry.name for entry in fields(Record)}
    return [
        Record(
            **{key: value for key, value in item.items() if key in known},
            name=name,
            run_id=state.run_id,
            stop_signal="SIGKILL",
        )
        for name, item in state.components.items()
    ]


def _file_diff(cluster: Cluster, name: str, after: str) -> dict[str, str]:
    path = str(cluster.directory / name)
    return {"before_header": path, "after_header": path, "before": cluster.file(name) or "", "after": after}


if __name__ == "__main__":
    main()
