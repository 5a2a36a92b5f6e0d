# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan names every record that is expected, and what is asked for and does not exist is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import plan
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.project import Project

from tests.fakes.project import write_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(write_project(tmp_path))


def records(suite: plan.Suite) -> list[tuple[Any, ...]]:
    return [(one["scenario"], one["subject"], one["metric"], one["repeats"]) for one in plan.expected(suite)]


def test_a_suite_without_settings_is_that_of_its_defaults(project: Project) -> None:
    problems: list[str] = []
    suite = plan.resolve(project, "scheduler_scale", {}, problems)
    assert (problems, records(suite)) == (
        [],
        [
            ("fill_off", "one", "bind_seconds", 3),
            ("fill_off", "one", "start_seconds", 3),
            ("fill_on", "one", "bind_seconds", 3),
        ],
    )


def test_a_scenario_is_only_expected_of_the_subjects_it_names(project: Project) -> None:
    settings = {"scheduler_scale_subjects": "one,two", "scheduler_scale_repeats": "1"}
    suite = plan.resolve(project, "scheduler_scale", settings, [])
    assert [record for record in records(suite) if record[1] == "two"] == [
        ("fill_off", "two", "bind_seconds", 1),
        ("fill_off", "two", "start_seconds", 1),
    ]


def test_a_scenario_may_have_its_own_number_of_repeats(project: Project) -> None:
    settings = {"scheduler_scale_scenario_repeats": {"fill_on": "1"}}
    assert records(plan.resolve(project, "scheduler_scale", settings, [])) == [
        ("fill_off", "one", "bind_seconds", 3),
        ("fill_off", "one", "start_seconds", 3),
        ("fill_on", "one", "bind_seconds", 1),
    ]


def test_a_folder_of_the_caller_adds_scenarios(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "own.yml").write_text("{name: own, metrics: [bind_seconds]}")
    settings = {"scheduler_scale_scenario_dirs": [str(folder)], "scheduler_scale_scenarios": ["own"]}
    assert records(plan.resolve(project, "scheduler_scale", settings, [])) == [("own", "one", "bind_seconds", 3)]


WAYS: list[tuple[dict[str, Any], list[str]]] = [
    ({"metrics": ["pod_created_to_bound_seconds"]}, ["pod_created_to_bound_seconds", "grouped", "decided"]),
    ({"metrics": ["bind_seconds"]}, ["bind_seconds"]),
    ({"metrics": ["bind_seconds"], "subject_metrics": {"kai": ["reclaim_seconds"]}}, ["reclaim_seconds"]),
    ({"metrics": ["bind_seconds"], "subject_metrics": {"volcano": ["reclaim_seconds"]}}, ["bind_seconds"]),
    ({"subject_metrics": {"kai": []}}, []),
    ({}, []),
]


@pytest.mark.parametrize(("scenario", "expected"), WAYS)
def test_a_subject_adds_its_milestones_where_each_pod_is_followed(scenario: Any, expected: list[str]) -> None:
    suite = plan.Suite("s", {"one": scenario}, ["kai"], 3, milestones={"kai": ["grouped", "decided"]})
    assert [record["metric"] for record in plan.expected(suite)] == expected


BAD_SETTINGS: list[tuple[dict[str, Any], str]] = [
    ({"scenarios": ["fill_of"]}, "There is no scenario of scheduler_scale 'fill_of'; the nearest is 'fill_off'."),
    ({"subjects": "on"}, "There is no subject of scheduler_scale 'on'; the nearest is 'one'."),
    ({"repeats": "three"}, "scheduler_scale_repeats is 'three'; it has to be a whole number from 1 to 1000."),
    ({"repeats": 0}, "scheduler_scale_repeats is '0'; it has to be a whole number from 1 to 1000."),
    ({"repeats": True}, "scheduler_scale_repeats is 'True'; it has to be a whole number from 1 to 1000."),
    ({"scenario_repeats": 2}, "scheduler_scale_scenario_repeats is 2; give {scenario: repeats}."),
    (
        {"scenario_repeats": {"fill_of": 1}},
        "There is no scenario in scheduler_scale_scenario_repeats 'fill_of'; the nearest is 'fill_off'.",
    ),
    (
        {"scenario_repeats": {"fill_on": 0}},
        "scheduler_scale_scenario_repeats.fill_on is '0'; it has to be a whole number from 1 to 1000.",
    ),
    (
        {"objectives": [{"metric": "bind_second", "max": 1}]},
        "There is no metric in scheduler_scale_objectives 'bind_second'; the nearest is 'bind_seconds'.",
    ),
    (
        {"objectives": [{"metric": "bind_seconds", "max": 1, "scenario": "fill_of"}]},
        "There is no scenario in scheduler_scale_objectives 'fill_of'; the nearest is 'fill_off'.",
    ),
    (
        {"objectives": [{"metric": "bind_seconds", "maxx": 1, "max": 2}]},
        "There is no key in scheduler_scale_objectives 'maxx'; the nearest is 'max'.",
    ),
    (
        {"objectives": [{"metric": "bind_seconds", "max": "soon"}]},
        "scheduler_scale_objectives: max of bind_seconds is 'soon', which is no number.",
    ),
    (
        {"objectives": {"bind_seconds": {"max": 1}}},
        (
            "scheduler_scale_objectives: {'bind_seconds': {'max': 1}} is no objective; "
            "give {metric: NAME, max: NUMBER} or min."
        ),
    ),
]


@pytest.mark.parametrize(("settings", "told"), BAD_SETTINGS, ids=lambda value: str(value)[:50])
def test_what_does_not_exist_is_told_and_nothing_is_raised(
    project: Project, settings: dict[str, Any], told: str
) -> None:
    problems: list[str] = []
    plan.resolve(project, "scheduler_scale", {f"scheduler_scale_{key}": settings[key] for key in settings}, problems)
    assert problems == [told]


@pytest.mark.parametrize(
    ("text", "told"),
    [("name: [", "while parsing"), ("{metrics: []}", "it has no name"), ("- a", "it has no name")],
)
def test_a_damaged_scenario_names_its_file(project: Project, tmp_path: Path, text: str, told: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "own.yml").write_text(text)
    with pytest.raises(ConfigurationError, match=rf"mine/own\.yml: .*{told}"):
        plan.resolve(project, "scheduler_scale", {"scheduler_scale_scenario_dirs": [str(folder)]}, [])


def test_a_folder_that_does_not_exist_is_named(project: Project) -> None:
    with pytest.raises(ConfigurationError, match="read the folder /no/such/folder"):
        plan.resolve(project, "scheduler_scale", {"scheduler_scale_scenario_dirs": ["/no/such/folder"]}, [])


ALL = {"metric": "m", "max": 1}
HERE = {"metric": "m", "scenario": "s", "min": 2, "max": 3}


@pytest.mark.parametrize(
    ("objectives", "found"),
    [
        ([], None),
        ([{"metric": "other", "max": 1}], None),
        ([ALL], {"max": 1.0}),
        ([HERE, ALL], {"max": 3.0, "min": 2.0}),
        ([ALL, {"metric": "m", "max": "9"}], {"max": 9.0}),
        ([{"metric": "m", "subject": "another", "max": 1}], None),
    ],
)
def test_the_objective_that_says_most_about_where_it_holds_wins(
    objectives: list[dict[str, Any]], found: dict[str, float] | None
) -> None:
    assert plan.objective(objectives, "s", "u", "m") == found


@pytest.mark.parametrize(
    ("run_tags", "skip_tags", "names"),
    [
        ([], [], ["start", "environment", "scheduler_scale", "teardown"]),
        (["all"], [], ["start", "environment", "scheduler_scale", "teardown"]),
        (["environment"], [], ["start", "environment", "teardown"]),
        (["kwok_nodes"], [], ["start", "environment", "teardown"]),
        (["scheduler_scale"], ["teardown"], ["start", "scheduler_scale"]),
        (["all"], ["always"], ["environment", "scheduler_scale"]),
    ],
)
def test_tags_choose_stages_as_ansible_does(
    project: Project, run_tags: list[str], skip_tags: list[str], names: list[str]
) -> None:
    assert [stage.name for stage in plan.selected(project.stages, run_tags, skip_tags)] == names


def test_the_plan_lists_all_stages_and_says_which_were_chosen(project: Project) -> None:
    chosen = plan.selected(project.stages, ["environment"], [])
    made = plan.make("20260101T000000Z-0a1b", "2026-01-01T00:00:00Z", project.stages, chosen, [], {"size": 5})
    assert made == {
        "schema_version": 1,
        "run_id": "20260101T000000Z-0a1b",
        "created_at": "2026-01-01T00:00:00Z",
        "stages": [
            {"name": "start", "folder": "01__start", "playbook": "start.yml", "selected": True},
            {"name": "environment", "folder": "02__environment", "playbook": "environment.yml", "selected": True},
            {
                "name": "scheduler_scale",
                "folder": "03__scheduler_scale",
                "playbook": "scheduler_scale.yml",
                "selected": False,
            },
            {"name": "teardown", "folder": "04__teardown", "playbook": "teardown.yml", "selected": True},
        ],
        "records": [],
        "parameters": {"size": 5},
    }
