# SPDX-License-Identifier: GPL-3.0-or-later
"""What KAI calls its kinds, labels and annotations."""

from __future__ import annotations

POD_GROUPS = "/apis/scheduling.run.ai/v2alpha2"
BIND_REQUESTS = "/apis/scheduling.run.ai/v1alpha2"
QUEUES = "/apis/scheduling.run.ai/v2/queues"
TOPOLOGIES = "/apis/kai.scheduler/v1alpha1/topologies"

GROUP_ANNOTATION = "pod-group-name"
SKIP = "kai.scheduler/skip-podgrouper"
MIN_MEMBER = "kai.scheduler/batch-min-member"
QUEUE_LABEL = "kai.scheduler/queue"
PROJECT_LABEL = "project"
DEFAULT_QUEUE = "default-queue"
PRIORITY_LABEL = "priorityClassName"
DEFAULT_PRIORITY_CLASS = "train"
PREEMPTIBILITY_LABEL = "kai.scheduler/preemptibility"
TOPOLOGY = {
    "topology": "kai.scheduler/topology",
    "requiredTopologyLevel": "kai.scheduler/topology-required-placement",
    "preferredTopologyLevel": "kai.scheduler/topology-preferred-placement",
}
UNSCHEDULABLE = "UnschedulableOnNodePool"
GPU = "nvidia.com/gpu"


def groups_of(namespace: str) -> str:
    return f"{POD_GROUPS}/namespaces/{namespace}/podgroups"


def bind_requests_of(namespace: str) -> str:
    return f"{BIND_REQUESTS}/namespaces/{namespace}/bindrequests"


def pods_of(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"
