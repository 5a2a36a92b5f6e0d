#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_request_load
short_description: Send HTTP requests to services from pods, open loop, and bring back every one of them
version_added: 0.1.0
description:
  - Draws the moments of the requests from an arrival process or a trace, gives every load generator its share and a
    common moment to start, waits, and collects one row for each request that was due.
  - A request is sent when it is due, whatever became of those before, and its latency counts from that moment. What the
    load generator itself was late is in each row as well.
  - A load generator is a pod with C(load_agent.py) of the role workload_patterns as its command. It is asked through
    the API server's pod proxy; no process is started, and once the load has begun nothing depends on this machine.
  - Requests that fail are rows with the reason. The module fails where no load took place, or where a generator broke.
author:
  - Nightbench authors (@nightbench)
options:
  name:
    description: What the load is called.
    type: str
    required: true
  namespace:
    description: Namespace of the load generators, and of the services given by O(services[].label_selector).
    type: str
    required: true
  label_selector:
    description: Which pods are load generators. Each sends every so manieth request.
    type: str
    default: nightbench.io/load-generator
  port:
    description: Port of the load generators' agents.
    type: int
    default: 8791
  token:
    description: What the agents want to see.
    type: str
    required: true
  services:
    description: The services with the load that each of them gets; all at the same time.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the service in the results, and in the requests' Host.
        type: str
        required: true
      label_selector:
        description: The pods that are asked, in turn, by their addresses; those that are Ready when the load starts.
        type: str
      addresses:
        description: Addresses that are asked in turn, such as that of a Service.
        type: list
        elements: str
      port:
        description: Port of the service.
        type: int
        default: 8000
      arrivals:
        description:
          - When requests are due. V(kind) is C(constant), C(poisson), C(gamma), C(markov_modulated), C(diurnal) or
            C(trace); V(seconds) is how long they come, V(seed) fixes what is drawn. The first is due at once.
          - All but a trace have a mean V(rate) a second. C(gamma) has V(cv), the coefficient of variation of its gaps.
            C(markov_modulated) has V(states), a list of C({weight, seconds}) - the intensity switches between them in
            turn, each for an exponential time of that mean. C(diurnal) has V(period_seconds) and V(peak_to_mean), above
            1 and at most 2.
          - V(trace) has V(path), V(format) - C(azure_llm) (Azure/AzurePublicDataset, LLM inference 2023) or
            C(alibaba_gpu) (alibaba/clusterdata, cluster-trace-gpu-v2023) -, V(from_seconds), V(time_scale), so many of
            the trace's seconds in one, and V(size_scale), by which sizes are multiplied.
          - V(like) names such a trace for a process that stands for it; how far they are apart is recorded.
        type: dict
        required: true
      sizes:
        description:
          - Items of V(input) and V(output) of a request, each C({median, sigma, most}) of a lognormal law; always the
            median without V(sigma). A trace has sizes of its own.
        type: dict
      request:
        description: What is asked.
        type: dict
        suboptions:
          method:
            description: The method.
            type: str
            choices: [GET, POST, PUT]
            default: GET
          path:
            description: Path and query; C({input}), C({output}) and C({number}) stand for those of the request.
            type: str
            default: /
          body:
            description: V(input) sends as many bytes as the request has items of input.
            type: str
            choices: [none, input]
            default: none
      objectives:
        description: What an answer has to keep to be counted as goodput; what is left out does not count.
        type: dict
        suboptions:
          latency_seconds:
            description: From the moment it was due to the last byte.
            type: float
          first_item_seconds:
            description: From the moment it was due to the first byte of the body.
            type: float
          item_seconds:
            description: Between two items, on average, after the first; an item is a line of the body.
            type: float
  answer_seconds:
    description: A request that has no whole answer by then has failed.
    type: float
    default: 20.0
  deadline_seconds:
    description: How long all of it may take.
    type: float
    default: 900.0
  samples_path:
    description: File for the samples, one JSON object for each request. Without it none are written.
    type: path
  run_state:
    description: Folder of the run's state; a file C(stop) in it ends the load.
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
    description: Draws the arrivals and says what the plan comes to; nobody is asked.
    support: full
  diff_mode:
    description: There is nothing to compare.
    support: none
  idempotent:
    description: A measurement; each call sends its requests anew.
    support: none
"""

EXAMPLES = r"""
- name: Send bursts of chats to a model server
  bench_request_load:
    kubeconfig: /tmp/kubeconfig
    name: chat.1
    namespace: serving
    token: "{{ token }}"
    services:
      - name: chat
        label_selector: app=chat
        arrivals: {kind: gamma, rate: 20, cv: 3, seconds: 30, seed: 1}
        sizes:
          input: {median: 1020, sigma: 1.0, most: 8000}
          output: {median: 40, sigma: 0.7, most: 400}
        request: {path: "/generate?input={input}&output={output}&stream=1"}
        objectives: {first_item_seconds: 0.5, item_seconds: 0.05}
    samples_path: /tmp/samples/chat.1.jsonl
"""

RETURN = r"""
plan:
  description: What the load comes to (services with their arrivals, requests, generators, predicted_seconds).
  returned: in check mode
  type: dict
values:
  description: What became of the requests by service, the arrivals with their distances, and what the generators used.
  returned: not in check mode
  type: dict
samples:
  description: Where the samples are (path, sha256, rows).
  returned: when samples_path is given, not in check mode
  type: dict
stopped:
  description: Whether it ended because the run was asked to stop.
  returned: failure
  type: bool
"""

import contextlib
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import request_load_plan, request_load_summary
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.load_summary import write_samples
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.machine import MachineSampler
from ..module_utils.nightbench.mesh_agents import Agents
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.request_load import RequestLoad

SERVICE_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "label_selector": {"type": "str"},
    "addresses": {"type": "list", "elements": "str"},
    "port": {"type": "int", "default": 8000},
    "arrivals": {"type": "dict", "required": True},
    "sizes": {"type": "dict"},
    "request": {
        "type": "dict",
        "options": {
            "method": {"type": "str", "choices": list(request_load_plan.METHODS), "default": "GET"},
            "path": {"type": "str", "default": "/"},
            "body": {"type": "str", "choices": ["none", "input"], "default": "none"},
        },
    },
    "objectives": {
        "type": "dict",
        "options": {
            "latency_seconds": {"type": "float"},
            "first_item_seconds": {"type": "float"},
            "item_seconds": {"type": "float"},
        },
    },
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "namespace": {"type": "str", "required": True},
    "label_selector": {"type": "str", "default": "nightbench.io/load-generator"},
    "port": {"type": "int", "default": 8791},
    "token": {"type": "str", "required": True, "no_log": True},
    "services": {"type": "list", "elements": "dict", "required": True, "options": SERVICE_SPEC},
    "answer_seconds": {"type": "float", "default": 20.0},
    "deadline_seconds": {"type": "float", "default": 900.0},
    "samples_path": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
    **AUTH_SPEC,
}
#: A plan of all its requests is some megabytes.
ANSWER_SECONDS = 30.0
RETRY_SECONDS = 3.0


def run(params: dict[str, Any], plan: request_load_plan.LoadPlan) -> dict[str, Any]:
    long = LongModule.of("bench_request_load", params)
    with contextlib.closing(client_from(params, retry_seconds=RETRY_SECONDS, timeout=ANSWER_SECONDS)) as kube:
        agents = Agents(kube, params["namespace"], params["port"], params["token"])
        load = RequestLoad(kube, params["namespace"], params["label_selector"], agents, plan, long.check)
        long.report = load.progress
        machine = MachineSampler({}).start()
        try:
            with long:
                load.run()
        finally:
            machine.stop()
        found = request_load_summary.rows(load)
        result: dict[str, Any] = {"changed": False, "values": request_load_summary.values(load, found, machine)}
        if params["samples_path"]:
            result["samples"] = write_samples(params["samples_path"], found)
        load.hand_over()
    return result


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    with failures_told(module, stoppable=True):
        plan = request_load_plan.plan(module.params)
        if module.check_mode:
            module.exit_json(changed=False, plan=plan.document(generators=1))
        result = run(module.params, plan)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
