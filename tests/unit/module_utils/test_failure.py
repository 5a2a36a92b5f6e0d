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


def test_a_long_reason_keeps_its_ends() -> None:
    said = failure.reason({"msg": "a" * 9000 + "z"})
    assert (len(said) < 4100, said[0], said[-1], "\n…\n" in said) == (True, "a", "z", True)


@pytest.mark.parametrize(("code", "written"), [(2, True), (None, False), ("2", False), (True, False)])
def test_an_exit_code_is_only_written_when_a_module_gives_one(code: object, written: bool) -> None:
    document = failure.document("environment", "Run etcd", {"msg": "x", "exit_code": code}, "2026-01-01T00:00:00Z")
    expected = {"stage": "environment", "reason": "x", "task": "Run etcd", "at": "2026-01-01T00:00:00Z"}
    assert document == (expected | {"exit_code": code} if written else expected)
