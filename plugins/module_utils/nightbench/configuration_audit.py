# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a configuration back from where it takes effect: live objects, Deployments, command lines.

What is asked is silently ignored in four places: the API server drops fields that a schema lacks, an operator skips
flags it does not know, a Deployment may never have been changed, and a process may run since before the change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import command_line, configuration_flags, process
from .configuration_check import Check
from .configuration_object import ObjectAudit, over_limits
from .errors import ConfigurationError, Forbidden, NotFound, ProcessError
from .kube import Kube
from .manifest import Manifest
from .structural_schema import Schema, of_version

_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


@dataclass(frozen=True)
class AskedObject:
    """A manifest as it was applied. `flag_fields`: path of a field that holds flags → the flags there are."""

    manifest: Manifest
    component: str = ""
    field_manager: str = ""
    flag_fields: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def called(self) -> str:
        return self.component or str(self.manifest)


@dataclass(frozen=True)
class AskedDeployment:
    namespace: str
    name: str
    container: str | None = None
    component: str = ""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    known_flags: Sequence[str] | None = None


@dataclass(frozen=True)
class AskedProcess:
    component: str
    pid: int
    start_time: int
    arguments: Mapping[str, Any] = field(default_factory=dict)
    known_flags: Sequence[str] | None = None
    help_argv: Sequence[str] = ()


class ClusterAudit:
    """Objects and Deployments of one cluster; each schema is read once. ``running``: what each Deployment runs with."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self.running: list[dict[str, Any]] = []
        self._schemas: dict[tuple[str, str], Schema | None] = {}

    def object(self, asked: AskedObject) -> Iterator[Check]:
        manifest = asked.manifest
        live: dict[str, Any] = {}
        schema = None
        missing = ""
        try:
            resource = self.kube.resource(manifest.api_version, manifest.kind)
        except ConfigurationError as error:
            missing = str(error)
        else:
            schema = self._schema(manifest, resource.plural)
            try:
                live = self.kube.request("GET", resource.item(manifest.name, manifest.namespace)).json()
            except NotFound:
                missing = f"there is no {manifest}"
        if missing:
            # What was asked for is still worth a look: it may be why the object is not there.
            yield Check(asked.called, "object", str(manifest), None, "the API server", False, missing)
        audit = ObjectAudit(asked.called, manifest.body, live, schema, asked.field_manager)
        if live:
            yield from audit.checks()
        document = live or manifest.body
        for path, flags in asked.flag_fields.items():
            yield from configuration_flags.flag_field(asked.called, audit.source, document, path, flags)
        yield from over_limits(asked.called, audit.source, document)

    def deployment(self, asked: AskedDeployment) -> Iterator[Check]:
        component = asked.component or asked.name
        path = f"/apis/apps/v1/namespaces/{asked.namespace}/deployments/{asked.name}"
        try:
            live = self.kube.request("GET", path).json()
        except NotFound:
            name = f"Deployment {asked.namespace}/{asked.name}"
            yield Check(component, "object", name, None, "the API server", False, f"there is no {name}")
            return
        self.running.append({"component": component, **configuration_flags.running(live, asked.container)})
        yield from configuration_flags.deployment(component, live, asked.container, asked.arguments, asked.known_flags)

    def lines(self, namespace: str, label_selector: str) -> list[dict[str, Any]]:
        """Image and command line of the first container of every such pod; none where pods may not be listed."""
        try:
            pods, _ = self.kube.list_pages(f"/api/v1/namespaces/{namespace}/pods", label_selector=label_selector)
        except Forbidden:
            return []
        found = [(pod["metadata"]["name"], pod["spec"]["containers"][0]) for pod in pods]
        return [
            {"name": name, "image": one.get("image"), "line": [*(one.get("command") or []), *(one.get("args") or [])]}
            for name, one in found
        ]

    def _schema(self, manifest: Manifest, plural: str) -> Schema | None:
        """None for a built-in kind, and where definitions may not be read: then only the values are compared."""
        group, slash, version = manifest.api_version.rpartition("/")
        if not slash:
            return None
        key = (manifest.api_version, plural)
        if key not in self._schemas:
            try:
                definition = self.kube.request("GET", f"{_DEFINITIONS}/{plural}.{group}").json()
                self._schemas[key] = of_version(definition, version)
            except (NotFound, Forbidden):
                self._schemas[key] = None
        return self._schemas[key]


def of_process(asked: AskedProcess) -> Iterator[Check]:
    """What a process was started with; who it is, is checked too, for a pid comes back."""
    source = f"command line of pid {asked.pid}"
    who = process.Identity(asked.pid, asked.start_time)
    argv = command_line.argv_of(asked.pid)
    found = process.identity(asked.pid)
    if found != who or not argv:
        reason = (
            f"pid {asked.pid} is another process now (start time {found.start_time}, not {asked.start_time})"
            if found is not None and found != who
            else f"no process with pid {asked.pid} runs"
        )
        started = found.start_time if found else None
        yield Check(asked.component, "process", asked.start_time, started, "/proc", False, reason)
        return
    known: Collection[str] | None = asked.known_flags
    if asked.help_argv:
        try:
            known = command_line.ask_help(asked.help_argv)
        except ProcessError as error:
            if known is None:
                # Whether what was asked took effect is seen all the same; only unknown flags are not looked for.
                told = f"which flags {asked.component} knows could not be learned: {error}"
                yield Check(asked.component, "help", list(asked.help_argv), None, "its help", True, told)
    yield from configuration_flags.arguments(
        asked.component, source, asked.arguments, command_line.flags_of(argv), known
    )
