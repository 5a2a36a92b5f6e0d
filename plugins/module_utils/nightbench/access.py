# SPDX-License-Identifier: GPL-3.0-or-later
"""What we may do, as the API server says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import NightbenchError
from .kube import Call, Kube, Response

CONNECTIONS = 8
_API = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


@dataclass(frozen=True)
class Rule:
    """A verb on a resource; `pods/binding` names a subresource."""

    verb: str
    resource: str
    group: str = ""
    namespace: str | None = None
    name: str | None = None

    def __str__(self) -> str:
        group = f".{self.group}" if self.group else ""
        name = f" {self.name}" if self.name else ""
        place = f" in namespace {self.namespace}" if self.namespace else ""
        return f"{self.verb} {self.resource}{group}{name}{place}"

    def review(self) -> dict[str, Any]:
        resource, _, subresource = self.resource.partition("/")
        attributes = {
            "verb": self.verb,
            "group": self.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": self.namespace or "",
            "name": self.name or "",
        }
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }


def denied(kube: Kube, rules: Sequence[Rule]) -> list[tuple[Rule, str]]:
    """The rules that are not allowed, each with the API server's reason where it gives one."""
    if not rules:
        return []
    first = kube.request("POST", _API, body=rules[0].review())  # alone, so that an unreachable server is told once
    answers = [first, *kube.map([Call("POST", _API, body=rule.review()) for rule in rules[1:]], CONNECTIONS)]
    found = []
    for rule, answer in zip(rules, answers, strict=True):
        if isinstance(answer, NightbenchError):
            raise answer
        assert answer is not None
        status = answer.json()["status"]
        if not status.get("allowed"):
            found.append((rule, str(status.get("reason") or status.get("evaluationError") or "")))
    return found


def who_am_i(kube: Kube) -> str:
    """ ", user NAME" where the API server says it."""
    try:
        answer: Response = kube.request(
            "POST", _WHO, body={"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        )
        return f", user {answer.json()['status']['userInfo']['username']}"
    except (NightbenchError, KeyError):
        return ""
