# SPDX-License-Identifier: GPL-3.0-or-later
"""What an error of the Compute API means for what is done next, as a table.

The same shortage comes in three shapes: as the status of a request, as the error of an operation that was accepted,
and as text only. Codes are looked at first, then the text, then the status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .errors import CloudError


class Kind(StrEnum):
    """What went wrong, by what helps."""

    QUOTA = "quota"  # stop: waiting does not help, another zone of the region neither
    CAPACITY = "capacity"  # the next zone, the hinted ones first
    NOT_OFFERED = "not_offered"  # never in this zone
    TAKEN = "taken"  # the name exists
    NOT_FOUND = "not_found"
    AUTH = "auth"  # stop
    INVALID = "invalid"  # stop
    TRANSIENT = "transient"  # the same request again, with the same requestId


@dataclass(frozen=True)
class Row:
    """One line of the table; the first one that fits decides."""

    kind: Kind
    codes: frozenset[str] = frozenset()
    text: str = ""
    statuses: range | tuple[int, ...] = ()


def _row(kind: Kind, *codes: str, text: str = "", statuses: range | tuple[int, ...] = ()) -> Row:
    return Row(kind, frozenset(codes), text, statuses)


#: Quota stands before capacity: a request may tell of both, and no zone mends a quota.
#: VM_MIN_COUNT_NOT_REACHED says that something else went wrong, so it is in no row.
TABLE: tuple[Row, ...] = (
    _row(
        Kind.QUOTA, "QUOTA_EXCEEDED", "quotaExceeded", "CPU_QUOTA_EXCEEDED", "GPU_QUOTA_EXCEEDED",
        text=r"Quota '[A-Z0-9_]+' exceeded",
    ),
    _row(
        Kind.CAPACITY, "ZONE_RESOURCE_POOL_EXHAUSTED", "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "REGION_RESOURCE_POOL_EXHAUSTED", "resourcePoolExhausted", "insufficientCapacity", "stockout",
        text=r"does not have enough resources|RESOURCE_POOL_EXHAUSTED|resource_availability",
    ),
    _row(Kind.AUTH, "authError", "forbidden", "accessNotConfigured", "PERMISSIONS_ERROR", statuses=(401,)),
    _row(Kind.NOT_OFFERED, text=r"(?i)(acceleratorTypes|machineTypes)/\S+.*(not found|does not exist)"),
    _row(Kind.TAKEN, "alreadyExists", "RESOURCE_ALREADY_EXISTS", statuses=(409,)),
    _row(Kind.TRANSIENT, "rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "backendError"),
    _row(Kind.NOT_FOUND, "notFound", "RESOURCE_NOT_FOUND", statuses=(404,)),
    _row(Kind.AUTH, statuses=(403,)),
    _row(Kind.TRANSIENT, "INTERNAL_ERROR", "internalError", statuses=(408, 429, *range(500, 600))),
    _row(Kind.INVALID, "INVALID_ARGUMENT", statuses=range(400, 500)),
)  # fmt: skip

NEXT_STEP: dict[Kind, str] = {
    Kind.QUOTA: "Ask for more quota (IAM & Admin, Quotas): the regional one of the GPU and the global one, "
    "GPUS_ALL_REGIONS, which is 0 in a new project. Another zone does not help.",
    Kind.CAPACITY: "Allow more zones or provisioning models, or try again later.",
    Kind.NOT_OFFERED: "Choose zones that offer it: gcloud compute accelerator-types list.",
    Kind.TAKEN: "Choose another name.",
    Kind.NOT_FOUND: "Look at the project, the zone and the name.",
    Kind.AUTH: "Look at the credentials and the project: the account needs the role compute.instanceAdmin.v1 in it.",
    Kind.INVALID: "Nothing was created; mend the request.",
    Kind.TRANSIENT: "Nothing was wrong with the request; try again.",
}


def classify(status: int | None, codes: Iterable[str], message: str) -> Kind:
    """The row that fits: by code, else by text, else by status; what nobody knows is not tried again."""
    given = set(codes)
    by_code = (row.kind for row in TABLE if row.codes & given)
    by_text = (row.kind for row in TABLE if row.text and re.search(row.text, message))
    by_status = (row.kind for row in TABLE if status in row.statuses)
    return min(
        (kind for kind in (next(by_code, None), next(by_text, None)) if kind is not None),
        key=[row.kind for row in TABLE].index,
        default=next(by_status, Kind.INVALID),
    )


def of_status(
    what: str, status: int, message: str, reasons: Iterable[str] = (), retry_after: float | None = None
) -> CloudError:
    """The error of a request that was answered with an error status."""
    kind = classify(status, reasons, message)
    return CloudError(f"{what}: {status}: {message}", kind=kind, hint=NEXT_STEP[kind], retry_after=retry_after)


def of_operation(what: str, operation: Mapping[str, Any]) -> CloudError | None:
    """The error of an operation that is done, None where there is none."""
    errors = (operation.get("error") or {}).get("errors") or []
    if not errors:
        return None
    message = "; ".join(f"{one.get('code', '')}: {one.get('message', '')}".strip(": ") for one in errors)
    codes = [one.get("code", "") for one in errors]
    kind = classify(operation.get("httpErrorStatusCode"), codes, message)
    return CloudError(f"{what}: {message}", kind=kind, hint=NEXT_STEP[kind], hints=_zones_available(errors))


def _zones_available(errors: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The zones that a stock-out itself names (errorDetails[].errorInfo.metadatas.zonesAvailable)."""
    found = []
    for error in errors:
        for detail in error.get("errorDetails") or ():
            named = ((detail.get("errorInfo") or {}).get("metadatas") or {}).get("zonesAvailable", "")
            found += [zone.strip() for zone in named.split(",") if zone.strip()]
    return tuple(dict.fromkeys(found))
