# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that every kind of observation is put to, and how the findings of several repeats become one evidence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from harness import units
from harness.model import Evidence
from harness.repeat import Repeat

OTHER_LOAD_MOST = 0.25  # of the machine; more is another experiment
STEAL_MOST = 0.10
UNSEEN = "not observed"


@dataclass(frozen=True)
class Finding:
    expected: str
    observed: str
    holds: bool


class Among(Protocol):
    """What a check has to know of the other repeats: how many were asked for, and those that are there."""

    @property
    def repeats(self) -> int: ...

    @property
    def loads(self) -> Sequence[Repeat]: ...


LoadT = TypeVar("LoadT", bound=Repeat)
AmongT = TypeVar("AmongT", bound=Among)


@dataclass(frozen=True)
class Context(Generic[LoadT]):
    """What a check needs beside its own repeat."""

    metric: str
    repeats: int
    loads: Sequence[LoadT]


class WithSamples(Protocol):
    @property
    def samples_problem(self) -> str: ...


def all_repeats_present(load: Repeat, context: Among) -> Finding:
    seen = sorted(item.repeat for item in context.loads)
    wanted = list(range(1, context.repeats + 1))
    return Finding(f"repeats {listed(wanted)}", f"repeats {listed(seen)}", seen == wanted)


def same_parameters(load: Repeat, context: Among) -> Finding:
    first = context.loads[0].parameters
    other = sorted({k for k in {*first, *load.parameters} if first.get(k) != load.parameters.get(k)})
    text = ", ".join(f"{k} is {load.parameters.get(k)!r}, not {first.get(k)!r}" for k in other)
    return Finding("the parameters of the first repeat", text or "the same", not other)


def samples_intact(load: WithSamples, context: Among) -> Finding:
    return Finding(
        "samples as the role wrote them (sha256, rows)",
        load.samples_problem or "sha256 and rows agree",
        not load.samples_problem,
    )


def dataplane_as_asked(load: Repeat, context: Among) -> Finding:
    """The subject is what the nodes were seen to run; what was asked for is only a wish."""
    reason = load.value("dataplane", "reason")
    expected = f"{plain(load.value('dataplane', 'asked'))} on every node"
    return Finding(expected, str(reason or UNSEEN), load.value("dataplane", "holds") is True)


def machine_was_quiet(load: Repeat, context: Among) -> Finding:
    return at_most(load.number("machine", "other_cpu_ratio"), OTHER_LOAD_MOST, "of the machine used by anything else")


def cpu_not_stolen(load: Repeat, context: Among) -> Finding:
    return at_most(load.number("machine", "steal_ratio"), STEAL_MOST, "of the processors' time stolen")


def collect(
    checks: Iterable[tuple[str, Callable[[LoadT, AmongT], Finding | None]]], loads: Sequence[LoadT], context: AmongT
) -> tuple[Evidence, ...]:
    """The evidence of one record over all its repeats."""
    found = ((name, [(load.repeat, check(load, context)) for load in loads]) for name, check in checks)
    return tuple(item for name, results in found if (item := merge(name, results)) is not None)


def merge(name: str, results: Sequence[tuple[int, Finding | None]]) -> Evidence | None:
    """One piece of evidence of several repeats; of those in which it does not hold, each is named."""
    seen = [(repeat, finding) for repeat, finding in results if finding is not None]
    if not seen:
        return None
    failed = [(repeat, finding) for repeat, finding in seen if not finding.holds]
    told = failed or seen
    texts = {finding.observed for _, finding in told}
    if len(texts) == 1:
        observed = texts.pop()
        if failed and len(failed) < len(seen):
            observed = f"repeat {', '.join(str(repeat) for repeat, _ in failed)}: {observed}"
    else:
        observed = "; ".join(f"repeat {repeat}: {finding.observed}" for repeat, finding in told)
    return Evidence(name, told[0][1].expected, observed, not failed)


def broken(evidence: Sequence[Evidence], consequences: Mapping[str, str]) -> list[Evidence]:
    """Those that take the record its meaning; evidence nobody here knows has to hold as well."""
    return [item for item in evidence if not item.holds and consequences.get(item.name, "invalid") == "invalid"]


def at_most(value: float | None, most: float, what: str) -> Finding:
    expected = f"≤ {units.show(most, 'ratio')} {what}"
    return Finding(
        expected, UNSEEN if value is None else units.show(value, "ratio"), value is not None and value <= most
    )


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def plain(value: Any) -> str:
    if value is None:
        return "unknown"
    return f"{value:.10g}" if is_number(value) else str(value)


def listed(values: Sequence[int]) -> str:
    return ", ".join(map(str, values)) or "none"
