# SPDX-License-Identifier: GPL-3.0-or-later
"""A module in a process of its own that has everything loaded: what a test kills."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from ansible.module_utils.testing import patch_module_args


def forked(module: ModuleType, arguments: dict[str, Any], answer: Path, *, wait_for: int | None = None) -> int:
    """The module's main() in a child process, the first of a group; its pid. It begins with a byte from `wait_for`."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.setpgid(0, 0)
        if wait_for is not None:
            os.read(wait_for, 1)
        with answer.open("w", encoding="utf-8") as stream, patch_module_args(arguments):
            sys.stdout = stream
            module.main()
    except SystemExit as ended:
        os._exit(int(ended.code or 0))
    finally:
        os._exit(70)
    return 0
