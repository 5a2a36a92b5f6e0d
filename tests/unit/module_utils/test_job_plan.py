# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a load of parts: bodies, moments, stages, and what cannot be carried out."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.job_plan import JobLoadPlan, Watched, load_plan, planned
from ansible.modules.bench_job_load import ARGUMENT_SPEC

POD: dict[str, Any] = {"metadata": {"labels": {"own": "yes"}}, "spec": {"containers": [{"name": "main"}]}}
JOB: dict[str, Any] = {"metadata": {"annotations": {"a": "b"}}, "spec": {"backoffLimit": 1, "template": POD}}


def plan(*parts: dict[str, Any], **changes: Any) -> JobLoadPlan:
    """From options as a task gives them."""
    given = [{"name": "p", "count": 2, "template": JOB if part.get("form") == "jobs" else POD} | part
             for part in parts or ({},)]  # fmt: skip
    checked = ArgumentSpecValidator(ARGUMENT_SPEC).validate({"name": "load", "parts": given} | changes)
    assert checked.error_messages == []
    return load_plan(checked.validated_parameters)


OURS = {"nightbench.io/load": "load", "nightbench.io/part": "p"}


def test_a_pod_is_the_template_with_a_name_and_our_labels() -> None:
    body = plan().parts[0].body("load")
    assert json.loads(body("load-p-1")) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"labels": {"own": "yes", **OURS}, "name": "load-p-1"},
        "spec": {"containers": [{"name": "main"}]},
    }


def test_a_job_has_its_size_and_the_labels_reach_its_pods() -> None:
    body = plan({"form": "jobs", "pods_per_job": 4}).parts[0].body("load")
    assert json.loads(body("x")) == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"annotations": {"a": "b"}, "labels": OURS, "name": "x"},
        "spec": {
            "backoffLimit": 1,
            "parallelism": 4,
            "completions": 4,
            "template": {
                "metadata": {"labels": {"own": "yes", **OURS}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]},
            },
        },
    }
    assert JOB["spec"] == {"backoffLimit": 1, "template": POD}


def test_what_the_template_says_of_restarts_stays() -> None:
    template = {"spec": {"template": {"spec": {"restartPolicy": "OnFailure", "containers": [{"name": "main"}]}}}}
    body = plan({"form": "jobs", "template": template}).parts[0].body("load")
    assert json.loads(body("x"))["spec"]["template"]["spec"]["restartPolicy"] == "OnFailure"


@pytest.mark.parametrize(
    ("part", "moments"),
    [
        ({}, None),
        ({"rate": 4.0}, [0.0, 0.25]),
        ({"arrivals": "trace", "moments": [3.5, 1]}, [1.0, 3.5]),
        ({"arrivals": "trace", "process": {"kind": "constant", "rate": 2}}, [0.0, 0.5]),
    ],
)
def test_objects_are_due_when_the_plan_says(part: dict[str, Any], moments: list[float] | None) -> None:
    times = plan(part).parts[0].send_times()
    assert (None if times is None else list(itertools.islice(times, 2))) == moments


def test_arrivals_by_chance_keep_the_rate_and_come_back_with_the_seed() -> None:
    def first(seed: int) -> list[float]:
        times = plan({"rate": 10.0, "arrivals": "poisson", "seed": seed}).parts[0].send_times()
        assert times is not None
        return list(itertools.islice(times, 4001))

    assert first(1) == first(1) != first(2)
    assert first(1)[-1] == pytest.approx(400.0, rel=0.05)


def test_parts_that_start_together_are_one_stage() -> None:
    made = plan({"name": "a"}, {"name": "b"}, {"name": "c", "together": True}, {"name": "d"})
    assert [[part.name for part in stage] for stage in made.stages()] == [["a"], ["b", "c"], ["d"]]


@pytest.mark.parametrize(("measured", "names"), [((), ["b"]), (("a",), ["a"]), (("a", "b"), ["a", "b"])])
def test_the_last_part_is_measured_when_none_is(measured: tuple[str, ...], names: list[str]) -> None:
    made = plan(*({"name": name, "measured": name in measured} for name in "ab"))
    assert [part.name for part in made.measured] == names


def test_kinds_that_are_null_are_not_watched() -> None:
    made = plan(observed={"group": None, "decision": {"api_version": "x/v1", "kind": "Bind"}})
    assert (made.group, made.decision) == (None, Watched("x/v1", "Bind", "metadata.name"))


WRONG: list[tuple[list[dict[str, Any]], dict[str, Any], str]] = [
    ([], {"parts": []}, "parts: there is none."),
    ([{"count": 0}], {}, "parts: p: count: 0 is not a number of at least 1"),
    ([{"form": "jobs", "pods_per_job": 0}], {}, "pods_per_job: 0 is not a number of at least 1"),
    ([{"template": {}}], {}, "the template has no spec.containers. Give a whole Pod"),
    ([{"form": "jobs", "template": POD}], {}, "no spec.template.spec.containers. Give a whole Job"),
    ([{"pods_per_job": 2}], {}, "a bare pod is no Job"),
    ([{"form": "jobs", "pods_per_job": 2, "min_member": 3}], {}, "min_member: 3 is not between 1 and 2 pods"),
    ([{"form": "jobs", "pods_per_job": 2, "min_member": 0}], {}, "min_member: 0 is not between 1 and 2 pods"),
    ([{"rate": 0}], {}, "rate: 0.0 a second cannot be sent"),
    ([{"arrivals": "poisson"}], {}, "arrivals: poisson needs a rate"),
    ([{"arrivals": "trace", "rate": 1, "moments": [1, 2]}], {}, "trace has moments and no rate"),
    ([{"arrivals": "trace", "moments": [1]}], {}, "trace needs 2 moments, one for each object, and has 1"),
    ([{"arrivals": "trace", "moments": [1, -1]}], {}, "one lies before the start"),
    ([{"moments": [1, 2]}], {}, "moments are for arrivals: trace"),
    ([{"arrivals": "poisson", "rate": 1, "process": {"rate": 2}}], {}, "process gives the moments of arrivals: trace"),
    ([{"arrivals": "trace", "process": {"kind": "gamma", "rate": 2}}], {}, "gamma needs cv"),
    ([{"sequential": True, "rate": 1}], {}, "a sequential part has no rate"),
    ([{"sequential": True, "until": "created"}], {}, "needs a milestone after created"),
    ([{}, {}], {}, "parts: p is there more than once"),
    ([{"together": True}], {}, "p is the first: there is no part to start together with"),
    ([{"delete": {"part": "q", "per_node": 1}}], {}, "delete.part: q is no earlier part"),
    ([{"delete": {"part": "p", "per_node": 1}}], {}, "delete.part: p is no earlier part"),
    ([{}, {"name": "q", "delete": {"part": "p", "per_node": 0}}], {}, "delete.per_node is not a number of at least 1"),
    ([{"topology": {"level": "rack"}}], {}, "topology.level: rack is none of topology_labels (empty)"),
    ([{"topology": {"level": "rack"}}], {"topology_labels": {"zone": "z"}}, "none of topology_labels (zone)"),
    ([{}], {"connections": 0}, "connections: 0 is not a number of at least 1"),
    ([{}], {"release": {"name": "x"}}, "release needs run_state"),
]


@pytest.mark.parametrize(("parts", "changes", "text"), WRONG)
def test_what_cannot_be_done_is_said(parts: list[dict[str, Any]], changes: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        plan(*parts, **changes)
    assert text in str(raised.value)


def test_the_plan_can_be_shown() -> None:
    made = plan(
        {"name": "victims", "form": "jobs", "count": 11},
        {"name": "gang", "form": "jobs", "count": 1, "pods_per_job": 4, "rate": 0.5, "until": "bound",
         "delete": {"part": "victims", "per_node": 5}},
        observed={"group": {"api_version": "x/v1", "kind": "PodGroup"}},
    )  # fmt: skip
    common = {"form": "jobs"}
    assert planned(made) == {
        "namespace": "default",
        "pods": 15,
        "connections": 16,
        "measured_part": "gang",
        "parts": [
            common | {"name": "victims", "stage": 1, "jobs": 11, "pods": 11, "first": "load-victims-00",
                      "last": "load-victims-10", "until": "running", "seconds_to_send": None, "deletes": None},
            common | {"name": "gang", "stage": 2, "jobs": 1, "pods": 4, "first": "load-gang-0", "last": "load-gang-0",
                      "until": "bound", "seconds_to_send": 2.0, "deletes": {"part": "victims", "per_node": 5}},
        ],
        "observed": ["PodGroup"],
    }  # fmt: skip
