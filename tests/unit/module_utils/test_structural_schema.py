# SPDX-License-Identifier: GPL-3.0-or-later
"""Which fields the API server keeps, and which one was meant by a field that it drops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench import structural_schema

DEFINITIONS = Path(__file__).parents[2] / "fixtures" / "configuration" / "definitions.yml"


@pytest.fixture(scope="module")
def schema() -> structural_schema.Schema:
    definition = next(yaml.safe_load_all(DEFINITIONS.read_text(encoding="utf-8")))
    found = structural_schema.of_version(definition, "v1")
    assert found is not None
    return found


NEAREST = {
    "spec.binder.args.qps": "spec.binder.service.k8sClientConfig.qps",
    "spec.binder.args.maxConcurrentReconciles": "spec.binder.maxConcurrentReconciles",
    "spec.bindr.service.enabled": "spec.binder.service.enabled",
    "spec.binder.service.k8sClientConfig.pqs": "spec.binder.service.k8sClientConfig.qps",
    "spec.binder.service.qps": "spec.binder.service.k8sClientConfig.qps",
    "spec.queuecontroller.replicas": "spec.queueController.replicas",
    "spec.queueController.k8sClientConfig.burst": "spec.queueController.service.k8sClientConfig.burst",
    "spec.levels.nodelabel": "spec.levels.nodeLabel",
    "spec.binder.nothingLikeIt": None,
    "specs": "spec",
}


@pytest.mark.parametrize("path", NEAREST)
def test_the_field_that_was_meant_is_found(schema: structural_schema.Schema, path: str) -> None:
    found = structural_schema.nearest_path(schema, tuple(path.split(".")))
    assert (".".join(found) if found else None) == NEAREST[path]


KNOWN = {
    "spec.binder.service.resources.requests.memory": True,
    "spec.free.anything.at.all": True,
    "spec.binder.args": False,
    "spec.binder.service.enabled.deeper": False,
    "other": False,
}


@pytest.mark.parametrize("path", KNOWN)
def test_a_field_is_kept_or_dropped_as_the_schema_says(schema: structural_schema.Schema, path: str) -> None:
    assert structural_schema.knows(schema, tuple(path.split("."))) is KNOWN[path]


SCHEMAS: list[tuple[Any, str, bool]] = [
    (None, "anything", True),
    ({"type": "object"}, "dropped", False),
    ({"type": "object", "additionalProperties": True}, "kept", True),
    ({"type": "object", "additionalProperties": {"type": "string"}}, "kept", True),
    ({"x-kubernetes-int-or-string": True}, "kept", True),
    ({"type": "object", "x-kubernetes-embedded-resource": True}, "metadata", True),
    ({"type": "object", "x-kubernetes-embedded-resource": True}, "spec", False),
]


@pytest.mark.parametrize(("schema", "name", "kept"), SCHEMAS)
def test_every_form_of_a_schema_is_understood(schema: Any, name: str, kept: bool) -> None:
    assert structural_schema.child(schema, name)[0] is kept


@pytest.mark.parametrize(
    "definition",
    [
        {"spec": {}},
        {"spec": {"versions": [{"name": "v2", "schema": {"openAPIV3Schema": {"type": "object"}}}]}},
        {"spec": {"versions": [{"name": "v1"}]}},
    ],
)
def test_a_definition_without_that_version_lets_everything_through(definition: Any) -> None:
    assert structural_schema.of_version(definition, "v1") is None


@pytest.mark.parametrize(
    ("document", "unknown"),
    [
        ({"apiVersion": "a/v1", "kind": "A", "metadata": {"labels": {"x": "y"}}, "a": 1}, []),
        ({"b": 1, "list": [{"c": 1}, {"d": 2}, 3], "deep": {"any": {"thing": 1}}}, ["b", "list.d"]),
        ({"deep": {"a": {"kind": 1}}, "a": {"below": 1}}, []),
        ({"kinds": {"kind": 1}}, ["kinds"]),
    ],
)
def test_fields_that_would_be_dropped_are_found(document: Any, unknown: list[str]) -> None:
    properties = {
        "a": {"type": "integer", "x-kubernetes-preserve-unknown-fields": True},
        "list": {"type": "array", "items": {"type": "object", "properties": {"c": {}}}},
        "deep": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    found = structural_schema.unknown_fields({"type": "object", "properties": properties}, document)
    assert [".".join(path) for path in found] == unknown
    assert list(structural_schema.unknown_fields(None, document)) == []
