# SPDX-License-Identifier: GPL-3.0-or-later
"""What was asked for and silently ignored is found in live objects, in flags and in Deployments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench import configuration_flags
from ansible.module_utils.nightbench.configuration_check import Check, problems
from ansible.module_utils.nightbench.configuration_object import ObjectAudit, over_limits
from ansible.module_utils.nightbench.structural_schema import Schema, of_version

DEFINITIONS = Path(__file__).parents[2] / "fixtures" / "configuration" / "definitions.yml"
DROPPED = "Settings has no such field, so the API server dropped it without an error"
LACKS = "the live object lacks it: never applied, or removed since"


@pytest.fixture(scope="module")
def schema() -> Schema:
    found = of_version(next(yaml.safe_load_all(DEFINITIONS.read_text(encoding="utf-8"))), "v1")
    assert found is not None
    return found


def settings(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "x/v1", "kind": "Settings", "metadata": {"name": "one"}, "spec": spec}


# asked, live, and every check as (key, asked, observed, reason)
COMPARED: dict[str, tuple[Any, Any, list[tuple[str, Any, Any, str]]]] = {
    "taken over": ({"binder": {"replicas": 2}}, {"binder": {"replicas": 2}}, [("spec.binder.replicas", 2, 2, "")]),
    "more than asked": ({"binder": {"replicas": 2}}, {"binder": {"replicas": 2, "x": 1}, "y": 1},
                        [("spec.binder.replicas", 2, 2, "")]),
    "dropped": (
        {"binder": {"args": {"qps": 1000}}}, {"binder": {"replicas": 1}},
        [("spec.binder.args.qps", 1000, None,
          f"{DROPPED}; the nearest field is spec.binder.service.k8sClientConfig.qps")],
    ),
    "dropped without one that is near": (
        {"binder": {"wholly": []}}, {"binder": {}}, [("spec.binder.wholly", [], None, DROPPED)],
    ),
    "two dropped below one": (
        {"binder": {"args": {"qps": 1, "burst": 2}}}, {},
        [("spec.binder.args.qps", 1, None,
          f"{DROPPED}; the nearest field is spec.binder.service.k8sClientConfig.qps"),
         ("spec.binder.args.burst", 2, None,
          f"{DROPPED}; the nearest field is spec.binder.service.k8sClientConfig.burst")],
    ),
    "another value": ({"binder": {"replicas": 2}}, {"binder": {"replicas": 1}},
                      [("spec.binder.replicas", 2, 1, "the live object says 1")]),
    "never applied": ({"binder": {"replicas": 2}}, {"binder": {}}, [("spec.binder.replicas", 2, None, LACKS)]),
    "an object where a value was asked": ({"free": 1}, {"free": {"a": 1}},
                                          [("spec.free", 1, {"a": 1}, "the live object says {'a': 1}")]),
    "removed": ({"binder": {"replicas": None}}, {"binder": {}}, [("spec.binder.replicas", None, None, "")]),
    "not removed": ({"binder": {"replicas": None}}, {"binder": {"replicas": 1}},
                    [("spec.binder.replicas", None, 1, "it was to be removed and is still there")]),
    "a quantity written otherwise": (
        {"binder": {"service": {"resources": {"requests": {"cpu": "1"}}}}},
        {"binder": {"service": {"resources": {"requests": {"cpu": "1000m"}}}}},
        [("spec.binder.service.resources.requests.cpu", "1", "1000m", "")],
    ),
    "text that looks like a quantity": ({"free": {"text": "1"}}, {"free": {"text": "1000m"}},
                                        [("spec.free.text", "1", "1000m", "the live object says '1000m'")]),
    "true is not 1": ({"free": {"on": True}}, {"free": {"on": 1}},
                      [("spec.free.on", True, 1, "the live object says 1")]),
    "lists by place": ({"levels": [{"nodeLabel": "a"}]}, {"levels": [{"nodeLabel": "b"}]},
                       [("spec.levels[0].nodeLabel", "a", "b", "the live object says 'b'")]),
    "lists of another length": (
        {"levels": [{"nodeLabel": "a"}]}, {"levels": []},
        [("spec.levels", [{"nodeLabel": "a"}], [], "the live object says []")],
    ),
    "a field dropped from an item": (
        {"levels": [{"nodelabel": "a"}]}, {"levels": [{}]},
        [("spec.levels[0].nodelabel", "a", None, f"{DROPPED}; the nearest field is spec.levels.nodeLabel")],
    ),
    "lists by name": (
        {"free": {"env": [{"name": "A", "value": "1"}, {"name": "C", "value": "1"}]}},
        {"free": {"env": [{"name": "B", "value": "1"}, {"name": "A", "value": "1"}]}},
        [("spec.free.env[A].name", "A", "A", ""), ("spec.free.env[A].value", "1", "1", ""),
         ("spec.free.env[C].name", "C", None, LACKS), ("spec.free.env[C].value", "1", None, LACKS)],
    ),
    "nothing inside": ({"free": {}}, {"free": {}}, [("spec.free", {}, {}, "")]),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPARED)
def test_a_live_object_is_compared_value_by_value(schema: Schema, case: str) -> None:
    asked, live, expected = COMPARED[case]
    found = ObjectAudit("binder", settings(**asked), settings(**live), schema).checks()
    assert [(one.key, one.asked, one.observed, one.reason) for one in found] == expected
    assert all(one.holds is (one.reason == "") for one in found)


def test_without_a_schema_the_values_are_compared_alone() -> None:
    (check,) = ObjectAudit("binder", settings(args={"qps": 1}), settings(), None).checks()
    assert check == Check("binder", "spec.args.qps", 1, None, "Settings one as the API server has it", False, LACKS)


def test_of_the_metadata_labels_and_annotations_count() -> None:
    asked = {"kind": "x", "metadata": {"name": "one", "uid": "x", "labels": {"a": "1"}, "annotations": {"b": "2"}}}
    live = {**settings(), "metadata": {"name": "one", "uid": "y", "labels": {"a": "1", "z": "1"}}}
    found = list(ObjectAudit("binder", asked, live, None).checks())
    assert [(one.key, one.holds) for one in found] == [("metadata.labels.a", True), ("metadata.annotations.b", False)]


def test_who_wrote_another_value_over_it_is_named(schema: Schema) -> None:
    def entry(manager: str, *path: str) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        for name in reversed(path):
            fields = {f"f:{name}": fields}
        return {"manager": manager, "time": "2026-01-01T00:00:00Z", "fieldsV1": fields}

    live = settings(binder={"replicas": 1})
    live["metadata"]["managedFields"] = [
        entry("operator", "spec", "binder", "replicas"),
        entry("nightbench", "spec", "binder", "replicas"),
        entry("other", "spec", "queueController", "replicas"),
    ]
    (check,) = ObjectAudit("binder", settings(binder={"replicas": 2}), live, schema, "nightbench").checks()
    assert check.reason == "the live object says 1, set by operator at 2026-01-01T00:00:00Z"


RESOURCES = [
    ({"requests": {"memory": "1000Mi"}, "limits": {"memory": "200Mi"}}, [("memory", "1000Mi", "200Mi", False)]),
    ({"requests": {"memory": "200Mi"}, "limits": {"memory": "200Mi"}}, [("memory", "200Mi", "200Mi", True)]),
    ({"requests": {"cpu": "1500m"}, "limits": {"cpu": 1}}, [("cpu", "1500m", 1, False)]),
    ({"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}}, []),
    ({"requests": {"cpu": "much"}, "limits": {"cpu": "1"}}, []),
    ({"limits": {"cpu": "1"}}, []),
]


@pytest.mark.parametrize(("resources", "expected"), RESOURCES)
def test_a_request_over_its_limit_is_found(resources: Any, expected: list[tuple[str, Any, Any, bool]]) -> None:
    document = settings(queueController={"service": {"resources": resources}})
    path = "spec.queueController.service.resources"
    found = [(one.key, one.asked, one.observed, one.holds) for one in over_limits("kai", "here", document)]
    assert found == [
        (f"{path}.requests.{name} <= limits.{name}", asked, seen, holds) for name, asked, seen, holds in expected
    ]


def test_a_request_over_its_limit_says_what_comes_of_it() -> None:
    containers = [{"name": "main", "resources": RESOURCES[0][0]}]
    (check,) = over_limits("kai", "here", {"containers": containers})
    assert (check.key, check.reason) == (
        "containers[main].resources.requests.memory <= limits.memory",
        "the memory request 1000Mi is over the limit 200Mi: the API server refuses such a pod",
    )


KNOWN = ["qps", "burst", "max-consolidation-preemptees", "v"]
UNKNOWN = (
    "there is no flag max-number-consolidation-preemptees, so it is ignored or refused; "
    "the nearest is max-consolidation-preemptees"
)
# asked, observed, known, and every check as (key, asked, observed, reason)
ARGUMENTS: dict[str, tuple[Any, Any, Any, list[tuple[str, Any, Any, str]]]] = {
    "as asked": ({"qps": 20}, {"qps": "20", "v": "3"}, KNOWN, [("qps", 20, "20", "")]),
    "dashes make no difference": ({"--qps": 20}, {"qps": "20"}, KNOWN, [("qps", 20, "20", "")]),
    "another value": ({"qps": 20}, {"qps": "50"}, KNOWN, [("qps", 20, "50", "it runs with --qps=50")]),
    "not there": ({"qps": 20}, {}, KNOWN,
                  [("qps", 20, None, "--qps is not there, so the default of scheduler applies")]),
    "left out": ({"qps": None}, {}, KNOWN, [("qps", None, None, "")]),
    "not left out": ({"qps": None}, {"qps": "1"}, KNOWN,
                     [("qps", None, "1", "--qps was to be left out and is there")]),
    "unknown and asked": ({"max-number-consolidation-preemptees": 0}, {}, KNOWN,
                          [("max-number-consolidation-preemptees", 0, None, UNKNOWN)]),
    "unknown, asked and there": (
        {"max-number-consolidation-preemptees": 0}, {"max-number-consolidation-preemptees": "0"}, KNOWN,
        [("max-number-consolidation-preemptees", 0, "0", UNKNOWN)],
    ),
    "unknown and there": ({}, {"max-number-consolidation-preemptees": "0"}, KNOWN,
                          [("max-number-consolidation-preemptees", "0", "0", UNKNOWN)]),
    "unknown and like none": ({}, {"zzz": "0"}, KNOWN,
                              [("zzz", "0", "0", "there is no flag zzz, so it is ignored or refused")]),
    "nobody knows the flags": ({}, {"anything": "0"}, None, []),
}  # fmt: skip


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments_are_compared_with_what_runs(case: str) -> None:
    asked, observed, known, expected = ARGUMENTS[case]
    found = list(configuration_flags.arguments("scheduler", "here", asked, observed, known))
    assert [(one.key, one.asked, one.observed, one.reason) for one in found] == expected
    assert all(one.holds is (one.reason == "") for one in found)


FLAG_FIELDS: list[tuple[Any, list[tuple[str, str]]]] = [
    ({"args": {"qps": "1"}}, []),
    ({"args": {"max-number-consolidation-preemptees": "0"}},
     [("spec.args.max-number-consolidation-preemptees", UNKNOWN)]),
    ({"args": ["--qps=1"]}, [("spec.args", "it is no mapping of flags to their values")]),
    ({}, []),
    (None, []),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), FLAG_FIELDS)
def test_the_flags_in_a_field_of_an_object_are_known(spec: Any, expected: list[tuple[str, str]]) -> None:
    found = configuration_flags.flag_field("shard", "here", {"spec": spec}, "spec.args", KNOWN)
    assert [(one.key, one.reason) for one in found] == expected


def live_deployment(*containers: dict[str, Any], replicas: int = 1, generation: int = 1) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "kai", "name": "binder", "generation": generation},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": list(containers)}}},
        "status": {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1},
    }


MAIN = {"name": "main", "args": ["--qps=20"]}
DEPLOYMENTS: dict[str, tuple[Any, Any, list[tuple[str, Any, str]]]] = {
    "as asked": (live_deployment(MAIN), None, [("qps", "20", ""), ("rolled_out", 1, "")]),
    "in the command": (
        live_deployment({"name": "main", "command": ["/app", "--qps=50"]}), "main",
        [("qps", "50", "it runs with --qps=50"), ("rolled_out", 1, "")],
    ),
    "no such container": (
        live_deployment(MAIN), "mian",
        [("container", ["main"], "Deployment kai/binder has no container mian; the nearest is main")],
    ),
    "several containers and none named": (
        live_deployment(MAIN, {"name": "other"}), None,
        [("container", ["main", "other"], "name one of its containers: there is: main, other")],
    ),
    "its controller is behind": (
        live_deployment(MAIN, generation=2), None,
        [("qps", "20", ""), ("rolled_out", 1, "its controller has not seen the last change yet")],
    ),
    "old pods are left": (
        live_deployment(MAIN, replicas=2) | {
            "status": {"observedGeneration": 1, "replicas": 3, "updatedReplicas": 1}}, None,
        [("qps", "20", ""), ("rolled_out", 1, "2 of its 3 pods still run what was before, 2 are wanted")],
    ),
    "scaled to nothing": (
        live_deployment(MAIN, replicas=0) | {"status": {"observedGeneration": 1}}, None,
        [("qps", "20", ""), ("rolled_out", 0, "")],
    ),
    "request over limit": (
        live_deployment({**MAIN, "resources": RESOURCES[0][0]}), None,
        [("qps", "20", ""),
         ("containers[main].resources.requests.memory <= limits.memory", "200Mi",
          "the memory request 1000Mi is over the limit 200Mi: the API server refuses such a pod"),
         ("rolled_out", 1, "")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DEPLOYMENTS)
def test_a_deployment_is_compared_with_what_was_asked(case: str) -> None:
    live, container, expected = DEPLOYMENTS[case]
    found = list(configuration_flags.deployment("binder", live, container, {"qps": 20}, None))
    assert [(one.key, one.observed, one.reason) for one in found] == expected


def test_a_secret_among_the_arguments_is_not_shown() -> None:
    shown = Check("binder", "bearer-token", "abc", "def", "here", False, "").as_json()
    assert (shown["asked"], shown["observed"]) == ("********", "********")
    assert Check("binder", "queue-label-key", "abc", "abc", "here", True).as_json()["asked"] == "abc"


def test_what_does_not_hold_is_a_sentence() -> None:
    checks = [Check("binder", "qps", 1, "1", "x", True), Check("binder", "qps", 1, "2", "x", False, "it is 2")]
    assert problems(checks) == ["binder: qps: it is 2"]
