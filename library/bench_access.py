#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_access
short_description: Check that a kubeconfig may do what a play is going to do
version_added: 0.1.0
description:
  - Asks the API server about every rule (SelfSubjectAccessReview) and fails when one of them is denied, naming the
    verb, the resource and the namespace of each.
author:
  - Nightbench authors (@nightbench)
options:
  rules:
    description: What has to be allowed.
    type: list
    elements: dict
    required: true
    suboptions:
      verb:
        description: The verb, such as V(create); V(*) for all of them.
        type: str
        required: true
      group:
        description: API group of the resource; empty for the core group.
        type: str
        default: ""
      resource:
        description: The resource in the plural, such as V(pods) or V(pods/binding); V(*) for all of them.
        type: str
        required: true
      namespace:
        description: The namespace; for a namespaced resource without one, all namespaces.
        type: str
      name:
        description: One object, if the right is needed for it alone.
        type: str
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
    description: It only asks; check mode does the same.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Check the rights that a load needs
  bench_access:
    kubeconfig: /home/me/kubeconfig
    rules:
      - {verb: create, resource: pods, namespace: load}
      - {verb: list, resource: nodes}
      - {verb: patch, group: kwok.x-k8s.io, resource: stages}
"""

RETURN = r"""
denied:
  description: The rules that are not allowed.
  returned: always, on failure as far as they are known
  type: list
  elements: dict
  contains:
    rule:
      description: The rule in words.
      returned: always
      type: str
      sample: create pods in namespace load
    reason:
      description: Why, if the API server says so.
      returned: always
      type: str
asked:
  description: How many rules were asked about; 0 when there is no cluster yet.
  returned: always, on failure as far as it is known
  type: int
exit_code:
  description:
    - What the run should end with; 2 for a kubeconfig that cannot be used, is not accepted or lacks rights, else 3.
  returned: on failure
  type: int
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.access import Rule, denied, who_am_i
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.cluster_missing import cluster_missing
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError, Unauthorized

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "rules": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "verb": {"type": "str", "required": True},
            "group": {"type": "str", "default": ""},
            "resource": {"type": "str", "required": True},
            "namespace": {"type": "str"},
            "name": {"type": "str"},
        },
    },
    "predict_cluster": {"type": "bool", "default": False},
    **AUTH_SPEC,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("client_cert", "client_key")],
    )
    params = module.params
    rules = [Rule(**rule) for rule in params["rules"]]
    try:
        kube = client_from(params)
        try:
            found = denied(kube, rules)
            me = who_am_i(kube) if found else ""
        finally:
            kube.close()
    except NightbenchError as error:
        if module.check_mode and params["predict_cluster"] and cluster_missing(error, params):
            module.exit_json(changed=False, denied=[], asked=0)
        code = 2 if isinstance(error, (ConfigurationError, Unauthorized)) else 3
        module.fail_json(msg=str(error), **{"denied": [], "asked": 0, "exit_code": code, **error.details})
    result = {"denied": [{"rule": str(rule), "reason": reason} for rule, reason in found], "asked": len(rules)}
    if found:
        told = "; ".join(f"{rule}{f' ({reason})' if reason else ''}" for rule, reason in found)
        module.fail_json(
            msg=f"The kubeconfig ({kube.target.where}{me}) may not: {told}. Ask for a role with these rights.",
            exit_code=2,
            **result,
        )
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
