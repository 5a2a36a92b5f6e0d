# SPDX-License-Identifier: GPL-3.0-or-later
"""A name that does not exist is told with the nearest one that does."""

from __future__ import annotations

import pytest
from ansible.module_utils.nightbench.names import nearest, unknown

STAGES = ["start", "environment", "scheduler_scale"]


@pytest.mark.parametrize(
    ("asked", "known", "told"),
    [
        (["start", "environment"], STAGES, []),
        (["enviroment"], STAGES, ["There is no tag 'enviroment'; the nearest is 'environment'."]),
        (["xyz"], STAGES, ["There is no tag 'xyz'; there is: environment, scheduler_scale, start."]),
        (["xyz"], [], ["There is no tag 'xyz', for there is none at all."]),
        (["strat", "strat"], STAGES, ["There is no tag 'strat'; the nearest is 'start'."]),
    ],
)
def test_unknown_names_are_told_once_with_the_nearest(asked: list[str], known: list[str], told: list[str]) -> None:
    assert unknown("tag", asked, known) == told


@pytest.mark.parametrize(("alike", "found"), [(0.6, "environment"), (0.999, None)])
def test_how_alike_a_name_has_to_be_is_the_callers_choice(alike: float, found: str | None) -> None:
    assert nearest("enviroment", STAGES, alike) == found
