# SPDX-License-Identifier: GPL-3.0-or-later
"""The agent's files lie in a role and are no package: in a pod they are found beside each other."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from tests.conftest import ROOT

AGENT = ROOT / "roles" / "traffic_mesh" / "files" / "agent"


def agent_module(name: str) -> ModuleType:
    sys.path.insert(0, str(AGENT))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(AGENT))
