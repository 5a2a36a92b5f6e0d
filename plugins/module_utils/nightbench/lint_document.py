# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests as the linter reads them: each with its file, the line of every field, and the pods that it makes. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigurationError

#: A path is a tuple of names and numbers: ("spec", "containers", 0, "image").
Place = tuple[str | int, ...]

#: Where the pods stand in each kind; `*` is every item of a list.
TEMPLATES: Mapping[str, Sequence[tuple[str, ...]]] = {
    "Pod": [()],
    "Deployment": [("spec", "template")],
    "ReplicaSet": [("spec", "template")],
    "StatefulSet": [("spec", "template")],
    "DaemonSet": [("spec", "template")],
    "Job": [("spec", "template")],
    "CronJob": [("spec", "jobTemplate", "spec", "template")],
    # jobset.x-k8s.io/v1alpha2, leaderworkerset.x-k8s.io/v1, ray.io/v1, keda.sh/v1alpha1, kubeflow.org/v1,
    # extensions.agents.x-k8s.io/v1beta1
    "JobSet": [("spec", "replicatedJobs", "*", "template", "spec", "template")],
    "LeaderWorkerSet": [
        ("spec", "leaderWorkerTemplate", "leaderTemplate"),
        ("spec", "leaderWorkerTemplate", "workerTemplate"),
    ],
    "RayJob": [
        ("spec", "rayClusterSpec", "headGroupSpec", "template"),
        ("spec", "rayClusterSpec", "workerGroupSpecs", "*", "template"),
    ],
    "ScaledJob": [("spec", "jobTargetRef", "template")],
    "Notebook": [("spec", "template")],
    "SandboxTemplate": [("spec", "podTemplate")],
}
#: Where a spec of batch/v1 JobSpec stands in each kind.
JOBS: Mapping[str, Sequence[tuple[str, ...]]] = {
    "Job": [("spec",)],
    "CronJob": [("spec", "jobTemplate", "spec")],
    "JobSet": [("spec", "replicatedJobs", "*", "template", "spec")],
    "ScaledJob": [("spec", "jobTargetRef")],
}


class Fields:
    """Whatever a manifest holds where a mapping, a list or a number belongs, nonsense included, can be asked for."""

    body: Mapping[str, Any]
    place: Place

    def get(self, *names: str | int) -> Any:
        return dig(self.body, names)

    def at(self, *names: str | int) -> Place:
        return (*self.place, *names)

    def mapping(self, *names: str | int) -> Mapping[str, Any]:
        """What stands there if it is a mapping, else an empty one."""
        found = self.get(*names)
        return found if isinstance(found, Mapping) else {}

    def items(self, *names: str | int) -> Iterator[Part]:
        """The mappings of the list that stands there."""
        found = self.get(*names)
        for number, body in enumerate(found if isinstance(found, list) else ()):
            if isinstance(body, Mapping):
                yield Part(self.at(*names, number), body)

    def number(self, *names: str | int, default: int | None = None) -> int | None:
        """The whole number that stands there; the default where nothing does."""
        found = self.get(*names)
        if found is None:
            return default
        return found if isinstance(found, int) and not isinstance(found, bool) else None


@dataclass(frozen=True)
class Part(Fields):
    """Something inside a document, and where it stands."""

    place: Place
    body: Mapping[str, Any]


@dataclass(frozen=True)
class Document(Fields):
    """One manifest of a file."""

    source: str
    body: Mapping[str, Any]
    lines: Mapping[Place, int] = field(default_factory=dict)
    place: Place = ()

    @property
    def kind(self) -> str:
        return str(self.body.get("kind", ""))

    @property
    def api_version(self) -> str:
        return str(self.body.get("apiVersion", ""))

    @property
    def name(self) -> str:
        return str(self.get("metadata", "name") or self.get("metadata", "generateName") or "")

    @property
    def namespace(self) -> str:
        return str(self.get("metadata", "namespace") or "")

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    def line(self, place: Place) -> int | None:
        """The line of a field; of one that is not there, of what it would stand in."""
        for length in range(len(place), -1, -1):
            if place[:length] in self.lines:
                return self.lines[place[:length]]
        return None

    def templates(self) -> Iterator[Part]:
        """Every pod template; of a Pod the document itself."""
        yield from (Part(place, body) for at in TEMPLATES.get(self.kind, ()) for place, body in _find(self.body, at))

    def pods(self) -> Iterator[Part]:
        """The spec of every pod."""
        for template in self.templates():
            if isinstance(spec := template.get("spec"), Mapping):
                yield Part(template.at("spec"), spec)

    def jobs(self) -> Iterator[Part]:
        """The spec of every Job."""
        yield from (Part(place, body) for at in JOBS.get(self.kind, ()) for place, body in _find(self.body, at))

    def containers(self) -> Iterator[Part]:
        """Every container, init containers first."""
        for pod in self.pods():
            yield from containers(pod, "initContainers", "containers")


@dataclass(frozen=True)
class Bundle:
    """All documents that are looked at together: one may need another."""

    documents: Sequence[Document]

    def of_kind(self, *kinds: str) -> Iterator[Document]:
        return (document for document in self.documents if document.kind in kinds)

    def find(self, kind: str, name: str, namespace: str) -> Document | None:
        found = (one for one in self.of_kind(kind) if (one.name, one.namespace) == (name, namespace))
        return next(found, None)


def containers(pod: Part, *lists: str) -> Iterator[Part]:
    for name in lists or ("containers",):
        yield from pod.items(name)


def dig(body: Any, names: Sequence[str | int]) -> Any:
    """What stands under these names; None where the way ends before."""
    for name in names:
        if isinstance(body, Mapping):
            body = body.get(name)
        elif isinstance(body, list) and isinstance(name, int) and name < len(body):
            body = body[name]
        else:
            return None
    return body


def chooses(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether a pod with these labels has all that a selector asks for."""
    return all(labels.get(name) == value for name, value in selector.items())


def in_words(place: Place) -> str:
    """spec.containers[0].image"""
    text = ""
    for name in place:
        text += f"[{name}]" if isinstance(name, int) else f".{name}" if text else name
    return text


def read(source: str, text: str) -> list[Document]:
    """The manifests of a YAML or JSON file, those of a List one by one; raises ConfigurationError for what is none."""
    try:
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
        for node in nodes:
            _refuse_doubles(source, node)
        bodies = [_value(node) for node in nodes]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigurationError(f"{source}{where}: no YAML: {error.problem or error.context}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"{source}: no YAML: {' '.join(str(error).split())}.") from error
    except RecursionError as error:
        raise ConfigurationError(f"{source}: no manifest, for it is nested too deep or holds itself.") from error
    found: list[Document] = []
    for node, body in zip(nodes, bodies, strict=True):
        if body is None:
            continue
        if not isinstance(body, Mapping) or not body.get("kind") or not body.get("apiVersion"):
            raise ConfigurationError(
                f"{source}, line {node.start_mark.line + 1}: no manifest, for it lacks apiVersion or kind.",
                hint="A file may hold any number of manifests, divided by ---.",
            )
        lines = dict(_lines(node, ()))
        if str(body["kind"]).endswith("List") and isinstance(body.get("items"), list):
            for number, item in enumerate(body["items"]):
                if not isinstance(item, Mapping):
                    raise ConfigurationError(
                        f"{source}, line {lines[('items', number)]}: item {number} of the list is no manifest."
                    )
                below = {place[2:]: line for place, line in lines.items() if place[:2] == ("items", number)}
                found.append(Document(source, item, below))
        else:
            found.append(Document(source, body, lines))
    return found


def read_file(path: Path) -> list[Document]:
    try:
        return read(str(path), path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from error


def of_object(number: int, body: Mapping[str, Any]) -> Document:
    """A manifest that came as data, without a file."""
    return Document(f"manifest {number}", body)


def _refuse_doubles(source: str, node: yaml.Node | None) -> None:
    """A key that is there twice: of the two a client drops one unseen or refuses both."""
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen and key.value != "<<":
                line = key.start_mark.line + 1
                raise ConfigurationError(f"{source}, line {line}: no manifest, for {key.value} is there twice.")
            seen |= {name} if name else set()
            _refuse_doubles(source, value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_doubles(source, item)


def _value(node: yaml.Node) -> Any:
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _lines(node: yaml.Node, place: Place) -> Iterator[tuple[Place, int]]:
    yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            yield from _lines(value, here)
            yield here, key.start_mark.line + 1
    elif isinstance(node, yaml.SequenceNode):
        for number, item in enumerate(node.value):
            yield from _lines(item, (*place, number))


def _find(body: Any, at: Sequence[str]) -> Iterator[tuple[Place, Mapping[str, Any]]]:
    found: list[tuple[Place, Any]] = [((), body)]
    for name in at:
        if name == "*":
            found = [((*p, n), item) for p, many in found if isinstance(many, list) for n, item in enumerate(many)]
        else:
            found = [((*p, name), one.get(name)) for p, one in found if isinstance(one, Mapping)]
    yield from ((place, one) for place, one in found if isinstance(one, Mapping))
