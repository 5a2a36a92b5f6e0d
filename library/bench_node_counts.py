#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_node_counts
short_description: Count nodes as asked for, existing, Ready and streaming from Typha
version_added: 0.1.0
description:
  - Counts the real and the fake nodes of a cluster, each as asked for, existing, Ready and schedulable, and the clients
    that stream from Calico's Typhas by syncer.
  - Compares the number of Typhas and their connections with what Calico computes from the number of nodes.
  - That they differ is a finding, no failure of the module.
author:
  - Nightbench authors (@nightbench)
options:
  real:
    description: How many real nodes were asked for.
    type: int
    required: true
  fake:
    description: How many fake nodes were asked for.
    type: int
    required: true
  clients:
    description:
      - How many nodes stream from Typha, real ones and those fake ones for which a client does.
      - Without it Typha is left out of the comparison.
    type: int
  fake_label:
    description: Label by which fake nodes are known, as C(name=value).
    type: str
    default: type=kwok
  typha_urls:
    description: Where each Typha serves its metrics.
    type: list
    elements: str
    default: []
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
    description: It only looks, also in check mode.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: See that the cluster has the nodes that the run is labelled with
  bench_node_counts:
    kubeconfig: /tmp/kubeconfig
    real: 2
    fake: 3000
    clients: 2
    typha_urls: [http://198.18.0.2:9093/metrics]
"""

RETURN = r"""
columns:
  description: Nodes C(asked), C(existing), C(ready) and C(schedulable), each of C(real), C(fake) and C(all).
  returned: success
  type: dict
streaming:
  description: Clients that stream from all Typhas together, by syncer.
  returned: success
  type: dict
typhas:
  description: Typhas that were looked at, what the operator wants, the most connections of one and its limit.
  returned: success
  type: dict
holds:
  description: Whether every column says what was asked for.
  returned: success
  type: bool
problems:
  description: What differs.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.calico_look import page_of
from ..module_utils.nightbench.calico_metrics import typha_state
from ..module_utils.nightbench.calico_nodes import Asked, NodeCounts, count
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.module_failure import failures_told

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "real": {"type": "int", "required": True},
    "fake": {"type": "int", "required": True},
    "clients": {"type": "int"},
    "fake_label": {"type": "str", "default": "type=kwok"},
    "typha_urls": {"type": "list", "elements": "str", "default": []},
    **AUTH_SPEC,
}


def counted(params: dict[str, Any]) -> NodeCounts:
    for option in ("real", "fake", "clients"):
        if (params[option] or 0) < 0:
            raise ConfigurationError(f"{option}: {params[option]} is not a number of at least 0.")
    name, equals, value = params["fake_label"].partition("=")
    if not name or not equals:
        raise ConfigurationError(f"fake_label: {params['fake_label']!r} is not a label as name=value.")
    typhas = [typha_state(page_of(url), url) for url in params["typha_urls"]] if params["typha_urls"] else None
    kube = client_from(params)
    try:
        nodes, _ = kube.list_pages("/api/v1/nodes")
    finally:
        kube.close()
    return count(Asked(params["real"], params["fake"], params["clients"]), nodes, typhas, (name, value))


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with failures_told(module):
        found = counted(module.params)
    module.exit_json(
        changed=False,
        columns=found.columns,
        streaming=found.streaming,
        typhas={
            "there": found.typhas,
            "expected": found.expected_typhas,
            "most_connections": found.most_connections,
            "connection_limit": found.connection_limit,
            "dropped": found.dropped,
        },
        holds=found.holds,
        problems=list(found.problems),
    )


if __name__ == "__main__":
    main()
