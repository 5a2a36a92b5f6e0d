# SPDX-License-Identifier: GPL-3.0-or-later
"""What the caller gave is checked before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible.module_utils.nightbench import checks
from ansible.module_utils.nightbench.project import Project

from tests.fakes.project import write_project


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(write_project(tmp_path / "project"))


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("", True),
        ("20261122T183000Z-1a2b", True),
        ("tonight", False),
        ("20261122T183000Z-1A2B", False),
        ("../x", False),
    ],
)
def test_a_run_id_that_is_given_has_the_form_of_one(value: str, good: bool) -> None:
    assert (checks.run_id(value) == []) is good


@pytest.mark.parametrize(
    ("run_tags", "skip_tags", "told"),
    [
        (["all"], [], []),
        (["environment", "kwok_nodes", "never"], ["teardown"], []),
        (["enviroment"], [], ["There is no tag 'enviroment'; the nearest is 'environment'."]),
        ([], ["tear_down"], ["There is no tag 'tear_down'; the nearest is 'teardown'."]),
        (
            [],
            ["kwok_nodes"],
            [
                (
                    "--skip-tags kwok_nodes would skip the whole stage that the role kwok_nodes belongs to; "
                    "leave the role out of nightbench_environment_roles instead."
                )
            ],
        ),
    ],
)
def test_a_tag_that_would_silently_do_nothing_is_told(
    project: Project, run_tags: list[str], skip_tags: list[str], told: list[str]
) -> None:
    assert checks.tags(project, run_tags, skip_tags) == told


@pytest.mark.parametrize(
    ("names", "given", "told"),
    [
        (["kwok_nodes_count", "inventory_dir", "ansible_host"], ["x"], []),
        (["kwok_nodes_cuont"], [], ["There is no variable 'kwok_nodes_cuont'; the nearest is 'kwok_nodes_count'."]),
        (
            ["nightbench_zzz"],
            ["nightbench_zzz"],
            [
                (
                    "There is no variable 'nightbench_zzz'; those that begin with nightbench_ are: "
                    "nightbench_keep, nightbench_run_id."
                )
            ],
        ),
        ([], ["kwok_node_count"], ["There is no variable 'kwok_node_count'; the nearest is 'kwok_nodes_count'."]),
        (["kwok_node_count"], [], []),
        (
            ["NODE_COUNT"],
            ["NODE_COUNT"],
            ["NODE_COUNT is read from the environment (NODE_COUNT=9 make nightly); with -e: kwok_nodes_count."],
        ),
        (
            ["node_count"],
            ["node_count"],
            ["NODE_COUNT is read from the environment (NODE_COUNT=9 make nightly); with -e: kwok_nodes_count."],
        ),
        ([], ["@file.yml", "my_own"], []),
    ],
)
def test_a_variable_that_nobody_declares_is_told_with_the_nearest(
    project: Project, names: list[str], given: list[str], told: list[str]
) -> None:
    assert checks.variables(project, names, given) == told


@pytest.mark.parametrize(
    "given",
    [
        {"kwok_nodes_gpus": "8", "kwok_nodes_qps": "-1.5", "kwok_nodes_stages": "No", "kwok_nodes_install": "never"},
        {"kwok_nodes_gpus": 8, "kwok_nodes_stages": False, "kwok_nodes_labels": {"a": "b"}, "kwok_nodes_taints": []},
        {"kwok_nodes_gpus": "{{ 4 + 4 }}", "kwok_nodes_labels": "********", "kwok_nodes_taints": None},
        {"scheduler_scale_scenarios": "fill_off,fill_on", "kwok_nodes_shape": 5, "my_own": [], "@file.yml": None},
    ],
    ids=str,
)
def test_a_value_of_the_declared_type_is_fine(project: Project, given: dict[str, object]) -> None:
    assert checks.types(project, given) == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"kwok_nodes_gpus": "many"}, "kwok_nodes_gpus is the text 'many'; it has to be a whole number."),
        ({"kwok_nodes_gpus": 1.5}, "kwok_nodes_gpus is '1.5'; it has to be a whole number."),
        ({"kwok_nodes_gpus": True}, "kwok_nodes_gpus is 'True'; it has to be a whole number."),
        ({"kwok_nodes_qps": "abc"}, "kwok_nodes_qps is the text 'abc'; it has to be a number."),
        ({"kwok_nodes_qps": "nan"}, "kwok_nodes_qps is the text 'nan'; it has to be a number."),
        ({"kwok_nodes_stages": "perhaps"}, "kwok_nodes_stages is the text 'perhaps'; it has to be true or false."),
        ({"kwok_nodes_install": "maybe"}, "kwok_nodes_install is 'maybe'; it is one of: auto, never."),
        ({"kwok_nodes_taints": {"a": 1}}, "kwok_nodes_taints is '{'a': 1}'; it has to be a list."),
        (
            {"kwok_nodes_taints": "[]"},
            (
                "kwok_nodes_taints is the text '[]'; it has to be a list. "
                """Give it as JSON: -e '{"kwok_nodes_taints": []}'."""
            ),
        ),
        ({"kwok_nodes_labels": "a=b"}, "kwok_nodes_labels is the text 'a=b'; it has to be a mapping."),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_told_before_anything_starts(
    project: Project, given: dict[str, object], told: str
) -> None:
    assert checks.types(project, given) == [told]


@pytest.mark.parametrize("value", ["5", 5, " 50000 "], ids=repr)
def test_a_size_is_converted_once(value: object) -> None:
    assert checks.counts({"kwok_nodes_count": value}) == ({"kwok_nodes_count": int(str(value))}, [])


@pytest.mark.parametrize("value", ["abc", "", "-1", "0", "5.0", "1e3", "50001", True, None, "५"], ids=repr)
def test_a_size_that_is_no_size_is_told_with_where_it_comes_from(value: object) -> None:
    told = f"kwok_nodes_count (NODE_COUNT) is '{value}'; it has to be a whole number from 1 to 50000."
    assert checks.counts({"kwok_nodes_count": value})[1] == [told]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["kwok_nodes", "my.own.role", "somebody_elses"], []),
        (["kwok_node"], ["There is no role 'kwok_node'; the nearest is 'kwok_nodes'."]),
    ],
)
def test_only_a_near_miss_is_no_role(project: Project, names: list[str], told: list[str]) -> None:
    assert checks.environment_roles(names, project.roles) == told


def test_a_folder_that_is_missing_is_judged_by_its_parent(tmp_path: Path) -> None:
    assert checks.folder(tmp_path / "a" / "b", 1) == []


def test_a_full_disk_is_told_with_path_needed_and_free(tmp_path: Path) -> None:
    (told,) = checks.folder(tmp_path / "a", 2**60)
    assert told.startswith(f"{tmp_path}/a has too little room: needed 1,099,511,627,776.0 MiB, free ")


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert checks.folder(tmp_path / "file" / "x", 1) == [
        f"{tmp_path}/file/x cannot be made a folder: {tmp_path}/file is a file."
    ]


def test_a_folder_nobody_may_write_to_is_told() -> None:
    """/proc/1 lets nobody write, not even root."""
    assert checks.folder(Path("/proc/1/x"), 1) == [
        "/proc/1/x cannot be written to: /proc/1 is not writable for this user."
    ]
