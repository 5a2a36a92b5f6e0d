# SPDX-License-Identifier: GPL-3.0-or-later
"""The options by which every module finds its project; names and environment as in google.cloud."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import env_fallback

from .errors import ConfigurationError
from .gcp_client import Compute, Patience, credentials
from .gcp_storage import ENDPOINT, Objects
from .places import default_state_root

GCP_SPEC: dict[str, dict[str, Any]] = {
    "project": {"type": "str", "required": True, "fallback": (env_fallback, ["GCP_PROJECT"])},
    "auth_kind": {
        "type": "str",
        "choices": ["application", "serviceaccount", "accesstoken"],
        "default": "application",
        "fallback": (env_fallback, ["GCP_AUTH_KIND"]),
    },
    "service_account_file": {"type": "path", "fallback": (env_fallback, ["GCP_SERVICE_ACCOUNT_FILE"])},
    "access_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["GCP_ACCESS_TOKEN"])},
    "endpoint": {"type": "str"},
    "request_seconds": {"type": "float", "default": 30.0},
    "pause_seconds": {"type": "float", "default": 1.0},
    "operation_seconds": {"type": "float", "default": 300.0},
    "timeout_seconds": {"type": "float", "default": 1200.0},
    "journal_dir": {"type": "path"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
}


def compute_from(params: dict[str, Any], patience: Patience) -> Compute:
    """The client that a module's parameters name."""
    wrong = [f"{name} is {params[name]:g}; it has to be more than 0." for name in
             ("request_seconds", "operation_seconds", "timeout_seconds") if params[name] <= 0]  # fmt: skip
    if wrong:
        raise ConfigurationError(" ".join(wrong))
    who = credentials(params["auth_kind"], params["service_account_file"], params["access_token"])
    return Compute(
        params["project"],
        who,
        endpoint=params["endpoint"],
        request_seconds=params["request_seconds"],
        pause=params["pause_seconds"],
        patience=patience,
    )


def objects_from(params: dict[str, Any], bucket: str, check: Patience) -> Objects:
    """The objects of a bucket, by the same credentials."""
    who = credentials(params["auth_kind"], params["service_account_file"], params["access_token"])
    return Objects(bucket, who, params["storage_endpoint"] or ENDPOINT, params["request_seconds"], check)


def journal_folder(params: dict[str, Any]) -> Path:
    """Journals outlive the state of their runs: that is what they are for."""
    given = params["journal_dir"]
    return Path(given) if given else default_state_root(os.environ) / "gcp"
