# SPDX-License-Identifier: GPL-3.0-or-later
"""A process as a module's option: the specification, and what it becomes. Shared by every module that starts one."""

from __future__ import annotations

import os
from typing import Any

from .errors import ConfigurationError
from .process import signal_number
from .process_plan import Wanted
from .process_record import Spec
from .readiness import Ready, check_ready

READY_SPEC: dict[str, dict[str, Any]] = {
    "url": {"type": "str"},
    "tcp": {"type": "str"},
    "file": {"type": "path"},
    "timeout_seconds": {"type": "float", "default": 30.0},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path", "no_log": False},
    "ca_cert": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
}
PROCESS_SPEC: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "argv": {"type": "list", "elements": "str"},
    "env": {"type": "dict", "default": {}},
    "log": {"type": "path"},
    "cwd": {"type": "path", "default": "/"},
    "ports": {"type": "list", "elements": "int", "default": []},
    "ready": {
        "type": "dict",
        "options": READY_SPEC,
        "required_one_of": [("url", "tcp", "file")],
        "mutually_exclusive": [("url", "tcp", "file")],
        "required_together": [("client_cert", "client_key")],
    },
    "stop_signal": {"type": "str", "default": "SIGTERM"},
    "stop_seconds": {"type": "float", "default": 10.0},
}


def wanted_process(item: dict[str, Any], run_state: str, *, needs_argv: bool = True) -> Wanted:
    """The process that an item valid by PROCESS_SPEC describes; its log is under run_state unless it names one."""
    name = item["name"]
    if needs_argv and not item["argv"]:
        raise ConfigurationError(f"processes: {name} has no argv, which starting it needs.")
    signal_number(item["stop_signal"])
    ready = Ready(**item["ready"]) if item["ready"] else None
    if ready:
        check_ready(ready)
    log = item["log"] or os.path.join(run_state, "logs", f"{name}.log")
    spec = Spec(
        name=name,
        argv=item["argv"] or [],
        log=os.path.abspath(log),
        env={key: _as_text(name, key, value) for key, value in item["env"].items()},
        cwd=item["cwd"],
        stop_signal=item["stop_signal"],
        stop_seconds=item["stop_seconds"],
    )
    return Wanted(spec, ready, item["ports"])


def _as_text(process: str, name: str, value: Any) -> str:
    """An environment variable as the caller wrote it in YAML: true stays true."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ConfigurationError(f"processes: {process}: env {name} is neither text nor a number.")
