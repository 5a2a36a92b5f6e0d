# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client-side rate limit predicts, so that a role knows whether the number it just saw is that limit.

client-go limits a client by a token bucket (k8s.io/client-go/util/flowcontrol: qps tokens a second, at most burst of
them saved). N pods at r requests each, from a full bucket, end (r·N − burst)/qps after the first.
"""

from __future__ import annotations

from typing import Any

#: The share by which a prediction may miss and still explain the number.
TOLERANCE = 0.05


def compare(values: dict[str, Any], qps: float, burst: int, component: str) -> dict[str, Any]:
    """Prediction against what was seen, in seconds from first to last bind.

    Returns {limited, predicted, observed, within, requests_per_pod}.

    ``values`` are those of a pod_load observation. Limits are off when qps <= 0: then nothing is predicted.
    """
    audit = values["audit"]
    # The API server's own stamps where it has one of every bind: the watch tells later when the machine is busy.
    stamps = audit if audit["available"] and audit["bound"] == values["bound"] else values
    first, last = stamps["first_bind"], stamps["last_bind"]
    if qps <= 0 or first is None or last is None:
        return {"limited": qps > 0, "predicted": None, "observed": None, "within": False}
    requests = audit.get("requests_per_pod", {}).get(component, 1.0) if audit["available"] else 1.0
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
