# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.kube import Resource
from ansible.module_utils.nightbench.manifest import Declared, parse, waves


def an(kind: str, name: str = "a", namespace: str | None = None, **more: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


def test_manifests_know_what_they_are_called() -> None:
    in_namespace, alone = parse([an("Pod", "p", "load"), an("Node", "n", status={"capacity": {"cpu": 1}})])
    assert (str(in_namespace), in_namespace.namespace, in_namespace.has_status) == ("Pod load/p", "load", False)
    assert (str(alone), alone.namespace, alone.has_status) == ("Node n", None, True)


def test_the_status_of_a_definition_is_nobodys_wish() -> None:
    (written,) = parse([an("CustomResourceDefinition", "things.example.org", status={"acceptedNames": {"kind": ""}})])
    assert not written.has_status


def test_lists_are_unfolded_and_empty_documents_left_out() -> None:
    listed = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [an("Pod", "a"), {"kind": "List", "items": [an("Pod", "b")]}],
    }
    assert [str(one) for one in parse([None, listed, an("Pod", "c")])] == ["Pod a", "Pod b", "Pod c"]


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        (["text"], "objects[0] is str, not an object."),
        ([an("Pod"), ["x"]], "objects[1] is list, not an object."),
        ([{**an("Pod"), "apiVersion": None}], "objects[0]: Pod has no apiVersion. Every object needs one."),
        ([{**an("Pod"), "kind": ""}], "objects[0]: the object has no kind. Every object needs one."),
        ([{**an("Pod"), "metadata": "x"}], "objects[0]: Pod has no metadata.name. Every object needs one."),
        ([an("Pod", ""), an("Pod")], "objects[0]: Pod has no metadata.name. Every object needs one."),
        ([{**an("Pod"), "metadata": {"name": 7}}], "objects[0]: Pod has no metadata.name. Every object needs one."),
        ([an("Pod", "a", "x"), an("Pod", "a"), an("Pod", "a", "x")], "objects: Pod x/a is there more than once."),
    ],
)
def test_documents_that_cannot_be_meant(documents: list[Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(documents)
    assert str(caught.value) == message


def test_the_same_name_in_another_version_is_another_object() -> None:
    assert len(parse([an("Event"), {**an("Event"), "apiVersion": "events.k8s.io/v1"}])) == 2


def test_what_others_need_comes_first_in_the_order_given() -> None:
    kinds = ["Pod", "PriorityClass", "CustomResourceDefinition", "Node", "Namespace", "ServiceAccount"]
    ordered = [[one.kind for one in wave] for wave in waves(parse([an(kind) for kind in kinds]))]
    assert ordered == [["CustomResourceDefinition", "Namespace"], ["PriorityClass", "ServiceAccount"], ["Pod", "Node"]]
    assert waves([]) == []


def test_what_declarations_bring() -> None:
    versions = [{"name": "v1"}, {"name": "v2"}]
    names = {"kind": "Widget", "plural": "widgets"}
    spec = {"group": "example.com", "scope": "Cluster", "names": names, "versions": versions}
    declared = Declared(parse([an("Namespace", "load"), an("Pod"), an("CustomResourceDefinition", "w", spec=spec)]))
    assert declared.namespaces == {"load"}
    assert declared.resources == {
        (f"example.com/{version}", "Widget"): Resource(f"example.com/{version}", "Widget", "widgets", False)
        for version in ("v1", "v2")
    }
    assert Declared(parse([an("CustomResourceDefinition", "broken")])).resources == {}
