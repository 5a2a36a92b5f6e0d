# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load of several parts is to create, checked before anything is created; pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import arrivals_plan
from .arrivals import process
from .errors import ConfigurationError
from .pod_load import LOAD_LABEL

PART_LABEL = "nightbench.io/part"
_NAME = "@nightbench-name@"


@dataclass(frozen=True)
class Deletion:
    """Pods of an earlier part that go before a part starts."""

    part: str
    per_node: int


@dataclass(frozen=True)
class Part:
    """Objects of one kind that are created together; the options of bench_job_load say what each field means."""

    name: str
    count: int
    template: dict[str, Any]
    form: str = "pods"
    pods_per_job: int = 1
    queue: str = ""
    min_member: int | None = None
    level: str | None = None
    placement: str | None = None
    until: str = "running"
    hold: bool = True
    measured: bool = False
    together: bool = False
    sequential: bool = False
    rate: float | None = None
    arrivals: str = "constant"
    seed: int = 0
    moments: tuple[float, ...] = ()
    delete: Deletion | None = None

    @property
    def pods(self) -> int:
        return self.count * self.pods_per_job

    def names(self, load: str) -> list[str]:
        width = len(str(max(self.count - 1, 0)))
        return [f"{load}-{self.name}-{index:0{width}d}" for index in range(self.count)]

    def body(self, load: str) -> Callable[[str], bytes]:
        """A function that gives the JSON of the object with a name; the template is encoded once."""
        ours = {LOAD_LABEL: load, PART_LABEL: self.name}
        made = _labelled(self.template, ours)
        made["metadata"]["name"] = _NAME
        if self.form == "jobs":
            pod = _labelled(made["spec"]["template"], ours)
            pod["spec"] = {"restartPolicy": "Never", **pod["spec"]}
            sizes = {"parallelism": self.pods_per_job, "completions": self.pods_per_job}
            made["spec"] = {**made["spec"], **sizes, "template": pod}
        kind = {"apiVersion": "batch/v1", "kind": "Job"} if self.form == "jobs" else {"apiVersion": "v1", "kind": "Pod"}
        before, _, after = json.dumps({**kind, **made}, separators=(",", ":")).encode().partition(_NAME.encode())
        return lambda name: before + name.encode() + after

    def send_times(self) -> Iterator[float] | None:
        """Seconds after the part's start at which each object is due, or None for a closed loop."""
        if self.arrivals == "trace":
            return iter(sorted(self.moments))
        if self.rate is None:
            return None
        return process({"kind": self.arrivals, "rate": self.rate, "seed": self.seed}).moments()


@dataclass(frozen=True)
class Condition:
    """How a group says that it cannot be scheduled."""

    path: str
    type: str
    status: str | None = None


@dataclass(frozen=True)
class Watched:
    """A kind beside pods and Jobs: a group (``of`` leads to its Job) or a decision (``of`` leads to its pod).

    member: where a pod names its group; it is grouped from then on, not from the group's creation. member_by: who
    writes that, by user agent.
    """

    api_version: str
    kind: str
    of: str
    node: str | None = None
    unschedulable: Condition | None = None
    member: str | None = None
    member_by: str | None = None


@dataclass(frozen=True)
class JobLoadPlan:
    """All parts of a load, and what is watched beside them."""

    name: str
    namespace: str
    parts: tuple[Part, ...]
    group: Watched | None = None
    decision: Watched | None = None
    topology_labels: Mapping[str, str] = field(default_factory=dict)
    connections: int = 16

    def selector(self) -> str:
        return f"{LOAD_LABEL}={self.name}"

    def stages(self) -> list[list[Part]]:
        """Parts that start together."""
        found: list[list[Part]] = []
        for part in self.parts:
            if part.together and found:
                found[-1].append(part)
            else:
                found.append([part])
        return found

    @property
    def measured(self) -> tuple[Part, ...]:
        return tuple(part for part in self.parts if part.measured)


def load_plan(params: Mapping[str, Any]) -> JobLoadPlan:
    """The plan that the module's parameters describe; raises ConfigurationError for one that cannot be carried out."""
    parts = [part_from(item) for item in params["parts"]]
    if not parts:
        raise ConfigurationError("parts: there is none.")
    if not any(part.measured for part in parts):
        parts[-1] = Part(**{**vars(parts[-1]), "measured": True})
    if params["connections"] < 1:
        raise ConfigurationError(f"connections: {params['connections']} is not a number of at least 1.")
    if params["release"] is not None and not params["run_state"]:
        raise ConfigurationError("release needs run_state, where the record of the process goes.")
    observed = params["observed"] or {}
    made = JobLoadPlan(
        name=params["name"],
        namespace=params["namespace"],
        parts=tuple(parts),
        group=_group(observed.get("group")),
        decision=_decision(observed.get("decision")),
        topology_labels={level: str(label) for level, label in (params["topology_labels"] or {}).items()},
        connections=params["connections"],
    )
    _check_parts(made)
    return made


def part_from(item: Mapping[str, Any]) -> Part:
    """A part from its options; what is wrong with it alone is said here."""
    name = item["name"]
    for number in ("count", "pods_per_job"):
        if item[number] < 1:
            raise ConfigurationError(f"parts: {name}: {number}: {item[number]} is not a number of at least 1.")
    topology, delete = item["topology"] or {}, item["delete"]
    taken = ("name", "count", "template", "form", "pods_per_job", "min_member", "until", "hold", "measured", "together",
             "sequential", "rate", "arrivals", "seed")  # fmt: skip
    part = Part(
        **{key: item[key] for key in taken},
        queue=item["queue"] or "",
        level=topology.get("level"),
        placement=topology.get("placement"),
        moments=tuple(_moments(item)),
        delete=Deletion(delete["part"], delete["per_node"]) if delete else None,
    )
    for wrong, why in _faults(part):
        if wrong:
            raise ConfigurationError(f"parts: {name}: {why}")
    return part


def _moments(item: Mapping[str, Any]) -> Sequence[float]:
    given, drawn = item["moments"] or (), item.get("process")
    if drawn and (given or item["arrivals"] != "trace"):
        raise ConfigurationError(
            f"parts: {item['name']}: process gives the moments of arrivals: trace; leave the rest."
        )
    return arrivals_plan.moments(drawn, item["count"]) if drawn else given


def planned(made: JobLoadPlan) -> dict[str, Any]:
    """The plan as check mode shows it."""
    stages = made.stages()
    return {
        "namespace": made.namespace,
        "pods": sum(part.pods for part in made.parts),
        "connections": made.connections,
        "measured_part": ",".join(part.name for part in made.measured),
        "parts": [
            {
                "name": part.name,
                "stage": number,
                "form": part.form,
                "jobs": part.count,
                "pods": part.pods,
                "first": part.names(made.name)[0],
                "last": part.names(made.name)[-1],
                "until": part.until,
                "seconds_to_send": _seconds_to_send(part),
                "deletes": None if part.delete is None else vars(part.delete),
            }
            for number, stage in enumerate(stages, 1)
            for part in stage
        ],
        "observed": [watched.kind for watched in (made.group, made.decision) if watched is not None],
    }


def _faults(part: Part) -> Iterator[tuple[bool, str]]:
    """Every rule for one part, with the sentence for who breaks it."""
    pod = part.template if part.form == "pods" else (part.template.get("spec") or {}).get("template") or {}
    where = "spec.containers" if part.form == "pods" else "spec.template.spec.containers"
    yield (
        not (pod.get("spec") or {}).get("containers"),
        (f"the template has no {where}. Give a whole {'Pod' if part.form == 'pods' else 'Job'} without its name."),
    )
    yield part.form == "pods" and part.pods_per_job != 1, "a bare pod is no Job: pods_per_job has to be 1."
    least, most = part.min_member, part.pods_per_job
    yield least is not None and not 1 <= least <= most, f"min_member: {least} is not between 1 and {most} pods."
    yield (
        part.rate is not None and part.rate <= 0,
        (f"rate: {part.rate} a second cannot be sent. Leave it out, or give more than 0."),
    )
    yield part.arrivals == "poisson" and part.rate is None, "arrivals: poisson needs a rate."
    traced = part.arrivals == "trace"
    yield traced and part.rate is not None, "arrivals: trace has moments and no rate."
    yield (
        traced and len(part.moments) != part.count,
        (f"arrivals: trace needs {part.count} moments, one for each object, and has {len(part.moments)}."),
    )
    yield not traced and bool(part.moments), "moments are for arrivals: trace."
    yield any(at < 0 for at in part.moments), "moments: one lies before the start of the part."
    yield part.sequential and (part.rate is not None or traced), "a sequential part has no rate and no moments."
    yield part.sequential and part.until == "created", "a sequential part needs a milestone after created."
    yield part.delete is not None and part.delete.per_node < 1, "delete.per_node is not a number of at least 1."


def _check_parts(made: JobLoadPlan) -> None:
    """What is wrong with the parts together."""
    seen: list[str] = []
    for part in made.parts:
        if part.name in seen:
            raise ConfigurationError(f"parts: {part.name} is there more than once.")
        if part.delete is not None and part.delete.part not in seen:
            raise ConfigurationError(f"parts: {part.name}: delete.part: {part.delete.part} is no earlier part.")
        if part.level is not None and part.level not in made.topology_labels:
            raise ConfigurationError(
                f"parts: {part.name}: topology.level: {part.level} is none of topology_labels "
                f"({', '.join(made.topology_labels) or 'empty'})."
            )
        seen.append(part.name)
    if made.parts[0].together:
        raise ConfigurationError(f"parts: {made.parts[0].name} is the first: there is no part to start together with.")


def _group(item: Mapping[str, Any] | None) -> Watched | None:
    if item is None:
        return None
    said = item.get("unschedulable")
    condition = Condition(said["list"], said["type"], said["status"]) if said else None
    return Watched(
        item["api_version"],
        item["kind"],
        item["job"],
        unschedulable=condition,
        member=item["member"],
        member_by=item["member_by"],
    )


def _decision(item: Mapping[str, Any] | None) -> Watched | None:
    return None if item is None else Watched(item["api_version"], item["kind"], item["pod"], node=item["node"])


def _labelled(item: Mapping[str, Any], labels: Mapping[str, str]) -> dict[str, Any]:
    metadata = dict(item.get("metadata") or {})
    return {**item, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}


def _seconds_to_send(part: Part) -> float | None:
    if part.arrivals == "trace":
        return max(part.moments)
    return None if part.rate is None else round(part.count / part.rate, 3)
