# SPDX-License-Identifier: GPL-3.0-or-later
"""Small CustomResourceDefinitions with the groups, kinds and field names of KAI's: what it uses, and no more.

Fields that are not named here are pruned by the API server, as they are by KAI's own.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "format": "int32"}
TIME: Schema = {"type": "string", "format": "date-time"}
QUANTITY: Schema = {"anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True}


def fields(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def many(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def mapping(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


AMOUNTS = mapping(QUANTITY)
CONDITION = fields(type=TEXT, status=TEXT, reason=TEXT, message=TEXT, lastTransitionTime=TIME)
CONSTRAINT = fields(topology=TEXT, requiredTopologyLevel=TEXT, preferredTopologyLevel=TEXT)
SHARE = fields(quota=NUMBER, overQuotaWeight=NUMBER, limit=NUMBER)

QUEUE_SPEC = fields(
    displayName=TEXT,
    parentQueue=TEXT,
    priority={"type": "integer"},
    preemptMinRuntime=TEXT,
    reclaimMinRuntime=TEXT,
    resources=fields(gpu=SHARE, cpu=SHARE, memory=SHARE),
)
QUEUE_STATUS = fields(
    childQueues=many(TEXT),
    allocated=AMOUNTS,
    allocatedNonPreemptible=AMOUNTS,
    requested=AMOUNTS,
    conditions=many({**CONDITION, "required": ["status", "type"]}),
)
SUBGROUP = fields(
    name={**TEXT, "minLength": 1},
    parent=TEXT,
    minMember={**COUNT, "minimum": 0},
    minSubGroup={**COUNT, "minimum": 0},
    topologyConstraint=CONSTRAINT,
)
POD_GROUP_SPEC = fields(
    minMember={**COUNT, "minimum": 1},
    minSubGroup={**COUNT, "minimum": 1},
    queue=TEXT,
    priorityClassName=TEXT,
    preemptibility={**TEXT, "enum": ["preemptible", "non-preemptible"]},
    topologyConstraint=CONSTRAINT,
    subGroups=many({**SUBGROUP, "required": ["name"]}),
    markUnschedulable=FLAG,
    schedulingBackoff=COUNT,
    preemptionDelay=TEXT,
    stalenessGracePeriod=TEXT,
)
REASON = fields(
    reason=TEXT,
    message=TEXT,
    details=fields(queueDetails=fields(name=TEXT, queueResourceLimits=AMOUNTS, queueAllocatedResources=AMOUNTS)),
)
POD_GROUP_STATUS = fields(
    conditions=many(CONDITION),
    schedulingConditions=many(
        fields(**CONDITION["properties"], nodePool=TEXT, transitionID=TEXT, reasons=many(REASON))
    ),
    resourcesStatus=fields(allocated=AMOUNTS, allocatedNonPreemptible=AMOUNTS, requested=AMOUNTS),
)
BIND_REQUEST_SPEC = fields(
    podName=TEXT,
    selectedNode=TEXT,
    receivedResourceType=TEXT,
    receivedGPU=fields(count={"type": "integer"}, portion=TEXT),
    selectedGPUGroups=many(TEXT),
    backoffLimit=COUNT,
)
BIND_REQUEST_STATUS = fields(phase=TEXT, reason=TEXT, failedAttempts=COUNT)
LEVEL = {**fields(nodeLabel={**TEXT, "minLength": 1}, alias={**TEXT, "minLength": 1}), "required": ["nodeLabel"]}
TOPOLOGY_SPEC = {**fields(levels={**many(LEVEL), "minItems": 1, "maxItems": 16}), "required": ["levels"]}

RESOURCES = fields(requests=AMOUNTS, limits=AMOUNTS)
CLIENT = fields(qps={"type": "integer"}, burst={"type": "integer"})
SERVICE = fields(enabled=FLAG, resources=RESOURCES, k8sClientConfig=CLIENT)
CONFIG_SPEC = fields(
    namespace=TEXT,
    **{
        "global": fields(schedulerName=TEXT, nodePoolLabelKey=TEXT, queueLabelKey=TEXT, replicaCount=COUNT),
        "scheduler": fields(service=SERVICE, replicas=COUNT, GOGC={"type": "integer"}),
        "binder": fields(service=SERVICE, replicas=COUNT, maxConcurrentReconciles={"type": "integer"}),
        "podGrouper": fields(
            service=SERVICE, replicas=COUNT, maxConcurrentReconciles={"type": "integer"}, k8sClientConfig=CLIENT
        ),
        "podGroupController": fields(service=SERVICE, replicas=COUNT, maxConcurrentReconciles={"type": "integer"}),
        "queueController": fields(service=SERVICE, replicas=COUNT),
        "admission": fields(service=SERVICE, replicas=COUNT),
    },
)
STRATEGY = fields(gpu=TEXT, cpu=TEXT)
SHARD_SPEC = fields(
    args=mapping(TEXT),
    partitionLabelValue=TEXT,
    placementStrategy=STRATEGY,
    queueDepthPerAction=mapping({"type": "integer"}),
    actions=mapping(fields(enabled=FLAG, priority={"type": "integer"})),
    goMemLimitRatio=NUMBER,
)
CONDITIONS = fields(conditions=many(CONDITION))

#: (group, version, kind, plural, short names, namespaced, spec, status)
KINDS: list[tuple[str, str, str, str, list[str], bool, Schema, Schema | None]] = [
    ("scheduling.run.ai", "v2", "Queue", "queues", [], False, QUEUE_SPEC, QUEUE_STATUS),
    ("scheduling.run.ai", "v2alpha2", "PodGroup", "podgroups", ["pg"], True, POD_GROUP_SPEC, POD_GROUP_STATUS),
    ("scheduling.run.ai", "v1alpha2", "BindRequest", "bindrequests", [], True, BIND_REQUEST_SPEC, BIND_REQUEST_STATUS),
    ("kai.scheduler", "v1alpha1", "Topology", "topologies", [], False, TOPOLOGY_SPEC, None),
    ("kai.scheduler", "v1", "Config", "configs", [], False, CONFIG_SPEC, CONDITIONS),
    ("kai.scheduler", "v1", "SchedulingShard", "schedulingshards", [], False, SHARD_SPEC, CONDITIONS),
]


def documents() -> list[Schema]:
    """The definitions, ready to be applied."""
    return [_definition(*kind) for kind in KINDS]


def _definition(
    group: str, version: str, kind: str, plural: str, short: list[str], namespaced: bool, spec: Schema, status: Any
) -> Schema:
    properties = {"apiVersion": TEXT, "kind": TEXT, "metadata": {"type": "object"}, "spec": spec}
    served: Schema = {"name": version, "served": True, "storage": True}
    if status is not None:
        properties["status"] = status
        served["subresources"] = {"status": {}}
    served["schema"] = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    called: Schema = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    if short:
        called["shortNames"] = short
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "names": called,
            "scope": "Namespaced" if namespaced else "Cluster",
            "versions": [served],
        },
    }
