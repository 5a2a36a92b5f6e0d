# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client-side rate limit predicts, so that a role knows whether the number it just saw is that limit.

client-go limits a client by a token bucket (k8s.io/client-go/util/flowcontrol: qps tokens a second, at most burst of
them saved). N pods at r requests each, from a full bucket, end (r·N − burst)/qps after the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: The share by which a prediction may miss and still explain the number.
TOLERANCE = 0.05


def compare(values: dict[str, Any], qps: float, burst: int, component: str) -> dict[str, Any]:
    """Prediction against what was seen, in seconds from first to last bind.

    Returns {limited, predicted, observed, within, requests_per_pod}.

    ``values`` are those of a pod_load observation. Limits are off when qps <= 0: then nothing is predicted.
    """
    audit = values["audit"]
    requests = audit.get("requests_per_pod", {}).get(component, 1.0) if audit["available"] else 1.0
    return _compare(values, qps, burst, requests)


def compare_requests(values: dict[str, Any], limit: Mapping[str, Any]) -> dict[str, Any]:
    """The same for a client that makes only some of its component's requests.

    ``limit``: {component, qps, burst, requests}, the last a list as ["create pods/binding"], empty for all. How many of
    them there were for a pod is counted between the start and the last bind; without an audit log it is not known.
    """
    audit, component = values["audit"], limit["component"]
    counted = None
    if audit["available"] and audit["binds_in_window"]:
        made = audit["requests_in_window"].get(component, {})
        wanted = limit["requests"] or made
        counted = round(sum(made.get(what, 0) for what in wanted) / audit["binds_in_window"], 4)
    return {"component": component, **_compare(values, limit["qps"], limit["burst"], counted)}


def _compare(values: dict[str, Any], qps: float, burst: int, requests: float | None) -> dict[str, Any]:
    audit = values["audit"]
    # The API server's own stamps where it has one of every bind: the watch tells later when the machine is busy.
    stamps = audit if audit["available"] and audit["bound"] == values["bound"] else values
    first, last = stamps["first_bind"], stamps["last_bind"]
    if qps <= 0 or first is None or last is None or requests is None:
        return {"limited": qps > 0, "predicted": None, "observed": None, "within": False}
    predicted = max(0.0, (requests * values["bound"] - burst) / qps)
    observed = last - first
    within = predicted > 0 and abs(observed - predicted) <= TOLERANCE * predicted
    return {
        "limited": True,
        "predicted": round(predicted, 6),
        "observed": round(observed, 6),
        "within": within,
        "requests_per_pod": requests,
    }
