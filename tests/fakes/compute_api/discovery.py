# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compute API as Google describes it: routes and schemas of the discovery document in google-api-python-client."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import googleapiclient

DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
INTEGER = re.compile(r"-?[0-9]+")


@dataclass(frozen=True)
class Method:
    """One method of the API: `id` is what handlers and faults call it by, such as compute.instances.insert."""

    id: str
    verb: str
    pattern: re.Pattern[str]
    parameters: dict[str, Any]
    request: str | None
    response: str | None

    def bad_parameters(self, given: dict[str, str]) -> list[str]:
        known = {**self.parameters, **document()["parameters"]}
        found = [f"parameter {name}: {self.id} has none" for name in given if name not in known]
        found += [
            f"parameter {name}: {value!r} does not look like {known[name]['pattern']}"
            for name, value in given.items()
            if name in known and "pattern" in known[name] and not re.fullmatch(known[name]["pattern"], value)
        ]
        missing = [name for name, rule in self.parameters.items() if rule.get("required") and name not in given]
        return found + [f"parameter {name}: missing" for name in missing]


@cache
def document() -> dict[str, Any]:
    return json.loads((DOCUMENTS / "compute.v1.json").read_text(encoding="utf-8"))


@cache
def methods() -> tuple[Method, ...]:
    found = []
    for resource in document()["resources"].values():
        for entry in resource["methods"].values():
            path = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(entry["path"]))
            found.append(
                Method(
                    entry["id"],
                    entry["httpMethod"],
                    re.compile("/" + document()["servicePath"] + path),
                    entry.get("parameters", {}),
                    entry.get("request", {}).get("$ref"),
                    entry.get("response", {}).get("$ref"),
                )
            )
    return tuple(found)


def find(verb: str, path: str) -> tuple[Method, dict[str, str]] | None:
    """The method that a request means and the parameters in its path."""
    for method in methods():
        if method.verb == verb and (match := method.pattern.fullmatch(path)):
            return method, match.groupdict()
    return None


def problems(name: str, value: Any, *, asked: bool = False) -> list[str]:
    """Where a body is not what the named schema says; `asked`: a request, which sets nothing that only answers have."""
    return _problems(document()["schemas"][name], value, name, asked)


def _problems(schema: dict[str, Any], value: Any, path: str, asked: bool) -> list[str]:
    if "$ref" in schema:
        return _problems(document()["schemas"][schema["$ref"]], value, path, asked)
    kind = schema.get("type", "any")
    check = _KINDS[kind]
    if not check(value):
        return [f"{path}: {value!r} is no {kind}"]
    if kind == "string":
        return _string_problems(schema, value, path)
    if kind == "array":
        return [bad for n, one in enumerate(value) for bad in _problems(schema["items"], one, f"{path}[{n}]", asked)]
    if kind == "object":
        return _object_problems(schema, value, path, asked)
    return []


def _string_problems(schema: dict[str, Any], value: str, path: str) -> list[str]:
    if schema.get("format") in ("int64", "uint64") and not INTEGER.fullmatch(value):
        return [f"{path}: {value!r} is no {schema['format']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value!r} is none of {', '.join(schema['enum'])}"]
    if "pattern" in schema and not re.fullmatch(schema["pattern"], value):
        return [f"{path}: {value!r} does not look like {schema['pattern']}"]
    return []


def _object_problems(schema: dict[str, Any], value: dict[str, Any], path: str, asked: bool) -> list[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties")
    found = []
    for name, inner in value.items():
        where = f"{path}.{name}"
        if name in known:
            if asked and known[name].get("readOnly") and name != "kind":
                found.append(f"{where}: only answers have it")
            found += _problems(known[name], inner, where, asked)
        elif others is not None:
            found += _problems(others, inner, where, asked)
        else:
            found.append(f"{where}: there is no such field")
    return found


_KINDS = {
    "any": lambda value: True,
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
