# SPDX-License-Identifier: GPL-3.0-or-later
"""`--fail-on-skip`: a skipped test fails unless tests/allowed_skips.txt names it.

A skip on a build machine is a hole nobody looks at. Each line of the file is `test-id pattern: reason pattern`,
both as in the shell (`*` and `?`).
"""

from __future__ import annotations

import fnmatch
from collections.abc import Generator
from pathlib import Path

import pytest

ALLOWED = Path(__file__).parent / "tests" / "allowed_skips.txt"


def allowed_skips(text: str) -> list[tuple[str, str]]:
    """(test-id pattern, reason pattern) of every line that is not a comment."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition(": ") for line in lines if line and not line.startswith("#"))
    return [(name.strip(), reason.strip()) for name, _, reason in pairs]


def is_allowed(name: str, reason: str, allowed: list[tuple[str, str]]) -> bool:
    return any(fnmatch.fnmatchcase(name, ids) and fnmatch.fnmatchcase(reason, why) for ids, why in allowed)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--fail-on-skip", action="store_true", help="a skipped test fails unless tests/allowed_skips.txt names it"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and item.config.getoption("--fail-on-skip"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not is_allowed(item.nodeid, reason, allowed_skips(ALLOWED.read_text(encoding="utf-8"))):
            report.outcome = "failed"
            report.longrepr = f"skipped, and tests/allowed_skips.txt does not allow it: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.outcome == "skipped" and collector.config.getoption("--fail-on-skip"):
        report.outcome = "failed"
        report.longrepr = f"whole file skipped: {report.longrepr}"
    return report
