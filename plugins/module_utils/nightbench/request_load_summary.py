# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load of requests gives: the values of an observation, and one sample for each request. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .machine import MachineSampler
from .request_load import RequestLoad

ANSWERED, FAILED, NOT_SENT = "answered", "failed", "not_sent"
OUTCOMES = (ANSWERED, FAILED, NOT_SENT)
NONE = -1


def rows(load: RequestLoad) -> list[dict[str, Any]]:
    """One of each request, in the order they were due; all seconds but `due` count from the moment it was due."""
    found: list[dict[str, Any]] = []
    for index, name in enumerate(load.names):
        own, result = load.plan.due[index :: len(load.names)], load.results[name]
        columns, reasons = result["columns"], result["reasons"]
        for number, (due, service, wanted) in enumerate(own):
            arrival = load.plan.services[service].planned.arrivals[wanted]
            told = {key: column[number] for key, column in columns.items()}
            outcome = _outcome(told)
            found.append(
                {
                    "service": load.plan.services[service].name,
                    "generator": name,
                    "due_seconds": round(due, 6),
                    "outcome": outcome,
                    "delay_seconds": _seconds(told["delay"]),
                    "first_item_seconds": _seconds(told["first"]),
                    "latency_seconds": _seconds(told["end"]) if outcome == ANSWERED else None,
                    "planted_seconds": _seconds(told["planted"]),
                    "model_loaded": None if told["loaded"] == NONE else told["loaded"] == 1,
                    "items": max(0, told["items"]),
                    "status": None if told["status"] == NONE else told["status"],
                    "input": arrival.input,
                    "output": arrival.output,
                    "reason": reasons.get(str(number), "" if outcome == ANSWERED else f"status {told['status']}"),
                }
            )
    return sorted(found, key=lambda row: float(row["due_seconds"]))


def values(load: RequestLoad, found: Sequence[Mapping[str, Any]], machine: MachineSampler) -> dict[str, Any]:
    counts = {name: Counter(row["outcome"] for row in found if row["service"] == name) for name in _names(load)}
    total: Counter[str] = sum(counts.values(), Counter())
    return {
        "plan": load.plan.document(len(load.names)),
        "asked": len(load.plan.due),
        "done": len(found),
        "missing": len(load.plan.due) - len(found),
        **{outcome: total[outcome] for outcome in OUTCOMES},
        "services": {
            name: {
                **{outcome: counts[name][outcome] for outcome in OUTCOMES},
                "addresses": len(places),
                "reasons": dict(_reasons(found, name).most_common(5)),
            }
            for name, places in zip(_names(load), load.addresses, strict=True)
        },
        "generators": {
            name: {
                "requests": len(result["columns"]["delay"]),
                "cpu_ratio_of_core": round(result["cpu_seconds"] / result["ended"], 4) if result["ended"] > 0 else None,
                "connections": result["connections"],
                "scheduling": result["scheduling"],
                "clock_offset_seconds": round(load.clocks[name].offset, 6),
                "clock_uncertainty_seconds": round(load.clocks[name].uncertainty, 6),
            }
            for name, result in load.results.items()
        },
        "clock": {"name": "each load generator's monotonic clock, from the moment a request was due"},
        "started": load.start,
        "ended": load.ended,
        "machine": machine.whole(),
    }


def _outcome(told: Mapping[str, int]) -> str:
    if told["delay"] == NONE:
        return NOT_SENT
    return ANSWERED if 200 <= told["status"] < 300 else FAILED


def _names(load: RequestLoad) -> list[str]:
    return [one.name for one in load.plan.services]


def _reasons(found: Iterable[Mapping[str, Any]], name: str) -> Counter[str]:
    return Counter(str(row["reason"]) for row in found if row["service"] == name and row["reason"])


def _seconds(microseconds: int) -> float | None:
    return None if microseconds == NONE else microseconds / 1e6
