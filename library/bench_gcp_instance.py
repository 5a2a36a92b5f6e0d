#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_gcp_instance
short_description: Create hosts with GPUs on Google Cloud, find them and remove them
version_added: 0.1.0
description:
  - Creates any number of hosts of one kind and waits until they run. A host that is there is left as it is.
  - Every host has a time limit that the server itself enforces (C(maxRunDuration), then it is deleted with its disk),
    so
    nothing stays when everything on this side dies.
  - Name and requestId stand in a journal on the disk before a request is sent. A call that was killed is gone on with
    by
    the next one under the same requestId, or found by M(nightbench.infra.bench_gcp_reaper).
  - Before anything is created, zones, where the GPU is offered, the quota of the region and of the project, and the
    budget are looked at. A zone that has none is followed by those that the error names, then by the others, then by
    the
    next of O(provisioning_models); it is asked last for the next half hour. Missing quota, rights or a wrong request
    stop at once.
  - An instance of somebody else that has the same name is never touched.
requirements:
  - google-cloud-compute >= 1.40
  - google-auth
  - requests
author:
  - Nightbench authors (@nightbench)
options:
  state:
    description:
      - V(present), every host of O(names) runs.
      - V(absent), none of O(names) is there, nor a disk or an address of theirs; without names nothing of the run is.
      - V(info) only looks at what carries our labels, of O(run_id) if it is given.
    type: str
    choices: [present, absent, info]
    default: present
  names:
    description: The names. Required for O(state=present).
    type: list
    elements: str
    default: []
  run_id:
    description: The run that the hosts belong to, in the label C(run-id). Required but for O(state=info).
    type: str
    default: ""
  owner:
    description: Who is asked about them, in the label C(owner).
    type: str
    default: nightbench
  zones:
    description: Zones to try, in this order; they win over O(region), and one of both is needed for O(state=present).
    type: list
    elements: str
    default: []
  region:
    description: Every zone of this region may be tried.
    type: str
    default: ""
  machine_type:
    description: Machine type.
    type: str
    default: n1-standard-4
  accelerator_type:
    description: GPU; empty for a host without one, or for a machine type that brings its own.
    type: str
    default: nvidia-tesla-t4
  accelerator_count:
    description: How many of it; 0 for none.
    type: int
    default: 1
  image:
    description: Image or image family of the boot disk, as C(projects/PROJECT/global/images/family/FAMILY).
    type: str
    default: projects/debian-cloud/global/images/family/debian-12
  disk_gb:
    description: Size of the boot disk. It is deleted with its host.
    type: int
    default: 100
  disk_type:
    description: Type of the boot disk.
    type: str
    default: pd-balanced
  network:
    description: Network; empty where O(subnetwork) says it.
    type: str
    default: global/networks/default
  subnetwork:
    description: Subnetwork, as C(regions/REGION/subnetworks/NAME).
    type: str
    default: ""
  external_address:
    description: Give each host an address that can be reached from outside; it goes with its host.
    type: bool
    default: false
  service_account:
    description: Service account of the host; empty for none.
    type: str
    default: ""
  scopes:
    description: What the service account may do from the host.
    type: list
    elements: str
    default: [https://www.googleapis.com/auth/cloud-platform]
  tags:
    description: Network tags.
    type: list
    elements: str
    default: []
  labels:
    description: More labels of host and disk.
    type: dict
    default: {}
  metadata:
    description: More metadata, such as C(startup-script).
    type: dict
    default: {}
  ssh_user:
    description: User that O(ssh_public_key) lets in.
    type: str
    default: ""
  ssh_public_key:
    description:
      - A key that is let in for as long as the host may live.
      - Without it OS Login decides who may come in.
    type: str
    default: ""
  provisioning_models:
    description:
      - How the host may be paid for, in the order in which it is tried. More than one allows the next when no zone
        has the
        one before.
      - V(reservation) uses O(reservation).
    type: list
    elements: str
    choices: [spot, standard, flex_start, reservation]
    default: [standard]
  reservation:
    description: Name of the reservation.
    type: str
    default: ""
  alternatives:
    description:
      - Other kinds of host that will do, in the order in which they are tried when no zone has the one before under any
        of O(provisioning_models). Without any, no other kind is ever taken.
    type: list
    elements: dict
    default: []
    suboptions:
      machine_type:
        description: Machine type.
        type: str
        required: true
      accelerator_type:
        description: GPU; empty for none, or for a machine type that brings its own.
        type: str
        default: ""
      accelerator_count:
        description: How many of it; 0 for none.
        type: int
        default: 0
  nested_virtualization:
    description: Let the host run virtual machines of its own.
    type: bool
    default: false
  max_run_seconds:
    description:
      - The server deletes the host after this time, whatever happens here. 30 seconds to 120 days; with V(flex_start)
        10
        minutes to 7 days. There is no host without a limit.
    type: int
    default: 7200
  budget_usd:
    description:
      - What the run may spend at most on all hosts that it has ever asked for, as price x O(max_run_seconds). A host
        that
        could exceed it is not created. Without it only the price is told.
    type: float
  prices:
    description:
      - USD by machine type and GPU (an hour) and disk type (a GB and month), where they differ from the built-in ones.
    type: dict
    default: {}
  serial_dir:
    description:
      - With O(state=info), write what each host has said on its serial port to C(NAME.serial.txt) here. That needs no
        ssh.
    type: path
  project:
    description:
      - The project.
      - By default the environment variable E(GCP_PROJECT).
    type: str
    required: true
  auth_kind:
    description:
      - Who asks. V(application), what C(gcloud auth application-default login) left, the file that
        E(GOOGLE_APPLICATION_CREDENTIALS) names, or the account of the machine. V(serviceaccount),
        O(service_account_file). V(accesstoken), O(access_token).
      - By default the environment variable E(GCP_AUTH_KIND).
    type: str
    choices: [application, serviceaccount, accesstoken]
    default: application
  service_account_file:
    description:
      - Key file of a service account.
      - By default the environment variable E(GCP_SERVICE_ACCOUNT_FILE).
    type: path
  access_token:
    description:
      - A token, as C(gcloud auth print-access-token) gives it.
      - By default the environment variable E(GCP_ACCESS_TOKEN).
    type: str
  endpoint:
    description:
      - Another address of the Compute API, such as C(https://compute.example.com). It holds for every request, those
        that
        look at operations too.
    type: str
  request_seconds:
    description: How long one request may take.
    type: float
    default: 30.0
  pause_seconds:
    description: Pause before something is looked at or asked for again; doubled each time, up to half a minute.
    type: float
    default: 1.0
  operation_seconds:
    description: How long one operation of the API may take.
    type: float
    default: 300.0
  timeout_seconds:
    description: How long the whole call may take.
    type: float
    default: 1200.0
  journal_dir:
    description:
      - Folder of the write-ahead journals, one file a run, and of what is known of zones that had none lately.
      - By default C(nightbench/gcp) in E(XDG_STATE_HOME), then in C(~/.local/state).
    type: path
  run_state:
    description: State directory of the run; its file C(stop) ends the module.
    type: path
  progress_path:
    description: File that gets one line of progress a second.
    type: path
attributes:
  check_mode:
    description: Looks at zones, offer, quota and budget, and says what would be created or removed.
    support: full
  diff_mode:
    description: Shows the hosts before and after.
    support: full
  idempotent:
    description: A second call changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Have one host with a T4 for two hours at most
  bench_gcp_instance:
    project: my-project
    names: [gpu-0]
    run_id: 20260101T000000Z-0a1b
    region: us-central1
    provisioning_models: [spot, standard]
    budget_usd: 5
  register: created

- name: Read what a host that cannot be reached has said
  bench_gcp_instance:
    project: my-project
    state: info
    run_id: 20260101T000000Z-0a1b
    serial_dir: /home/me/results

- name: Remove everything of the run
  bench_gcp_instance:
    project: my-project
    state: absent
    run_id: 20260101T000000Z-0a1b
"""

RETURN = r"""
hosts:
  description: The hosts as they are after the call; in check mode also those that would be created, without a zone.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name.
      returned: always
      type: str
    id:
      description: The server's own number; another host of the same name has another one.
      returned: always
      type: str
    zone:
      description: Where it is.
      returned: always
      type: str
    status:
      description: As the API has it.
      returned: always
      type: str
      sample: RUNNING
    internal_address:
      description: Address inside the network.
      returned: always
      type: str
    external_address:
      description: Address from outside, empty without one.
      returned: always
      type: str
    provisioning_model:
      description: How it is paid for.
      returned: always
      type: str
    accelerators:
      description: Type and count of its GPUs.
      returned: always
      type: list
      elements: dict
    labels:
      description: Its labels.
      returned: always
      type: dict
    ends_at:
      description: When the server deletes it.
      returned: always
      type: str
created:
  description: Names of the hosts that this call has created, or would create.
  returned: with state=present
  type: list
  elements: str
tried:
  description: What did not have it, and why.
  returned: with state=present
  type: list
  elements: str
removed:
  description: What was removed, or would be.
  returned: with state=absent
  type: list
  elements: dict
left_alone:
  description: Instances of the names asked for that are not of this run, and were not touched.
  returned: with state=absent
  type: list
  elements: str
cost_per_hour_usd:
  description: What one host of the first kind costs an hour, by the price table; null where it has no price.
  returned: with state=present
  type: float
cost_at_most_usd:
  description: What everything that the run has asked for may cost at most.
  returned: with state=present
  type: float
kind:
  description: What went wrong, such as V(quota), V(capacity), V(auth), V(invalid), V(transient).
  returned: on failure of the API
  type: str
"""

import contextlib
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils.nightbench import gcp_budget, gcp_client, gcp_labels, gcp_reap, gcp_request
from ..module_utils.nightbench.errors import CloudError, ConfigurationError
from ..module_utils.nightbench.gcp_auth import GCP_SPEC, compute_from, journal_folder
from ..module_utils.nightbench.gcp_hosts import Hosts
from ..module_utils.nightbench.gcp_journal import Journal
from ..module_utils.nightbench.gcp_kinds import Kinds
from ..module_utils.nightbench.gcp_placement import ZoneMemory
from ..module_utils.nightbench.gcp_request import Request, host
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.module_failure import failures_told

MODELS = ["spot", "standard", "flex_start", "reservation"]
KIND_SPEC: dict[str, dict[str, Any]] = {
    "machine_type": {"type": "str", "required": True},
    "accelerator_type": {"type": "str", "default": ""},
    "accelerator_count": {"type": "int", "default": 0},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent", "info"], "default": "present"},
    "names": {"type": "list", "elements": "str", "default": []},
    "run_id": {"type": "str", "default": ""},
    "owner": {"type": "str", "default": "nightbench"},
    "zones": {"type": "list", "elements": "str", "default": []},
    "region": {"type": "str", "default": ""},
    "machine_type": {"type": "str", "default": "n1-standard-4"},
    "accelerator_type": {"type": "str", "default": "nvidia-tesla-t4"},
    "accelerator_count": {"type": "int", "default": 1},
    "image": {"type": "str", "default": "projects/debian-cloud/global/images/family/debian-12"},
    "disk_gb": {"type": "int", "default": 100},
    "disk_type": {"type": "str", "default": "pd-balanced"},
    "network": {"type": "str", "default": "global/networks/default"},
    "subnetwork": {"type": "str", "default": ""},
    "external_address": {"type": "bool", "default": False},
    "service_account": {"type": "str", "default": ""},
    "scopes": {"type": "list", "elements": "str", "default": ["https://www.googleapis.com/auth/cloud-platform"]},
    "tags": {"type": "list", "elements": "str", "default": []},
    "labels": {"type": "dict", "default": {}},
    "metadata": {"type": "dict", "default": {}},
    "ssh_user": {"type": "str", "default": ""},
    "ssh_public_key": {"type": "str", "default": "", "no_log": False},
    "provisioning_models": {"type": "list", "elements": "str", "choices": MODELS, "default": ["standard"]},
    "reservation": {"type": "str", "default": ""},
    "alternatives": {"type": "list", "elements": "dict", "options": KIND_SPEC, "default": []},
    "nested_virtualization": {"type": "bool", "default": False},
    "max_run_seconds": {"type": "int", "default": 7200},
    "budget_usd": {"type": "float"},
    "prices": {"type": "dict", "default": {}},
    "serial_dir": {"type": "path"},
    **GCP_SPEC,
}
#: Parameters that go into the request as they are.
AS_GIVEN = (
    "run_id", "owner", "machine_type", "accelerator_type", "accelerator_count", "image", "disk_gb", "disk_type",
    "network", "subnetwork", "external_address", "service_account", "reservation", "nested_virtualization",
    "max_run_seconds", "ssh_user", "ssh_public_key",
)  # fmt: skip


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        required_if=[
            ("state", "present", ["names", "run_id"]),
            ("state", "present", ["zones", "region"], True),
            ("state", "absent", ["run_id"]),
        ],
        supports_check_mode=True,
    )
    if gcp_client.MISSING:
        module.fail_json(
            msg=f"{missing_required_lib('google-cloud-compute')} Here: pip install -r requirements-gcp.txt "
            "(in another project: pip install google-cloud-compute google-auth requests).",
            exception=gcp_client.MISSING,
        )
    params = module.params
    states = {"present": present, "absent": absent, "info": info}
    long = LongModule.of("bench_gcp_instance", params, task=f"hosts {params['state']}", seconds="timeout_seconds")
    with failures_told(module), long:
        result = states[params["state"]](module, long)
    module.exit_json(**result)


def requests_of(params: dict[str, Any]) -> list[Request]:
    first = Request(
        **{name: params[name] for name in AS_GIVEN},
        scopes=tuple(params["scopes"]),
        models=tuple(params["provisioning_models"]),
        labels={key: str(text) for key, text in params["labels"].items()},
        metadata={key: str(text) for key, text in params["metadata"].items()},
        tags=tuple(params["tags"]),
        wait_seconds=params["operation_seconds"],
    )
    return gcp_request.kinds(first, params["alternatives"])


def present(module: AnsibleModule, long: LongModule) -> dict[str, Any]:
    requests = requests_of(module.params)
    gcp_request.check(requests, module.params["names"])
    journal = Journal(journal_folder(module.params), requests[0].run_id)
    # Two calls at once would both find the host missing and the budget free.
    with contextlib.nullcontext() if module.check_mode else journal.held(long.check):
        return bring_about(module, long, requests, journal)


def bring_about(module: AnsibleModule, long: LongModule, requests: list[Request], journal: Journal) -> dict[str, Any]:
    params, names = module.params, module.params["names"]
    prices = prices_of(params, requests)
    compute = compute_from(params, long.check)
    memory, tried = ZoneMemory(journal.path.with_name("zones.json")), list[str]()
    kinds = [
        Hosts(
            compute=compute,
            journal=journal,
            memory=memory,
            request=request,
            zones=params["zones"],
            region=params["region"],
            operation_seconds=params["operation_seconds"],
            cost_per_hour=price,
            kinds=requests,
            tried=tried,
        )
        for request, price in zip(requests, prices, strict=True)
    ]
    there = kinds[0].there(names)
    running = {name: one for name, one in there.items() if one.get("status") == "RUNNING"}
    if not module.check_mode:
        kinds[0].adopt(running)
    missing = [name for name in names if name not in there]
    # One that an earlier call has begun may still come to nothing: it is gone on with as if it were missing.
    coming = [name for name in names if name not in running]
    found = [host(running[name]) for name in names if name in running]
    long.report = lambda: {"done": len(found), "asked": len(names), "unit": "hosts"}
    before = list(found)
    if coming:
        if missing and params["budget_usd"] is not None:
            # Which kind it will be nobody knows, so the dearest one has to fit.
            dearest = max(price for price in prices if price is not None)
            limit = requests[0].max_run_seconds
            gcp_budget.check(params["budget_usd"], journal.reserved(), dearest, limit, missing)
        hosts = Kinds(kinds, len(missing))
        hosts.offered()
        for name in coming:
            if module.check_mode:
                found.append(host(there.get(name) or {"name": name}))  # which zone will have it nobody can know
            else:
                found.append(host(hosts.create(name, there.get(name))))
    return {
        "changed": bool(coming),
        "hosts": sorted(found, key=lambda one: names.index(one["name"])),
        "created": coming,
        "tried": tried,
        "cost_per_hour_usd": None if prices[0] is None else round(prices[0], 4),
        "cost_at_most_usd": round(journal.reserved(), 4),
        "diff": {"before": {"hosts": before}, "after": {"hosts": found}},
    }


def prices_of(params: dict[str, Any], requests: list[Request]) -> list[float | None]:
    """USD an hour of a host of each kind; None where there is no price."""
    own = gcp_budget.own_prices(params["prices"])
    prices: list[float | None] = []
    for request in requests:
        price, unpriced = gcp_budget.price_per_hour(
            request.machine_type,
            request.accelerator_type,
            request.accelerator_count,
            request.disk_type,
            request.disk_gb,
            own,
        )
        if unpriced and params["budget_usd"] is not None:
            raise ConfigurationError(
                f"budget_usd is {params['budget_usd']:g}, and there is no price of {', '.join(unpriced)}. "
                "Nothing was created.",
                hint="Give it in prices: USD an hour, for a disk USD a GB and month.",
            )
        prices.append(None if unpriced else price)
    return prices


def absent(module: AnsibleModule, long: LongModule) -> dict[str, Any]:
    params = module.params
    wrong = gcp_labels.run_problems(params["run_id"])
    if wrong:
        raise ConfigurationError(" ".join(wrong), hint="Nothing was removed.")
    compute = compute_from(params, long.check)
    reaper = gcp_reap.Reaper(
        compute,
        gcp_reap.of_runs([params["run_id"]], params["names"]),
        journals=[Journal(journal_folder(params), params["run_id"])],
        runs=[gcp_labels.value(params["run_id"])],
        dry_run=module.check_mode,
        operation_seconds=params["operation_seconds"],
    )
    swept = reaper.sweep()
    strangers = [
        f"{name} in {gcp_request.last(one.get('zone', ''))}"
        for name in params["names"]
        for one in compute.instances(f"name = {name}")
        if not gcp_labels.of_run(one.get("labels"), params["run_id"])
    ]
    if strangers:
        module.warn(f"not of run {params['run_id']}, so not touched: {', '.join(strangers)}")
    for told in swept.damaged:
        module.warn(told)
    if swept.failed:
        raise CloudError(
            "; ".join(f"{what}: {why}" for what, why in swept.failed),
            kind="left",
            hint="The server's time limit and playbooks/reap.yml see to the rest.",
        )
    removed = [one.as_json() for one in swept.removed]
    return {
        "changed": bool(removed),
        "hosts": [],
        "removed": removed,
        "left_alone": strangers,
        "diff": {"before": {"there": removed}, "after": {"there": []}},
    }


def info(module: AnsibleModule, long: LongModule) -> dict[str, Any]:
    params = module.params
    compute = compute_from(params, long.check)
    found = [
        host(one)
        for one in compute.instances(gcp_labels.FILTER)
        if (not params["run_id"] or gcp_labels.of_run(one.get("labels"), params["run_id"]))
        and (not params["names"] or one["name"] in params["names"])
    ]
    if params["serial_dir"]:
        for one in found:
            one["serial_file"] = keep_serial(Path(params["serial_dir"]), compute, one)
    return {"changed": False, "hosts": sorted(found, key=lambda one: one["name"])}


def keep_serial(folder: Path, compute: gcp_client.Compute, one: dict[str, Any]) -> str:
    """What a host said before nobody could reach it any more; it may be gone by now."""
    path = folder / f"{one['name']}.serial.txt"
    with contextlib.suppress(CloudError):
        text = compute.serial_output(one["zone"], one["name"])
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)
    return ""


if __name__ == "__main__":
    main()
