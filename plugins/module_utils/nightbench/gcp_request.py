# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host shall be: checked before anything is asked for, and turned into the API's own words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from . import gcp_labels
from .errors import ConfigurationError

#: cloud.google.com/compute/docs/instances/limit-vm-runtime: 30 s to 120 days; flex-start 10 min to 7 days.
SHORTEST, LONGEST = 30, 120 * 86400
FLEX_SHORTEST, FLEX_LONGEST = 600, 7 * 86400
#: cloud.google.com/compute/docs/instances/about-flex-start-vms: how long a flex-start host may wait for capacity.
FLEX_WAIT_SHORTEST, FLEX_WAIT_LONGEST = 90, 7200
#: What is added to the label `expires`: the server may be up to 30 s late, and a host is not RUNNING at once.
EXPIRY_MARGIN_SECONDS = 900
#: The words of the module and those of the API. A reservation is used by a standard host that names it.
MODELS = {"spot": "SPOT", "standard": "STANDARD", "flex_start": "FLEX_START", "reservation": "STANDARD"}
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
#: Differences of these on a host that is there mean that it is another kind of host.
COMPARED = ("machine_type", "accelerator_type", "accelerator_count")


@dataclass(frozen=True)
class Request:
    """One kind of host, for every name that is asked for."""

    run_id: str
    owner: str
    machine_type: str
    accelerator_type: str
    accelerator_count: int
    image: str
    disk_gb: int
    disk_type: str
    network: str
    subnetwork: str
    external_address: bool
    service_account: str
    scopes: tuple[str, ...]
    models: tuple[str, ...]
    reservation: str
    nested_virtualization: bool
    max_run_seconds: int
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    ssh_user: str = ""
    ssh_public_key: str = ""
    #: How long somebody waits for it; a flex-start host that does not come by then is not to come at all.
    wait_seconds: float = 300.0

    @property
    def gpus(self) -> str:
        return f"{self.accelerator_count} x {self.accelerator_type}" if self.accelerator_count else "no GPU beside it"

    @property
    def kind(self) -> str:
        """What a zone may have or lack."""
        gpus = f" {self.accelerator_type}:{self.accelerator_count}" if self.accelerator_count else ""
        return f"{self.machine_type}{gpus}"


def problems(request: Request, names: list[str]) -> list[str]:
    """Every sentence about what cannot be meant."""
    found = [f"name '{name}': small letters, digits and -, begins with a letter, at most 63." for name in names
             if not NAME.fullmatch(name)]  # fmt: skip
    found += [] if names else ["names is empty."]
    found += [f"name '{name}': is there twice." for name in sorted({one for one in names if names.count(one) > 1})]
    shortest, longest = (FLEX_SHORTEST, FLEX_LONGEST) if "flex_start" in request.models else (SHORTEST, LONGEST)
    if not shortest <= request.max_run_seconds <= longest:
        found.append(
            f"max_run_seconds is {request.max_run_seconds}; the server takes {shortest} to {longest} "
            f"for {', '.join(request.models)}."
        )
    if bool(request.accelerator_type) != bool(request.accelerator_count):
        found.append("accelerator_type and accelerator_count go together; for a host without a GPU give '' and 0.")
    if "reservation" in request.models and not request.reservation:
        found.append("provisioning_models has reservation: name it in reservation.")
    if request.ssh_public_key and not request.ssh_user:
        found.append("ssh_public_key needs ssh_user.")
    if request.disk_gb < 10:
        found.append(f"disk_gb is {request.disk_gb}; a boot disk has at least 10.")
    return found + gcp_labels.run_problems(request.run_id) + gcp_labels.problems(request.labels)


def kinds(request: Request, alternatives: Sequence[Mapping[str, Any]]) -> list[Request]:
    """The same for every kind of host that will do, in the order in which they are tried."""
    return [request, *(replace(request, **{name: other[name] for name in COMPARED}) for other in alternatives)]


def check(requests: Sequence[Request], names: list[str]) -> None:
    found = list(dict.fromkeys(text for request in requests for text in problems(request, names)))
    told = [request.kind for request in requests]
    found += [f"alternatives: {kind} is there twice." for kind in sorted({one for one in told if told.count(one) > 1})]
    if found:
        raise ConfigurationError(" ".join(found), hint="Nothing was created.")


def body(request: Request, name: str, zone: str, model: str, now: float) -> dict[str, Any]:
    """The Instance of the API. The server itself deletes it when its time is over, and its disk with it."""
    labels = gcp_labels.labels(
        request.run_id, request.owner, now + request.max_run_seconds + EXPIRY_MARGIN_SECONDS, request.labels
    )
    interface: dict[str, Any] = {"network": request.network} if request.network else {}
    if request.subnetwork:
        interface["subnetwork"] = request.subnetwork
    if request.external_address:
        interface["accessConfigs"] = [{"name": "External NAT", "type": "ONE_TO_ONE_NAT"}]
    asked: dict[str, Any] = {
        "name": name,
        "machineType": f"zones/{zone}/machineTypes/{request.machine_type}",
        "labels": labels,
        "disks": [
            {
                "boot": True,
                "autoDelete": True,
                "initializeParams": {
                    "sourceImage": request.image,
                    "diskSizeGb": str(request.disk_gb),
                    "diskType": f"zones/{zone}/diskTypes/{request.disk_type}",
                    "labels": labels,
                },
            }
        ],
        "networkInterfaces": [interface],
        "scheduling": {
            "provisioningModel": MODELS[model],
            "onHostMaintenance": "TERMINATE",  # a host with GPUs cannot be moved
            "automaticRestart": False,  # a measurement that was cut is not gone on with
            "instanceTerminationAction": "DELETE",
            "maxRunDuration": {"seconds": str(request.max_run_seconds)},
        },
        "metadata": {"items": [{"key": key, "value": text} for key, text in sorted(_metadata(request, now).items())]},
    }
    if request.accelerator_count:
        kind = f"zones/{zone}/acceleratorTypes/{request.accelerator_type}"
        asked["guestAccelerators"] = [{"acceleratorType": kind, "acceleratorCount": request.accelerator_count}]
    if request.service_account:
        asked["serviceAccounts"] = [{"email": request.service_account, "scopes": list(request.scopes)}]
    if request.nested_virtualization:
        asked["advancedMachineFeatures"] = {"enableNestedVirtualization": True}
    if request.tags:
        asked["tags"] = {"items": list(request.tags)}
    if model == "reservation":
        asked["reservationAffinity"] = {
            "consumeReservationType": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": [request.reservation],
        }
    elif model in ("spot", "flex_start"):
        asked["reservationAffinity"] = {"consumeReservationType": "NO_RESERVATION"}
    if model == "flex_start":
        wait = int(min(request.wait_seconds, FLEX_WAIT_LONGEST))
        wait = wait if wait >= FLEX_WAIT_SHORTEST else 0
        asked["params"] = {"requestValidForDuration": {"seconds": str(wait)}}
    return asked


def _metadata(request: Request, now: float) -> dict[str, str]:
    """With a key of the caller's it is let in until the host's time is over; else OS Login says who may come in."""
    if not request.ssh_public_key:
        return {"enable-oslogin": "TRUE", **request.metadata}
    until = datetime.fromtimestamp(now + request.max_run_seconds + EXPIRY_MARGIN_SECONDS, UTC)
    # The form that the guest agent takes the end of a key from (GoogleCloudPlatform/guest-agent, accounts).
    limit = f'google-ssh {{"userName":"{request.ssh_user}","expireOn":"{until:%Y-%m-%dT%H:%M:%S}+0000"}}'
    key = " ".join(request.ssh_public_key.split()[:2])
    return {
        "enable-oslogin": "FALSE",
        "block-project-ssh-keys": "TRUE",
        "ssh-keys": f"{request.ssh_user}:{key} {limit}",
        **request.metadata,
    }


def differences(request: Request, instance: Mapping[str, Any]) -> list[str]:
    """Where a host that is there is of another kind than the one asked for; none of it can be changed in place."""
    accelerators = instance.get("guestAccelerators") or [{}]
    there = {
        "machine_type": last(instance.get("machineType", "")),
        "accelerator_type": last(accelerators[0].get("acceleratorType", "")),
        "accelerator_count": int(accelerators[0].get("acceleratorCount", 0)),
    }
    return [
        f"{name} is {there[name]!r}, asked for {getattr(request, name)!r}"
        for name in COMPARED
        if there[name] != getattr(request, name)
    ]


def last(link: str) -> str:
    """The name at the end of a link of the API."""
    return link.rpartition("/")[2]


def host(instance: Mapping[str, Any]) -> dict[str, Any]:
    """A host as the modules tell it."""
    interface = (instance.get("networkInterfaces") or [{}])[0]
    outside = (interface.get("accessConfigs") or [{}])[0].get("natIP", "")
    scheduling = instance.get("scheduling") or {}
    accelerators = instance.get("guestAccelerators") or []
    limit = ((instance.get("resourceStatus") or {}).get("scheduling") or {}).get("terminationTimestamp")
    return {
        "name": instance.get("name", ""),
        "id": str(instance.get("id", "")),
        "zone": last(instance.get("zone", "")),
        "status": instance.get("status", ""),
        "machine_type": last(instance.get("machineType", "")),
        "accelerators": [
            {"type": last(one.get("acceleratorType", "")), "count": int(one.get("acceleratorCount", 0))}
            for one in accelerators
        ],
        "provisioning_model": scheduling.get("provisioningModel", ""),
        "cpu_platform": instance.get("cpuPlatform", ""),
        "internal_address": interface.get("networkIP", ""),
        "external_address": outside,
        "labels": dict(instance.get("labels") or {}),
        "created_at": instance.get("creationTimestamp", ""),
        "ends_at": limit or "",
    }
