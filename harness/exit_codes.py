# SPDX-License-Identifier: GPL-3.0-or-later
"""What a number at the end of a process means, and which one wins."""

from __future__ import annotations

from collections.abc import Iterable

GOOD, REGRESSION, USAGE, INFRASTRUCTURE, INVALID, INTERRUPTED = 0, 1, 2, 3, 4, 130
PRECEDENCE = (INTERRUPTED, USAGE, INFRASTRUCTURE, INVALID, REGRESSION, GOOD)
MEANING = {
    GOOD: "good",
    REGRESSION: "regression or failed objective",
    USAGE: "usage or configuration",
    INFRASTRUCTURE: "infrastructure or a broken suite",
    INVALID: "invalid measurement",
    INTERRUPTED: "interrupted",
}
# ansible-playbook: 1 error, 2 failed, 4 unreachable or not parsed, 5 bad options, 99 interrupted, 250 unexpected.
ANSIBLE = {0: GOOD, 5: USAGE, 99: INTERRUPTED}


def of_ansible(code: int | None) -> int:
    """Our code for ansible-playbook's; None is a process that a signal ended."""
    return INFRASTRUCTURE if code is None else ANSIBLE.get(code, INFRASTRUCTURE)


def worst(codes: Iterable[int]) -> int:
    """The one exit code of several; an unknown one counts as infrastructure."""
    seen = {code if code in PRECEDENCE else INFRASTRUCTURE for code in codes}
    return next((code for code in PRECEDENCE if code in seen), GOOD)
