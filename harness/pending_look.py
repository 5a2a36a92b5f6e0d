# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetches what pending.py needs to know of a pod; reads only, and goes on without what may not be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import urllib3.exceptions

from harness.errors import UsageError
from harness.pending import GROUP_ANNOTATION, Situation

GROUP = "scheduling.run.ai"
CONFIG_NAME = "kai-config"
NAMESPACE = "kai-scheduler"
SECONDS = 15
# A gang is counted to its last pod; of other lists the first ones tell as much.
MANY, SOME = 20000, 500


class Cluster:
    """Calls of the kubernetes package; `not_read` collects what was refused."""

    def __init__(self, kubeconfig: str | None, context: str | None) -> None:
        import kubernetes.client
        import kubernetes.config
        import yaml
        from kubernetes.client.exceptions import ApiException
        from kubernetes.config.config_exception import ConfigException

        self.error: type[Exception] = ApiException
        try:
            client: Any = kubernetes.config.new_client_from_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig, context=context
            )
        except (ConfigException, OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
            raise UsageError(
                f"the kubeconfig {kubeconfig or 'of the environment'} cannot be used: {error}",
                hint="give one with --kubeconfig, and --context for another context in it",
            ) from error
        self.where = str(client.configuration.host)
        self.core: Any = kubernetes.client.CoreV1Api(client)
        self.apps: Any = kubernetes.client.AppsV1Api(client)
        self.scheduling: Any = kubernetes.client.SchedulingV1Api(client)
        self.custom: Any = kubernetes.client.CustomObjectsApi(client)
        self.not_read: list[str] = []

    def get(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """The decoded answer; None where there is no such thing, or where it may not be read."""
        try:
            answer = call(*arguments, _preload_content=False, _request_timeout=SECONDS, **options)
            status, data = answer.status, answer.data
        except self.error as error:
            status, data = getattr(error, "status", 0), getattr(error, "body", b"")
        except urllib3.exceptions.HTTPError as error:
            reason = getattr(error, "reason", None) or error
            raise UsageError(
                f"the API server {self.where} does not answer: {reason}", hint="is it running? Try kubectl cluster-info"
            ) from error
        if status == 404:
            return None
        if status >= 400:
            if status == 401:
                raise UsageError(f"the API server {self.where} does not accept the credentials of the kubeconfig")
            self.not_read.append(f"{what}: {status} {_message(data)}".rstrip())
            return None
        return json.loads(data)

    def items(self, what: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> list[Any] | None:
        document = self.get(what, call, *arguments, **options)
        return None if document is None else list(document.get("items") or [])


def look(cluster: Cluster, namespace: str, name: str, now: datetime | None = None) -> Situation:
    """Everything that has a say in the scheduling of one pod; raises UsageError when the pod cannot be read."""
    core, custom = cluster.core, cluster.custom
    pod = cluster.get("pod", core.read_namespaced_pod, name, namespace)
    if pod is None and cluster.not_read:
        raise UsageError(f"the pod {namespace}/{name} on {cluster.where} may not be read: {cluster.not_read[0]}")
    if pod is None:
        raise UsageError(
            f"there is no pod {namespace}/{name} on {cluster.where}", hint="'kubectl get pods -A' shows all of them"
        )
    config = cluster.get("Config", custom.get_cluster_custom_object, "kai.scheduler", "v1", "configs", CONFIG_NAME)
    situation = Situation(pod=pod, now=now or datetime.now(UTC), config=config)
    own = f"spec.schedulerName={situation.scheduler},spec.nodeName!="
    binds = cluster.items("pods", core.list_pod_for_all_namespaces, field_selector=own, limit=1)
    facts: dict[str, Any] = {
        "scheduler_binds": bool(binds),
        "nodes": cluster.items("nodes", core.list_node, limit=1) != [],
    }
    if situation.is_kai:
        facts |= _of_kai(cluster, situation, namespace, name)
    return Situation(
        **{"pod": pod, "now": situation.now, "config": config, **facts, "not_read": tuple(cluster.not_read)}
    )


def parse_name(text: str) -> tuple[str, str]:
    """NAMESPACE/POD."""
    namespace, slash, name = text.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise UsageError(
            f"--pending {text}: a pod is given as NAMESPACE/POD", hint="for example --pending default/job-x1"
        )
    return namespace, name


def _of_kai(cluster: Cluster, situation: Situation, namespace: str, name: str) -> dict[str, Any]:
    core, custom = cluster.core, cluster.custom
    queues = cluster.items("queues", custom.list_cluster_custom_object, GROUP, "v2", "queues")
    shards = cluster.items(
        "schedulingshards", custom.list_cluster_custom_object, "kai.scheduler", "v1", "schedulingshards"
    )
    place = str(((situation.config or {}).get("spec") or {}).get("namespace") or NAMESPACE)
    deployments = cluster.items("deployments", cluster.apps.list_namespaced_deployment, place, limit=SOME)
    label = situation.pool_label
    labelled = cluster.items("nodes", core.list_node, label_selector=label, limit=SOME) if situation.pool else []
    group_name = situation.annotations.get(GROUP_ANNOTATION)
    group = None
    if group_name:
        group = cluster.get(
            "podgroups", custom.get_namespaced_custom_object, GROUP, "v2alpha2", namespace, "podgroups", group_name
        )
    request = cluster.get(
        "bindrequests", custom.get_namespaced_custom_object, GROUP, "v1alpha2", namespace, "bindrequests", name
    )
    priority = None
    if group and (group.get("spec") or {}).get("priorityClassName"):
        found = cluster.get(
            "priorityclasses", cluster.scheduling.read_priority_class, group["spec"]["priorityClassName"]
        )
        priority = (found or {}).get("value")
    return {
        "queues": None if queues is None else {one["metadata"]["name"]: one for one in queues},
        "shards": None if shards is None else tuple(shards),
        "deployments": tuple(deployments or ()),
        "node_pools": None if labelled is None else frozenset(one["metadata"]["labels"][label] for one in labelled),
        "pod_group": group,
        "bind_request": request,
        "priority": priority,
        "group_pods": _members(cluster, namespace, situation.scheduler, group, str(group_name)),
    }


def _members(cluster: Cluster, namespace: str, scheduler: str, group: Any, name: str) -> int | None:
    """How many pods of a gang there are; an annotation cannot be selected by, so all pods of the namespace come."""
    if not group or ((group.get("spec") or {}).get("minMember") or 1) < 2:
        return None
    pods = cluster.items(
        "pods",
        cluster.core.list_namespaced_pod,
        namespace,
        field_selector=f"spec.schedulerName={scheduler}",
        limit=MANY,
    )
    if pods is None:
        return None
    return len([one for one in pods if (one["metadata"].get("annotations") or {}).get(GROUP_ANNOTATION) == name])


def _message(body: Any) -> str:
    """What the API server says in its Status."""
    text = body.decode(errors="replace") if isinstance(body, bytes) else str(body or "")
    try:
        return str(json.loads(text).get("message") or "")
    except (ValueError, AttributeError):
        return text[:200]
