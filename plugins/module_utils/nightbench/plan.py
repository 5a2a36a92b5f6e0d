# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan of a run: every stage and every record that is expected, fixed before anything starts."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .names import unknown
from .project import Project, Stage

SCHEMA_VERSION = 1
BOUNDS = ("max", "min")
#: The last parts of the variables that every suite has.
SETTINGS = ("scenarios", "subjects", "repeats", "scenario_dirs", "objectives")


@dataclass(frozen=True)
class Suite:
    """What is to be measured of one suite."""

    name: str
    scenarios: dict[str, dict[str, Any]]
    subjects: list[str]
    repeats: int
    objectives: Mapping[str, Any] = field(default_factory=dict)


def make(
    run_id: str,
    created_at: str,
    stages: Iterable[Stage],
    chosen: Collection[Stage],
    suites: Iterable[Suite],
    parameters: Mapping[str, Any],
) -> dict[str, Any]:
    """plan.json: all stages with their folders, so that one left out by tags can still be run alone."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "created_at": created_at,
        "stages": [
            {"name": stage.name, "folder": stage.folder, "playbook": stage.playbook, "selected": stage in chosen}
            for stage in stages
        ],
        "records": [record for suite in suites for record in expected(suite)],
        "parameters": dict(parameters),
    }


def expected(suite: Suite) -> list[dict[str, Any]]:
    """One entry for every metric of every scenario and subject."""
    return [
        {
            "suite": suite.name,
            "scenario": name,
            "subject": subject,
            "metric": metric,
            "repeats": suite.repeats,
            "objective": objective(suite.objectives, name, metric),
        }
        for name, scenario in suite.scenarios.items()
        for subject in suite.subjects
        if subject in scenario.get("subjects", suite.subjects)
        for metric in scenario.get("metrics", [])
    ]


def objective(objectives: Mapping[str, Any], scenario: str, metric: str) -> dict[str, float] | None:
    """The bound of one record; one given for the scenario wins over one given for the metric everywhere."""
    found = (objectives.get(scenario) or {}).get(metric) or objectives.get(metric)
    return {name: float(found[name]) for name in BOUNDS if name in found} if found else None


def selected(stages: Iterable[Stage], run_tags: Collection[str], skip_tags: Collection[str]) -> list[Stage]:
    """The stages of which Ansible will run something under these tags."""
    return [stage for stage in stages if _runs({stage.name, *stage.tags}, set(run_tags), set(skip_tags))]


def resolve(project: Project, name: str, settings: Mapping[str, Any], problems: list[str]) -> Suite:
    """One suite out of its variables; what they name and does not exist goes into problems."""
    values = {**_settings(name, project.defaults(name)), **_settings(name, settings)}
    scenarios = project.scenarios(name, _names(values.get("scenario_dirs")))
    subjects = project.subjects(name)
    asked = _names(values.get("scenarios")) or list(scenarios)
    chosen = _names(values.get("subjects")) or list(subjects)
    problems += unknown(f"scenario of {name}", asked, scenarios)
    problems += unknown(f"subject of {name}", chosen, subjects)
    metrics = {metric for scenario in scenarios.values() for metric in scenario.get("metrics", [])}
    objectives = values.get("objectives") or {}
    problems += check_objectives(name, objectives, scenarios, metrics)
    repeats = whole_number(f"{name}_repeats", values.get("repeats", 3), 1, 1000, problems)
    return Suite(name, {one: scenarios[one] for one in asked if one in scenarios}, chosen, repeats, objectives)


def check_objectives(suite: str, objectives: Any, scenarios: Collection[str], metrics: Collection[str]) -> list[str]:
    """`METRIC: {max: 60}` or `SCENARIO: {METRIC: {max: 60}}`; what is neither is told."""
    if not isinstance(objectives, Mapping):
        return [f"{suite}_objectives is not a mapping of metrics to bounds ({{max: 60}} or {{min: 10}})."]
    problems = unknown(f"metric or scenario in {suite}_objectives", objectives, {*scenarios, *metrics})
    for name, value in objectives.items():
        bounds = value if name in scenarios and isinstance(value, Mapping) else {name: value}
        if name in scenarios:
            problems += unknown(f"metric in {suite}_objectives.{name}", bounds, metrics)
        problems += [
            f"{suite}_objectives: the bound of {metric} is {bound!r}; give {{max: NUMBER}} or {{min: NUMBER}}."
            for metric, bound in bounds.items()
            if not _is_bound(bound)
        ]
    return problems


def whole_number(name: str, value: Any, least: int, most: int, problems: list[str]) -> int:
    """Values from the command line are strings: checked here, then converted once."""
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        problems.append(f"{name} is '{value}'; it has to be a whole number from {least} to {most}.")
        return least
    return int(text)


def _runs(tags: set[str], run_tags: set[str], skip_tags: set[str]) -> bool:
    """Ansible's own rule, for a play that has tags."""
    wanted = not run_tags or bool({"all", "tagged"} & run_tags) or bool(tags & run_tags)
    if "always" in tags and "always" not in skip_tags:
        wanted = True
    return (
        wanted
        and not tags & skip_tags
        and not {"all", "tagged"} & (skip_tags - ({"all"} if "always" in tags else set()))
    )


def _settings(suite: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What the variables of a suite say, by the last part of their names."""
    return {key: variables[f"{suite}_{key}"] for key in SETTINGS if variables.get(f"{suite}_{key}") is not None}


def _names(value: Any) -> list[str]:
    """A list, or what -e gives for one: `a,b`."""
    if value is None:
        return []
    if isinstance(value, str):
        return [name.strip() for name in value.split(",") if name.strip()]
    return [str(name) for name in value]


def _is_bound(value: Any) -> bool:
    if not isinstance(value, Mapping) or not value or not set(value) <= set(BOUNDS):
        return False
    try:
        return all(math.isfinite(float(bound)) for bound in value.values())
    except (TypeError, ValueError):
        return False
