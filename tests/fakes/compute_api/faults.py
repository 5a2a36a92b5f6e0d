# SPDX-License-Identifier: GPL-3.0-or-later
"""Fault scripts as data: a list of mappings; the first that fits a request and is not used up is carried out.

    {"at": "compute.instances.insert", "do": "stockout", "hint": ["us-central1-f"], "zone": "us-central1-a",
     "model": "SPOT", "machine_type": "n1-.*", "skip": 0, "times": 1}

`at`, `zone`, `model` and `machine_type` are regular expressions; `skip` requests that fit go through first;
`times` 0 is always.

do          what happens
----------  -------------------------------------------------------------------------------------------------
stockout    the operation ends with ZONE_RESOURCE_POOL_EXHAUSTED, with `hint` as ..._WITH_DETAILS and zonesAvailable
error       the operation ends with `code` and `message`
status      the request is answered with `code`, `reason`, `message`, `retry_after`
lost        the request is carried out, its answer is lost
reset       the connection is cut before anything is carried out
slow        the answer comes after `seconds`
stuck       the operation never goes on, from step `after` on
leave_disk  the operation ends with a stock-out and leaves the boot disk behind
preempt     the instance is preempted at `stage`: PROVISIONING, STAGING, RUNNING (when the operation is done)
appear      an instance `name` with `labels` is there, a moment before the request is carried out
kill        the process `pid` is killed; `moment` before or after the request is carried out
"""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.compute_api.cloud import Cloud, Work

DOES = {"stockout", "error", "status", "lost", "reset", "slow", "stuck", "leave_disk", "preempt", "appear", "kill"}
#: How many steps of an insertion come after an instance is in a stage.
STAGES_AFTER = {"PROVISIONING": 2, "STAGING": 1, "RUNNING": 0}
#: kubernetes/k8s.io#9834 shows a real one.
STOCKOUT = (
    "The zone 'projects/nightbench-test/zones/{zone}' does not have enough resources available to fulfill the request."
)


@dataclass
class Faults:
    script: list[dict[str, Any]] = field(default_factory=list)
    carried_out: list[dict[str, Any]] = field(default_factory=list)

    def load(self, script: list[dict[str, Any]]) -> None:
        unknown = [one["do"] for one in script if one["do"] not in DOES]
        if unknown:
            raise ValueError(f"no such fault: {', '.join(unknown)}; there are {', '.join(sorted(DOES))}")
        self.script = [{"skip": 0, "times": 1, **one} for one in script]

    def find(self, method: str, zone: str, model: str, machine_type: str) -> dict[str, Any]:
        """The fault of this request, or an empty one."""
        for fault in self.script:
            fits = (
                re.fullmatch(fault.get("at", ".*"), method)
                and re.fullmatch(fault.get("zone", ".*"), zone)
                and re.fullmatch(fault.get("model", ".*"), model)
                and re.fullmatch(fault.get("machine_type", ".*"), machine_type)
            )
            if not fits or fault["times"] < 0:
                continue
            if fault["skip"] > 0:
                fault["skip"] -= 1
                continue
            if fault["times"] != 0:
                fault["times"] = fault["times"] - 1 or -1
            self.carried_out.append(fault)
            return fault
        return {"do": ""}


def kill(fault: dict[str, Any], moment: str) -> bool:
    """End the process that asks, if this is the moment; it may be gone already."""
    if fault["do"] != "kill" or fault.get("moment", "before") != moment:
        return False
    try:
        os.kill(fault["pid"], signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def twist(cloud: Cloud, fault: dict[str, Any], work: Work) -> None:
    """Change what is still to come of an operation."""
    do, zone = fault["do"], work.body.get("zone", "").rpartition("/")[2]
    name = work.body["targetLink"].rpartition("/")[2]
    if do == "stockout":
        work.steps = [lambda: _exhausted(cloud, work, zone, fault.get("hint"))]
    elif do == "error":
        work.steps = [lambda: cloud.fail(work, fault["code"], fault.get("message", fault["code"]))]
    elif do == "stuck":
        for _ in range(fault.get("after", 0)):
            work.step()
        work.stuck = True
    elif do == "leave_disk":

        def half() -> None:
            cloud.instances.pop((zone, name), None)
            for disk in cloud.disks.values():
                disk["users"] = [user for user in disk.get("users", []) if not user.endswith(f"/{name}")]
            _exhausted(cloud, work, zone, None)

        work.steps = [*work.steps[:-1], half]
    elif do == "preempt":
        until = len(work.steps) - STAGES_AFTER[fault.get("stage", "RUNNING")]
        work.steps = [*work.steps[:until], lambda: cloud.preempt(zone, name)]


def _exhausted(cloud: Cloud, work: Work, zone: str, hint: list[str] | None) -> None:
    if hint is None:
        cloud.fail(work, "ZONE_RESOURCE_POOL_EXHAUSTED", STOCKOUT.format(zone=zone))
        return
    info = {
        "domain": "compute.googleapis.com",
        "reason": "resource_availability",
        "metadatas": {
            "zone": zone,
            "vmType": "n1-standard-4",
            "attachment": "nvidia-tesla-t4:1",
            "zonesAvailable": ",".join(hint),
        },
    }
    cloud.fail(work, "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", STOCKOUT.format(zone=zone), [{"errorInfo": info}])
