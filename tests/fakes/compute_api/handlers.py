# SPDX-License-Identifier: GPL-3.0-or-later
"""What each method of the Compute API does to the cloud, by the method's id in the discovery document."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from tests.fakes.compute_api.cloud import ROOT, ApiError, Body, Cloud, not_found, zone_exists
from tests.fakes.compute_api.regions import MACHINE_TYPES, PROJECT, REGIONS, ZONES

Given = dict[str, str]
#: So few zones on a page that every list has several.
PAGE = 4


def insert(cloud: Cloud, given: Given, body: Body) -> Body:
    _zone(given)
    return cloud.insert(given["project"], given["zone"], body, given.get("requestId", ""))


def get_instance(cloud: Cloud, given: Given, body: Body) -> Body:
    _zone(given)
    found = cloud.instances.get((given["zone"], given["instance"]))
    if found is None:
        raise not_found(f"projects/{given['project']}/zones/{given['zone']}/instances/{given['instance']}")
    return found


def delete_instance(cloud: Cloud, given: Given, body: Body) -> Body:
    _zone(given)
    return cloud.delete(given["zone"], given["instance"], given.get("requestId", ""))


def serial_port(cloud: Cloud, given: Given, body: Body) -> Body:
    get_instance(cloud, given, body)
    start = int(given.get("start", "0"))
    text = cloud.serial[start:]
    return {
        "kind": "compute#serialPortOutput",
        "contents": text,
        "start": str(start),
        "next": str(start + len(text)),
        "selfLink": f"{ROOT}/{PROJECT}/zones/{given['zone']}/instances/{given['instance']}/serialPort",
    }


def operation(cloud: Cloud, given: Given, body: Body) -> Body:
    work = cloud.works.get(given["operation"])
    scope = given.get("zone") or given.get("region")
    if work is None or (scope and not any(work.body.get(key, "").endswith(f"/{scope}") for key in ("zone", "region"))):
        raise not_found(f"projects/{given['project']}/{scope or 'global'}/operations/{given['operation']}")
    work.step()
    return work.body


def aggregated_operations(cloud: Cloud, given: Given, body: Body) -> Body:
    for work in list(cloud.works.values()):  # a step may begin another operation
        work.step()
    items = [work.body for work in cloud.works.values()]
    return _aggregated(
        given, items, "operations", "compute#operationAggregatedList", [*_zones(), *_regions(), "global"]
    )


def aggregated_instances(cloud: Cloud, given: Given, body: Body) -> Body:
    return _aggregated(given, cloud.instances.values(), "instances", "compute#instanceAggregatedList", _zones())


def aggregated_disks(cloud: Cloud, given: Given, body: Body) -> Body:
    places = [*_zones(), *_regions()]
    return _aggregated(given, cloud.disks.values(), "disks", "compute#diskAggregatedList", places)


def aggregated_addresses(cloud: Cloud, given: Given, body: Body) -> Body:
    places = [*_regions(), "global"]
    return _aggregated(given, cloud.addresses.values(), "addresses", "compute#addressAggregatedList", places)


def aggregated_accelerators(cloud: Cloud, given: Given, body: Body) -> Body:
    items = [
        {"kind": "compute#acceleratorType", "name": name, "zone": f"{ROOT}/{PROJECT}/zones/{zone}", "id": str(number)}
        for number, (name, zones) in enumerate(cloud.accelerators.items(), 1)
        for zone in zones
    ]
    kind = "compute#acceleratorTypeAggregatedList"
    return _aggregated(given, items, "acceleratorTypes", kind, _zones())


def aggregated_machine_types(cloud: Cloud, given: Given, body: Body) -> Body:
    items = [
        {
            "kind": "compute#machineType",
            "id": str(number),
            "name": name,
            "zone": zone,  # a name and no link, unlike everywhere else
            "accelerators": [
                {"guestAcceleratorType": kind, "guestAcceleratorCount": count} for kind, count in own.items()
            ],
        }
        for number, (name, (zones, own)) in enumerate(MACHINE_TYPES.items(), 1)
        for zone in zones
    ]
    return _aggregated(given, items, "machineTypes", "compute#machineTypeAggregatedList", _zones())


def delete_disk(cloud: Cloud, given: Given, body: Body) -> Body:
    """In a zone or in a region."""
    return cloud.remove("disk", given.get("zone") or given["region"], given["disk"], given.get("requestId", ""))


def delete_address(cloud: Cloud, given: Given, body: Body) -> Body:
    """In a region or global."""
    return cloud.remove("address", given.get("region", "global"), given["address"], given.get("requestId", ""))


def list_zones(cloud: Cloud, given: Given, body: Body) -> Body:
    items = [
        {"kind": "compute#zone", "name": zone, "status": "UP", "region": f"{ROOT}/{PROJECT}/regions/{region}"}
        for zone, region in ZONES.items()
    ]
    return {"kind": "compute#zoneList", "id": "zones", "items": items}


def get_region(cloud: Cloud, given: Given, body: Body) -> Body:
    if given["region"] not in REGIONS:
        raise not_found(f"projects/{given['project']}/regions/{given['region']}")
    return {
        "kind": "compute#region",
        "name": given["region"],
        "status": "UP",
        "quotas": _quotas(cloud, given["region"]),
    }


def get_project(cloud: Cloud, given: Given, body: Body) -> Body:
    return {"kind": "compute#project", "name": PROJECT, "id": "1", "quotas": _quotas(cloud, "")}


HANDLERS: dict[str, Callable[[Cloud, Given, Body], Body]] = {
    "compute.instances.insert": insert,
    "compute.instances.get": get_instance,
    "compute.instances.delete": delete_instance,
    "compute.instances.aggregatedList": aggregated_instances,
    "compute.instances.getSerialPortOutput": serial_port,
    "compute.disks.aggregatedList": aggregated_disks,
    "compute.disks.delete": delete_disk,
    "compute.regionDisks.delete": delete_disk,
    "compute.globalAddresses.delete": delete_address,
    "compute.globalOperations.get": operation,
    "compute.addresses.aggregatedList": aggregated_addresses,
    "compute.addresses.delete": delete_address,
    "compute.zoneOperations.get": operation,
    "compute.zoneOperations.wait": operation,
    "compute.regionOperations.get": operation,
    "compute.regionOperations.wait": operation,
    "compute.globalOperations.aggregatedList": aggregated_operations,
    "compute.acceleratorTypes.aggregatedList": aggregated_accelerators,
    "compute.machineTypes.aggregatedList": aggregated_machine_types,
    "compute.zones.list": list_zones,
    "compute.regions.get": get_region,
    "compute.projects.get": get_project,
}


def check_project(given: Given) -> None:
    """Another project is one that nobody has, or one that this account may not see; the real API does not say which."""
    if given["project"] != PROJECT:
        message = f"Required 'compute.instances.list' permission for 'projects/{given['project']}'"
        raise ApiError(403, "forbidden", message)


def _zone(given: Given) -> None:
    if not zone_exists(given["zone"]):
        raise ApiError(400, "invalid", f"Invalid value for field 'zone': '{given['zone']}'. Unknown zone.")


def _quotas(cloud: Cloud, place: str) -> list[Body]:
    used = sum(
        accelerator["acceleratorCount"]
        for (zone, _), instance in cloud.instances.items()
        if not place or ZONES[zone] == place
        for accelerator in instance.get("guestAccelerators", [])
    )
    return [
        {"metric": metric, "limit": limit, "usage": float(used if metric.endswith("GPUS") else 0)}
        for metric, limit in cloud.quotas[place].items()
    ]


def _zones() -> list[str]:
    return [f"zones/{zone}" for zone in ZONES]


def _regions() -> list[str]:
    return [f"regions/{region}" for region in REGIONS]


def _aggregated(given: Given, items: Iterable[Body], key: str, kind: str, places: list[str]) -> Body:
    """A page of the places, each with what it holds or the warning that it holds nothing."""
    start = int(given.get("pageToken") or 0)
    found = [one for one in items if _fits(given.get("filter", ""), one)]
    answer: Body = {"kind": kind, "id": f"projects/{PROJECT}/aggregated/{key}", "items": {}}
    for place in places[start : start + PAGE]:
        here = [one for one in found if _place_of(one) == place]
        answer["items"][place] = {key: here} if here else {"warning": _nothing(place)}
    if start + PAGE < len(places):
        answer["nextPageToken"] = str(start + PAGE)
    return answer


def _nothing(place: str) -> Body:
    return {
        "code": "NO_RESULTS_ON_PAGE",
        "message": f"There are no results for scope '{place}' on this page.",
        "data": [{"key": "scope", "value": place}],
    }


def _place_of(item: Body) -> str:
    link = item.get("zone") or item.get("region")
    if link and "/" not in link:
        return f"zones/{link}"
    return "/".join(link.split("/")[-2:]) if link else "global"


def _fits(text: str, item: Body) -> bool:
    """`a = b AND labels.c != d`, `(a = b) (c = d)`: as much of Google's filters as is used, and nothing is guessed."""
    for term in filter(None, re.split(r"\s+AND\s+|(?<=\))\s+(?=\()", text)):
        match = re.fullmatch(r"\(?\s*([\w.-]+)\s*(!?=)\s*\"?([^\"()\s]+)\"?\s*\)?", term)
        if match is None:
            raise ApiError(
                400, "invalid", f"Invalid value for field 'filter': '{text}'. Invalid list filter expression."
            )
        path, sign, wanted = match.groups()
        value: Any = item
        for part in path.split(".", 1):
            value = value.get(part) if isinstance(value, dict) else None
        if (str(value) == wanted) != (sign == "="):
            return False
    return True
