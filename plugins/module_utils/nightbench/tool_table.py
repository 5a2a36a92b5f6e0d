# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of tools: what each is called, which version is wanted and where it can come from.

Everything here is pure: rows come in as plain dictionaries, are checked once, and leave as frozen values.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import tool_version
from .errors import ConfigurationError

SOURCE_ORDER = ("path", "package", "download", "image", "go_module")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}

# What a source of each kind is described by: field -> must it be given?
SOURCE_FIELDS: dict[str, dict[str, bool]] = {
    "path": {"file": False, "directories": False},
    "package": {"package": True, "member": True},
    "download": {"url": True, "sha256": False, "sha256_url": False, "member": False},
    "image": {"image": True, "member": True},
    "go_module": {"directory": True, "package": True, "ldflags": False, "tags": False},
}
TOOL_FIELDS = {
    "name": True,
    "version": True,
    "sources": True,
    "file": False,
    "required": False,
    "version_arguments": False,
    "version_regex": False,
}
LIST_FIELDS = {"directories", "ldflags", "tags"}
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Source:
    """One place a tool can come from, with {version} and {arch} already filled in."""

    kind: str
    version: str
    fields: Mapping[str, Any]

    def text(self, name: str) -> str:
        return str(self.fields.get(name) or "")

    def texts(self, name: str) -> list[str]:
        return [str(item) for item in self.fields.get(name) or []]


@dataclass(frozen=True)
class Tool:
    """One row of the table."""

    name: str
    version: str
    file: str
    required: bool = True
    version_arguments: tuple[str, ...] = ("--version",)
    version_regex: str = r"v?(\d+\.\d+[\w.+~-]*)"
    sources: tuple[Source, ...] = ()
    left_out: tuple[Source, ...] = ()  # described, but not allowed by the order


def select(
    table: Sequence[Mapping[str, Any]], names: Iterable[str], order: Sequence[str] = SOURCE_ORDER, arch: str = "amd64"
) -> list[Tool]:
    """The tools named, each with the sources of `order` in that order. The first row of a name wins."""
    rows: dict[str, Mapping[str, Any]] = {}
    for row in table:
        rows.setdefault(str(row.get("name", "")), row)
    _refuse_unknown("source", order, SOURCE_ORDER, "toolchain_sources")
    _refuse_unknown("tool", names, rows, "the table of tools")
    return [_tool(rows[name], order, arch) for name in dict.fromkeys(names)]


def recipe(tool: Tool, source: Source, arch: str, inputs: Mapping[str, str] | None = None) -> str:
    """sha256 of everything that decides the bytes of the result; `inputs` are hashes of files the source reads."""
    decides = {
        "name": tool.name,
        "file": tool.file,
        "version": source.version or tool.version,
        "arch": arch,
        "kind": source.kind,
        "fields": dict(source.fields),
        "inputs": dict(inputs or {}),
    }
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()


def machine_architecture() -> str:
    """The machine's architecture by the name that Go and release downloads use."""
    machine = platform.machine()
    return ARCHITECTURES.get(machine, machine)


def _tool(row: Mapping[str, Any], order: Sequence[str], arch: str) -> Tool:
    where = f"tool {row.get('name')!r} in the table"
    _check_fields(where, row, TOOL_FIELDS)
    version = str(row["version"])
    tool_version.terms(version)
    sources = [_source(where, source, version, arch) for source in row["sources"]]
    return Tool(
        name=str(row["name"]),
        version=version,
        file=str(row.get("file") or row["name"]),
        required=row.get("required", True) in (True, "true", "True", "yes", 1),
        version_arguments=tuple(str(argument) for argument in row.get("version_arguments", Tool.version_arguments)),
        version_regex=str(row.get("version_regex") or Tool.version_regex),
        sources=tuple(sorted((s for s in sources if s.kind in order), key=lambda source: order.index(source.kind))),
        left_out=tuple(source for source in sources if source.kind not in order),
    )


def _source(where: str, row: Mapping[str, Any], wanted: str, arch: str) -> Source:
    kind = str(row.get("source", ""))
    _refuse_unknown("source", [kind], SOURCE_FIELDS, where)
    where = f"source {kind} of {where}"
    given = {name: value for name, value in row.items() if name not in ("source", "version")}
    _check_fields(where, given, SOURCE_FIELDS[kind])
    version = str(row.get("version") or tool_version.exact(wanted) or "")
    filled = {name: _fill(where, value, version, arch) for name, value in given.items()}
    if kind in _CHECKS:
        _CHECKS[kind](where, filled)
    return Source(kind=kind, version=version, fields=filled)


def _fill(where: str, value: Any, version: str, arch: str) -> Any:
    if isinstance(value, (list, tuple)):
        return [_fill(where, item, version, arch) for item in value]
    text = str(value)
    if "{version}" in text and not version:
        raise ConfigurationError(
            f"{where}: {text!r} needs one version, and the tool's version leaves a choice.",
            hint="Give the source a version of its own.",
        )
    return text.replace("{version}", version).replace("{arch}", arch)


def _check_download(where: str, fields: Mapping[str, Any]) -> None:
    if not fields["url"].startswith(("https://", "http://")):
        raise ConfigurationError(f"{where}: {fields['url']!r} is not an http or https address.")
    if not fields.get("sha256") and not fields.get("sha256_url"):
        raise ConfigurationError(
            f"{where}: {fields['url']} has no sha256, and what cannot be checked is not downloaded.",
            hint="Give sha256, or sha256_url where the publisher offers a checksum file.",
        )
    if fields.get("sha256") and not SHA256.fullmatch(fields["sha256"].lower()):
        raise ConfigurationError(f"{where}: sha256 {fields['sha256']!r} is not 64 hexadecimal digits.")


def _check_image(where: str, fields: Mapping[str, Any]) -> None:
    _, _, digest = fields["image"].partition("@sha256:")
    if not SHA256.fullmatch(digest):
        raise ConfigurationError(
            f"{where}: image {fields['image']!r} is not named by its digest.",
            hint="Write name@sha256:<64 hexadecimal digits>; a tag can change its content.",
        )


_CHECKS = {"download": _check_download, "image": _check_image}


def _check_fields(where: str, row: Mapping[str, Any], known: Mapping[str, bool]) -> None:
    _refuse_unknown("field", row, known, where)
    for name, must in known.items():
        if must and not row.get(name):
            raise ConfigurationError(f"{where}: {name} is missing.")
    for name in LIST_FIELDS & set(row):
        if not isinstance(row[name], (list, tuple)):
            raise ConfigurationError(f"{where}: {name} has to be a list, not {row[name]!r}.")


def _refuse_unknown(what: str, given: Iterable[str], known: Iterable[str], where: str) -> None:
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(sorted(known))}."
            raise ConfigurationError(f"{where}: there is no {what} {name!r}.", hint=hint)
