# SPDX-License-Identifier: GPL-3.0-or-later
"""Every module does what its documentation says, and says all that it does."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.modules import describe, differences
from tests.contract.tree import COLLECTION, MODULES, ROOT, read_yaml, under

ATTRIBUTES = ("check_mode", "diff_mode", "idempotent")
SECRET = ("password", "token", "secret", "api_key", "client_key")
# `state: info` looks without a change; two modules for one thing would be worse.
ACCEPTED = {"parameter-state-invalid-choice"}
HEADER_ORDER = ["DOCUMENTATION", "EXAMPLES", "RETURN"]

each_module = pytest.mark.parametrize("name", MODULES)


def test_the_folder_holds_modules_of_ours_only() -> None:
    assert [path.name for path in under("library") if path.stem not in MODULES or path.suffix != ".py"] == []


@each_module
def test_documentation_and_argument_spec_agree(name: str) -> None:
    module = describe(name)
    assert differences(module.options, module.spec) == []


@each_module
def test_the_documentation_names_the_module_and_says_what_it_is_for(name: str) -> None:
    document = describe(name).documentation
    assert document["module"] == name
    assert [key for key in ("short_description", "description", "author") if not document.get(key)] == []
    assert not document["short_description"].endswith(".")


@each_module
def test_check_mode_and_diff_and_idempotence_are_stated(name: str) -> None:
    module = describe(name)
    attributes = module.documentation.get("attributes") or {}
    assert [
        key for key in ATTRIBUTES if attributes.get(key, {}).get("support") not in ("full", "partial", "none", "N/A")
    ] == []
    partial = [
        key for key in ATTRIBUTES if attributes[key]["support"] == "partial" and not attributes[key].get("details")
    ]
    assert partial == [], "partial support says which part"
    assert module.call.get("supports_check_mode") is True
    assert attributes["check_mode"]["support"] in ("full", "partial")


@each_module
def test_the_examples_are_tasks_that_use_declared_options_only(name: str) -> None:
    module = describe(name)
    calls = [body for body in map(_call_of(name), _all_tasks(module.examples)) if body is not None]
    assert calls, "no example calls the module"
    assert [sorted(set(call) - set(module.spec)) for call in calls if set(call) - set(module.spec)] == []
    required = {option for option, rule in module.spec.items() if rule.get("required")}
    assert [sorted(required - set(call)) for call in calls if required - set(call)] == []


@each_module
def test_every_return_value_says_when_and_of_what_type(name: str) -> None:
    returns = describe(name).returns
    assert returns, "RETURN is empty"
    incomplete = [key for key, value in returns.items() if not {"description", "returned", "type"} <= set(value)]
    assert incomplete == []


@each_module
def test_secrets_are_hidden_and_what_only_looks_secret_is_said_not_to_be(name: str) -> None:
    spec = describe(name).spec
    assert [option for option in spec if any(word in option for word in SECRET) and "no_log" not in spec[option]] == []


@each_module
def test_a_module_is_laid_out_documentation_first_main_last(name: str) -> None:
    text = (ROOT / "library" / f"{name}.py").read_text(encoding="utf-8")
    tree = ast.parse(text)
    assigned = [
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in HEADER_ORDER
    ]
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert assigned == HEADER_ORDER
    assert "main" in functions
    assert "GNU General Public License v3.0+" in text[:600], "validate-modules looks for this line"
    imports = [node.lineno for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom)) and _own(node)]
    documented_to = max(
        node.end_lineno or 0 for node in tree.body if isinstance(node, ast.Assign) and _is_document(node)
    )
    assert [line for line in imports if line < documented_to] == []


def test_the_options_for_a_cluster_are_the_same_words_in_every_module() -> None:
    from ansible.module_utils.nightbench.auth import AUTH_SPEC

    said = {
        name: {option: describe(name).options.get(option) for option in AUTH_SPEC}
        for name in MODULES
        if set(AUTH_SPEC) & set(describe(name).spec) == set(AUTH_SPEC)
    }
    first = next(iter(said), None)
    assert [name for name in said if said[name] != said[first]] == [], f"differ from {first}"


def test_the_action_group_holds_the_modules_that_take_a_cluster() -> None:
    groups = read_yaml(ROOT / "meta" / "runtime.yml")["action_groups"]
    assert groups == {
        "bench": [name for name in MODULES if {"kubeconfig", "context", "api_key"} <= set(describe(name).spec)]
    }


def test_ansibles_own_validator_finds_nothing(tmp_path: Path) -> None:
    """ansible-test wants a network and a checkout inside ansible_collections; its validator alone wants neither."""
    import ansible_test

    root = tmp_path / "ansible_collections" / "nightbench" / "infra"
    root.mkdir(parents=True)
    shutil.copytree(ROOT / "library", root / "plugins" / "modules", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / "plugins" / "module_utils",
        root / "plugins" / "module_utils",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copytree(ROOT / "meta", root / "meta")
    shutil.copy(ROOT / "galaxy.yml", root)
    validator = Path(ansible_test.__file__).parent / "_util" / "controller" / "sanity" / "validate-modules"
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from validate_modules.main import main; main()",
            *("--format", "json", "--arg-spec", "--collection", "ansible_collections/nightbench/infra"),
            *(f"plugins/modules/{name}.py" for name in MODULES),
        ],
        cwd=root,
        env={"PYTHONPATH": f"{validator}:{tmp_path}", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout, answer.stderr
    errors = [
        (path, error["code"], error["msg"])
        for path, found in json.loads(answer.stdout).items()
        for error in found["errors"]
        if error["code"] not in ACCEPTED
    ]
    assert errors == []


def _own(node: ast.Import | ast.ImportFrom) -> bool:
    return not (isinstance(node, ast.ImportFrom) and node.module == "__future__")


def _is_document(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id in HEADER_ORDER for target in node.targets)


def _all_tasks(entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for entry in entries:
        for key in ("tasks", "block", "rescue", "always"):
            yield from _all_tasks(entry.get(key) or [])
        yield entry


def _call_of(name: str) -> Any:
    return lambda task: next((task[key] or {} for key in (name, COLLECTION + name) if key in task), None)


WRONG = [
    ({"a": {"description": "x"}}, {}, "a: not in the argument_spec"),
    ({}, {"a": {}}, "a: not documented"),
    ({"a": {"description": "x", "type": "int"}}, {"a": {}}, "a: type 'int', really 'str'"),
    ({"a": {"description": "x", "default": 1}}, {"a": {"default": 2}}, "a: default 1, really 2"),
    ({"a": {"description": "x", "choices": ["b"]}}, {"a": {"choices": ["c"]}}, "a: choices ['b'], really ['c']"),
    ({"a": {"description": "x"}}, {"a": {"required": True}}, "a: required False, really True"),
    ({"a": {}}, {"a": {}}, "a: no description"),
    (
        {"a": {"description": "x"}},
        {"a": {"fallback": (None, ["HERE"])}},
        "a: the description does not name the environment variable HERE",
    ),
    ({"a": {"description": "x"}}, {"a": {"options": {"b": {}}}}, "a.b: not documented"),
]


@pytest.mark.parametrize(("documented", "spec", "complaint"), WRONG)
def test_a_difference_between_documentation_and_spec_is_seen(documented: Any, spec: Any, complaint: str) -> None:
    assert differences(documented, spec) == [complaint]
