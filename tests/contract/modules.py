# SPDX-License-Identifier: GPL-3.0-or-later
"""A module as two descriptions of itself: what its documentation says and what it hands to AnsibleModule."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any
from unittest import mock

import ansible.module_utils
import ansible.modules
import yaml
from ansible.module_utils.basic import AnsibleModule

from tests.contract.tree import ROOT

# Under the names they have at run time, so that their relative imports resolve.
for package, folder in ((ansible.modules, ROOT / "library"), (ansible.module_utils, ROOT / "plugins" / "module_utils")):
    if str(folder) not in package.__path__:
        package.__path__.append(str(folder))


class CapturedError(Exception):
    """Raised in place of AnsibleModule's own start."""


@dataclass(frozen=True)
class Described:
    code: ModuleType
    documentation: dict[str, Any]
    examples: list[dict[str, Any]]
    returns: dict[str, Any]
    call: dict[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.documentation.get("options") or {})

    @property
    def spec(self) -> dict[str, Any]:
        return dict(self.call["argument_spec"])


@cache
def describe(name: str) -> Described:
    code = importlib.import_module(f"ansible.modules.{name}")
    return Described(
        code=code,
        documentation=yaml.safe_load(code.DOCUMENTATION),
        examples=yaml.safe_load(code.EXAMPLES) or [],
        returns=yaml.safe_load(code.RETURN) or {},
        call=captured_call(code),
    )


def captured_call(code: ModuleType) -> dict[str, Any]:
    """The arguments with which main() makes its AnsibleModule."""
    captured: dict[str, Any] = {}

    def start(self: AnsibleModule, argument_spec: dict[str, Any], **others: Any) -> None:
        captured.update(others, argument_spec=argument_spec)
        raise CapturedError

    with mock.patch.object(AnsibleModule, "__init__", start):
        try:
            code.main()
        except CapturedError:
            return captured
    raise AssertionError(f"{code.__name__}: main() made no AnsibleModule")


def differences(documented: dict[str, Any], spec: dict[str, Any], path: str = "") -> list[str]:
    """Where the documentation of options and an argument_spec say different things."""
    found = [f"{path}{name}: not documented" for name in sorted(set(spec) - set(documented))]
    found += [f"{path}{name}: not in the argument_spec" for name in sorted(set(documented) - set(spec))]
    for name in sorted(set(spec) & set(documented)):
        said, meant = documented[name], spec[name]
        for field, otherwise in (("type", "str"), ("default", None), ("required", False), ("elements", None)):
            here, there = said.get(field, otherwise), meant.get(field, otherwise)
            if here != there:
                found.append(f"{path}{name}: {field} {here!r}, really {there!r}")
        for field in ("choices", "aliases"):
            if list(said.get(field) or []) != list(meant.get(field) or []):
                found.append(f"{path}{name}: {field} {said.get(field)!r}, really {meant.get(field)!r}")
        if not said.get("description"):
            found.append(f"{path}{name}: no description")
        for variable in (meant.get("fallback") or (None, []))[1]:
            if variable not in str(said.get("description")):
                found.append(f"{path}{name}: the description does not name the environment variable {variable}")
        found += differences(said.get("suboptions") or {}, meant.get("options") or {}, f"{path}{name}.")
    return found
