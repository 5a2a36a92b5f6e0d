# SPDX-License-Identifier: GPL-3.0-or-later
"""The faults that can be planted, by name in the environment variable KAI_STAND_IN_FAULTS (a comma between two)."""

from __future__ import annotations

import os

VARIABLE = "KAI_STAND_IN_FAULTS"

#: Name: which component does what wrong. Everything else about that component stays right.
FAULTS = {
    "drop_pod": "scheduler: the first pod of the first group that is no gang is never scheduled",
    "break_gang": "scheduler: the first gang gets all but one of its minMember pods, and the last one never",
    "overfill_node": "scheduler: one node, the first by name that a pod may use, is given one GPU more than it has",
    "late_binder": "binder: each binding is begun LATE_SECONDS after its BindRequest was seen",
    "ignore_limit_flag": "every component: --qps and --burst are taken and ignored, the defaults hold (50 and 300)",
    "split_domain": "scheduler: the last pod of each gang with a topology level is put outside the gang's domain",
    "exceed_queue": "scheduler: the limits of queues are not looked at",
    "evict_below_minimum": "scheduler: reclaim evicts single pods of a gang, whatever its minMember",
    "no_consolidation": "scheduler: the action consolidation never runs, whatever --max-consolidation-preemptees says",
}
LATE_SECONDS = 2.0


def planted() -> frozenset[str]:
    """The faults that the environment asks for; ValueError names one that does not exist."""
    names = {name.strip() for name in os.environ.get(VARIABLE, "").split(",") if name.strip()}
    unknown = sorted(names - set(FAULTS))
    if unknown:
        raise ValueError(f"{VARIABLE}: no fault is called {', '.join(unknown)}; there are {', '.join(sorted(FAULTS))}")
    return frozenset(names)
