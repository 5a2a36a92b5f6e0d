# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the toolchain share: tools of a few bytes, their rows, and bench_tool as a process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BOOT = """
import json, sys
import ansible.module_utils, ansible.modules
from ansible.module_utils.testing import patch_module_args
ansible.modules.__path__.append(sys.argv[1] + "/library")
ansible.module_utils.__path__.append(sys.argv[1] + "/plugins/module_utils")
from ansible.modules import bench_tool
with patch_module_args(json.loads(sys.argv[2])):
    bench_tool.main()
"""


def script(version: str, name: str = "hello") -> bytes:
    """A tool that can do no more than say its version."""
    return f"#!/bin/sh\necho '{name} version {version}'\n".encode()


def put_script(folder: Path, version: str, name: str = "hello") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(script(version, name))
    path.chmod(0o755)
    return path


def row(*sources: dict[str, Any], name: str = "hello", version: str = "1.2.3", **fields: Any) -> dict[str, Any]:
    """A row of the table for a tool as `script` makes it."""
    regex = rf"{name} version (\S+)"
    return {"name": name, "version": version, "version_regex": regex, "sources": list(sources), **fields}


def start_module(**arguments: Any) -> subprocess.Popen[str]:
    """bench_tool in a process that can be killed; its answer is on stdout."""
    return subprocess.Popen(
        [sys.executable, "-c", BOOT, str(ROOT), json.dumps(arguments)], stdout=subprocess.PIPE, text=True
    )


def stored(cache_dir: Path) -> list[str]:
    """Every file in the cache, without the empty lock files."""
    files = (path.relative_to(cache_dir) for path in cache_dir.rglob("*") if path.is_file())
    return sorted(str(path) for path in files if path.parts[0] != ".lock")
