# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.module_utils.nightbench.compare import contains, same, shown

POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "p",
        "uid": "u",
        "creationTimestamp": "t",
        "resourceVersion": "7",
        "generation": 1,
        "managedFields": [{"manager": "a"}],
        "labels": {"x": "1"},
    },
    "spec": {"nodeName": "n"},
    "status": {"phase": "Running"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    item = copy.deepcopy(POD)
    *steps, last = path.split(".")
    part = item
    for step in steps:
        part = part.setdefault(step, {})
    part[last] = value
    return item


@pytest.mark.parametrize(
    ("path", "value", "differs", "differs_with_status"),
    [
        ("metadata.resourceVersion", "8", False, False),
        ("metadata.generation", 2, False, False),
        ("metadata.managedFields", [], False, False),
        ("status.phase", "Failed", False, True),
        ("metadata.labels.x", "2", True, True),
        ("metadata.annotations", {"a": "b"}, True, True),
        ("metadata.uid", "v", True, True),
        ("spec.nodeName", "m", True, True),
        ("data", {"x": 1}, True, True),
    ],
)
def test_what_makes_a_difference(path: str, value: Any, differs: bool, differs_with_status: bool) -> None:
    other = changed(path, value)
    assert (same(POD, other), same(POD, other, status=True)) == (not differs, not differs_with_status)


def test_a_diff_shows_what_was_declared() -> None:
    expected = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"x": "1"}}}
    before = copy.deepcopy(POD)
    assert shown(POD) == {**expected, "spec": {"nodeName": "n"}}
    assert shown(POD, status=True) == {**expected, "spec": {"nodeName": "n"}, "status": {"phase": "Running"}}
    assert shown(None) == {}
    assert before == POD


def test_a_diff_shows_of_a_secret_that_it_differs_and_no_more() -> None:
    last = "kubectl.kubernetes.io/last-applied-configuration"
    secret = {"kind": "Secret", "metadata": {"annotations": {last: "hush"}}, "data": {"a": "hush", "b": "other"}}
    told = shown(secret)
    assert told["metadata"] == {"annotations": {}}
    assert told["data"].keys() == {"a", "b"}
    assert told["data"]["a"] != told["data"]["b"]
    assert "hush" not in str(told)
    assert secret["data"] == {"a": "hush", "b": "other"}


@pytest.mark.parametrize(
    ("whole", "part", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1}}, True),
        ({"a": 1}, {"b": 1}, False),
        ({"a": [{"b": 1, "c": 2}]}, {"a": [{"b": 1}]}, True),
        ({"a": [1, 2]}, {"a": [1]}, False),
        ({"a": [2, 1]}, {"a": [1, 2]}, False),
        (None, {"a": 1}, False),
        ({"a": "8"}, {"a": 8}, False),
        ({}, {}, True),
    ],
)
def test_contains(whole: Any, part: Any, expected: bool) -> None:
    assert contains(whole, part) is expected
