# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cloud holds: instances with their disks, addresses, and operations that go a step on each look at them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.fakes.compute_api.regions import ACCELERATORS, PROJECT, QUOTAS, ZONES

ROOT = "https://www.googleapis.com/compute/v1/projects"
Body = dict[str, Any]


class ApiError(Exception):
    """An answer with an error status."""

    def __init__(self, code: int, reason: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.retry_after = code, reason, message, retry_after


def not_found(what: str) -> ApiError:
    return ApiError(404, "notFound", f"The resource '{what}' was not found")


@dataclass
class Work:
    """An operation: what is still to come of it, one entry a look; a stuck one never goes on."""

    body: Body
    steps: list[Callable[[], None]]
    stuck: bool = False

    def step(self) -> None:
        if self.stuck or self.body["status"] == "DONE":
            return
        if self.steps:
            self.body["status"] = "RUNNING"
            self.steps.pop(0)()
        if not self.steps and self.body["status"] != "DONE":
            self.body.update(status="DONE", progress=100)


@dataclass
class Cloud:
    """Everything there is. `skew_seconds`: how far its clock is from this machine's."""

    skew_seconds: float = 0.0
    host_address: str = "10.128.0.2"
    outside_address: str = "203.0.113.7"  # RFC 5737
    operation_looks: int = 1
    accelerators: dict[str, list[str]] = field(default_factory=lambda: copy.deepcopy(ACCELERATORS))
    quotas: dict[str, dict[str, float]] = field(default_factory=lambda: copy.deepcopy(QUOTAS))
    instances: dict[tuple[str, str], Body] = field(default_factory=dict)
    disks: dict[tuple[str, str], Body] = field(default_factory=dict)
    addresses: dict[tuple[str, str], Body] = field(default_factory=dict)
    works: dict[str, Work] = field(default_factory=dict)
    by_request: dict[str, str] = field(default_factory=dict)
    serial: str = "[    0.000000] Linux version 6.8.0\nnightbench-host login: \n"
    #: File of keys that a host lets in, as its guest agent writes them from the metadata; empty for none.
    authorized_keys: str = ""
    made: int = 0

    # --- time

    def now(self) -> float:
        return time.time() + self.skew_seconds

    def stamp(self, at: float | None = None) -> str:
        return datetime.fromtimestamp(self.now() if at is None else at, UTC).isoformat(timespec="milliseconds")

    def obey_limits(self) -> None:
        """The server's own limit: what runs for longer than maxRunDuration is deleted, with its disks."""
        for key, instance in list(self.instances.items()):
            if "terminationTimestamp" in (instance.get("resourceStatus") or {}).get("scheduling", {}):
                until = datetime.fromisoformat(instance["resourceStatus"]["scheduling"]["terminationTimestamp"])
                if until.timestamp() <= self.now():
                    self.vanish(*key)

    # --- operations

    def operation(
        self, kind: str, scope: Body, target: str, steps: list[Callable[[], None]], request_id: str = ""
    ) -> Body:
        self.made += 1
        name = f"operation-{self.made}"
        where = "/".join(f"{key}s/{value}" for key, value in scope.items()) or "global"
        body = {
            "kind": "compute#operation",
            "id": str(1000 + self.made),
            "name": name,
            "operationType": kind,
            "targetLink": f"{ROOT}/{PROJECT}/{target}",
            "selfLink": f"{ROOT}/{PROJECT}/{where}/operations/{name}",
            "status": "PENDING",
            "progress": 0,
            "user": "tester@example.com",
            "insertTime": self.stamp(),
            **{key: f"{ROOT}/{PROJECT}/{key}s/{value}" for key, value in scope.items()},
        }
        if request_id:
            body["clientOperationId"] = request_id
            self.by_request[request_id] = name
        self.works[name] = Work(body, [*([lambda: None] * self.operation_looks), *steps])
        return body

    def fail(self, work: Work, code: str, message: str, details: list[Body] | None = None) -> None:
        error: Body = {"code": code, "message": message}
        if details:
            error["errorDetails"] = details
        work.steps.clear()
        work.body.update(status="DONE", progress=100, error={"errors": [error]}, httpErrorStatusCode=503)
        work.body["httpErrorMessage"] = "SERVICE UNAVAILABLE"

    def unstick(self) -> None:
        """What did not go on goes on again."""
        for work in self.works.values():
            work.stuck = False

    def settle(self) -> None:
        """Let everything that is under way come to its end."""
        # A preemption at the end of one operation begins another one.
        while under_way := [w for w in self.works.values() if not w.stuck and w.body["status"] != "DONE"]:
            for work in under_way:
                work.step()

    # --- instances

    def insert(self, project: str, zone: str, asked: Body, request_id: str) -> Body:
        name = asked["name"]
        known = self.by_request.get(request_id)
        if known:
            return self.works[known].body
        if (zone, name) in self.instances or self._coming(zone, name):
            raise ApiError(
                409, "alreadyExists", f"The resource 'projects/{project}/zones/{zone}/instances/{name}' already exists"
            )
        offered = {kind for kind, zones in self.accelerators.items() if zone in zones}
        for accelerator in asked.get("guestAccelerators", []):
            if accelerator["acceleratorType"].rpartition("/")[2] not in offered:
                raise not_found(f"projects/{project}/zones/{accelerator['acceleratorType']}")
        target = f"zones/{zone}/instances/{name}"
        return self.operation(
            "insert",
            {"zone": zone},
            target,
            [lambda: self._appear(zone, asked), lambda: self._stage(zone, name), lambda: self._run(zone, name)],
            request_id,
        )

    def _coming(self, zone: str, name: str) -> bool:
        return any(
            work.body["operationType"] == "insert"
            and work.body["status"] != "DONE"
            and work.body["targetLink"].endswith(f"zones/{zone}/instances/{name}")
            for work in self.works.values()
        )

    def _appear(self, zone: str, asked: Body) -> None:
        self.made += 1
        name, base = asked["name"], f"{ROOT}/{PROJECT}/zones/{zone}"
        parameters = asked["disks"][0]["initializeParams"]
        disk_name = parameters.get("diskName", name)
        self.disks[zone, disk_name] = {
            "kind": "compute#disk",
            "id": str(5000 + self.made),
            "name": disk_name,
            "zone": base,
            "selfLink": f"{base}/disks/{disk_name}",
            "sizeGb": parameters.get("diskSizeGb", "10"),
            "status": "READY",
            "labels": parameters.get("labels", {}),
            "users": [f"{base}/instances/{name}"],
            "creationTimestamp": self.stamp(),
        }
        instance = copy.deepcopy(asked)
        instance.update(
            kind="compute#instance",
            id=str(7000 + self.made),
            zone=base,
            selfLink=f"{base}/instances/{name}",
            status="PROVISIONING",
            creationTimestamp=self.stamp(),
            cpuPlatform="Intel Skylake",
        )
        instance["disks"] = [
            {
                "kind": "compute#attachedDisk",
                "boot": True,
                "autoDelete": asked["disks"][0].get("autoDelete", False),
                "source": f"{base}/disks/{disk_name}",
                "deviceName": disk_name,
            }
        ]
        interface = instance["networkInterfaces"][0]
        interface.update(name="nic0", networkIP=self.host_address)
        for access in interface.get("accessConfigs", []):
            access["natIP"] = self.outside_address
        self.instances[zone, name] = instance

    def _stage(self, zone: str, name: str) -> None:
        if (zone, name) in self.instances:
            self.instances[zone, name]["status"] = "STAGING"

    def _run(self, zone: str, name: str) -> None:
        instance = self.instances.get((zone, name))
        if instance is None:
            return
        instance.update(status="RUNNING", lastStartTimestamp=self.stamp())
        self._let_in(instance)
        limit = instance.get("scheduling", {}).get("maxRunDuration")
        if limit:
            until = self.stamp(self.now() + int(limit["seconds"]))
            instance["resourceStatus"] = {"scheduling": {"terminationTimestamp": until}}

    def _let_in(self, instance: Body) -> None:
        if self.authorized_keys:
            items = {item["key"]: item["value"] for item in instance.get("metadata", {}).get("items", [])}
            with open(self.authorized_keys, "a", encoding="utf-8") as stream:
                stream.writelines(f"{line.partition(':')[2]}\n" for line in items.get("ssh-keys", "").splitlines())

    def delete(self, zone: str, name: str, request_id: str) -> Body:
        known = self.by_request.get(request_id)
        if known:
            return self.works[known].body
        if (zone, name) not in self.instances:
            raise not_found(f"projects/{PROJECT}/zones/{zone}/instances/{name}")
        return self.operation(
            "delete",
            {"zone": zone},
            f"zones/{zone}/instances/{name}",
            [lambda: self._stop(zone, name), lambda: self.vanish(zone, name)],
            request_id,
        )

    def _stop(self, zone: str, name: str) -> None:
        if (zone, name) in self.instances:
            self.instances[zone, name]["status"] = "STOPPING"

    def vanish(self, zone: str, name: str) -> None:
        instance = self.instances.pop((zone, name), None)
        for disk in instance["disks"] if instance else ():
            key = (zone, disk["source"].rpartition("/")[2])
            if disk["autoDelete"]:
                self.disks.pop(key, None)
            elif key in self.disks:
                self.disks[key].pop("users", None)

    def preempt(self, zone: str, name: str) -> None:
        """As the cloud does it: an operation of its own, then whatever instanceTerminationAction says."""
        instance = self.instances.get((zone, name))
        if instance is None:
            return
        work = self.works[
            self.operation("compute.instances.preempted", {"zone": zone}, f"zones/{zone}/instances/{name}", [])["name"]
        ]
        work.body.update(status="DONE", progress=100)
        if instance.get("scheduling", {}).get("instanceTerminationAction") == "DELETE":
            self.vanish(zone, name)
        else:
            instance["status"] = "TERMINATED"

    # --- what else can be left behind

    def remove(self, kind: str, place: str, name: str, request_id: str) -> Body:
        """Delete a disk or an address; one that is in use is kept, as in the real cloud."""
        known = self.by_request.get(request_id)
        if known:
            return self.works[known].body
        kept = {"disk": self.disks, "address": self.addresses}[kind]
        if (place, name) not in kept:
            raise not_found(f"projects/{PROJECT}/{place}/{kind}s/{name}")
        if kept[place, name].get("users"):
            raise ApiError(400, "resourceInUseByAnotherResource", f"The {kind} resource '{name}' is already being used")
        where = {} if place == "global" else {"zone" if zone_exists(place) else "region": place}
        target = f"{_path(place)}/{kind}{'es' if kind == 'address' else 's'}/{name}"
        return self.operation("delete", where, target, [lambda: kept.pop((place, name), None) and None], request_id)

    def put(self, kind: str, place: str, name: str, labels: dict[str, str]) -> None:
        """A thing that somebody else has left; a disk in a zone or a region, an address in a region or `global`."""
        self.made += 1
        common = {"id": str(9000 + self.made), "name": name, "labels": labels, "creationTimestamp": self.stamp()}
        where = (
            {}
            if place == "global"
            else {"zone" if zone_exists(place) else "region": f"{ROOT}/{PROJECT}/{_path(place)}"}
        )
        if kind == "address":
            self.addresses[place, name] = common | where | {
                "kind": "compute#address", "status": "RESERVED", "address": "203.0.113.9",
                "selfLink": f"{ROOT}/{PROJECT}/{_path(place)}/addresses/{name}",
            }  # fmt: skip
        elif kind == "disk":
            self.disks[place, name] = common | where | {
                "kind": "compute#disk", "status": "READY", "sizeGb": "100",
                "selfLink": f"{ROOT}/{PROJECT}/{_path(place)}/disks/{name}",
            }  # fmt: skip
        else:
            asked = {
                "name": name,
                "labels": labels,
                "machineType": f"zones/{place}/machineTypes/n1-standard-4",
                "disks": [{"boot": True, "autoDelete": True, "initializeParams": {"labels": labels}}],
                "networkInterfaces": [{"network": "global/networks/default"}],
            }
            self._appear(place, asked)
            self._run(place, name)

    def left(self) -> dict[str, list[str]]:
        return {
            "instances": [f"{zone}/{name}" for zone, name in self.instances],
            "disks": [f"{zone}/{name}" for zone, name in self.disks],
            "addresses": [f"{region}/{name}" for region, name in self.addresses],
        }


def _path(place: str) -> str:
    return place if place == "global" else f"{'zones' if zone_exists(place) else 'regions'}/{place}"


def zone_exists(zone: str) -> bool:
    return zone in ZONES
