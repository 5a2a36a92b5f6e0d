# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions and the constraints a tool's version has to meet: ``1.36.3`` (exactly that) or ``>=3.6,<3.7``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from itertools import zip_longest

from .errors import ConfigurationError

VERSION = re.compile(r"v?(?P<numbers>\d+(?:\.\d+)*)(?:-(?P<pre>[0-9A-Za-z.-]+))?(?:[+~].*)?$")
TERM = re.compile(r"(?P<operator>>=|<=|==|!=|>|<|=)?\s*(?P<version>\S+)$")


def satisfies(version: str, constraint: str) -> bool:
    """Whether `version` meets every comma-separated term of `constraint`; a term without an operator means "equal"."""
    return all(_COMPARISONS[symbol](compare(version, wanted), 0) for symbol, wanted in terms(constraint))


def exact(constraint: str) -> str | None:
    """The one version that meets the constraint, or None where it leaves a choice."""
    parsed = terms(constraint)
    return parsed[0][1].removeprefix("v") if len(parsed) == 1 and parsed[0][0] in ("=", "==") else None


def terms(constraint: str) -> list[tuple[str, str]]:
    """The constraint as (operator, version) pairs."""
    pairs = []
    for text in constraint.split(","):
        match = TERM.match(text.strip())
        if not match or not VERSION.match(match["version"]):
            raise ConfigurationError(
                f"version {constraint!r}: {text.strip()!r} is not a version or a comparison with one",
                hint="Write 1.36.3 or comparisons joined by commas, such as >=3.6,<3.7.",
            )
        pairs.append((match["operator"] or "=", match["version"]))
    return pairs


def compare(left: str, right: str) -> int:
    """-1, 0 or 1. Missing numbers are zeros, build metadata is ignored, a pre-release comes before its release."""
    (numbers, pre), (other_numbers, other_pre) = _parse(left), _parse(right)
    for ours, theirs in zip_longest(numbers, other_numbers, fillvalue=0):
        if ours != theirs:
            return 1 if ours > theirs else -1
    if pre == other_pre:
        return 0
    if not pre or not other_pre:
        return -1 if pre else 1
    return 1 if _pre_key(pre) > _pre_key(other_pre) else -1


_COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}


def _parse(version: str) -> tuple[list[int], str]:
    match = VERSION.match(version.strip())
    if not match:
        raise ConfigurationError(f"{version!r} is not a version.", hint="A version looks like 1.36.3 or v0.8.0-rc.1.")
    return [int(number) for number in match["numbers"].split(".")], match["pre"] or ""


def _pre_key(pre: str) -> list[tuple[int, int, str]]:
    """Numbers compare as numbers and come before words."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in pre.split(".")]
