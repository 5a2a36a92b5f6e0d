# SPDX-License-Identifier: GPL-3.0-or-later
"""CustomResourceDefinitions for tests on a real API server: our own small ones, and KAI's where they are there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.errors import KubeError, NotFound
from ansible.module_utils.nightbench.kube import Kube

from tests.conftest import eventually

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FIXTURES = Path(__file__).resolve().parent / "fixtures" / "configuration"
OWN = FIXTURES / "definitions.yml"
OWN_KAI = FIXTURES / "kai.yml"
#: KAI's own lie beside the checkout, or where the variable says.
PLACE = Path(__file__).resolve().parents[2] / "shared" / "fixtures" / "kai"
SECONDS = 60
VARIABLE = "NIGHTBENCH_KAI_DEFINITIONS_DIR"


def kai_definitions() -> list[dict[str, Any]]:
    """All of KAI's; without them the test is skipped."""
    folder = Path(os.environ.get(VARIABLE) or PLACE)
    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*_*.yaml"))]
    definitions = [one for one in found if one and one.get("kind") == "CustomResourceDefinition"]
    if not definitions:
        pytest.skip(f"KAI's CustomResourceDefinitions are not in {folder}; {VARIABLE} names another folder")
    return definitions


@contextmanager
def installed(kube: Kube, definitions: list[dict[str, Any]]) -> Iterator[None]:
    """Definitions that are served; those that were not there before are removed again."""
    made = []
    for one in definitions:
        path = f"{CRDS}/{one['metadata']['name']}"
        try:
            kube.request("GET", path)
        except NotFound:
            kube.request("POST", CRDS, body=one)
            made.append(path)
    for one in definitions:
        eventually(lambda one=one: _established(kube, one["metadata"]["name"]), SECONDS)
        eventually(lambda one=one: _served(kube, one["spec"]), SECONDS)
    kube.forget_discovery()
    try:
        yield
    finally:
        for path in made:
            kube.request("DELETE", path)
        for path in made:
            eventually(lambda path=path: _gone(kube, path), SECONDS)


def _gone(kube: Kube, path: str) -> bool:
    try:
        kube.request("GET", path)
    except NotFound:
        return True
    return False


def _established(kube: Kube, name: str) -> bool:
    status = kube.request("GET", f"{CRDS}/{name}").json().get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    return conditions.get("Established") == "True"


def _served(kube: Kube, spec: dict[str, Any]) -> bool:
    try:
        kube.request("GET", f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")
    except KubeError:
        return False
    return True
