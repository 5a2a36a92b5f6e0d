# SPDX-License-Identifier: GPL-3.0-or-later
"""The labels by which everything that a run makes in a cloud is found again, whatever became of the run."""

from __future__ import annotations

import re
from collections.abc import Mapping

MANAGED_BY, RUN, OWNER, EXPIRES = "managed-by", "run-id", "owner", "expires"
OURS = "nightbench"
#: cloud.google.com/compute/docs/labeling-resources: keys and values, at most 63 characters.
KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
VALUE = re.compile(r"[a-z0-9_-]{0,63}")
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
#: What all of ours carry, as a filter of the API's lists.
FILTER = f"labels.{MANAGED_BY} = {OURS}"


def value(text: str) -> str:
    """A text as a label's value: lower case, other characters as dashes, at most 63."""
    return re.sub(r"[^a-z0-9_-]", "-", text.lower())[:63]


def run_problems(run_id: str) -> list[str]:
    """What is wrong with a run's id: two of them must not come to the same label, or one removes the other's hosts."""
    if RUN_ID.fullmatch(run_id):
        return []
    return [f"run_id '{run_id}': letters, digits, - and _, begins with a letter or digit, at most 63."]


def labels(run_id: str, owner: str, expires: float, more: Mapping[str, str]) -> dict[str, str]:
    return {**more, MANAGED_BY: OURS, RUN: value(run_id), OWNER: value(owner), EXPIRES: str(int(expires))}


def is_ours(found: Mapping[str, str] | None) -> bool:
    return (found or {}).get(MANAGED_BY) == OURS


def of_run(found: Mapping[str, str] | None, run_id: str) -> bool:
    return is_ours(found) and (found or {}).get(RUN) == value(run_id)


def expires(found: Mapping[str, str] | None) -> int | None:
    """Seconds since 1970; None where the label is missing or no number: then nobody knows, and nothing is removed."""
    text = (found or {}).get(EXPIRES, "")
    return int(text) if text.isdigit() else None


def problems(more: Mapping[str, str]) -> list[str]:
    """What is wrong with labels that the caller gave."""
    found = [
        f"label {key}: is written by the module itself." for key in more if key in (MANAGED_BY, RUN, OWNER, EXPIRES)
    ]
    for key, given in more.items():
        if not KEY.fullmatch(key):
            found.append(f"label {key}: begins with a small letter; small letters, digits, - and _, at most 63.")
        if not VALUE.fullmatch(str(given)):
            found.append(f"label {key}: '{given}': small letters, digits, - and _, at most 63.")
    return found
