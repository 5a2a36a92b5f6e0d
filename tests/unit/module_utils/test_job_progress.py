# SPDX-License-Identifier: GPL-3.0-or-later
"""The progress line of a load says in a few words what it waits for, however many parts do so together."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from ansible.module_utils.nightbench.job_load import JobLoad


def state(name: str, until: str, done: int, wanted: int) -> Any:
    return SimpleNamespace(part=SimpleNamespace(name=name, until=until), wanted=wanted, reached=lambda _: done)


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ([], {"done": 3, "asked": 7, "unit": "pods deleted"}),
        ([state("measured", "bound", 2, 5)], {"done": 2, "asked": 5, "unit": "measured pods bound"}),
        (
            [state(f"size-{number}", "completed", 1, number) for number in (1, 2, 4)],
            {"done": 3, "asked": 7, "unit": "pods completed"},
        ),
        (
            [state("a", "running", 1, 1), state("b", "bound", 0, 1)],
            {"done": 1, "asked": 2, "unit": "pods running or bound"},
        ),
    ],
)
def test_the_line_names_one_part_or_what_all_wait_for(stage: list[Any], line: dict[str, Any]) -> None:
    load = SimpleNamespace(_stage=stage, tracker=SimpleNamespace(gone=3, pods=7))
    assert JobLoad.progress(cast(JobLoad, load)) == line
