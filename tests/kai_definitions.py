# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the real CustomResourceDefinitions of KAI lie, for tests that show more with them than with our own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

#: Beside the checkout, or where the variable says.
PLACE = Path(__file__).resolve().parents[2] / "shared" / "fixtures" / "kai"
VARIABLE = "NIGHTBENCH_KAI_DEFINITIONS_DIR"


def kai_definitions() -> list[dict[str, Any]]:
    """All of them; without them the test is skipped."""
    folder = Path(os.environ.get(VARIABLE) or PLACE)
    found = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*_*.yaml"))]
    definitions = [one for one in found if one and one.get("kind") == "CustomResourceDefinition"]
    if not definitions:
        pytest.skip(f"KAI's CustomResourceDefinitions are not in {folder}; {VARIABLE} names another folder")
    return definitions
