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
WHOLE_WAY = "pod_created_to_bound_seconds"
#: The last parts of the variables that every suite has.
SETTINGS = ("scenarios", "subjects", "repeats", "scenario_repeats", "scenario_dirs", "subject_dirs", "objectives")


@dataclass(frozen=True)
class Suite:
    """What is to be measured of one suite."""

    name: str
    scenarios: dict[str, dict[str, Any]]
    subjects: list[str]
    repeats: int
    objectives: list[dict[str, Any]] = field(default_factory=list)
    #: Metrics by subject, of milestones that only its pods have.
    milestones: dict[str, list[str]] = field(default_factory=dict)
    #: By scenario, where it is another number.
    scenario_repeats: dict[str, int] = field(default_factory=dict)


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
            "repeats": suite.scenario_repeats.get(name, suite.repeats),
            "objective": objective(suite.objectives, name, subject, metric),
        }
        for name, scenario in suite.scenarios.items()
        for subject in suite.subjects
        if subject in scenario.get("subjects", suite.subjects)
        for metric in metrics_of(scenario, subject, suite.milestones.get(subject, []))
    ]


def metrics_of(scenario: Mapping[str, Any], subject: str, milestones: Iterable[str]) -> list[str]:
    """A scenario that follows every pod to its binding also tells what the subject lets us see in between.

    What is measured in another way on one subject has metrics of its own there.
    """
    metrics = list(_by_subject(scenario).get(subject, scenario.get("metrics", [])))
    return [*metrics, *milestones] if WHOLE_WAY in metrics else metrics


def _by_subject(scenario: Mapping[str, Any]) -> Mapping[str, list[str]]:
    found = scenario.get("subject_metrics")
    return found if isinstance(found, Mapping) else {}


def objective(
    objectives: Iterable[Mapping[str, Any]], scenario: str, subject: str, metric: str
) -> dict[str, float] | None:
    """The bound of one record; of several entries the one that says most about where it holds, then the later."""
    place = {"scenario": scenario, "subject": subject, "metric": metric}
    matching = [entry for entry in objectives if all(entry.get(key, value) == value for key, value in place.items())]
    if not matching:
        return None
    entry = max(reversed(matching), key=lambda entry: len(entry.keys() & place.keys()))
    return {bound: float(entry[bound]) for bound in BOUNDS if bound in entry}


def selected(stages: Iterable[Stage], run_tags: Collection[str], skip_tags: Collection[str]) -> list[Stage]:
    """The stages of which Ansible will run something under these tags."""
    return [stage for stage in stages if _runs({stage.name, *stage.tags}, set(run_tags), set(skip_tags))]


def resolve(project: Project, name: str, settings: Mapping[str, Any], problems: list[str]) -> Suite:
    """One suite out of its variables; what they name and does not exist goes into problems."""
    values = {**_settings(name, project.defaults(name)), **_settings(name, settings)}
    scenarios = project.scenarios(name, _names(values.get("scenario_dirs")))
    subjects = project.subjects(name, _names(values.get("subject_dirs")))
    asked = _names(values.get("scenarios")) or list(scenarios)
    chosen = _names(values.get("subjects")) or list(subjects)
    problems += unknown(f"scenario of {name}", asked, scenarios)
    problems += unknown(f"subject of {name}", chosen, subjects)
    milestones = {name: _names(subject.get("milestones")) for name, subject in subjects.items()}
    lists = [named for one in scenarios.values() for named in (one.get("metrics", []), *_by_subject(one).values())]
    metrics = {metric for named in lists for metric in named}
    metrics |= {metric for more in milestones.values() for metric in more}
    objectives = values.get("objectives") or []
    known = {"scenario": scenarios, "subject": subjects, "metric": metrics}
    problems += [problem for entry in _list(objectives) for problem in check_objective(name, entry, known)]
    repeats = whole_number(f"{name}_repeats", values.get("repeats", 3), 1, 1000, problems)
    own = _own_repeats(f"{name}_scenario_repeats", values.get("scenario_repeats") or {}, scenarios, problems)
    there = {one: scenarios[one] for one in asked if one in scenarios}
    problems += project.faults(name, "scenario", there.values())
    problems += project.faults(name, "subject", (subjects[one] for one in chosen if one in subjects))
    return Suite(name, there, chosen, repeats, [] if problems else objectives, milestones, own)


def _own_repeats(variable: str, given: Any, scenarios: Collection[str], problems: list[str]) -> dict[str, int]:
    if not isinstance(given, Mapping):
        problems.append(f"{variable} is {given!r}; give {{scenario: repeats}}.")
        return {}
    problems += unknown(f"scenario in {variable}", given, scenarios)
    return {one: whole_number(f"{variable}.{one}", value, 1, 1000, problems) for one, value in given.items()}


def check_objective(suite: str, entry: Any, known: Mapping[str, Collection[str]]) -> list[str]:
    """`{metric, max | min}`, and a scenario and a subject where it holds only there; what is wrong with one."""
    where = f"{suite}_objectives"
    if not isinstance(entry, Mapping) or "metric" not in entry or not entry.keys() & set(BOUNDS):
        return [f"{where}: {entry!r} is no objective; give {{metric: NAME, max: NUMBER}} or min."]
    problems = unknown(f"key in {where}", entry, {*known, *BOUNDS})
    for key, names in known.items():
        problems += unknown(f"{key} in {where}", [str(entry[key])] if key in entry else [], names)
    for bound in entry.keys() & set(BOUNDS):
        if not is_number(entry[bound]):
            problems.append(f"{where}: {bound} of {entry['metric']} is '{entry[bound]}', which is no number.")
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


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def is_number(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and math.isfinite(float(value))
    except (TypeError, ValueError):
        return False
