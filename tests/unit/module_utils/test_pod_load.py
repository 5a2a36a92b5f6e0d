# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a pod load: bodies, moments, and what cannot be carried out."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from ansible.module_utils.nightbench.calibration import ceiling
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.pod_load import LoadPlan, pod_body, send_times

TEMPLATE: dict[str, Any] = {"metadata": {"labels": {"own": "yes"}}, "spec": {"containers": [{"name": "main"}]}}


def plan(**changes: Any) -> LoadPlan:
    return LoadPlan(**{"name": "fill", "namespace": "load", "count": 3, "template": TEMPLATE} | changes)


def test_a_body_is_the_template_with_the_name_and_the_label_of_the_load() -> None:
    assert json.loads(pod_body(plan())("fill-1")) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"own": "yes", "nightbench.io/load": "fill"}, "name": "fill-1"},
        "spec": {"containers": [{"name": "main"}]},
    }
    assert "name" not in TEMPLATE["metadata"]


@pytest.mark.parametrize(
    ("count", "names"), [(1, ["fill-0"]), (3, ["fill-0", "fill-1", "fill-2"]), (11, ["fill-00", "fill-10"])]
)
def test_names_sort_as_they_count(count: int, names: list[str]) -> None:
    made = plan(count=count).names()
    assert len(made) == len(set(made)) == count
    assert made == sorted(made)
    assert {made[0], made[-1]} == {names[0], names[-1]}


@pytest.mark.parametrize("template", [{}, {"spec": {}}, {"spec": {"containers": []}}])
def test_a_template_without_containers_is_refused(template: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"no spec\.containers"):
        pod_body(plan(template=template))


def test_a_closed_loop_has_no_moments() -> None:
    assert send_times(plan()) is None


@pytest.mark.parametrize("rate", [0, -1.5])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ConfigurationError, match="cannot be sent"):
        send_times(plan(rate=rate))


def test_constant_arrivals_are_evenly_spaced() -> None:
    times = send_times(plan(rate=4.0))
    assert times is not None
    assert list(itertools.islice(times, 5)) == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_poisson_arrivals_keep_the_rate_vary_and_come_back_with_the_seed() -> None:
    def first(seed: int) -> list[float]:
        times = send_times(plan(rate=10.0, arrivals="poisson", seed=seed))
        assert times is not None
        return list(itertools.islice(times, 4001))

    assert first(1) == first(1) != first(2)
    assert first(1)[-1] == pytest.approx(400.0, rel=0.05)
    gaps = {round(after - before, 6) for before, after in itertools.pairwise(first(1))}
    assert len(gaps) > 3000


def test_the_load_generator_is_measured_against_a_null_server_that_is_gone_afterwards() -> None:
    found = ceiling(plan(count=50, connections=4), seconds=0.1)
    assert found["requests"] % 50 == 0
    assert found["ceiling_per_second"] == pytest.approx(found["requests"] / found["seconds"], rel=0.02)
