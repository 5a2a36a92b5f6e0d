# SPDX-License-Identifier: GPL-3.0-or-later
"""A client's limit is found where it is, confirmed by intervention, and claimed nowhere else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from harness import bound_by, metrics
from harness.bound_by import ClientLimit, Finding
from harness.model import BoundBy, Observation
from harness.pod_load import PodLoad
from tests.fakes.run_builder import OFF, ON, SUBJECT, Shape, pod_load

BIND_ALL = metrics.table()["bind_all_seconds"]
THROTTLED = Shape(qps=20, burst=100)


def load(values: dict[str, Any], parameters: dict[str, Any] | None = None, repeat: int = 1) -> PodLoad:
    observation = Observation(
        "20261122T183000Z-1a2b", "", "scheduler_scale", "pod_load", values, OFF, SUBJECT, repeat, parameters or {}
    )
    return PodLoad(observation, [])


def loads(shape: Shape, scenario: str = OFF) -> list[PodLoad]:
    return [load(pod_load(shape, scenario, repeat)[0], repeat=repeat) for repeat in (1, 2, 3)]


def simple(pods: int, seconds: float, parameters: dict[str, Any] | None = None, **values: Any) -> PodLoad:
    """A load of which only the binding is known."""
    moments = {
        "released": 1.0,
        "create_started": 0.0,
        "create_ended": 0.5,
        "first_bind": 2.0,
        "last_bind": 2.0 + seconds,
    }
    return load({"asked": pods, "created": pods, "bound": pods, **moments, **values}, parameters)


def derive(shape: Shape, scenario: str = OFF, metric: str = "bind_all_seconds", **changed: Any) -> Finding:
    second = pod_load(replace(shape, pods=shape.pods // 2), scenario, 1)[0]
    raised = {"qps": 2 * shape.qps, "burst": 2 * shape.burst}
    doubled = pod_load(replace(shape, **raised), scenario, 1)[0]
    arguments: dict[str, Any] = {
        "limit": ClientLimit(SUBJECT, shape.qps, shape.burst),
        "ceiling": shape.ceiling,
        "second_size": [load(second)],
        "doubled": load(doubled, raised),
    }
    return bound_by.derive(metrics.table()[metric], loads(shape, scenario), **(arguments | changed))


@pytest.mark.parametrize("scenario", [OFF, ON])
@pytest.mark.parametrize(
    "metric",
    [
        "bind_all_seconds",
        "run_all_seconds",
        "first_bind_to_last_bind_seconds",
        "pods_bound_per_second",
        "pod_created_to_bound_seconds",
    ],
)
def test_a_throttled_scheduler_is_found_and_confirmed(scenario: str, metric: str) -> None:
    found = derive(THROTTLED, scenario, metric)
    limit = {"qps": 20.0, "burst": 100.0, "requests_per_pod": 1.0}
    assert found.bound_by == BoundBy("client_limit", SUBJECT, limit, 35.0, pytest.approx(35.0, abs=0.02))
    assert found.reason == ""
    assert found.evidence is not None
    assert found.evidence.holds


@pytest.mark.parametrize(
    "metric", ["scheduler_start_to_first_bind_seconds", "pods_created_per_second", "pod_bound_to_running_seconds"]
)
def test_what_the_limit_does_not_reach_is_not_bound_by_it(metric: str) -> None:
    found = derive(THROTTLED, metric=metric).bound_by
    assert found is not None
    assert found.kind == "subject"


def test_requests_are_counted_by_the_audit_log_without_those_of_other_clients() -> None:
    # The audit log of the fake has one event a pod more: those go through a client of their own.
    found = derive(replace(THROTTLED, requests_per_pod=2.0)).bound_by
    assert found is not None
    assert found.limit == {"qps": 20.0, "burst": 100.0, "requests_per_pod": 2.0}
    assert found.predicted == 75.0


@pytest.mark.parametrize("qps", [0.0, -1.0])
def test_limits_that_are_off_bound_nothing(qps: float) -> None:
    found = derive(THROTTLED, limit=ClientLimit(SUBJECT, qps, 100)).bound_by
    assert found is not None
    assert found.kind == "subject"


def test_an_unknown_limit_bounds_nothing() -> None:
    found = derive(THROTTLED, limit=None).bound_by
    assert found is not None
    assert found.kind == "subject"


def test_a_load_that_fits_into_the_burst_is_not_held_back() -> None:
    assert ClientLimit(SUBJECT, 20, 800).seconds(800) is None
    found = derive(replace(THROTTLED, burst=800)).bound_by
    assert found is not None
    assert found.kind == "subject"


NOT_CONFIRMED = [
    ({"second_size": []}, "no run of a second size; throughput 2 times"),
    ({"doubled": None}, "slope 0.05 s a pod; no run with twice the limit"),
    ({"second_size": [simple(400, 10.0)]}, "slope 0.0625 s a pod; throughput 2 times"),
    ({"second_size": [simple(800, 35.0)]}, "the run of a second size has the same size; throughput 2 times"),
    ({"second_size": [simple(90, 0.1)]}, "the run of a second size (90 pods) fits into the burst; throughput 2 times"),
    ({"doubled": simple(800, 35.0)}, "slope 0.05 s a pod; throughput 0.857 times"),
    ({"doubled": simple(150, 1.0)}, "slope 0.05 s a pod; the run with twice the limit (150 pods) fits into its burst"),
]


def test_several_runs_of_the_second_size_speak_by_their_mean() -> None:
    found = derive(THROTTLED, second_size=[simple(400, 14.6), simple(400, 15.4)])
    assert found.evidence is not None
    assert (found.evidence.observed, found.evidence.holds) == ("slope 0.05 s a pod; throughput 2 times", True)


@pytest.mark.parametrize(("changed", "observed"), NOT_CONFIRMED)
def test_what_is_not_confirmed_is_said_and_not_claimed(changed: dict[str, Any], observed: str) -> None:
    found = derive(THROTTLED, **changed)
    assert found.bound_by is None
    assert found.evidence is not None
    assert (found.evidence.name, found.evidence.observed, found.evidence.holds) == (
        "client_limit_confirmed",
        observed,
        False,
    )
    assert found.reason == (
        "The client limit of kube-scheduler predicts 35 s from first to last bind and 35 s was seen, "
        f"but it is not confirmed: {observed}."
    )


LIMITS = {
    "qps": st.floats(5, 200),
    "burst": st.integers(1, 300),
    "requests": st.sampled_from([1.0, 2.0, 3.0]),
    "pods": st.integers(400, 8000),
}


@settings(deadline=None)
@given(**LIMITS, noise=st.floats(-0.002, 0.002))
def test_any_token_bucket_is_found(qps: float, burst: int, requests: float, pods: int, noise: float) -> None:
    limit = ClientLimit(SUBJECT, qps, burst, requests)
    seconds, half = limit.seconds(pods), limit.seconds(pods // 2)
    assume(seconds is not None and half is not None and pods * requests > 4 * burst)
    assert seconds is not None
    assert half is not None
    audit = {"available": True, "bound": pods, "requests": {SUBJECT: {"create pods/binding": requests * pods}}}
    faster = ClientLimit(SUBJECT, 2 * qps, burst, requests).seconds(pods)
    assert faster is not None
    found = bound_by.derive(
        BIND_ALL,
        [simple(pods, seconds * (1 + noise), audit=audit), simple(pods, seconds, audit=audit)],
        limit=ClientLimit(SUBJECT, qps, burst),
        ceiling=1e9,
        second_size=[simple(pods // 2, half)],
        doubled=simple(pods, faster, {"qps": 2 * qps, "burst": burst}),
    )
    assert found.bound_by is not None
    assert (found.bound_by.kind, found.bound_by.component) == ("client_limit", SUBJECT)
    assert found.bound_by.predicted == pytest.approx(seconds)


@settings(deadline=None)
@given(**LIMITS, off=st.one_of(st.floats(0.1, 0.94), st.floats(1.06, 10)))
def test_a_time_that_the_bucket_does_not_predict_is_not_put_on_it(
    qps: float, burst: int, requests: float, pods: int, off: float
) -> None:
    limit = ClientLimit(SUBJECT, qps, burst, requests)
    seconds, half = limit.seconds(pods), limit.seconds(pods // 2)
    assume(seconds is not None and half is not None)
    assert seconds is not None
    assert half is not None
    audit = {"available": True, "bound": pods, "requests": {SUBJECT: {"create pods/binding": requests * pods}}}
    found = bound_by.derive(
        BIND_ALL,
        [simple(pods, seconds, audit=audit), simple(pods, seconds * off, audit=audit)],
        limit=ClientLimit(SUBJECT, qps, burst),
        ceiling=1e9,
        second_size=[simple(pods // 2, half)],
        doubled=simple(pods, seconds / 2, {"qps": 2 * qps, "burst": burst}),
    )
    assert found.bound_by is not None
    assert found.bound_by.kind == "subject"
    assert found.evidence is None


@settings(deadline=None)
@given(pods=st.integers(400, 8000), rate=st.floats(20, 2000), burst=st.integers(1, 100))
def test_a_scheduler_that_happens_to_be_as_fast_as_its_limit_is_not_moved_by_doubling_it(
    pods: int, rate: float, burst: int
) -> None:
    # Its own speed gives the predicted time at every size; only the intervention tells.
    def takes(count: int) -> float:
        return (count - burst) / rate

    found = bound_by.derive(
        BIND_ALL,
        [simple(pods, takes(pods))],
        limit=ClientLimit(SUBJECT, rate, burst),
        ceiling=1e9,
        second_size=[simple(pods // 2, takes(pods // 2))],
        doubled=simple(pods, takes(pods), {"qps": 2 * rate, "burst": burst}),
    )
    assert found.bound_by is None
    assert "not confirmed" in found.reason


SATURATED = Shape(busy=0.97)
BOUNDS = [
    (Shape(), OFF, "bind_all_seconds", BoundBy("subject", SUBJECT, None, None, 0.4)),
    (Shape(), ON, "bind_all_seconds", BoundBy("subject", SUBJECT, None, None, 0.4)),
    (SATURATED, OFF, "bind_all_seconds", BoundBy("machine", "kube-apiserver", {"cpu_busy_ratio": 0.9}, None, 0.97)),
    (
        SATURATED,
        ON,
        "pod_bound_to_running_seconds",
        BoundBy("machine", "kube-apiserver", {"cpu_busy_ratio": 0.9}, None, 0.97),
    ),
    (Shape(busy=0.89), OFF, "bind_all_seconds", BoundBy("subject", SUBJECT, None, None, 0.4)),
    (Shape(), OFF, "pod_bound_to_running_seconds", BoundBy("subject", "kwok", None, None, 0.2)),
    (Shape(), OFF, "pods_created_per_second", BoundBy("subject", "kube-apiserver", None, None, 0.6)),
    # The load is in the window only where the scheduler runs meanwhile.
    (Shape(ceiling=1500.0), OFF, "bind_all_seconds", BoundBy("subject", SUBJECT, None, None, 0.4)),
    (
        Shape(ceiling=1500.0),
        ON,
        "bind_all_seconds",
        BoundBy(
            "load_generator",
            "load generator",
            {"ceiling_per_second": 1500.0},
            pytest.approx(2077.15, abs=0.1),
            pytest.approx(692.4, abs=0.1),
        ),
    ),
    (
        Shape(rate_asked=50.0),
        ON,
        "pods_bound_per_second",
        BoundBy("load_generator", "load generator", {"rate_asked": 50.0}, 50.0, pytest.approx(50.0, abs=0.1)),
    ),
    # How long a pod waits at a given rate is the scheduler's own.
    (Shape(rate_asked=50.0), ON, "pod_created_to_bound_seconds", BoundBy("subject", SUBJECT, None, None, 0.4)),
    (Shape(rate_asked=50.0), OFF, "bind_all_seconds", BoundBy("subject", SUBJECT, None, None, 0.4)),
    (
        Shape(bind_rate=5000.0),
        ON,
        "bind_all_seconds",
        BoundBy("load_generator", "load generator", None, pytest.approx(692.4, abs=0.1), pytest.approx(703.7, abs=0.1)),
    ),
    # As fast as they come, on a machine that can do no more: the machine.
    (
        Shape(bind_rate=5000.0, busy=0.95),
        ON,
        "bind_all_seconds",
        BoundBy("machine", "kube-apiserver", {"cpu_busy_ratio": 0.9}, None, 0.95),
    ),
]


@pytest.mark.parametrize(("shape", "scenario", "metric", "expected"), BOUNDS)
def test_what_bounds_a_number(shape: Shape, scenario: str, metric: str, expected: BoundBy) -> None:
    assert derive(shape, scenario, metric).bound_by == expected


def test_repeats_that_disagree_are_said() -> None:
    repeats = [*loads(Shape())[:2], *loads(SATURATED)[2:]]
    found = bound_by.derive(BIND_ALL, repeats, limit=None, ceiling=2800.0)
    assert found == Finding(
        BoundBy("subject", SUBJECT, None, None, 0.4),
        "2 of 3 repeats were bound by subject (kube-scheduler), 1 by machine (kube-apiserver).",
    )


WORDS = [
    (None, "Not known."),
    (
        BoundBy("client_limit", "binder", {"qps": 20, "burst": 100, "requests_per_pod": 2}, 395.0, 397.77),
        (
            "The client of binder may send 20 requests a second (burst 100, 2 a pod): "
            "that predicts 395 s from first to last bind, 397.8 s was seen."
        ),
    ),
    (
        BoundBy("probe_period", "kubelet", {"period_seconds": 10}, 10.0, 10.2),
        "The probe of kubelet looks only every 10 s; 10.2 s was seen.",
    ),
    (
        BoundBy("machine", "etcd", {"cpu_busy_ratio": 0.9}, None, 0.97),
        "The machine: its processors were 97 % busy; etcd used most of them.",
    ),
    (
        BoundBy("load_generator", "load generator", {"rate_asked": 50}, 50.0, 49.9),
        "The load: 50/s were asked for, 49.9/s came about.",
    ),
    (
        BoundBy("load_generator", "load generator", {"ceiling_per_second": 1500}, 2100.0, 700.0),
        "The load: the generator alone reaches 1,500/s, not 3 times the 700/s that were used.",
    ),
    (
        BoundBy("load_generator", "load generator", None, 700.0, 699.0),
        "The load: pods were bound as fast as they were created (700/s created, 699/s bound).",
    ),
    (
        BoundBy("subject", "kube-scheduler", None, None, 0.95),
        "kube-scheduler itself: it kept one core busy (0.95), and a loop of one thread has no more.",
    ),
    (
        BoundBy("subject", "kube-scheduler", None, None, 0.4),
        "kube-scheduler itself: no limit outside it was found (0.4 cores used).",
    ),
    (BoundBy("subject", "kwok", None, None, None), "kwok itself: no limit outside it was found."),
]


@pytest.mark.parametrize(("found", "text"), WORDS)
def test_a_bound_in_words(found: BoundBy | None, text: str) -> None:
    assert bound_by.in_words(found) == text
