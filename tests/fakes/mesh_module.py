# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_mesh in a process of its own, as ansible-playbook starts it: what it costs is its own, and it can be killed."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from tests.conftest import ROOT

RUN = f"""
import json, sys
import ansible.module_utils, ansible.modules
ansible.modules.__path__.append({str(ROOT / "library")!r})
ansible.module_utils.__path__.append({str(ROOT / "plugins" / "module_utils")!r})
from ansible.module_utils.testing import patch_module_args
from ansible.modules import bench_mesh
with patch_module_args(json.load(sys.stdin)):
    bench_mesh.main()
"""


def started(**parameters: Any) -> subprocess.Popen[str]:
    """The module at work."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    json.dump(parameters, process.stdin)
    process.stdin.close()
    process.stdin = None
    return process


def ended(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """What it printed."""
    output, errors = process.communicate(timeout=seconds)
    assert output, errors
    return dict(json.loads(output))


def killed(process: subprocess.Popen[str]) -> None:
    """As kill -9 does; nothing when it has ended."""
    process.kill()
    process.communicate()
