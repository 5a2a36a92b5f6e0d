# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.module_utils.nightbench import tool_version
from ansible.module_utils.nightbench.errors import ConfigurationError


@pytest.mark.parametrize(
    ("version", "constraint", "meets"),
    [
        ("1.36.3", "1.36.3", True),
        ("v1.36.3", "1.36.3", True),
        ("1.36.3", "v1.36.3", True),
        ("1.36.4", "1.36.3", False),
        ("1.36.30", "1.36.3", False),
        ("3.22", "3.22.0", True),
        ("3.6.16", ">=3.6,<3.7", True),
        ("3.7.0", ">=3.6,<3.7", False),
        ("3.5.99", ">=3.6, <3.7", False),
        ("3.10", ">3.9", True),
        ("2.42.0+ds", ">=2.42,<4", True),
        ("2.42.0+ds", "2.42", True),
        ("0.8.0-rc.1", ">=0.8.0", False),
        ("0.8.0-rc.10", ">0.8.0-rc.9", True),
        ("0.8.0-rc.1", "<0.8.0", True),
        ("0.8.0", "!=0.8.0", False),
        ("0.8.1", "!=0.8.0,<=0.8.1", True),
    ],
)
def test_a_version_meets_a_constraint(version: str, constraint: str, meets: bool) -> None:
    assert tool_version.satisfies(version, constraint) is meets


@pytest.mark.parametrize("constraint", ["", "newest", ">=", "1.2,,1.3", ">=1.2 <2", "~1.2"])
def test_what_is_no_constraint_is_refused_by_name(constraint: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a version or a comparison"):
        tool_version.terms(constraint)


@pytest.mark.parametrize(
    ("constraint", "version"),
    [("1.36.3", "1.36.3"), ("v0.8.0", "0.8.0"), ("=1.2", "1.2"), (">=1.2", None), (">=1,<2", None), ("<2", None)],
)
def test_only_an_exact_constraint_names_one_version(constraint: str, version: str | None) -> None:
    assert tool_version.exact(constraint) == version


def test_what_a_tool_printed_instead_of_a_version_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'\(devel\)' is not a version"):
        tool_version.compare("(devel)", "1.0")
