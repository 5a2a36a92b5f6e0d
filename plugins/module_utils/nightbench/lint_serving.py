# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of what serves: Deployments, their probes, their autoscalers, Services and disruption budgets. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .lint_document import Bundle, Document, Part, Place, chooses, containers
from .lint_resources import gpus
from .lint_rule import Hit, Rule
from .quantities import quantity

#: apps/v1 defaults.go
REPLICAS, SURGE = 1, "25%"
SCALED = ("Deployment", "StatefulSet", "ReplicaSet", "LeaderWorkerSet")


def target(scaler: Document, bundle: Bundle) -> Document | None:
    """What an autoscaler scales, if it is among the documents."""
    kind, name = (str(scaler.get("spec", "scaleTargetRef", word) or "") for word in ("kind", "name"))
    return bundle.find(kind, name, scaler.namespace)


def _cpu_metrics(scaler: Document) -> Iterator[Place]:
    for metric in scaler.items("spec", "metrics"):
        for source in ("resource", "containerResource"):
            if metric.get(source, "name") == "cpu" and metric.get(source, "target", "type") == "Utilization":
                yield metric.place


def _cpu_without_request(document: Document, bundle: Bundle) -> Iterator[Hit]:
    scaled = _scaled(document, bundle)
    if scaled is None:
        return
    for place in _cpu_metrics(document):
        for container in scaled.containers():
            asked = (container.get("resources", which, "cpu") for which in ("requests", "limits"))
            if not any(asked):
                yield Hit(place, f"container {container.get('name')} of {scaled} has no cpu request")


def _cpu_for_gpus(document: Document, bundle: Bundle) -> Iterator[Hit]:
    scaled = _scaled(document, bundle)
    if scaled is not None and any(gpus(container) for container in scaled.containers()):
        for place in _cpu_metrics(document):
            yield Hit(place, f"{scaled} works on GPUs and is scaled by its use of cpu")


def _bounds(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind == "HorizontalPodAutoscaler":
        least, most = (document.number("spec", one) for one in ("minReplicas", "maxReplicas"))
        if least is not None and most is not None and most < least:
            yield Hit(("spec", "maxReplicas"), f"minReplicas {least}, maxReplicas {most}")


def _below_replicas(document: Document, bundle: Bundle) -> Iterator[Hit]:
    scaled = _scaled(document, bundle)
    replicas = scaled.number("spec", "replicas") if scaled else None
    least = document.number("spec", "minReplicas", default=1)  # autoscaling/v2 defaults.go
    if replicas is not None and least is not None and least != replicas:
        yield Hit(("spec", "minReplicas"), f"minReplicas is {least}, {scaled} says replicas: {replicas}")


def _target_missing(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind == "HorizontalPodAutoscaler" and target(document, bundle) is None:
        name = f"{document.get('spec', 'scaleTargetRef', 'kind')} {document.get('spec', 'scaleTargetRef', 'name')}"
        if any(bundle.of_kind(*SCALED)):
            yield Hit(("spec", "scaleTargetRef"), f"there is no {name} beside it")


def _liveness(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for pod in document.pods():
        for container in containers(pod):
            if container.mapping("livenessProbe") and not container.get("startupProbe"):
                seconds = _patience(container)
                yield Hit(
                    container.at("livenessProbe"),
                    f"it is killed when it does not answer {seconds} s after its start",
                )


def _success_threshold(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        for name in ("livenessProbe", "startupProbe"):
            if (found := container.get(name, "successThreshold")) not in (None, 1):
                yield Hit(container.at(name, "successThreshold"), f"successThreshold is {found}")


def _no_readiness(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind not in SCALED:
        return
    for pod in document.pods():
        for container in containers(pod):
            if container.get("ports") and not container.get("readinessProbe"):
                yield Hit(container.at("readinessProbe"), "it has ports and no readinessProbe")


def _selector(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"):
        wanted = document.mapping("spec", "selector", "matchLabels")
        labels = document.mapping("spec", "template", "metadata", "labels")
        missing = {name: value for name, value in wanted.items() if labels.get(name) != value}
        if missing:
            yield Hit(("spec", "selector", "matchLabels"), f"the pods lack {missing}")


def _standing_still(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind == "Deployment":
        surge, down = (document.get("spec", "strategy", "rollingUpdate", one) for one in ("maxSurge", "maxUnavailable"))
        if _nothing(surge) and _nothing(down):
            yield Hit(("spec", "strategy", "rollingUpdate"), f"maxSurge {surge}, maxUnavailable {down}")


def _surge(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind != "Deployment" or not any(gpus(container) for container in document.containers()):
        return
    rolling = document.get("spec", "strategy", "type") in (None, "RollingUpdate")
    surge = document.get("spec", "strategy", "rollingUpdate", "maxSurge")
    down = document.get("spec", "strategy", "rollingUpdate", "maxUnavailable")
    replicas = document.number("spec", "replicas", default=REPLICAS) or 0
    # The default, 25 %, is rounded down for what may be missing: nothing below four replicas.
    kept = _nothing(down) if down is not None else replicas < 4
    if rolling and kept and not _nothing(SURGE if surge is None else surge):
        yield Hit(("spec", "strategy"), f"each new pod of {replicas} needs GPUs before an old one gives its back")


def _blocks(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind != "PodDisruptionBudget":
        return
    most, least = document.get("spec", "maxUnavailable"), document.get("spec", "minAvailable")
    if most is not None and _nothing(most):
        yield Hit(("spec", "maxUnavailable"), f"maxUnavailable is {most}")
    elif least == "100%":
        yield Hit(("spec", "minAvailable"), "minAvailable is 100%")
    elif isinstance(least, int):
        wanted = document.mapping("spec", "selector", "matchLabels")
        for scaled in bundle.of_kind(*SCALED):
            labels = scaled.mapping("spec", "template", "metadata", "labels")
            replicas = scaled.number("spec", "replicas", default=REPLICAS)
            if wanted and chooses(wanted, labels) and replicas is not None and least >= replicas:
                yield Hit(("spec", "minAvailable"), f"minAvailable is {least}, {scaled} has {replicas}")


def _selects_nothing(document: Document, bundle: Bundle) -> Iterator[Hit]:
    wanted = document.mapping("spec", "selector") if document.kind == "Service" else None
    if not wanted:
        return
    made = [template.mapping("metadata", "labels") for one in bundle.documents for template in one.templates()]
    if made and not any(chooses(wanted, labels) for labels in made):
        yield Hit(("spec", "selector"), f"no pod beside it has the labels {wanted}")


def _scaled(document: Document, bundle: Bundle) -> Document | None:
    return target(document, bundle) if document.kind == "HorizontalPodAutoscaler" else None


def _patience(container: Part) -> int:
    """Seconds until a container that never answers is killed; defaults of core/v1 Probe."""
    numbers = (("initialDelaySeconds", 0), ("periodSeconds", 10), ("failureThreshold", 3))
    delay, period, failures = (container.number("livenessProbe", name, default=told) or 0 for name, told in numbers)
    return delay + period * failures


def _nothing(value: Any) -> bool:
    number = quantity(str(value).removesuffix("%"))
    return number is not None and number == 0


RULES = (
    Rule(
        "autoscaler-cpu-request",
        "error",
        "Scaled by the share of a request that is not there",
        "Utilization is a share of the request. Where a container requests no cpu the autoscaler reports "
        "FailedGetResourceMetric and never scales.",
        "Set resources.requests.cpu of every container, or scale by another signal.",
        _cpu_without_request,
        shown="the autoscaler's condition ScalingActive is False: missing request for cpu",
    ),
    Rule(
        "autoscaler-gpu-signal",
        "warning",
        "A GPU server scaled by its processors",
        "A server that works on a GPU is full while its processors idle: the queue grows and nothing is added. GPU "
        "memory says no more, as it is taken once and kept.",
        "Scale by what users wait for: requests waiting, batch size, or concurrency (a Pods or External metric, KEDA).",
        _cpu_for_gpus,
        shown="with cpu at a few percent the autoscaler goes to minReplicas, whatever waits",
    ),
    Rule(
        "autoscaler-bounds",
        "error",
        "Fewer at most than at least",
        "maxReplicas has to be minReplicas or more.",
        "Raise maxReplicas.",
        _bounds,
        refused="must be greater than or equal to `minReplicas`",
    ),
    Rule(
        "autoscaler-and-replicas",
        "warning",
        "Two that set the number of replicas",
        "Each apply of the manifest sets replicas back to its own number, and the autoscaler moves it away again: pods "
        "start and end with every deployment.",
        "Leave replicas out of what the autoscaler scales, and say the least in minReplicas.",
        _below_replicas,
        shown="the autoscaler scales to minReplicas, and the next apply back to replicas",
    ),
    Rule(
        "autoscaler-target",
        "error",
        "An autoscaler of something that is not there",
        "scaleTargetRef names an object of its own namespace by kind and name.",
        "Mend kind, name or namespace.",
        _target_missing,
        shown="the autoscaler's condition AbleToScale is False: FailedGetScale",
    ),
    Rule(
        "liveness-startup",
        "error",
        "Killed while it loads its model",
        "A livenessProbe without a startupProbe begins as soon as the container starts. A model that takes longer to "
        "load than the probe's patience is killed, and starts to load again.",
        "Add a startupProbe of the same kind whose periodSeconds times failureThreshold is longer than the load.",
        _liveness,
        shown="a server that takes longer to answer than the probe waits is restarted again and again",
    ),
    Rule(
        "probe-success-threshold",
        "error",
        "A liveness or start-up probe that has to succeed more than once",
        "Only a readinessProbe may ask for several successes in a row.",
        "Set successThreshold: 1, or leave it out.",
        _success_threshold,
        refused="successThreshold: Invalid value",
    ),
    Rule(
        "readiness-probe",
        "warning",
        "Requests before the model is there",
        "Without a readinessProbe a container is ready the moment it runs, and gets requests while its model still "
        "loads; a rolling update takes the old pods away as early.",
        "Add a readinessProbe that answers when the model does.",
        _no_readiness,
        shown="the pod is Ready, and among the Service's endpoints, before anything listens",
    ),
    Rule(
        "workload-selector",
        "error",
        "A selector that does not choose its own pods",
        "The labels of the template have to be those that the selector asks for.",
        "Give the template the labels of the selector.",
        _selector,
        refused="`selector` does not match template `labels`",
    ),
    Rule(
        "rollout-possible",
        "error",
        "A rolling update that can neither add nor take away",
        "With maxSurge 0 and maxUnavailable 0 no pod can be replaced.",
        "Set one of them above zero.",
        _standing_still,
        refused="may not be 0 when `maxSurge` is 0",
    ),
    Rule(
        "rollout-spare-gpus",
        "warning",
        "A rolling update that needs more GPUs than there may be",
        "A rolling update starts the new pod first. Where the GPUs are all taken, as they should be, it is Pending and "
        "the update stands still.",
        "Set strategy.rollingUpdate: {maxSurge: 0, maxUnavailable: 1}, or keep a spare GPU.",
        _surge,
        shown="on a full cluster the new pod is Pending and the update does not go on; with maxSurge 0 it does",
    ),
    Rule(
        "disruption-budget",
        "warning",
        "A budget that lets no pod be moved",
        "A node with such a pod cannot be drained: every upgrade waits for its time-out, and then takes it anyway.",
        "Allow one: maxUnavailable: 1.",
        _blocks,
        shown="an eviction is answered with 429: it would violate the pod's disruption budget",
    ),
    Rule(
        "service-selector",
        "error",
        "A Service that chooses no pod",
        "A Service sends to the pods that have all of its selector's labels.",
        "Take the labels of the pods' template.",
        _selects_nothing,
        shown="the Service has no endpoint",
    ),
)
