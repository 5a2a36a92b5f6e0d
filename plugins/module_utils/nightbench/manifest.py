# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects as their declarations: what they are called, in which order they come, and what they bring with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .errors import ConfigurationError
from .kube import Resource

#: What other objects need comes first and goes last; kinds that are not named come after all of these.
_WAVES = (
    ("Namespace", "CustomResourceDefinition"),
    ("ServiceAccount", "ConfigMap", "Secret", "PriorityClass", "StorageClass", "RuntimeClass", "PersistentVolume",
     "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "LimitRange", "ResourceQuota"),
)  # fmt: skip


@dataclass(frozen=True)
class Manifest:
    """One declared object."""

    body: dict[str, Any]

    @property
    def api_version(self) -> str:
        return str(self.body["apiVersion"])

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str | None:
        return self.body["metadata"].get("namespace") or None

    @property
    def group_kind(self) -> tuple[str, str]:
        return self.api_version, self.kind

    @property
    def has_status(self) -> bool:
        """A definition's is what the API server makes of it; generators write an empty one into their files."""
        return bool(self.body.get("status")) and self.kind != "CustomResourceDefinition"

    @property
    def wave(self) -> int:
        return next((number for number, kinds in enumerate(_WAVES) if self.kind in kinds), len(_WAVES))

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"


@dataclass(frozen=True)
class Declared:
    """What the cluster will have once the declarations of this run are carried out; for check mode."""

    manifests: Sequence[Manifest]

    @cached_property
    def namespaces(self) -> frozenset[str]:
        return frozenset(one.name for one in self.manifests if one.group_kind == ("v1", "Namespace"))

    @cached_property
    def resources(self) -> dict[tuple[str, str], Resource]:
        """The kinds that declared CustomResourceDefinitions bring, by apiVersion and kind."""
        found = {}
        for spec in (one.body.get("spec") or {} for one in self.manifests if one.kind == "CustomResourceDefinition"):
            names = spec.get("names") or {}
            for version in spec.get("versions") or ():
                api_version = f"{spec.get('group')}/{version.get('name')}"
                namespaced = spec.get("scope") == "Namespaced"
                resource = Resource(api_version, names.get("kind", ""), names.get("plural", ""), namespaced)
                found[api_version, resource.kind] = resource
        return found


def parse(documents: Sequence[Any], option: str = "objects") -> list[Manifest]:
    """Manifests from documents, Lists unfolded; the first one that cannot be meant is told."""
    found = []
    for number, document in enumerate(_unfold(documents)):
        where = f"{option}[{number}]"
        if not isinstance(document, dict):
            raise ConfigurationError(f"{where} is {type(document).__name__}, not an object.")
        metadata = document.get("metadata")
        for path, value in (
            ("apiVersion", document.get("apiVersion")),
            ("kind", document.get("kind")),
            ("metadata.name", metadata.get("name") if isinstance(metadata, dict) else None),
        ):
            if not isinstance(value, str) or not value:
                given = document.get("kind") or "the object"
                raise ConfigurationError(f"{where}: {given} has no {path}.", hint="Every object needs one.")
        found.append(Manifest(document))
    twice = [key for key, count in Counter((*one.group_kind, str(one)) for one in found).items() if count > 1]
    if twice:
        raise ConfigurationError(f"{option}: {twice[0][2]} is there more than once.")
    return found


def waves(manifests: Iterable[Manifest]) -> list[list[Manifest]]:
    """In the order in which they can be created; the order of the caller within a wave."""
    sorted_out: list[list[Manifest]] = [[] for _ in range(len(_WAVES) + 1)]
    for one in manifests:
        sorted_out[one.wave].append(one)
    return [wave for wave in sorted_out if wave]


def _unfold(documents: Sequence[Any]) -> Iterable[Any]:
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            yield from _unfold(document.get("items") or [])
        elif document is not None:  # an empty document between two --- of a file
            yield document
