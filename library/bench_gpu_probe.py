#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_gpu_probe
short_description: Measure variants of one GPU's isolation in randomised blocks
version_added: 0.1.0
description:
  - Packs the GPU probe into one file and runs it for every variant of every block, each time in a fresh process and in
    an order that is drawn anew for each block.
  - A run writes JSON Lines into a file of its own. A run that hangs is ended after O(run_seconds); the device is never
    reset and none of its settings is changed.
  - A run that fails does not end the block. Whether a block counts is for those who judge it.
author:
  - Nightbench authors (@nightbench)
options:
  source:
    description: Folder of the probe's Python files.
    type: path
    required: true
  work:
    description: Folder for the packed probe.
    type: path
    required: true
  samples:
    description: Folder for the JSON Lines of the runs.
    type: path
    required: true
  variants:
    description: What is compared. Every block has each of them once.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the variant.
        type: str
        required: true
      argv:
        description: What the probe is started with. The interpreter, and whatever it is started through.
        type: list
        elements: str
        default: [python3]
      arguments:
        description: Further arguments of the probe, such as another library of the driver.
        type: list
        elements: str
        default: []
      environment:
        description: Environment variables on top of those the module has.
        type: dict
        default: {}
      plan:
        description: What of O(plan) is different for this variant.
        type: dict
        default: {}
      counter:
        description:
          - Where the variant's layer says how many calls it has counted, as C(path) and C(pattern). The numbers that
            the pattern catches are added up before and after each run; a pattern that catches nothing counts how often
            it is there.
        type: dict
        default: {}
      service:
        description:
          - What has to run beside the measured process, such as a control daemon or the server of a proxy. It is
            started before each run of the variant and ended after it, so that no other variant has it on its device.
          - C(argv) and C(environment) start it, C(log) takes what it says. It is C(ready) when a C(file) is there or a
            pattern in its C(log), within C(seconds) (30). C(stop) is the C(argv) that ends it and what that reads
            (C(input)); what is left of it is ended by signals.
          - A service that does not start is an error of its run, and of no other.
        type: dict
        default: {}
  plan:
    description: What is measured, as the probe's option C(--plan) takes it.
    type: dict
    default: {}
  first_block:
    description: Number of the first block.
    type: int
    default: 1
  last_block:
    description: Number of the last block.
    type: int
    required: true
  seed:
    description: Seed of the orders.
    type: int
    default: 1
  run_seconds:
    description: How long one run may take.
    type: float
    default: 600.0
  deadline_seconds:
    description: How long all of it may take.
    type: float
    default: 7200.0
  run_state:
    description: State directory of the run, whose stop file is obeyed.
    type: path
  progress_path:
    description: File that gets a line of progress a second.
    type: path
  task:
    description: What the progress is of.
    type: str
attributes:
  check_mode:
    description: Says in which order what would be run, and runs nothing.
    support: full
  diff_mode:
    description: A measurement that leaves the host as it was has no difference to show.
    support: none
  idempotent:
    description: Measures again with every call, and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Compare a GPU with itself
  bench_gpu_probe:
    source: "{{ role_path }}/files/gpu_probe"
    work: /tmp/gpu_probe
    samples: /tmp/gpu_probe/samples
    last_block: 8
    variants:
      - name: host
      - name: host_again

- name: A layer that is preloaded
  bench_gpu_probe:
    source: "{{ role_path }}/files/gpu_probe"
    work: /tmp/gpu_probe
    samples: /tmp/gpu_probe/samples
    last_block: 8
    variants:
      - name: host
      - name: host_again
      - name: proxy
        environment:
          LD_PRELOAD: /usr/local/vgpu/libvgpu.so
        plan:
          limit_bytes: 8000000000
"""

RETURN = r"""
runs:
  description: Every run in the order in which they were done.
  returned: not in check mode, on failure as far as there are any
  type: list
  elements: dict
  contains:
    variant:
      description: Name of the variant.
      returned: always
      type: str
    block:
      description: Number of the block.
      returned: always
      type: int
    position:
      description: Place in the block's order, from 1.
      returned: always
      type: int
    status:
      description: V(complete), V(not_runnable) or V(error).
      returned: always
      type: str
    reason:
      description: Why it is not complete.
      returned: always
      type: str
    seconds:
      description: How long it took.
      returned: always
      type: float
    exit_code:
      description: Of the probe.
      returned: always
      type: int
    boot_id:
      description: The kernel's name for this start of the host.
      returned: always
      type: str
    counter:
      description: What the layer had counted before and after.
      returned: always
      type: dict
    service:
      description: The pids of the variant's service (pids); null when it has none.
      returned: always
      type: dict
    probe_sha256:
      description: Checksum of the packed probe.
      returned: always
      type: str
    samples:
      description: Where the JSON Lines are (path, sha256, rows); null when there are none.
      returned: always
      type: dict
orders:
  description: The variants of each block in their order.
  returned: success
  type: dict
probe_sha256:
  description: Checksum of the packed probe.
  returned: success
  type: str
"""

import hashlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import gpu_blocks, gpu_probe
from ..module_utils.nightbench.gpu_probe import Variant
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.module_failure import failures_told

VARIANT_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "argv": {"type": "list", "elements": "str", "default": ["python3"]},
    "arguments": {"type": "list", "elements": "str", "default": []},
    "environment": {"type": "dict", "default": {}},
    "plan": {"type": "dict", "default": {}},
    "counter": {"type": "dict", "default": {}},
    "service": {"type": "dict", "default": {}},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "source": {"type": "path", "required": True},
    "work": {"type": "path", "required": True},
    "samples": {"type": "path", "required": True},
    "variants": {"type": "list", "elements": "dict", "required": True, "options": VARIANT_SPEC},
    "plan": {"type": "dict", "default": {}},
    "first_block": {"type": "int", "default": 1},
    "last_block": {"type": "int", "required": True},
    "seed": {"type": "int", "default": 1},
    "run_seconds": {"type": "float", "default": 600.0},
    "deadline_seconds": {"type": "float", "default": 7200.0},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str"},
}


def variant(given: dict[str, Any]) -> Variant:
    environment = {name: str(value) for name, value in given["environment"].items()}
    return Variant(**{**given, "environment": environment})


def measure(params: dict[str, Any], variants: list[Variant], found: list[dict[str, Any]]) -> str:
    """Adds every run to found as it ends; returns the checksum of the probe."""
    probe = Path(params["work"]) / "gpu_probe.pyz"
    digest = gpu_probe.write_packed(Path(params["source"]), probe)
    blocks = range(params["first_block"], params["last_block"] + 1)
    asked = len(blocks) * len(variants)
    done = 0
    long = LongModule.of("bench_gpu_probe", params, task=params["task"] or "runs of the GPU probe")
    long.report = lambda: {"done": done, "asked": asked, "unit": "runs"}

    def stop() -> None:
        long.check(f"{done} of {asked} runs are done")

    def count() -> None:
        nonlocal done
        done += 1

    with long:
        for block in blocks:
            found += gpu_blocks.run(
                variants,
                probe,
                digest,
                params["plan"],
                [block],
                params["seed"],
                Path(params["samples"]),
                params["run_seconds"],
                stop,
                count,
            )
    return digest


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    found: list[dict[str, Any]] = []
    with failures_told(module, stoppable=True, runs=found):
        variants = [variant(given) for given in params["variants"]]
        gpu_blocks.check(variants, params["first_block"], params["last_block"])
        names = [one.name for one in variants]
        orders = {
            str(block): gpu_blocks.order(names, params["seed"], block)
            for block in range(params["first_block"], params["last_block"] + 1)
        }
        if module.check_mode:
            digest = hashlib.sha256(gpu_probe.pack(Path(params["source"]))).hexdigest()
            module.exit_json(changed=False, orders=orders, probe_sha256=digest)
        digest = measure(params, variants, found)
    module.exit_json(changed=False, runs=found, orders=orders, probe_sha256=digest)


if __name__ == "__main__":
    main()
