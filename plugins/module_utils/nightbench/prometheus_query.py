# SPDX-License-Identifier: GPL-3.0-or-later
"""Instant queries to a Prometheus that is a Service of the cluster, through the API server's proxy.

API and answers: prometheus.io/docs/prometheus/latest/querying/api, "Instant queries".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import ConfigurationError, KubeError, NightbenchError
from .kube import Kube

PATH = "/api/v1/query"
Found = TypeVar("Found")


@dataclass(frozen=True)
class Service:
    """Where Prometheus is."""

    namespace: str
    name: str
    port: str

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/services/{self.name}:{self.port}/proxy{PATH}"


def values(kube: Kube, service: Service, queries: Mapping[str, str]) -> dict[str, float | None]:
    """One number for each query; None where Prometheus has no sample. Raises ConfigurationError for more than one."""
    return {name: _number(name, query, _ask(kube, service, query)) for name, query in queries.items()}


def series(kube: Kube, service: Service, queries: Mapping[str, str]) -> dict[str, list[list[float]]]:
    """[seconds since the epoch, value] of each query; it has to give one series or none, by a range like [5m:15s]."""
    return {name: _series(name, query, _ask(kube, service, query)) for name, query in queries.items()}


def _ask(kube: Kube, service: Service, query: str) -> bytes:
    try:
        return kube.request("GET", service.path, query={"query": query}).data
    except KubeError as error:
        raise NightbenchError(
            f"Prometheus {service.namespace}/{service.name}:{service.port} was asked for {query}: {error.message}",
            hint="Does the Service exist, and may this kubeconfig get services/proxy there?",
        ) from error


def _number(name: str, query: str, body: bytes) -> float | None:
    def read(data: Any) -> list[float]:
        found = [data["result"]] if data["resultType"] == "scalar" else [one["value"] for one in data["result"]]
        return [float(value) for _, value in found]

    numbers = _one(name, query, body, read)
    return numbers[0] if numbers and math.isfinite(numbers[0]) else None


def _series(name: str, query: str, body: bytes) -> list[list[float]]:
    def read(data: Any) -> list[list[list[float]]]:
        return [[[float(at), float(value)] for at, value in one["values"]] for one in data["result"]]

    found = _one(name, query, body, read)
    return [point for point in found[0] if math.isfinite(point[1])] if found else []


def _one(name: str, query: str, body: bytes, read: Callable[[Any], list[Found]]) -> list[Found]:
    """At most one series; raises ConfigurationError for more, and for what Prometheus refuses."""
    try:
        answer = json.loads(body)
        if answer["status"] != "success":
            raise ConfigurationError(f"Prometheus refuses the query {name} ({query}): {answer['error']}.")
        found = read(answer["data"])
    except (ValueError, KeyError, TypeError) as error:
        shown = body[:80].decode(errors="replace")
        raise NightbenchError(f"The answer to the query {name} ({query}) is none of Prometheus: {shown!r}") from error
    if len(found) > 1:
        raise ConfigurationError(
            f"The query {name} ({query}) gives {len(found)} series, not one.", hint="Add up what it gives: sum(…)."
        )
    return found
