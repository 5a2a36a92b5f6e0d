#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_prometheus
short_description: Ask a cluster's Prometheus for many numbers
version_added: 0.1.0
description:
  - Sends instant queries to a Prometheus that is a Service of the cluster, through the API server's proxy.
author:
  - Nightbench authors (@nightbench)
options:
  namespace:
    description: Namespace of the Service.
    type: str
    required: true
  service:
    description: Name of the Service. The Prometheus operator makes V(prometheus-operated) beside every Prometheus.
    type: str
    default: prometheus-operated
  port:
    description: Port of the Service, by number or name.
    type: str
    default: "9090"
  queries:
    description: PromQL by name; each has to give one number or none.
    type: dict
    default: {}
  series:
    description: PromQL of subqueries (C([5m:15s])) by name; each has to give one series or none.
    type: dict
    default: {}
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
- name: Ask how busy a Deployment's containers were for a minute
  bench_prometheus:
    kubeconfig: /home/me/kubeconfig
    namespace: monitoring
    queries:
      binder: sum(rate(container_cpu_usage_seconds_total{namespace="kai-scheduler", pod=~"binder-.+"}[1m]))
"""

RETURN = r"""
values:
  description: The number of each query by its name; none where Prometheus has no sample.
  returned: success
  type: dict
  sample: {binder: 0.42}
series:
  description: The points of each series by its name, as seconds since the epoch and value; none without a sample.
  returned: success
  type: dict
  sample: {binder: [[1767225600.0, 0.4], [1767225615.0, 0.44]]}
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.prometheus_query import Service, series, values

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "namespace": {"type": "str", "required": True},
    "service": {"type": "str", "default": "prometheus-operated"},
    "port": {"type": "str", "default": "9090"},
    "queries": {"type": "dict", "default": {}},
    "series": {"type": "dict", "default": {}},
    **AUTH_SPEC,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("client_cert", "client_key")],
    )
    params = module.params
    with failures_told(module), contextlib.closing(client_from(params)) as kube:
        service = Service(params["namespace"], params["service"], params["port"])
        found = values(kube, service, params["queries"])
        over_time = series(kube, service, params["series"])
    module.exit_json(changed=False, values=found, series=over_time)


if __name__ == "__main__":
    main()
