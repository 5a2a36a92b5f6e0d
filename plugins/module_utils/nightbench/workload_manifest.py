# SPDX-License-Identifier: GPL-3.0-or-later
"""From the manifests of a pattern to those of one run: where the pods go, whose they are, how long they last. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .lint_document import of_object

Manifest = dict[str, Any]
LOAD, COPY, PATTERN = "nightbench.io/workload", "nightbench.io/copy", "nightbench.io/pattern"
#: Annotations that our KWOK Stage reads (roles/workload_patterns/files/stages/lifetime.yml).
LIFETIME, SPREAD = "nightbench.io/lifetime", "nightbench.io/lifetime-spread"
#: Annotations that the kwok of role metrics_server tells, by the resource.
USAGE = "kwok.x-k8s.io/usage-{}"


@dataclass(frozen=True)
class Settings:
    """What a run sets of its own.

    `lifetimes`: label `app` → {seconds, spread}, planted; `usage`: likewise, {cpu, memory}. `storage_class`: None
    leaves the claims as they are, an empty one gives each a volume of its own that holds nothing.
    """

    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: Sequence[Mapping[str, Any]] = ()
    priority_class: str = ""
    lifetimes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    usage: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    storage_class: str | None = None
    leave_out: Sequence[str] = ()


def prepared(manifests: Sequence[Mapping[str, Any]], settings: Settings) -> list[Manifest]:
    """The manifests as they are applied; volumes first."""
    found = [
        _prepared(copy.deepcopy(dict(one)), settings) for one in manifests if one["kind"] not in settings.leave_out
    ]
    volumes = [volume for one in found for volume in _volumes(one, settings)] if settings.storage_class == "" else []
    return [*volumes, *found]


def copied(manifest: Mapping[str, Any], number: int, own: Sequence[str], settings: Settings) -> Manifest:
    """The manifest once more under another name; `own` are the claims that are copied with it."""
    made = copy.deepcopy(dict(manifest))
    made["metadata"]["name"] = f"{made['metadata']['name']}-{number}"
    _label(made["metadata"], {COPY: str(number)})
    if made["kind"] == "PersistentVolume":
        claim = made["spec"]["claimRef"]
        claim["name"] = f"{claim['name']}-{number}"
    if made["kind"] == "PersistentVolumeClaim" and made["spec"].get("volumeName"):
        made["spec"]["volumeName"] = f"{made['spec']['volumeName']}-{number}"
    for template in _templates(made):
        _label(template.setdefault("metadata", {}), {COPY: str(number)})
        for volume in template["spec"].get("volumes", []):
            claim = volume.get("persistentVolumeClaim")
            if claim and claim["claimName"] in own:
                claim["claimName"] = f"{claim['claimName']}-{number}"
    return made


def job_of(cron: Mapping[str, Any]) -> Manifest:
    """The Job that a CronJob would make now."""
    template = copy.deepcopy(cron["spec"]["jobTemplate"])
    metadata = {**template.get("metadata", {}), "name": f"{cron['metadata']['name']}-now"}
    metadata["namespace"] = cron["metadata"]["namespace"]
    metadata["labels"] = {**metadata.get("labels", {}), **cron["metadata"]["labels"]}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]}


def fields(manifest: Any) -> int:
    """How many values somebody has to decide on: the leaves."""
    if isinstance(manifest, Mapping):
        return sum(fields(value) for value in manifest.values())
    if isinstance(manifest, list):
        return sum(fields(value) for value in manifest)
    return 1


def key(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['kind']}/{manifest['metadata']['name']}"


def _prepared(made: Manifest, settings: Settings) -> Manifest:
    own = {LOAD: settings.name, **settings.labels}
    made["metadata"]["namespace"] = settings.namespace
    _label(made["metadata"], own)
    if made["kind"] == "CronJob":
        _label(made["spec"]["jobTemplate"].setdefault("metadata", {}), own)
    for template in _templates(made):
        _label(template.setdefault("metadata", {}), own)
        _place(template, settings)
    for claim in _claims(made):
        if settings.storage_class is not None:
            claim["spec"]["storageClassName"] = settings.storage_class
        _label(claim["metadata"], own)
        if settings.storage_class == "" and made["kind"] == "PersistentVolumeClaim":
            claim["spec"]["volumeName"] = f"{settings.namespace}-{claim['metadata']['name']}"
    return made


def _place(template: Manifest, settings: Settings) -> None:
    spec = template["spec"]
    if settings.node_selector:
        spec["nodeSelector"] = {**spec.get("nodeSelector", {}), **settings.node_selector}
    if settings.tolerations:
        spec["tolerations"] = [*spec.get("tolerations", []), *settings.tolerations]
    if settings.priority_class:
        spec["priorityClassName"] = settings.priority_class
    app = template["metadata"]["labels"].get("app", "")
    words = {USAGE.format(resource): str(used) for resource, used in settings.usage.get(app, {}).items()}
    if lifetime := settings.lifetimes.get(app):
        spread = lifetime["seconds"] + lifetime.get("spread", 0)
        words |= {LIFETIME: f"{lifetime['seconds']:g}s", SPREAD: f"{spread:g}s"}
    if words:
        template["metadata"]["annotations"] = {**template["metadata"].get("annotations", {}), **words}


def _volumes(made: Manifest, settings: Settings) -> Iterator[Manifest]:
    """A volume for each claim; a StatefulSet's claims are called TEMPLATE-NAME-NUMBER (apps/v1)."""
    for claim in _claims(made):
        names = [claim["metadata"]["name"]]
        if made["kind"] == "StatefulSet":
            count = int(made["spec"].get("replicas", 1))
            names = [f"{names[0]}-{made['metadata']['name']}-{number}" for number in range(count)]
        for name in names:
            yield {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {
                    "name": f"{settings.namespace}-{name}",
                    "labels": {LOAD: settings.name, **settings.labels},
                },
                "spec": {
                    "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
                    "accessModes": claim["spec"]["accessModes"],
                    "persistentVolumeReclaimPolicy": "Retain",
                    "claimRef": {"namespace": settings.namespace, "name": name},
                    "hostPath": {"path": "/nightbench-holds-nothing"},
                },
            }


def _claims(made: Manifest) -> list[Manifest]:
    """The claims themselves, to be changed."""
    if made["kind"] == "PersistentVolumeClaim":
        return [made]
    return list(made["spec"].get("volumeClaimTemplates", [])) if made["kind"] == "StatefulSet" else []


def _templates(made: Manifest) -> list[Manifest]:
    """The pod templates themselves, to be changed."""
    return [template.body for template in of_object(0, made).templates() if isinstance(template.body, dict)]


def _label(metadata: Manifest, labels: Mapping[str, str]) -> None:
    metadata["labels"] = {**metadata.get("labels", {}), **labels}
