#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_configuration
short_description: Check that a configuration took effect
version_added: 0.1.0
description:
  - Reads back what was asked for, from where it takes effect, and names all that was silently ignored.
  - Fields that the schema of a CustomResourceDefinition lacks, which the API server drops without an error.
  - Flags that a program does not know, in its command line, in a Deployment, or in a field such as the args of a
    SchedulingShard, which an operator skips without an error.
  - Deployments whose pods still run what was before, and processes that were started before the change.
  - Requests over their limits, with which no pod can be made.
  - What does not hold is returned and is no failure of the module.
author:
  - Nightbench authors (@nightbench)
options:
  objects:
    description: Objects as they were applied.
    type: list
    elements: dict
    default: []
    suboptions:
      manifest:
        description: The manifest. Labels, annotations and everything but the metadata are compared.
        type: dict
        required: true
      component:
        description: What the checks are called; kind and name if unset.
        type: str
        default: ""
      field_manager:
        description: Who applied it. When somebody else has set another value, that one is named.
        type: str
        default: ""
      flag_fields:
        description: Path of a field whose keys are flags, such as C(spec.args), and the flags that there are.
        type: dict
        default: {}
  deployments:
    description: Deployments and the arguments that they have to run with.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace of the Deployment.
        type: str
        required: true
      name:
        description: Name of the Deployment.
        type: str
        required: true
      container:
        description: Name of the container; not needed where there is one only.
        type: str
      component:
        description: What the checks are called; the Deployment's name if unset.
        type: str
        default: ""
      arguments:
        description: Flags and their values; null for a flag that must not be there.
        type: dict
        default: {}
      known_flags:
        description: The flags that the program knows; if unset, none is called unknown.
        type: list
        elements: str
  processes:
    description: Processes of this machine and the arguments that they have to run with.
    type: list
    elements: dict
    default: []
    suboptions:
      component:
        description: What the checks are called.
        type: str
        required: true
      pid:
        description: The process.
        type: int
        required: true
      start_time:
        description: Its start time in clock ticks since the machine was booted, as C(bench_process) returns it.
        type: int
        required: true
      arguments:
        description: Flags and their values; null for a flag that must not be there.
        type: dict
        default: {}
      known_flags:
        description: The flags that the program knows.
        type: list
        elements: str
      help_argv:
        description:
          - A command whose answer names the flags that the program knows, such as the program with C(--help).
          - O(processes[].known_flags) is used where it gives no answer; without these no flag is called unknown.
        type: list
        elements: str
        default: []
  pods:
    description: Pods whose command lines are returned, such as a control plane's; where they may not be listed, none.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace of the pods.
        type: str
        required: true
      label_selector:
        description: Which pods.
        type: str
        required: true
  predict_cluster:
    description:
      - In check mode, skip the question when the cluster does not exist or does not answer, because an earlier task of
        the same play would start it.
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
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check that the binder's client limit took effect
  bench_configuration:
    kubeconfig: /home/me/kubeconfig
    objects:
      - component: binder
        field_manager: nightbench
        manifest:
          apiVersion: kai.scheduler/v1
          kind: Config
          metadata: {name: kai-config}
          spec: {binder: {service: {k8sClientConfig: {qps: 1000, burst: 2000}}}}
    deployments:
      - {namespace: kai-scheduler, name: binder, arguments: {qps: 1000, burst: 2000}}
  register: __configuration

- name: Stop when something was ignored
  ansible.builtin.assert:
    that: __configuration['holds']
    fail_msg: "{{ __configuration['problems'] | join('; ') }}"

- name: Check what a process of this machine runs with
  bench_configuration:
    processes:
      - component: scheduler
        pid: 4711
        start_time: 123456
        arguments: {qps: 1000}
        help_argv: [/opt/kai/bin/scheduler, --help]
"""

RETURN = r"""
checks:
  description: Everything that was looked at.
  returned: always, on failure as far as it is known
  type: list
  elements: dict
  contains:
    component:
      description: What was asked.
      returned: always
      type: str
    key:
      description: The field or flag.
      returned: always
      type: str
    asked:
      description: What was asked for; of a request over its limit the request.
      returned: always
      type: raw
    observed:
      description: What is there, null for nothing; of a request over its limit the limit.
      returned: always
      type: raw
    source:
      description: Where it was read.
      returned: always
      type: str
    holds:
      description: Whether what was asked took effect.
      returned: always
      type: bool
    reason:
      description: Why not, and what was most likely meant.
      returned: always
      type: str
  sample:
    - component: binder
      key: spec.binder.args.qps
      asked: 1000
      observed: null
      source: Config kai-config as the API server has it
      holds: false
      reason: >-
        Config has no such field, so the API server dropped it without an error; the nearest field is
        spec.binder.service.k8sClientConfig.qps
deployments:
  description: What each Deployment runs with, as the API server has it.
  returned: always, on failure as far as it is known
  type: list
  elements: dict
  contains:
    component:
      description: What was asked.
      returned: always
      type: str
    namespace:
      description: Its namespace.
      returned: always
      type: str
    name:
      description: Its name.
      returned: always
      type: str
    image:
      description: The container's image.
      returned: always
      type: str
    arguments:
      description: Flags and their values.
      returned: always
      type: dict
    replicas:
      description: How many pods are wanted.
      returned: always
      type: int
    requests:
      description: The container's requests.
      returned: always
      type: dict
    limits:
      description: The container's limits.
      returned: always
      type: dict
pods:
  description: What each pod of O(pods) was started with.
  returned: always, on failure as far as it is known
  type: list
  elements: dict
  contains:
    name:
      description: Its name.
      returned: always
      type: str
    image:
      description: The first container's image.
      returned: always
      type: str
    line:
      description: The first container's command and arguments.
      returned: always
      type: list
      elements: str
holds:
  description: Whether all of it took effect.
  returned: always, on failure as far as it is known
  type: bool
problems:
  description: A sentence for everything that did not.
  returned: always, on failure as far as they are known
  type: list
  elements: str
exit_code:
  description: What the run should end with; 2 for a wrong question or kubeconfig, else 3.
  returned: on failure
  type: int
"""

from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.cluster_missing import cluster_missing
from ..module_utils.nightbench.configuration_audit import (
    AskedDeployment,
    AskedObject,
    AskedProcess,
    ClusterAudit,
    of_process,
)
from ..module_utils.nightbench.configuration_check import Check, problems
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError
from ..module_utils.nightbench.manifest import parse

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "objects": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "manifest": {"type": "dict", "required": True},
            "component": {"type": "str", "default": ""},
            "field_manager": {"type": "str", "default": ""},
            "flag_fields": {"type": "dict", "default": {}},
        },
    },
    "deployments": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "namespace": {"type": "str", "required": True},
            "name": {"type": "str", "required": True},
            "container": {"type": "str"},
            "component": {"type": "str", "default": ""},
            "arguments": {"type": "dict", "default": {}},
            "known_flags": {"type": "list", "elements": "str"},
        },
    },
    "processes": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "component": {"type": "str", "required": True},
            "pid": {"type": "int", "required": True},
            "start_time": {"type": "int", "required": True},
            "arguments": {"type": "dict", "default": {}},
            "known_flags": {"type": "list", "elements": "str"},
            "help_argv": {"type": "list", "elements": "str", "default": []},
        },
    },
    "pods": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "namespace": {"type": "str", "required": True},
            "label_selector": {"type": "str", "required": True},
        },
    },
    "predict_cluster": {"type": "bool", "default": False},
    **AUTH_SPEC,
}


def asked_objects(params: dict[str, Any]) -> list[AskedObject]:
    """Raises ConfigurationError for what is no manifest, or no list of flags."""
    found: list[AskedObject] = []
    for number, one in enumerate(params["objects"]):
        for path, flags in one["flag_fields"].items():
            if not isinstance(flags, list):
                raise ConfigurationError(
                    f"objects[{number}].flag_fields: {path} has {type(flags).__name__}, not a list of flags."
                )
        manifests = parse([one["manifest"]], f"objects[{number}].manifest")
        found += [AskedObject(**{**one, "manifest": manifest}) for manifest in manifests]
    return found


@dataclass
class Found:
    """What was learned, also when an error ended it."""

    checks: list[Check] = field(default_factory=list)
    running: list[dict[str, Any]] = field(default_factory=list)
    pods: list[dict[str, Any]] = field(default_factory=list)

    @property
    def result(self) -> dict[str, Any]:
        return {
            "deployments": self.running,
            "pods": self.pods,
            "checks": [check.as_json() for check in self.checks],
            "holds": all(check.holds for check in self.checks),
            "problems": problems(self.checks),
        }


def of_cluster(params: dict[str, Any], found: Found, check_mode: bool) -> None:
    """Asks the API server; what was learned before an error stays in `found`."""
    objects = asked_objects(params)
    deployments = [AskedDeployment(**one) for one in params["deployments"]]
    if not objects and not deployments and not params["pods"]:
        return
    try:
        kube = client_from(params)
        try:
            audit = ClusterAudit(kube)
            audit.running = found.running
            for one in objects:
                found.checks.extend(audit.object(one))
            for deployment in deployments:
                found.checks.extend(audit.deployment(deployment))
            for pods in params["pods"]:
                found.pods.extend(audit.lines(**pods))
        finally:
            kube.close()
    except NightbenchError as error:
        if not (check_mode and params["predict_cluster"] and cluster_missing(error, params)):
            raise


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("client_cert", "client_key")],
    )
    found = Found()
    try:
        for process in module.params["processes"]:
            found.checks.extend(of_process(AskedProcess(**process)))
        of_cluster(module.params, found, module.check_mode)
    except NightbenchError as error:
        code = 2 if isinstance(error, ConfigurationError) else 3
        module.fail_json(msg=str(error), **{"exit_code": code, **error.details, **found.result})
    module.exit_json(changed=False, **found.result)


if __name__ == "__main__":
    main()
