# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of workload patterns is data: each is whole, its manifests are sound, and its run can be planned."""

from __future__ import annotations

import json
import re
from typing import Any

import jsonschema
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.nightbench import gcp_budget, request_load_plan, workload_plan
from ansible.module_utils.nightbench.lint import lint
from ansible.module_utils.nightbench.lint_document import Document, read_file
from ansible.modules import bench_request_load

from tests.contract.tree import ROOT, read_yaml, role_yaml, under

FILES = ROOT / "roles" / "workload_patterns" / "files"
PATTERNS = {path.parent.name: read_yaml(path) for path in sorted((FILES / "patterns").glob("*/pattern.yml"))}
SCENARIOS = {path.stem: read_yaml(path) for path in under("roles/workload_patterns/files/scenarios", ".yml")}
SCHEMA = json.loads((FILES / "pattern.schema.json").read_text(encoding="utf-8"))
METRICS = {one["name"] for one in json.loads((ROOT / "harness/schema/metrics.json").read_text("utf-8"))["metrics"]}
#: Of each pattern what is run, and what its operators take.
FORMS = {name: ["plain", *pattern.get("operator_forms", ["operator"])] for name, pattern in PATTERNS.items()}
#: An autoscaler that asks a metrics server is run with these.
AUTOSCALED = [name for name, scenario in SCENARIOS.items() if "autoscaled" in scenario]
#: The ten of the published page, in its order, and one that it lacks.
NAMES = {
    "large_scale_training": "Large-Scale Training Jobs",
    "batch_inference": "Batch Inference Jobs",
    "low_latency_inference": "Low-Latency Inference",
    "high_throughput_inference": "High-Throughput Inference",
    "notebooks": "Jupyter Notebook Environments",
    "experiment_tracking": "Experiment Tracking",
    "stream_processing": "Stream Processing",
    "event_driven_inference": "Event-Driven Inference",
    "training_to_inference": "Training-to-Inference Pipelines",
    "multi_model_serving": "Multi-Model Serving",
    "agent_sandboxes": None,
}

each_pattern = pytest.mark.parametrize("name", PATTERNS)


def documents(name: str, form: str) -> list[Document]:
    return read_file(FILES / "patterns" / name / form)


def test_every_published_pattern_is_there_and_agents_beside_them() -> None:
    assert {name: pattern["seed"].get("section") for name, pattern in PATTERNS.items()} == NAMES


def test_the_published_guide_is_there_whole() -> None:
    rows = [pattern["seed"]["row"] for pattern in PATTERNS.values() if "row" in pattern["seed"]]
    assert sorted(rows) == [
        "Batch Inference",
        "Batch Training",
        "High-throughput Inference",
        "Interactive Development",
        "Real-time Inference",
        "Stream Processing",
    ]


@each_pattern
def test_a_pattern_keeps_the_schema(name: str) -> None:
    jsonschema.validate(PATTERNS[name], SCHEMA)
    assert PATTERNS[name]["name"] == name


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"simulated": []}, "should be non-empty"),
        ({"arrivals": {"process": "trace", "why": "as it was"}}, "'source' is a required property"),
        ({"infrastructure": [{"need": "gpus", "why": "ranks"}]}, "not valid under any of the given schemas"),
        ({"objectives": [{"metric": "wake_seconds", "why": "none"}]}, "not valid under any of the given schemas"),
        ({"seed": {"row": "Batch Training"}}, "is a dependency of 'row'"),
        ({"colour": "red"}, "'colour' was unexpected"),
    ],
)
def test_the_schema_refuses_what_says_too_little_or_too_much(change: dict[str, Any], told: str) -> None:
    with pytest.raises(jsonschema.ValidationError) as error:
        jsonschema.validate({**PATTERNS["stream_processing"], **change}, SCHEMA)
    assert told in error.value.message


@each_pattern
def test_a_folder_holds_what_the_pattern_names_and_nothing_else(name: str) -> None:
    wanted = {
        "pattern.yml",
        *(f"{form}.yml" for form in FORMS[name]),
        *filter(None, [PATTERNS[name]["seed"].get("manifest")]),
    }
    wanted |= {"autoscaled.yml"} if name in AUTOSCALED else set()
    assert {path.name for path in under(f"roles/workload_patterns/files/patterns/{name}")} == wanted


@pytest.mark.parametrize(("name", "form"), [(name, form) for name, forms in FORMS.items() for form in forms])
def test_the_linter_finds_nothing_in_any_form(name: str, form: str) -> None:
    assert [(one.rule, one.object, one.field) for one in lint(documents(name, f"{form}.yml"))] == []


#: Of these another object makes the pods, or their spec is none of core/v1: only the API server looks at them.
WITHOUT_PODS = {"TrainJob", "InferenceService", "InferenceGraph", "Workflow", "Cluster", "KafkaTopic", "ScaledObject",
                "SandboxWarmPool", "SandboxClaim"}  # fmt: skip


@each_pattern
def test_the_linter_sees_the_pods_of_every_operators_kind_that_has_any(name: str) -> None:
    found = [one for form in FORMS[name][1:] for one in documents(name, f"{form}.yml")]
    assert {one.kind for one in found if not any(one.containers())} <= WITHOUT_PODS


@pytest.mark.parametrize("name", AUTOSCALED)
def test_the_form_with_an_autoscaler_is_sound_plain_and_planned_to_the_last_step(name: str) -> None:
    found, run = documents(name, "autoscaled.yml"), SCENARIOS[name]["autoscaled"]
    assert lint(found) == []
    assert {one.api_version.partition("/")[0] for one in found} <= {"v1", "apps", "autoscaling", "policy"}
    assert set(run) == {"form", "leave_out", "lifetimes", "usage", "steps"}
    steps = workload_plan.steps_of(run["steps"])
    applied = [key for step in steps for key in step.objects]
    assert sorted(applied) == sorted(f"{one.kind}/{one.name}" for one in found)
    scaler = next(one for one in found if one.kind == "HorizontalPodAutoscaler")
    bounds = (scaler.number("spec", "minReplicas"), scaler.number("spec", "maxReplicas"))
    assert (steps[-1].count, steps[-1].until.count) == bounds, "the load comes to the fewest, and takes the most"


@each_pattern
def test_the_plain_form_needs_nothing_but_kubernetes(name: str) -> None:
    groups = {one.api_version.partition("/")[0] for one in documents(name, "plain.yml")}
    assert groups <= {"v1", "apps", "batch", "autoscaling", "policy", "networking.k8s.io"}


@each_pattern
def test_the_operator_form_is_served_by_what_it_says_it_needs(name: str) -> None:
    built_in = {"v1", "apps/v1"}
    served = {one["serves"] for one in PATTERNS[name]["operator_needs"]}
    for form in FORMS[name][1:]:
        used = {one.api_version for one in documents(name, f"{form}.yml")}
        assert used - built_in <= served
        assert not used <= built_in


@each_pattern
def test_the_gpus_that_a_pattern_needs_are_asked_for_by_its_pods(name: str) -> None:
    needed = any(one["need"] == "gpus" for one in PATTERNS[name]["infrastructure"])
    asked = any(
        "nvidia.com/gpu" in container.mapping("resources", "limits")
        for one in documents(name, "plain.yml")
        for container in one.containers()
    )
    assert asked == needed


AS_WRITTEN = {
    "large_scale_training": [
        ("warning", "job-disruptions"),
        ("warning", "job-time-to-live"),
        ("error", "job-completions"),
        ("warning", "job-gang"),
        ("warning", "job-checkpoint-on-termination"),
        ("error", "job-restart-policy"),
        ("warning", "image-tag"),
        ("warning", "claim"),
        ("warning", "claim"),
    ],
    "low_latency_inference": [
        ("warning", "rollout-spare-gpus"),
        ("warning", "image-tag"),
        ("error", "liveness-startup"),
        ("warning", "autoscaler-and-replicas"),
        ("error", "autoscaler-cpu-request"),
        ("warning", "autoscaler-gpu-signal"),
    ],
}


@pytest.mark.parametrize("name", AS_WRITTEN)
def test_what_was_published_is_explained(name: str) -> None:
    found = [(one.severity, one.rule) for one in lint(documents(name, "as_written.yml"))]
    assert found == AS_WRITTEN[name]


each_scenario = pytest.mark.parametrize("name", SCENARIOS)


def test_every_pattern_is_run() -> None:
    assert sorted(SCENARIOS) == sorted(PATTERNS)
    assert sorted(role_yaml("workload_patterns", "defaults", "main.yml")["workload_patterns_scenarios"]) == sorted(
        PATTERNS
    )


@each_scenario
def test_a_scenario_has_the_keys_that_the_role_reads_and_metrics_that_exist(name: str) -> None:
    scenario = SCENARIOS[name]
    more = {"real_nodes": "requests", "metered_nodes": "autoscaled"}
    served = {key for subject, key in more.items() if subject in scenario["subjects"]}
    assert set(scenario) == {"name", "title", "nightly", "subjects", "metrics", "run"} | served | (
        {"subject_metrics"} if served else set()
    )
    assert set(scenario.get("subject_metrics", {})) == set(scenario["subjects"]) - {"fake_nodes"}
    assert scenario["name"] == name
    planted = {"checkpoint_seconds"} if "checkpoint_lost_gpu_seconds" in scenario["metrics"] else set()
    assert set(scenario["run"]) == {"leave_out", "lifetimes", "steps"} | planted
    metrics = [*scenario["metrics"], *(one for named in scenario.get("subject_metrics", {}).values() for one in named)]
    assert [metric for metric in metrics if metric not in METRICS] == []


@each_scenario
def test_the_steps_mean_something_and_name_objects_that_are_there(name: str) -> None:
    keys = {f"{one.kind}/{one.name}" for one in documents(name, "plain.yml")}
    for step in workload_plan.steps_of(SCENARIOS[name]["run"]["steps"]):
        assert [one for one in step.objects if one not in keys] == []


@each_scenario
def test_what_is_planted_or_left_out_is_there(name: str) -> None:
    found = documents(name, "plain.yml")
    apps = {template.get("metadata", "labels", "app") for one in found for template in one.templates()}
    assert set(SCENARIOS[name]["run"]["lifetimes"]) <= apps
    assert set(SCENARIOS[name]["run"]["leave_out"]) <= {one.kind for one in found}


@pytest.mark.parametrize("name", [name for name, scenario in SCENARIOS.items() if "requests" in scenario])
def test_requests_can_be_sent_and_go_to_pods_that_are_there(name: str) -> None:
    requests = SCENARIOS[name]["requests"]
    assert set(requests) == {"answer_seconds", "pods", "services"}
    given = {
        "name": name,
        "namespace": "x",
        "token": "x",
        **{key: requests[key] for key in ("answer_seconds", "services")},
    }
    checked = ArgumentSpecValidator(bench_request_load.ARGUMENT_SPEC).validate(given)
    assert checked.error_messages == []
    document = request_load_plan.plan(checked.validated_parameters).document(generators=1)
    far = [
        one
        for one in document["services"].values()
        if (one["arrivals"]["distance"] or 0) > one["arrivals"]["distance_most"]
    ]
    assert far == [], "its seed gives arrivals that are unlike their process: take another"
    ports = {(f"app={pod['name']}", one.get("port")) for pod in requests["pods"] for one in pod["programs"]}
    assert {(one["label_selector"], one.get("port", 8000)) for one in requests["services"]} <= ports
    programs = {path.name for path in under("roles/workload_patterns/files/pods", ".py")}
    assert {one["file"] for pod in requests["pods"] for one in pod["programs"]} <= programs


def test_the_pods_get_every_program_and_no_other() -> None:
    text = role_yaml("workload_patterns", "vars", "main.yml")["__workload_patterns_programs"]["data"]
    named = {f"{name}.py" for name in re.findall(r"'([a-z]+_?[a-z]*)'[,\]]", text.partition("]")[0] + "]")}
    assert named == {path.name for path in under("roles/workload_patterns/files/pods", ".py")}


def test_the_prices_make_the_list_price_of_the_machine_that_they_are_of() -> None:
    prices = role_yaml("workload_patterns", "defaults", "main.yml")["workload_patterns_prices"]
    machine = 12 * prices["cpu_hour"] + 85 * prices["memory_gib_hour"] + prices["gpu_hour"]
    assert machine == pytest.approx(gcp_budget.MACHINE_TYPES["a2-highgpu-1g"], abs=0.01)


def test_the_objectives_of_the_role_are_those_of_the_patterns() -> None:
    told = [
        {"scenario": name, **{key: one[key] for key in ("metric", "max", "min") if key in one}}
        for name in role_yaml("workload_patterns", "defaults", "main.yml")["workload_patterns_scenarios"]
        for one in PATTERNS[name]["objectives"]
    ]
    assert role_yaml("workload_patterns", "defaults", "main.yml")["workload_patterns_objectives"] == told


@each_pattern
def test_an_objective_is_of_a_metric_that_is_measured(name: str) -> None:
    assert [
        one["metric"] for one in PATTERNS[name]["objectives"] if one["metric"] not in SCENARIOS[name]["metrics"]
    ] == []
