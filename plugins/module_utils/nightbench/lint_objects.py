# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of all objects: names, versions of the API, storage. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from .lint_document import Bundle, Document
from .lint_rule import Hit, Rule

#: RFC 1123 subdomain, at most 253 characters, as the API server checks metadata.name.
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LONGEST_NAME = 253
#: What Kubernetes no longer serves, by kind, and since when (kubernetes.io, deprecation guide).
REMOVED: Mapping[tuple[str, str], tuple[str, str]] = {
    ("batch/v1beta1", "CronJob"): ("batch/v1", "1.25"),
    ("autoscaling/v2beta1", "HorizontalPodAutoscaler"): ("autoscaling/v2", "1.25"),
    ("autoscaling/v2beta2", "HorizontalPodAutoscaler"): ("autoscaling/v2", "1.26"),
    ("policy/v1beta1", "PodDisruptionBudget"): ("policy/v1", "1.25"),
    ("extensions/v1beta1", "Deployment"): ("apps/v1", "1.16"),
    ("apps/v1beta1", "Deployment"): ("apps/v1", "1.16"),
    ("apps/v1beta2", "Deployment"): ("apps/v1", "1.16"),
    ("apps/v1beta1", "StatefulSet"): ("apps/v1", "1.16"),
    ("apps/v1beta2", "StatefulSet"): ("apps/v1", "1.16"),
    ("extensions/v1beta1", "Ingress"): ("networking.k8s.io/v1", "1.22"),
    ("networking.k8s.io/v1beta1", "Ingress"): ("networking.k8s.io/v1", "1.22"),
}


def _removed(document: Document, bundle: Bundle) -> Iterator[Hit]:
    found = REMOVED.get((document.api_version, document.kind))
    if found:
        yield Hit(
            ("apiVersion",),
            f"{document.api_version} has no {document.kind} since Kubernetes {found[1]}",
            f"Write apiVersion: {found[0]}.",
        )


def _name(document: Document, bundle: Bundle) -> Iterator[Hit]:
    name = document.get("metadata", "name")
    if name is not None and (not _NAME.fullmatch(str(name)) or len(str(name)) > LONGEST_NAME):
        yield Hit(("metadata", "name"), f"{name!r}")


def _claim(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for pod in document.pods():
        for volume in pod.items("volumes"):
            place = ("persistentVolumeClaim", "claimName")
            name = volume.get(*place)
            if name and bundle.find("PersistentVolumeClaim", str(name), document.namespace) is None:
                yield Hit(volume.at(*place), f"there is no PersistentVolumeClaim {name} beside it")


def _class(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind == "PersistentVolumeClaim":
        name = document.get("spec", "storageClassName")
        if name and bundle.find("StorageClass", str(name), "") is None and not document.get("spec", "volumeName"):
            yield Hit(("spec", "storageClassName"), f"there is no StorageClass {name} beside it")


RULES = (
    Rule(
        "api-version",
        "error",
        "A version of the API that is gone",
        "The API server no longer serves this kind in this version.",
        "Write the version that is served.",
        _removed,
        refused="does not serve|knows no kind",
    ),
    Rule(
        "object-name",
        "error",
        "A name that is none",
        "Names are lower case letters, digits, - and ., begin and end with a letter or digit, and have at most 253.",
        "Choose such a name.",
        _name,
        refused="metadata.name: Invalid value",
    ),
    Rule(
        "claim",
        "warning",
        "A volume that nobody is seen to make",
        "A pod whose PersistentVolumeClaim does not exist stays Pending, and the GPUs that wait for it with it.",
        "Put the claim beside it, or see that it is in the namespace.",
        _claim,
        shown='the pod is Pending: persistentvolumeclaim "…" not found',
    ),
    Rule(
        "storage-class",
        "warning",
        "A storage class that nobody is seen to make",
        "A claim of a StorageClass that does not exist is never bound, and its pods stay Pending.",
        "See that the cluster has the class (kubectl get storageclass), or leave it out for the default one.",
        _class,
        shown='the claim is Pending: storageclass.storage.k8s.io "…" not found',
    ),
)
