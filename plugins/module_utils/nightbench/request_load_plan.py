# SPDX-License-Identifier: GPL-3.0-or-later
"""What requests go to which services at which moments, and each load generator's share of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import arrivals_plan
from .arrivals_plan import MOST, Planned
from .errors import ConfigurationError

METHODS = ("GET", "POST", "PUT")
#: Bodies of a load altogether: they are made in the generator and go over a network.
BYTES_MOST = 4 << 30


@dataclass(frozen=True)
class Service:
    """One service with the load it gets; the options of bench_request_load say what each field means."""

    name: str
    label_selector: str
    addresses: tuple[str, ...]
    port: int
    method: str
    path: str
    body: str
    objectives: Mapping[str, float]
    planned: Planned

    def document(self) -> dict[str, Any]:
        """As an observation has it."""
        return {
            "requests": len(self.planned.arrivals),
            "request": f"{self.method} {self.path}",
            "body": self.body,
            "objectives": dict(self.objectives),
            "arrivals": self.planned.document,
            "input": sum(one.input for one in self.planned.arrivals),
            "output": sum(one.output for one in self.planned.arrivals),
        }


@dataclass(frozen=True)
class LoadPlan:
    """Requests of all services in the order they are due."""

    services: tuple[Service, ...]
    answer_seconds: float
    due: tuple[tuple[float, int, int], ...]  # seconds, service, its number there

    @property
    def seconds(self) -> float:
        return self.due[-1][0] - self.due[0][0]

    def part(self, index: int, generators: int, addresses: Sequence[Sequence[str]]) -> dict[str, Any]:
        """What one of the generators has to know: every so manieth request."""
        own = self.due[index::generators]
        chosen = [self.services[service].planned.arrivals[number] for _, service, number in own]
        return {
            "answer_seconds": self.answer_seconds,
            "services": [
                {
                    "addresses": list(places),
                    "port": one.port,
                    "host": one.name,
                    "method": one.method,
                    "path": one.path,
                    "body": one.body,
                }
                for one, places in zip(self.services, addresses, strict=True)
            ],
            "at": [round(at * 1e6) for at, _, _ in own],
            "service": [service for _, service, _ in own],
            "input": [one.input for one in chosen],
            "output": [one.output for one in chosen],
        }

    def document(self, generators: int) -> dict[str, Any]:
        return {
            "services": {one.name: one.document() for one in self.services},
            "requests": len(self.due),
            "generators": generators,
            "answer_seconds": self.answer_seconds,
            "predicted_seconds": round(self.due[-1][0] + self.answer_seconds, 3),
        }


def plan(params: Mapping[str, Any]) -> LoadPlan:
    """The plan that the module's parameters describe; raises ConfigurationError for one that cannot be carried out."""
    services = tuple(service(item) for item in params["services"])
    names = [one.name for one in services]
    if not names:
        raise ConfigurationError("services: there is none.")
    if len(set(names)) < len(names):
        raise ConfigurationError(f"services: {max(names, key=names.count)} is there more than once.")
    if not params["answer_seconds"] > 0:
        raise ConfigurationError(f"answer_seconds: {params['answer_seconds']} is no time to wait for an answer.")
    due = sorted(
        (one.at, index, number)
        for index, each in enumerate(services)
        for number, one in enumerate(each.planned.arrivals)
    )
    if len(due) > MOST:
        raise ConfigurationError(f"services: {len(due)} requests in all; one load has at most {MOST}.")
    bodies = sum(one.input for each in services if each.body == "input" for one in each.planned.arrivals)
    if bodies > BYTES_MOST:
        raise ConfigurationError(f"services: bodies of {bodies} bytes in all; one load sends at most {BYTES_MOST}.")
    return LoadPlan(services, float(params["answer_seconds"]), tuple(due))


def service(item: Mapping[str, Any]) -> Service:
    name, request = item["name"], item["request"] or {}
    method, path, body = request.get("method") or "GET", request.get("path") or "/", request.get("body") or "none"
    if not path.startswith("/") or any(character.isspace() for character in path):
        raise ConfigurationError(f"services: {name}: request.path {path!r} is no path of a URL.")
    if method == "GET" and body != "none":
        raise ConfigurationError(f"services: {name}: a GET has no body.")
    if not 0 < item["port"] < 65536:
        raise ConfigurationError(f"services: {name}: port {item['port']} is none.")
    addresses, selector = tuple(item["addresses"] or ()), item["label_selector"] or ""
    if bool(addresses) == bool(selector):
        raise ConfigurationError(f"services: {name}: give label_selector or addresses, one of them.")
    objectives = {key: float(value) for key, value in (item["objectives"] or {}).items() if value is not None}
    if any(value <= 0 for value in objectives.values()):
        raise ConfigurationError(f"services: {name}: objectives are seconds above 0.")
    try:
        planned = arrivals_plan.planned(item["arrivals"], item["sizes"])
    except ConfigurationError as error:
        raise ConfigurationError(f"services: {name}: {error.message}", hint=error.hint) from error
    return Service(name, selector, addresses, item["port"], method, path, body, objectives, planned)
