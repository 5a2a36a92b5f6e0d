# SPDX-License-Identifier: GPL-3.0-or-later
"""Manifests that a rule of the linter finds, and the same ones mended: tests/fixtures/lint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).resolve().parent.parent / "fixtures" / "lint"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class Example:
    fails: list[Manifest]
    passes: list[Manifest]


def read() -> dict[str, Example]:
    found: dict[str, Example] = {}
    for path in sorted(FOLDER.glob("*.yml")):
        for rule, example in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            assert rule not in found, f"{rule} stands twice"
            found[rule] = Example(**example)
    return found


EXAMPLES = read()
