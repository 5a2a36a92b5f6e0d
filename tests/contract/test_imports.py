# SPDX-License-Identifier: GPL-3.0-or-later
"""The layers know each other in one direction only: results/ is all that Ansible's side and the harness share."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.contract.tree import name_of, under

STDLIB = sys.stdlib_module_names
# urllib3 and yaml come with the kubernetes package.
KUBERNETES = {"kubernetes", "urllib3", "yaml"}
HARNESS = {
    "ansible_runner",
    "duckdb",
    "jinja2",
    "jmespath",
    "jsonschema",
    "kubernetes",
    "plotly",
    "scipy",
    "urllib3",
    "yaml",
    "numpy",
}
# Where a module and its logic meet; nothing else below module_utils knows that Ansible exists.
EDGE = {"auth.py", "gcp_auth.py", "long_module.py"}
# The places that know Google's clients; they are an extra, and its absence is told by the modules.
CLIENTS = {name: {"google", "requests"} for name in ("gcp_client.py", "gcp_storage.py")}


@dataclass(frozen=True)
class Import:
    path: Path
    line: int
    level: int
    module: str

    @property
    def top(self) -> str:
        return self.module.split(".")[0]

    def __str__(self) -> str:
        return f"{name_of(self.path)}:{self.line}: {'.' * self.level}{self.module}"


def imports_of(path: Path, text: str | None = None) -> Iterator[Import]:
    for node in ast.walk(ast.parse(text if text is not None else path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (Import(path, node.lineno, 0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(path, node.lineno, node.level, node.module or "")


def harness_may(found: Import) -> bool:
    return (found.level > 0) or found.top in STDLIB | HARNESS | {"harness"}


def module_utils_may(found: Import) -> bool:
    at_the_edge = found.path.name in EDGE and found.module.startswith("ansible.module_utils.basic")
    # `from .sibling import x`; two dots would leave the package.
    known = STDLIB | KUBERNETES | CLIENTS.get(found.path.name, set())
    return found.level == 1 or (found.level == 0 and found.top in known) or at_the_edge


def library_may(found: Import) -> bool:
    if found.level:
        # The one form that resolves in the checkout and in the collection.
        return found.level == 2 and found.module.startswith("module_utils.nightbench")
    ours = found.module.startswith("ansible.module_utils.nightbench")
    return found.top in STDLIB | KUBERNETES or (found.module.startswith("ansible.module_utils.") and not ours)


def callback_may(found: Import) -> bool:
    return found.level == 0 and found.top in STDLIB | {"ansible", "yaml"} and "nightbench" not in found.module


LAYERS = {
    "harness": harness_may,
    "plugins/module_utils": module_utils_may,
    "library": library_may,
    "plugins/callback": callback_may,
}


@pytest.mark.parametrize("folder", LAYERS)
def test_a_layer_imports_only_what_lies_below_it(folder: str) -> None:
    found = [found for path in under(folder, ".py") for found in imports_of(path)]
    assert found, f"{folder} imports nothing at all: is it empty?"
    assert [str(one) for one in found if not LAYERS[folder](one)] == []


BAD = [
    ("harness", "import ansible.cli"),
    ("harness", "from ansible.module_utils.nightbench import errors"),
    ("harness", "from plugins.module_utils.nightbench import errors"),
    ("plugins/module_utils", "from ansible.module_utils.basic import AnsibleModule"),
    ("plugins/module_utils", "import harness.results"),
    ("plugins/module_utils", "import requests"),
    ("plugins/module_utils", "from google.cloud import compute_v1"),
    ("plugins/module_utils", "from ..other import x"),
    ("library", "from ansible.module_utils.nightbench.kube import Kube"),
    ("library", "from ansible_collections.nightbench.infra.plugins.module_utils.nightbench import kube"),
    ("library", "import harness"),
    ("plugins/callback", "from ansible.module_utils.nightbench import names"),
]


@pytest.mark.parametrize(("folder", "line"), BAD)
def test_an_import_against_the_layers_is_seen(folder: str, line: str) -> None:
    path = Path(folder).absolute() / "example.py"
    assert [LAYERS[folder](found) for found in imports_of(path, line)] == [False]
