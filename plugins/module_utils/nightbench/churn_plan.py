# SPDX-License-Identifier: GPL-3.0-or-later
"""What churn is made of: gangs of pods that come and go at a rate, each with a policy that lets in its own job alone.

Pure: the plan, and the objects of each gang.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError

JOB_LABEL, CHURN_LABEL = "nightbench.io/job", "nightbench.io/churn"
BACKGROUND_LABEL = "nightbench.io/background"
POLICY_API = "networking.k8s.io/v1"
#: Requests are looked at before the churn for so long at least, and there have to be so many of them.
LEAST_REQUESTS = 100


@dataclass(frozen=True)
class ChurnPlan:
    """gangs of `pods` pods begin at `per_second`; each is deleted `lifetime_seconds` after its last pod runs.

    template: a Pod without a name. start_seconds: how long a gang may take until it runs; after it, it has failed and
    is deleted. interval: between packets of a flow. quiet_seconds: requests before the churn, to compare with.
    policies: of each gang, all with the same meaning. background_policies: that select no pod. nodes: how many the
    cluster is said to have, None where nobody says.
    """

    name: str
    namespace: str
    template: Mapping[str, Any]
    stranger: str
    source: str
    target: str
    gangs: int = 8
    pods: int = 4
    per_second: float = 0.5
    lifetime_seconds: float = 3.0
    start_seconds: float = 60.0
    interval: float = 0.02
    requests_per_second: float = 25.0
    quiet_seconds: float = 5.0
    policies: int = 1
    background_policies: int = 0
    nodes: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.template.get("spec", {}).get("containers"):
            raise ConfigurationError("template: it has no spec.containers.", hint="Give a whole Pod without its name.")
        if self.gangs < 1 or self.pods < 2:
            raise ConfigurationError(
                f"{self.gangs} gangs of {self.pods} pods: at least one, of at least two that talk to each other."
            )
        if self.per_second <= 0 or self.lifetime_seconds <= 0 or self.start_seconds <= 0:
            raise ConfigurationError(
                f"{self.per_second:g} gangs a second that live {self.lifetime_seconds:g} s and may take "
                f"{self.start_seconds:g} s to start: each has to be above 0."
            )
        if not 0.002 <= self.interval <= 0.1:
            raise ConfigurationError(f"a packet every {self.interval:g} s: 2 to 100 ms.")
        if self.policies < 0 or self.background_policies < 0:
            raise ConfigurationError(
                f"{self.policies} policies of a gang, {self.background_policies} in the background: none or more."
            )
        if self.quiet_seconds * self.requests_per_second < LEAST_REQUESTS:
            raise ConfigurationError(
                f"{self.requests_per_second:g} requests a second for {self.quiet_seconds:g} s are fewer than "
                f"{LEAST_REQUESTS}: too few to compare with."
            )

    @property
    def asked(self) -> int:
        return self.gangs * self.pods

    def due(self, gang: int) -> float:
        """Seconds after the start of the churn."""
        return gang / self.per_second

    @property
    def seconds(self) -> float:
        """At most, with every gang as late as it may be."""
        return self.quiet_seconds + self.due(self.gangs) + self.start_seconds * 2 + self.lifetime_seconds

    @property
    def selector(self) -> str:
        return f"{CHURN_LABEL}={self.name}"

    def job(self, gang: int) -> str:
        return f"{self.name}-{gang}"

    def pod_name(self, gang: int, pod: int) -> str:
        return f"{self.job(gang)}-{pod}"

    def _labels(self, gang: int) -> dict[str, str]:
        return {**self.labels, CHURN_LABEL: self.name, JOB_LABEL: self.job(gang)}

    def pod(self, gang: int, pod: int) -> dict[str, Any]:
        metadata = dict(self.template.get("metadata") or {})
        metadata["labels"] = {**(metadata.get("labels") or {}), **self._labels(gang)}
        metadata["name"] = self.pod_name(gang, pod)
        return {"apiVersion": "v1", "kind": "Pod", **self.template, "metadata": metadata}

    def policy_names(self, gang: int) -> list[str]:
        return [self.job(gang) + (f"-{number}" if number else "") for number in range(self.policies)]

    def policies_of(self, gang: int) -> list[dict[str, Any]]:
        """Only within the job: the pods of it may be reached by each other and by nobody else."""
        return [_policy(name, self._labels(gang), self.job(gang)) for name in self.policy_names(gang)]

    def background(self) -> list[dict[str, Any]]:
        """Of a job that has no pod: no node has ever anything to do for them."""
        labels = {**self.labels, CHURN_LABEL: self.name, BACKGROUND_LABEL: "true"}
        names = (f"{self.name}-background-{number}" for number in range(self.background_policies))
        return [_policy(name, labels, f"{self.name}-background") for name in names]

    def document(self) -> dict[str, Any]:
        return {
            "gangs": self.gangs,
            "pods_per_gang": self.pods,
            "pods": self.asked,
            "gangs_per_second": self.per_second,
            "lifetime_seconds": self.lifetime_seconds,
            "interval_seconds": self.interval,
            "requests_per_second": self.requests_per_second,
            "quiet_seconds": self.quiet_seconds,
            "policies_per_gang": self.policies,
            "background_policies": self.background_policies,
            "nodes": self.nodes,
        }


def _policy(name: str, labels: Mapping[str, str], job: str) -> dict[str, Any]:
    own = {"matchLabels": {JOB_LABEL: job}}
    return {
        "apiVersion": POLICY_API,
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {"podSelector": own, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": own}]}]},
    }
