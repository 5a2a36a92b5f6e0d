# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests see of the stand-in's work in a namespace."""

from __future__ import annotations

from collections import Counter
from typing import Any

from ansible.module_utils.nightbench.kube import Kube

from tests.fakes.kai_stand_in import names


def pods_in(kube: Kube, namespace: str) -> list[dict[str, Any]]:
    return kube.list_pages(names.pods_of(namespace))[0]


def bound(kube: Kube, namespace: str, job: str = "") -> list[dict[str, Any]]:
    """The pods with a node, of all Jobs or of those whose name begins so."""
    return [
        pod
        for pod in pods_in(kube, namespace)
        if pod["spec"].get("nodeName") and pod["metadata"]["name"].startswith(job)
    ]


def on_nodes(kube: Kube, namespace: str, job: str = "") -> dict[str, int]:
    return dict(Counter(pod["spec"]["nodeName"] for pod in bound(kube, namespace, job)))


def groups_in(kube: Kube, namespace: str) -> list[dict[str, Any]]:
    return kube.list_pages(names.groups_of(namespace))[0]


def reasons(kube: Kube, namespace: str) -> list[str]:
    """Why groups are not scheduled, as their conditions say."""
    conditions = [one for group in groups_in(kube, namespace)
                  for one in (group.get("status") or {}).get("schedulingConditions") or []]  # fmt: skip
    assert {one["type"] for one in conditions} <= {names.UNSCHEDULABLE}
    return sorted(one["reason"] for one in conditions)
