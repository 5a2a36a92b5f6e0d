# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes a pod may use: its node selector, its required node affinity, and the taints it tolerates."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def shape_of(spec: dict[str, Any]) -> str:
    """What a pod asks of a node beside resources, as text."""
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    asked = {
        "selector": spec.get("nodeSelector") or {},
        "terms": (affinity or {}).get("nodeSelectorTerms"),
        "tolerations": spec.get("tolerations") or [],
    }
    return json.dumps(asked, sort_keys=True)


def usable_nodes(nodes: Iterable[dict[str, Any]], shape: str) -> frozenset[str]:
    """The names of the nodes that a pod of this shape may use."""
    asked = json.loads(shape)
    return frozenset(item["metadata"]["name"] for item in nodes if usable(item, asked))


def usable(node: dict[str, Any], asked: dict[str, Any]) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(name) != value for name, value in asked["selector"].items()):
        return False
    terms = asked["terms"]
    if terms is not None and not any(matches(labels, node["metadata"]["name"], term) for term in terms):
        return False
    taints = [taint for taint in node["spec"].get("taints") or [] if taint["effect"] in ("NoSchedule", "NoExecute")]
    if not all(any(tolerates(one, taint) for one in asked["tolerations"]) for taint in taints):
        return False
    conditions = (node.get("status") or {}).get("conditions") or []
    ready = [condition["status"] for condition in conditions if condition["type"] == "Ready"]
    return not node["spec"].get("unschedulable") and ready != ["False"]


def matches(labels: dict[str, str], name: str, term: dict[str, Any]) -> bool:
    """Whether a node has all that one term asks for; an empty term asks for what no node has."""
    expressions = [(labels, one) for one in term.get("matchExpressions") or []]
    expressions += [({"metadata.name": name}, one) for one in term.get("matchFields") or []]
    return bool(expressions) and all(holds(of, expression) for of, expression in expressions)


def holds(labels: dict[str, str], expression: dict[str, Any]) -> bool:
    value, operator = labels.get(expression["key"]), expression["operator"]
    values = expression.get("values") or []
    if operator in ("In", "NotIn"):
        return (value in values) is (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) is (operator == "Exists")
    if value is None or not value.lstrip("-").isdigit():
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def tolerates(toleration: dict[str, Any], taint: dict[str, Any]) -> bool:
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return toleration.get("key") == taint["key"] and (toleration.get("value") or "") == (taint.get("value") or "")
