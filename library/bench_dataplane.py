#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_dataplane
short_description: See which dataplane many nodes run
version_added: 0.1.0
description:
  - Looks at nodes in their network namespaces on this machine (nft, iptables, programs, kube-proxy's traces) and at the
    metrics of their Felix, and says what each node runs. What was asked of Calico is not looked at.
  - Says whether all nodes run one dataplane with one mode of kube-proxy, and whether it is the one that was asked for.
    That they do not is a finding, no failure of the module.
  - A tool that is not there is left out; looking needs root.
author:
  - Nightbench authors (@nightbench)
options:
  nodes:
    description: The nodes.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      namespace:
        description: Its network namespace, as a path like C(/proc/PID/ns/net). By default our own.
        type: str
        default: ""
      metrics_url:
        description: Where its Felix serves its metrics. Without it Felix is not asked.
        type: str
        default: ""
  asked:
    description: The dataplane that was asked for; V(none) for a network without a policy engine.
    type: str
    choices: [iptables, nftables, ebpf, none]
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
- name: See that every node runs nftables
  bench_dataplane:
    asked: nftables
    nodes:
      - name: node-1
        namespace: /proc/4711/ns/net
        metrics_url: http://198.18.0.2:9091/metrics
"""

RETURN = r"""
observed:
  description: The dataplane of all nodes; null where they run none in common.
  returned: success
  type: str
holds:
  description: Whether all nodes agree, and with what was asked for.
  returned: success
  type: bool
reason:
  description: What was seen, in words.
  returned: success
  type: str
nodes:
  description: Of each node what it runs, kube-proxy's mode, its kernel, why it is said, and what Felix says of itself.
  returned: success
  type: list
  elements: dict
"""

from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.calico_dataplane import agree
from ..module_utils.nightbench.calico_look import NodeAddress, look_at
from ..module_utils.nightbench.module_failure import failures_told

NODE_SPEC = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "default": ""},
    "metrics_url": {"type": "str", "default": ""},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": NODE_SPEC},
    "asked": {"type": "str", "choices": ["iptables", "nftables", "ebpf", "none"]},
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with failures_told(module):
        states = look_at([NodeAddress(**node) for node in module.params["nodes"]])
    found = agree([state.dataplane for state in states], module.params["asked"])
    nodes = [
        {**asdict(state.dataplane), "felix": asdict(state.felix) if state.felix is not None else None}
        for state in states
    ]
    module.exit_json(changed=False, observed=found.observed, holds=found.holds, reason=found.reason, nodes=nodes)


if __name__ == "__main__":
    main()
