# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a stage failed is one readable reason, without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench import failure

RESULTS: list[tuple[dict[str, Any], str]] = [
    ({"msg": "etcd did not start"}, "etcd did not start"),
    ({}, "failed without a message"),
    ({"msg": "", "stderr": "no such file"}, "no such file"),
    ({"msg": "non-zero return code", "stderr": "boom"}, "non-zero return code\nboom"),
    ({"msg": "boom happened", "stderr": "boom"}, "boom happened"),
    ({"censored": "the output has been hidden"}, "the output has been hidden"),
    ({"msg": "One or more items failed", "results": [{"msg": "fine"}, {"failed": True, "msg": "bad"}]}, "bad"),
    ({"msg": "One or more items failed", "results": [{"msg": "fine"}]}, "One or more items failed"),
    ({"msg": "login with password=hunter2 failed"}, "login with password=******** failed"),
]


@pytest.mark.parametrize(("result", "said"), RESULTS, ids=lambda value: str(value)[:40])
def test_the_reason_is_what_the_result_says(result: dict[str, Any], said: str) -> None:
    assert failure.reason(result) == said


@pytest.mark.parametrize(
    ("task", "result", "code"),
    [
        ("Validating arguments", {"msg": "x", "argument_errors": ["x"]}, 2),
        ("preflight | Check the sizes", {"msg": "x", "assertion": "a > 0"}, 2),
        ("present | Check the version", {"msg": "x", "assertion": "a == b"}, None),
        ("preflight | Check the sizes", {"msg": "x", "assertion": "a > 0", "exit_code": 3}, 3),
        ("preflight | Read the file", {"msg": "x"}, None),
    ],
)
def test_what_a_role_refuses_is_an_error_of_configuration(task: str, result: dict[str, Any], code: int | None) -> None:
    assert failure.exit_code(result, task) == code


def test_a_wrong_type_is_told_without_the_classes_of_ansible() -> None:
    tagged = "<class 'ansible.module_utils._internal._datatag._AnsibleTaggedStr'> cannot be converted to a float"
    result = {"msg": f"argument 'x_qps' is of type str and we were unable to convert to float: {tagged}"}
    assert failure.reason(result) == "argument 'x_qps' is of type str and we were unable to convert to float"


def test_a_long_reason_keeps_its_ends() -> None:
    said = failure.reason({"msg": "a" * 9000 + "z"})
    assert (len(said) < 4100, said[0], said[-1], "\n…\n" in said) == (True, "a", "z", True)


@pytest.mark.parametrize(("code", "written"), [(2, True), (None, False), ("2", False), (True, False)])
def test_an_exit_code_is_only_written_when_a_module_gives_one(code: object, written: bool) -> None:
    document = failure.document("environment", "Run etcd", {"msg": "x", "exit_code": code}, "2026-01-01T00:00:00Z")
    expected = {"stage": "environment", "reason": "x", "task": "Run etcd", "at": "2026-01-01T00:00:00Z"}
    assert document == (expected | {"exit_code": code} if written else expected)
