#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_network_status
short_description: Read which addresses many pods were given by their networks
version_added: 0.1.0
description:
  - Reads the annotation C(k8s.v1.cni.cncf.io/network-status) of all pods in one list. No command is run in a pod.
  - Waits until every pod has one, and compares the interfaces with what was expected of them.
  - What is missing, cannot be read or is wrong is returned and is no failure of the module. Multus writes the
    annotation once, so what is wrong is not waited for.
author:
  - Nightbench authors (@nightbench)
options:
  namespace:
    description: Namespace of the pods.
    type: str
    required: true
  label_selector:
    description: Labels that the pods carry; all pods of the namespace if unset.
    type: str
    default: ""
  expected:
    description:
      - What interfaces of pods should be. With it only these pods are looked at, and each of them has to be there.
      - Without it all pods with the labels are looked at.
    type: list
    elements: dict
    default: []
    suboptions:
      pod:
        description: Name of the pod.
        type: str
        required: true
      interface:
        description: Name of the interface in the pod.
        type: str
        required: true
      address:
        description: Its address; any of O(expected[].subnet) if unset.
        type: str
      subnet:
        description: The subnet that its address has to be of.
        type: str
      network:
        description: The network it has to be of, as V(namespace/name).
        type: str
      mtu:
        description: Its MTU. An entry that does not say one is not compared.
        type: int
  timeout_seconds:
    description: How long annotations that are missing are waited for; V(0) looks once.
    type: float
    default: 60.0
  predict_cluster:
    description:
      - In check mode, take a cluster that does not exist or does not answer for one without pods, because an earlier
        task of the same play would start it.
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
    default: addresses of pods
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
    description: Looks once and returns what it saw.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Read the addresses of two pods
  bench_network_status:
    kubeconfig: /home/me/kubeconfig
    namespace: mesh
    expected:
      - {pod: mesh-0, interface: net1, address: 198.19.0.1, mtu: 9000}
      - {pod: mesh-1, interface: net1, address: 198.19.0.2, mtu: 9000}
  register: __networks

- name: Stop when one of them is not what it should be
  ansible.builtin.assert:
    that: __networks['holds']
    fail_msg: "{{ __networks['problems'] | join('; ') }}"
"""

RETURN = r"""
pods:
  description: The interfaces of every pod that has an annotation that can be read.
  returned: always, on failure as far as they are known
  type: dict
  sample:
    mesh-0:
      net1:
        network: mesh/net1
        interface: net1
        addresses: [198.19.0.1]
        mac: "02:00:00:00:00:01"
        mtu: 9000
        default: false
        device: "0000:18:02.0"
        physical: "0000:18:00.0"
missing:
  description: Pods that have no annotation, or do not exist, each with the reason.
  returned: always, on failure as far as they are known
  type: list
  elements: dict
broken:
  description: Pods whose annotation cannot be read, each with the reason.
  returned: always, on failure as far as they are known
  type: list
  elements: dict
wrong:
  description: Interfaces that are not what was expected, and addresses that more than one interface has.
  returned: always, on failure as far as they are known
  type: list
  elements: dict
holds:
  description: Whether nothing is missing, broken or wrong.
  returned: always, on failure as far as it is known
  type: bool
problems:
  description: A sentence for everything that does not hold.
  returned: always, on failure as far as they are known
  type: list
  elements: str
waited_seconds:
  description: How long it took.
  returned: always, on failure as far as it is known
  type: float
exit_code:
  description: What the run should end with; 2 for a wrong question or kubeconfig, else 3.
  returned: on failure
  type: int
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.cluster_missing import cluster_missing
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError, Stopped, of_system
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.network_reading import Reading, await_reading, read
from ..module_utils.nightbench.network_status import Wanted

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "namespace": {"type": "str", "required": True},
    "label_selector": {"type": "str", "default": ""},
    "expected": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "pod": {"type": "str", "required": True},
            "interface": {"type": "str", "required": True},
            "address": {"type": "str"},
            "subnet": {"type": "str"},
            "network": {"type": "str"},
            "mtu": {"type": "int"},
        },
    },
    "timeout_seconds": {"type": "float", "default": 60.0},
    "predict_cluster": {"type": "bool", "default": False},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str", "default": "addresses of pods"},
    **AUTH_SPEC,
}


class Work:
    """One call, and what it has read so far."""

    def __init__(self, params: dict[str, Any], check_mode: bool) -> None:
        self.params = params
        self.check_mode = check_mode
        self.started = time.monotonic()
        self.reading = Reading()

    def run(self) -> None:
        """Read until nothing is missing any more or the time is over; raises when there is no answer."""
        wanted = [Wanted(**one) for one in self.params["expected"]]
        kube = client_from(self.params)
        task = self.params["task"]
        long = LongModule.of(
            "bench_network_status", self.params, task=task, seconds="timeout_seconds", check=self.check_mode
        )
        long.report = self.progress

        def look() -> Reading:
            self.reading = read(kube, self.params["namespace"], self.params["label_selector"], wanted)
            return self.reading

        def over() -> bool:
            if long.stop_asked():
                raise Stopped(f"{self.params['task']}: the run was asked to stop; {len(self.reading.missing)} missing.")
            return self.check_mode or time.monotonic() >= long.deadline

        try:
            with long:
                await_reading(look, over)
        finally:
            kube.close()

    def progress(self) -> dict[str, Any]:
        reading = self.reading
        asked = len(reading.pods) + len(reading.missing) + len(reading.broken)
        return {"done": asked - len(reading.missing), "asked": asked, "unit": "pods"}

    def result(self) -> dict[str, Any]:
        found = self.reading.as_json()
        return {
            "changed": False,
            **found,
            "problems": [f"pod {one['pod']}: {one['reason']}" for kind in KINDS for one in found[kind]],
            "waited_seconds": round(time.monotonic() - self.started, 3),
        }


#: In the order in which they are told.
KINDS = ("broken", "wrong", "missing")


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("client_cert", "client_key")],
    )
    work = Work(module.params, bool(module.check_mode))
    try:
        work.run()
    except NightbenchError as error:
        if not (module.check_mode and module.params["predict_cluster"] and cluster_missing(error, module.params)):
            code = 2 if isinstance(error, ConfigurationError) else 3
            module.fail_json(msg=str(error), **{"exit_code": code, **error.details, **work.result()})
    except OSError as error:
        module.fail_json(msg=of_system(error), exit_code=3)
    module.exit_json(**work.result())


if __name__ == "__main__":
    main()
