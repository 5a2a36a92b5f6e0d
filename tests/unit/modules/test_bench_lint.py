# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_lint: what it fails on, what it returns, and what it refuses to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.modules import bench_lint

from tests.conftest import RunModule
from tests.fakes.lint_examples import EXAMPLES

BAD, WARNED, GOOD = (
    EXAMPLES["request-over-limit"].fails,
    EXAMPLES["image-tag"].fails,
    EXAMPLES["image-tag"].passes,
)


@pytest.mark.parametrize(
    ("manifests", "fail_on", "fails"),
    [
        (BAD, "error", True),
        (BAD, "warning", True),
        (BAD, "never", False),
        (WARNED, "error", False),
        (WARNED, "warning", True),
        (WARNED, "never", False),
        (GOOD, "warning", False),
    ],
)
def test_it_fails_on_what_it_was_told_to(
    run_module: RunModule, manifests: list[dict[str, Any]], fail_on: str, fails: bool
) -> None:
    result = run_module(bench_lint, manifests=manifests, fail_on=fail_on)
    assert (result.rc == 1) is fails
    assert result["manifests"] == 1


def test_a_failure_names_object_field_and_value_and_returns_the_rest(run_module: RunModule) -> None:
    result = run_module(bench_lint, manifests=BAD).failed()
    field = "spec.containers[0].resources.requests.memory"
    assert result.msg == (
        f"Pod server: {field}: memory request 2Gi, limit 1Gi. The findings say why, and what mends it."
    )
    (finding,) = result["findings"]
    assert (finding["rule"], finding["field"], finding["line"]) == ("request-over-limit", field, None)
    assert (result["counts"], result["exit_code"]) == ({"error": 1, "warning": 0}, 2)


def test_files_and_data_are_looked_at_together(run_module: RunModule, tmp_path: Path) -> None:
    claim, reader = EXAMPLES["claim"].passes
    path = tmp_path / "reader.yml"
    path.write_text(yaml.safe_dump(reader))
    alone = run_module(bench_lint, paths=[str(path)]).ok()
    both = run_module(bench_lint, paths=[str(path)], manifests=[claim]).ok()
    assert ([one["rule"] for one in alone["findings"]], both["findings"]) == (["claim"], [])


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({}, "There is no manifest to look at. Give manifests or paths."),
        ({"paths": ["/nowhere/x.yml"]}, "/nowhere/x.yml cannot be read: "),
        ({"manifests": GOOD, "ignore": ["image-tags"]}, "There is no rule 'image-tags'; the nearest is 'image-tag'."),
        ({"manifests": GOOD, "confirm": True, "kubeconfig": "/nowhere/config"}, "/nowhere/config"),
    ],
)
def test_what_cannot_be_looked_at_is_said(run_module: RunModule, parameters: dict[str, Any], told: str) -> None:
    result = run_module(bench_lint, **parameters).failed()
    assert told in result.msg
    assert (result["findings"], result["exit_code"]) == ([], 2)
