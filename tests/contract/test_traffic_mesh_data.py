# SPDX-License-Identifier: GPL-3.0-or-later
"""Scenarios and subjects of traffic_mesh are data: each means something, and all of it can be planned."""

from __future__ import annotations

import ast
import json
import sys
from typing import Any

import pytest
from ansible.module_utils.nightbench import mesh_plan, mesh_pods, mesh_profile

from tests.contract.tree import ROOT, read_yaml, role_yaml, under

FILES = ROOT / "roles" / "traffic_mesh" / "files"
SCENARIOS = {path.stem: read_yaml(path) for path in under("roles/traffic_mesh/files/scenarios", ".yml")}
SUBJECTS = {path.stem: read_yaml(path) for path in under("roles/traffic_mesh/files/subjects", ".yml")}
METRICS = json.loads((ROOT / "harness" / "schema" / "metrics.json").read_text(encoding="utf-8"))
KEYS = {"name", "title", "nightly", "metrics", "mesh"}
GROUPS = role_yaml("traffic_mesh", "defaults", "main.yml")["traffic_mesh_groups"]

each_scenario = pytest.mark.parametrize("name", SCENARIOS)


@each_scenario
def test_a_scenario_has_the_keys_that_the_role_reads(name: str) -> None:
    assert (set(SCENARIOS[name]), SCENARIOS[name]["name"]) == (KEYS, name)


@each_scenario
def test_a_scenario_can_be_planned_for_the_default_groups(name: str) -> None:
    profile = mesh_profile.read(SCENARIOS[name]["mesh"], ["eth0", "net1"], {})
    plan = mesh_plan.make(mesh_pods.predicted(GROUPS, ["a", "b"]), profile)
    assert plan.cells == (2352 if "pairs" in name else 4704)


@each_scenario
def test_a_scenario_plans_metrics_that_exist(name: str) -> None:
    known = {metric["name"] for metric in METRICS["metrics"]}
    assert [metric for metric in SCENARIOS[name]["metrics"] if metric not in known] == []


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_subject_is_a_name_and_a_title(name: str) -> None:
    assert (set(SUBJECTS[name]), SUBJECTS[name]["name"]) == ({"name", "title"}, name)


def test_the_published_mesh_is_one_of_the_scenarios() -> None:
    mesh = SCENARIOS["seed_pairs"]["mesh"]
    assert (mesh["pairs"], mesh["streams"], mesh["bits_per_second"]) == (["across_nodes", "within_node"], 16, 10**10)
    assert sum(group["count"] for group in GROUPS) == 49


def imports(path: Any) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


def test_the_agent_needs_nothing_but_the_standard_library() -> None:
    own = {path.stem for path in (FILES / "agent").glob("*.py")}
    needed = {name for path in (FILES / "agent").glob("*.py") for name in imports(path)} - own
    assert {name for name in needed if name.partition(".")[0] not in sys.stdlib_module_names} == set()


def test_the_image_of_the_local_pods_has_what_the_agent_imports() -> None:
    own = {path.stem for path in (FILES / "agent").glob("*.py")}
    needed = {name for path in (FILES / "agent").glob("*.py") for name in imports(path)} - own
    image = read_yaml(ROOT / "inventories" / "local" / "group_vars" / "all" / "real_nodes.yml")[
        "__real_nodes_tools_image"
    ]
    assert needed - set(image["python"]["modules"]) == set()


@pytest.mark.parametrize("path", sorted((FILES / "agent").glob("*.py")), ids=lambda path: path.name)
def test_the_agent_is_python_3_9(path: Any) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))
    assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Match)] == []
