# SPDX-License-Identifier: GPL-3.0-or-later
"""What a token bucket predicts, and when that explains a number."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench.client_limit import compare


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
