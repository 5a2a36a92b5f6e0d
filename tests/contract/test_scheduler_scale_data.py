# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios and subjects of scheduler_scale are data: what they say fits together and is understood by the role."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from tests.contract.tree import ROOT, read_yaml, role_yaml

FILES = ROOT / "roles" / "scheduler_scale" / "files"
SCENARIOS = {path.stem: read_yaml(path) for path in sorted((FILES / "scenarios").glob("*.yml"))}
SUBJECTS = {path.stem: read_yaml(path) for path in sorted((FILES / "subjects").glob("*.yml"))}
METRICS = {one["name"] for one in json.loads((ROOT / "harness/schema/metrics.json").read_text())["metrics"]}

CAPABILITIES = ["queues", "pending_pods", "gangs", "elastic", "topology", "reclaim", "consolidation"]
NEEDS = [*CAPABILITIES, "stop_scheduler", "jobs"]
LEVELS = ["zone", "block", "rack"]
TEXT = {"type": "string", "minLength": 1}
TEXTS = {"type": "array", "items": TEXT}
NUMBER = {"type": ["number", "string"]}  # or a template
YES = {"type": ["boolean", "string"]}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties, "additionalProperties": False}


PART = closed(
    ["name", "until"],
    name={"type": "string", "pattern": "^[a-z][a-z0-9-]*$"},
    form={"enum": ["jobs", "pods"]},
    queue=TEXT,
    priority={"enum": ["preemptible"]},
    jobs=NUMBER,
    pods=NUMBER,
    sizes=TEXT,
    pods_per_job=NUMBER,
    min_member=NUMBER,
    gpus_per_pod=NUMBER,
    gang=YES,
    completes=YES,
    topology=closed(["level", "placement"], level={"enum": LEVELS}, placement={"enum": ["preferred", "required"]}),
    until={"enum": ["created", "bound", "running", "completed", "unschedulable"]},
    hold=YES,
    measured=YES,
    together=YES,
    sequential=YES,
    rate=NUMBER,
    arrivals={"enum": ["constant", "poisson"]},
    seed={"type": "integer"},
    moments={"type": ["array", "string"]},
    delete_running_per_node=closed(["part", "per_node"], part=TEXT, per_node={"type": "integer", "minimum": 1}),
)
QUEUE = closed(
    ["gpu"],
    gpu=closed(["quota", "limit", "weight"], quota=NUMBER, limit=NUMBER, weight=NUMBER),
    priority={"type": "integer"},
)
NAMED = ["gang_atomic", "queues_within_limits", "victims_keep_min_member", "consolidation_ran", "every_pod_completed"]
EXPECTATION = {"anyOf": [{"enum": NAMED}, closed([], one_domain_per_job={"enum": LEVELS})]}
SCENARIO = closed(
    ["name", "title", "scheduler", "needs", "metrics"],
    name=TEXT,
    title=TEXT,
    scheduler={"enum": ["released", "running"]},
    needs={"type": "array", "items": {"enum": NEEDS}, "uniqueItems": True},
    nightly={"type": "boolean"},
    metrics={"type": "array", "items": {"enum": sorted(METRICS)}, "minItems": 1, "uniqueItems": True},
    subjects=TEXTS,
    gpus_per_pod=NUMBER,
    fill=NUMBER,
    until=PART["properties"]["until"],
    nodes=closed(["levels"], levels={"type": ["object", "string"]}),
    queues={"type": "object", "additionalProperties": QUEUE, "minProperties": 1},
    job_seconds=closed(["least", "most"], least={"type": "number"}, most={"type": "number"}),
    deadline_seconds=NUMBER,
    search=closed(
        ["least", "most", "steps", "seconds"],
        least={"type": "number", "exclusiveMinimum": 0},
        most={"type": "number"},
        steps={"type": "integer", "minimum": 1},
        seconds={"type": "number", "exclusiveMinimum": 0},
    ),
    parts={"type": "array", "items": PART, "minItems": 1},
    expectations={"type": "array", "items": EXPECTATION},
    upstream=closed(["test_name", "timing_field"], test_name=TEXT, timing_field=TEXT),
) | {"oneOf": [{"required": ["fill", "gpus_per_pod", "until"]}, {"required": ["parts", "expectations"]}]}

KIND = closed(["api_version", "kind"], api_version=TEXT, kind=TEXT)
OBJECTS = {
    "type": "array",
    "items": {
        "type": "object",
        "required": [
            "apiVersion",
            "kind",
            "metadata",
        ],
    },
}
CLIENT = closed(["qps", "burst", "default"], qps=TEXT, burst=TEXT, parallelism=TEXT, default={"type": "object"})
SUBJECT = closed(
    ["name", "title", "scheduler_name", "component", "components", "version", "asked_version", "installed",
     "capabilities", "cannot", "requests", "period", "manifests", "observed"],
    name=TEXT,
    title=TEXT,
    scheduler_name=TEXT,
    tool=TEXT,
    component=TEXT,
    components={**TEXTS, "minItems": 1},
    version={"type": "string"},
    asked_version={"type": "string"},
    configz={"type": "object", "additionalProperties": TEXTS},
    clients={"type": "object", "additionalProperties": CLIENT},
    pods=closed(
        ["namespace", "label_selector", "config_argument", "arguments", "default"],
        namespace=TEXT,
        label_selector=TEXT,
        config_argument=TEXT,
        arguments={"type": "object", "additionalProperties": TEXT},
        default={"type": "object", "additionalProperties": {"type": "number"}},
    ),
    limit=closed(["config_argument", "qps", "burst"], config_argument=TEXT, qps=TEXTS, burst=TEXTS),
    installed=closed(["by", "kinds"], by=TEXT, kinds={"type": "array", "items": KIND}, crds=TEXTS),
    capabilities={"type": "array", "items": {"enum": CAPABILITIES}, "uniqueItems": True},
    cannot={"type": "object", "additionalProperties": TEXT},
    requests={"type": "object", "additionalProperties": TEXTS},
    period={"anyOf": [TEXT, closed(["component", "argument", "default"], component=TEXT, argument=TEXT, default=TEXT)]},
    arguments={"type": "object", "additionalProperties": {"type": "object", "additionalProperties": TEXT}},
    counters={"type": "object", "additionalProperties": TEXT},
    marks=closed([], grouped=TEXT, decided=TEXT, bound=TEXT),
    milestones={"type": "array", "items": {"enum": sorted(METRICS)}},
    manifests=closed(
        [], queue=OBJECTS, topology=OBJECTS, priority=OBJECTS, job={"type": "object"}, pod={"type": "object"}
    ),
    observed=closed(
        [],
        group=closed(
            ["api_version", "kind"],
            api_version=TEXT,
            kind=TEXT,
            job=TEXT,
            member=TEXT,
            member_by=TEXT,
            unschedulable=closed(["type"], list=TEXT, type=TEXT, status=TEXT),
        ),
        decision=closed(["api_version", "kind"], api_version=TEXT, kind=TEXT, pod=TEXT, node=TEXT),
    ),
)  # fmt: skip

each_scenario = pytest.mark.parametrize("name", SCENARIOS)
each_subject = pytest.mark.parametrize("name", SUBJECTS)


def problems(document: Any, schema: dict[str, Any]) -> list[str]:
    found = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{'.'.join(map(str, one.absolute_path))}: {one.message}" for one in found]


def misfits(scenario: dict[str, Any]) -> list[str]:
    """What no schema sees: parts, queues, nodes and needs that do not go together."""
    parts, needs = scenario.get("parts", []), set(scenario["needs"])
    names = [part["name"] for part in parts]
    queues = scenario.get("queues", {"measured": {}})
    found = []
    if parts and not any(part.get("measured") for part in parts):
        found.append("no part is measured")
    if len(set(names)) < len(names):
        found.append("a part is there twice")
    for number, part in enumerate(parts):
        name, deleted = part["name"], part.get("delete_running_per_node")
        if part.get("queue", "measured") not in queues:
            found.append(f"{name}: there is no queue {part.get('queue', 'measured')}")
        if deleted and deleted["part"] not in names[:number]:
            found.append(f"{name}: {deleted['part']} is no earlier part")
        if part.get("form", "jobs") == "jobs" and "jobs" not in needs:
            found.append(f"{name}: needs jobs")
        if part.get("gang") is True and "gangs" not in needs:
            found.append(f"{name}: needs gangs")
        if "min_member" in part and not (part.get("gang") is True and "elastic" in needs):
            found.append(f"{name}: needs gang and elastic")
        if "topology" in part and not ("topology" in needs and "nodes" in scenario):
            found.append(f"{name}: needs topology and nodes")
        if bool(part.get("completes")) != ("job_seconds" in scenario):
            found.append(f"{name}: completes and job_seconds go together")
        if part["until"] == "completed" and not part.get("completes"):
            found.append(f"{name}: never completes")
        if {"rate", "moments"} <= part.keys():
            found.append(f"{name}: rate and moments")
    if "queues" in scenario and "queues" not in needs:
        found.append("needs queues")
    if scenario["scheduler"] == "released" and "stop_scheduler" not in needs:
        found.append("needs stop_scheduler")
    return found


@each_scenario
def test_a_scenario_says_what_the_role_understands(name: str) -> None:
    assert problems(SCENARIOS[name], SCENARIO) == []


@each_scenario
def test_what_a_scenario_says_fits_together(name: str) -> None:
    assert (SCENARIOS[name]["name"], misfits(SCENARIOS[name])) == (name, [])


#: What the stage start knows of the same, for files of the caller's own.
KEYS = read_yaml(FILES / "keys.yml")


@pytest.mark.parametrize(
    ("rules", "schema"),
    [
        (KEYS["scenario"], SCENARIO),
        (KEYS["scenario"]["each"]["parts"], PART),
        (KEYS["subject"], SUBJECT),
        *((rule, SUBJECT["properties"][key]) for key, rule in KEYS["subject"]["each"].items()),
    ],
)
def test_the_start_of_a_run_knows_the_same_keys(rules: dict[str, Any], schema: dict[str, Any]) -> None:
    required, optional = rules.get("required", []), rules.get("optional", [])
    assert sorted([*required, *optional]) == sorted(schema["properties"])
    assert set(required) <= set(schema["required"])


@pytest.mark.parametrize(
    ("rules", "key", "words"),
    [
        (KEYS["scenario"], "needs", NEEDS),
        (KEYS["scenario"], "expectations", [*NAMED, "one_domain_per_job"]),
        (KEYS["scenario"], "scheduler", SCENARIO["properties"]["scheduler"]["enum"]),
        (KEYS["scenario"], "until", SCENARIO["properties"]["until"]["enum"]),
        *((KEYS["scenario"]["each"]["parts"], key, PART["properties"][key]["enum"])
          for key in ("form", "priority", "until", "arrivals")),
        (KEYS["subject"], "capabilities", CAPABILITIES),
    ],
)  # fmt: skip
def test_the_start_of_a_run_knows_the_same_words(rules: dict[str, Any], key: str, words: list[str]) -> None:
    assert sorted(rules["choices"][key]) == sorted(words)


@each_subject
def test_a_subject_says_what_the_role_understands(name: str) -> None:
    assert (SUBJECTS[name]["name"], problems(SUBJECTS[name], SUBJECT)) == (name, [])


@each_subject
def test_a_subject_says_why_for_everything_it_cannot_do(name: str) -> None:
    subject = SUBJECTS[name]
    assert sorted([*subject["capabilities"], *subject["cannot"]]) == sorted(CAPABILITIES)


@each_subject
def test_a_subject_writes_what_it_can_do(name: str) -> None:
    written = {"queues": "queue", "topology": "topology", "gangs": "job"}
    wanted = {key for capability, key in written.items() if capability in SUBJECTS[name]["capabilities"]}
    assert wanted - SUBJECTS[name]["manifests"].keys() == set()


@each_subject
def test_every_kind_that_a_subject_makes_is_removed_again(name: str) -> None:
    """PriorityClasses are removed whatever the subject."""
    manifests = SUBJECTS[name]["manifests"]
    made = {
        (one["apiVersion"], one["kind"]) for key in ("queue", "topology", "priority") for one in manifests.get(key, [])
    }
    known = {(one["api_version"], one["kind"]) for one in SUBJECTS[name]["installed"]["kinds"]}
    assert made - known <= {("scheduling.k8s.io/v1", "PriorityClass")}


def test_the_default_scenarios_are_those_of_the_nightly() -> None:
    default = role_yaml("scheduler_scale", "defaults", "main.yml")["scheduler_scale_scenarios"]
    assert sorted(default) == sorted(name for name, one in SCENARIOS.items() if one.get("nightly"))


@pytest.mark.parametrize("need", NEEDS)
def test_every_need_is_a_scenario_s(need: str) -> None:
    assert [name for name, one in SCENARIOS.items() if need in one["needs"]] != []


GOOD: dict[str, Any] = {
    "name": "one", "title": "One", "scheduler": "running", "needs": ["jobs"], "nightly": False, "expectations": [],
    "metrics": ["bind_all_seconds"], "parts": [{"name": "measured", "until": "bound", "measured": True}],
}  # fmt: skip
FAULTS = [
    ({"fill": 1.0, "gpus_per_pod": 1, "until": "running"}, "is valid under each of"),
    ({"parts": []}, "parts: [] should be non-empty"),
    ({"metrics": ["bind_all"]}, "metrics.0: 'bind_all' is not one of"),
    ({"needs": ["queue"]}, "needs.0: 'queue' is not one of"),
    ({"scheduler": "stopped"}, "scheduler: 'stopped' is not one of"),
    ({"expectations": ["gangs"]}, "expectations.0: 'gangs' is not valid under any"),
    ({"parts": [{"name": "measured", "until": "done"}]}, "parts.0.until: 'done' is not one of"),
    ({"parts": [{"name": "measured", "until": "bound", "count": 3}]}, "parts.0: Additional properties"),
    ({"parts": [{"name": "Big", "until": "bound"}]}, "parts.0.name: 'Big' does not match"),
    ({"queues": {"measured": {"gpu": {"quota": 1}}}}, "'limit' is a required property"),
    ({"search": {"least": 0, "most": 1, "steps": 1, "seconds": 1}}, "search.least: 0 is less than or equal"),
]


@pytest.mark.parametrize(("change", "told"), FAULTS)
def test_the_schema_sees_a_faulty_scenario(change: dict[str, Any], told: str) -> None:
    assert told in "\n".join(problems(GOOD | change, SCENARIO))


def part(**more: Any) -> list[dict[str, Any]]:
    return [{"name": "measured", "until": "bound", "measured": True, **more}]


MISFITS: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"parts": [{"name": "a", "until": "bound"}]}, ["no part is measured"]),
    ({"parts": part() + part()}, ["a part is there twice"]),
    ({"parts": part(queue="other")}, ["measured: there is no queue other"]),
    ({"parts": part(delete_running_per_node={"part": "x", "per_node": 1})}, ["measured: x is no earlier part"]),
    ({"needs": []}, ["measured: needs jobs"]),
    ({"parts": part(gang=True)}, ["measured: needs gangs"]),
    ({"parts": part(min_member=1)}, ["measured: needs gang and elastic"]),
    ({"parts": part(topology={"level": "rack", "placement": "required"})}, ["measured: needs topology and nodes"]),
    ({"parts": part(completes=True)}, ["measured: completes and job_seconds go together"]),
    ({"parts": part(until="completed")}, ["measured: never completes"]),
    ({"parts": part(rate=1, moments=[1])}, ["measured: rate and moments"]),
    ({"queues": {"measured": {}}}, ["needs queues"]),
    ({"scheduler": "released"}, ["needs stop_scheduler"]),
]


@pytest.mark.parametrize(("change", "told"), MISFITS)
def test_what_does_not_fit_together_is_seen(change: dict[str, Any], told: list[str]) -> None:
    assert misfits(GOOD | change) == told


def test_the_examples_of_the_documentation_are_scenarios() -> None:
    page = (ROOT / "docs" / "scheduler_scale.md").read_text(encoding="utf-8")
    examples = [yaml.safe_load(block) for block in fenced(page) if "metrics:" in block]
    assert [problems(example, SCENARIO) for example in examples] == [[], []]


def fenced(page: str) -> list[str]:
    return [block.partition("\n")[2] for block in page.split("```") if block.startswith("yaml\n")]
