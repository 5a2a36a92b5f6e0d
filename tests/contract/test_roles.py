# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role has the same shape, says what it takes and keeps to its own variables."""

from __future__ import annotations

import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from tests.contract.tree import (
    ALL_TASKS,
    ROLE_CALLS,
    ROLES,
    ROOT,
    Task,
    name_of,
    names_in,
    read_documents,
    role_file,
    role_options,
    role_yaml,
    templates_in,
    under,
)

# It writes results, and nothing of a run's results is taken back.
WITHOUT_STATE = {"run_results"}
REQUIRED_FILES = ("README.md", "defaults/main.yml", "meta/main.yml", "meta/argument_specs.yml", "tasks/main.yml")

each_role = pytest.mark.parametrize("role", ROLES)


@each_role
def test_a_role_has_every_file_a_reader_looks_for(role: str) -> None:
    assert [name for name in REQUIRED_FILES if not role_file(role, name).exists()] == []


@each_role
def test_argument_specs_name_exactly_what_the_defaults_name(role: str) -> None:
    defaults, options = role_yaml(role, "defaults", "main.yml"), role_options(role)
    required = {name for name, option in options.items() if option.get("required")}
    assert set(options) - required == set(defaults), "an option without a default must be required, and the reverse"
    assert required & set(defaults) == set(), "what has a default is not required"


@each_role
def test_a_required_option_stands_commented_in_the_defaults(role: str) -> None:
    text = role_file(role, "defaults", "main.yml").read_text(encoding="utf-8")
    required = [name for name, option in role_options(role).items() if option.get("required")]
    assert [name for name in required if f"# {name}:" not in text] == []


@each_role
def test_every_option_of_a_role_is_described_and_typed(role: str) -> None:
    bad = [name for name, option in role_options(role).items() if not option.get("description") or "type" not in option]
    assert bad == []


@each_role
def test_a_default_stated_in_the_specs_is_the_default(role: str) -> None:
    defaults = role_yaml(role, "defaults", "main.yml")
    stated = {name: option["default"] for name, option in role_options(role).items() if "default" in option}
    assert stated == {name: defaults.get(name) for name in stated}


@each_role
def test_the_defaults_meet_their_own_specs(role: str) -> None:
    """What is written out; a template is only known when it is rendered."""
    defaults = role_yaml(role, "defaults", "main.yml")
    written = {name: value for name, value in defaults.items() if "{{" not in str(value)}
    specs = {name: option for name, option in role_options(role).items() if name in written}
    assert ArgumentSpecValidator(specs).validate(written).error_messages == []


@each_role
def test_every_default_stands_under_a_comment(role: str) -> None:
    """One comment may speak for the lines below it, up to the next empty one."""
    text = role_file(role, "defaults", "main.yml").read_text(encoding="utf-8").removeprefix("---")
    paragraphs = [paragraph.strip().splitlines() for paragraph in text.split("\n\n") if f"{role}_" in paragraph]
    licence = "SPDX-License-Identifier"
    bare = [lines[0] for lines in paragraphs if not any("# " in line and licence not in line for line in lines[:2])]
    assert bare == []


@each_role
def test_every_variable_of_a_role_carries_its_name(role: str) -> None:
    names = [*role_yaml(role, "defaults", "main.yml"), *role_yaml(role, "vars", "main.yml"), *role_options(role)]
    assert [name for name in names if not name.startswith((f"{role}_", f"__{role}_"))] == []


@each_role
def test_a_role_that_makes_something_can_take_it_back(role: str) -> None:
    if role not in WITHOUT_STATE:
        option = role_options(role).get(f"{role}_state", {})
        assert (option.get("type"), option.get("choices")) == ("str", ["present", "absent"])


@each_role
def test_the_readme_names_every_variable_and_how_to_test(role: str) -> None:
    text = role_file(role, "README.md").read_text(encoding="utf-8")
    assert [name for name in role_options(role) if name not in text] == []
    assert f"molecule test -s {role}" in text


@each_role
def test_a_role_has_a_molecule_scenario_of_its_name(role: str) -> None:
    assert (ROOT / "extensions" / "molecule" / role / "molecule.yml").exists()


@each_role
def test_a_role_holds_no_plugin_of_its_own(role: str) -> None:
    """They would not resolve by short name once the role is installed as part of the collection."""
    folders = ("library", "module_utils", "filter_plugins", "lookup_plugins", "test_plugins", "action_plugins")
    assert [name for name in folders if role_file(role, name).exists()] == []


@each_role
def test_a_role_reads_no_variable_of_another_role(role: str) -> None:
    others = {name for other in ROLES if other != role for name in role_options(other)}
    found = [
        f"{task.where}: {name}"
        for task in ALL_TASKS
        if name_of(task.path).startswith(f"roles/{role}/")
        for name in sorted(_variables(task) & others)
    ]
    files = [path for path in under(f"roles/{role}") if path.suffix in (".yml", ".j2") and "tasks" not in path.parts]
    for path in files:
        if path.name != "argument_specs.yml":
            text = [path.read_text(encoding="utf-8")] if path.suffix == ".j2" else templates_in(read_documents(path))
            found += [f"{name_of(path)}: {name}" for one in text for name in sorted(names_in(one) & others)]
    assert found == []


def _variables(task: Task) -> set[str]:
    """Names a task reads or sets; the variables it hands to another role by include_role are that role's inputs."""
    body = dict(task.body)
    handed = (body.pop("vars", None) or {}) if task.module in ROLE_CALLS else {}
    set_here = set(body.get("vars") or {}) | set((task.options or {}) if task.module.endswith("set_fact") else {})
    read = {name for text in templates_in([body, list(handed.values())]) for name in names_in(text)}
    return read | set_here


def test_what_only_the_extra_for_clusters_brings_is_named_in_files_that_only_its_users_load() -> None:
    """Ansible looks for every module of a file when it loads it, whatever `when` says."""
    named = [
        path for path in ROOT.glob("roles/*/tasks/*.yml") if "kubernetes.core." in path.read_text(encoding="utf-8")
    ]
    always = [path for path in named if not path.stem.endswith(("_helm", "_operator"))]
    assert {path.parent.parent.name for path in always} == {"fake_gpu_operator"}
