# SPDX-License-Identifier: GPL-3.0-or-later
"""The components of a subject that talk to the API server, each through a client with a limit of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness import quantities, units
from harness.model import Observation

SOURCE_SHOWN = 60  # characters; a command line is no name
# A pod's way to its node, as far as components leave marks on it.
WAY = ("created", "grouped", "decided", "bound")


@dataclass(frozen=True)
class Component:
    """A client's limit as it is in effect; `requests` are those of its requests that go through this client.

    `mark` is the milestone that it puts on every pod (a group, a decision, the bind), empty when it puts none.
    """

    name: str
    qps: float | None
    burst: float | None
    requests: tuple[str, ...] = ()
    requests_per_pod: float | None = None
    source: str = ""
    default_qps: float | None = None
    default_burst: float | None = None
    cpu_cores: float | None = None
    mark: str = ""

    @property
    def known(self) -> bool:
        return self.qps is not None and self.burst is not None


def of(subjects: Sequence[Observation], fairness: Sequence[Observation]) -> tuple[Component, ...]:
    """From what the subject said of itself, else from what was written down for fairness; none of a lone component."""
    told = subjects[-1].values.get("components") if subjects else None
    fair: Mapping[str, Any] = fairness[-1].values if fairness else {}
    found = told or fair.get("clients")
    if not isinstance(found, Mapping) or len(found) < 2:
        return ()
    cpu = fair.get("cpu") if isinstance(fair.get("cpu"), Mapping) else {}
    return tuple(_component(str(name), item, (cpu or {}).get(name)) for name, item in found.items())


def stages(components: Sequence[Component]) -> dict[str, tuple[str, str]]:
    """The milestones between which a pod waits for each component: the mark before its own, and its own."""
    marks = sorted({item.mark for item in components if item.mark in WAY[1:]} | {WAY[0]}, key=WAY.index)
    return {item.name: (marks[marks.index(item.mark) - 1], item.mark) for item in components if item.mark in marks[1:]}


def in_words(component: Component) -> str:
    if component.qps is None or component.burst is None:
        return f"{component.name} not observed"
    source = f" ({component.source})" if component.source and len(component.source) <= SOURCE_SHOWN else ""
    return f"{component.name} {units.digits(component.qps)}/s, burst {units.digits(component.burst)}{source}"


def _component(name: str, item: Any, cpu: Any) -> Component:
    told: Mapping[str, Any] = item if isinstance(item, Mapping) else {}
    default = told.get("default") if isinstance(told.get("default"), Mapping) else {}
    limit = cpu.get("limit") if isinstance(cpu, Mapping) else cpu
    requests = told.get("requests")
    return Component(
        name=name,
        qps=_number(told.get("qps")),
        burst=_number(told.get("burst")),
        requests=tuple(str(request) for request in requests) if isinstance(requests, list) else (),
        requests_per_pod=_number(told.get("requests_per_pod")),
        source=str(told.get("source") or ""),
        default_qps=_number((default or {}).get("qps")),
        default_burst=_number((default or {}).get("burst")),
        cpu_cores=quantities.number(told.get("cpu_cores", limit)),
        mark=str(told.get("mark") or ""),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
