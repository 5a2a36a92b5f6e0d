# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rule of the linter is, and what it finds. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .lint_document import Bundle, Document, Place

#: error: the API server refuses it, or it cannot do what it is for. warning: it works until the day it does not.
SEVERITIES = ("error", "warning")


@dataclass(frozen=True)
class Hit:
    """One place where a rule does not hold; `mend` where the rule's own is too general."""

    place: Place
    observed: str
    mend: str = ""


Check = Callable[[Document, Bundle], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """`refused` is what the API server's answer to a dry run says of it; `shown` what a run with it shows.

    One of the two is there: a rule that nothing has shown is an opinion.
    """

    name: str
    severity: str
    title: str
    why: str
    mend: str
    check: Check
    refused: str = ""
    shown: str = ""


@dataclass(frozen=True)
class Finding:
    """A hit with all that a reader needs."""

    rule: str
    severity: str
    source: str
    line: int | None
    object: str
    field: str
    observed: str
    why: str
    mend: str
