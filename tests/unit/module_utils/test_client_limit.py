# SPDX-License-Identifier: GPL-3.0-or-later
"""What a token bucket predicts, and when that explains a number."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench.client_limit import compare, compare_requests


def seen(
    seconds: float | None, bound: int = 400, requests: float | None = None, *, audited: tuple[int, float] = (0, 0.0)
) -> dict[str, Any]:
    """What a load saw; `audited` is how many binds the audit log stamped, and the seconds between them."""
    audit = {
        "available": requests is not None,
        "requests_per_pod": {"kube-scheduler": requests},
        "bound": audited[0],
        "first_bind": 9.5,
        "last_bind": 9.5 + audited[1],
    }
    return {
        "first_bind": 10.0,
        "last_bind": None if seconds is None else 10.0 + seconds,
        "bound": bound,
        "audit": audit,
    }


@pytest.mark.parametrize(
    ("values", "qps", "burst", "predicted", "within"),
    [
        (seen(15.2), 20, 100, 15.0, True),
        (seen(15.8), 20, 100, 15.0, False),
        (seen(14.2), 20, 100, 15.0, False),
        (seen(35.0, requests=2.0), 20, 100, 35.0, True),
        (seen(15.0, requests=2.0), 20, 100, 35.0, False),
        (seen(0.5), 5000, 10000, 0.0, False),
    ],
    ids=["fits", "too slow", "too fast", "two requests a pod", "one would have fitted", "all within the burst"],
)
def test_the_prediction_explains_a_number_within_five_percent(
    values: dict[str, Any], qps: float, burst: int, predicted: float, within: bool
) -> None:
    found = compare(values, qps, burst, "kube-scheduler")
    observed = values["last_bind"] - values["first_bind"]
    assert found == {
        "limited": True,
        "predicted": predicted,
        "observed": pytest.approx(observed),
        "within": within,
        "requests_per_pod": values["audit"]["requests_per_pod"]["kube-scheduler"] or 1.0,
    }


@pytest.mark.parametrize(("audited", "observed"), [((400, 15.0), 15.0), ((399, 15.0), 16.0)], ids=["all", "one lacks"])
def test_the_audit_log_is_believed_before_the_watch_when_it_saw_every_bind(
    audited: tuple[int, float], observed: float
) -> None:
    found = compare(seen(16.0, requests=1.0, audited=audited), 20, 100, "kube-scheduler")
    assert (found["observed"], found["within"]) == (observed, observed == 15.0)


@pytest.mark.parametrize(("values", "qps"), [(seen(15.0), -1), (seen(15.0), 0), (seen(None), 20)])
def test_nothing_is_predicted_without_a_limit_or_without_a_bind(values: dict[str, Any], qps: float) -> None:
    found = compare(values, qps, 100, "kube-scheduler")
    assert found == {"limited": qps > 0, "predicted": None, "observed": None, "within": False}


BIND, PATCH = "create pods/binding", "patch pods"


@pytest.mark.parametrize(
    ("requests", "made", "per_pod"),
    [
        ([], {BIND: 400, PATCH: 400}, 2.0),
        ([BIND], {BIND: 400, PATCH: 400}, 1.0),
        ([BIND, "never made"], {BIND: 400, PATCH: 400}, 1.0),
        ([], {}, 0.0),
    ],
    ids=["all", "one of two clients", "one that was not made", "a component that asked nothing"],
)
def test_a_client_is_predicted_from_the_requests_that_are_its_own(
    requests: list[str], made: dict[str, int], per_pod: float
) -> None:
    values = seen(35.0, requests=9.0)
    values["audit"] |= {"requests_in_window": {"binder": made}, "binds_in_window": 400}
    found = compare_requests(values, {"component": "binder", "qps": 20, "burst": 100, "requests": requests})
    predicted = max(0.0, (400 * per_pod - 100) / 20)
    assert found == {"component": "binder", "limited": True, "predicted": predicted, "observed": 35.0,
                     "within": predicted == 35.0, "requests_per_pod": per_pod}  # fmt: skip


@pytest.mark.parametrize("audit", [{"available": False}, {"available": True, "binds_in_window": 0}])
def test_without_the_audit_log_nobody_knows_how_many_requests_a_pod_takes(audit: dict[str, Any]) -> None:
    values = seen(35.0) | {"audit": audit | {"bound": 0, "first_bind": None, "last_bind": None}}
    found = compare_requests(values, {"component": "binder", "qps": 20, "burst": 100, "requests": []})
    assert found == {"component": "binder", "limited": True, "predicted": None, "observed": None, "within": False}
