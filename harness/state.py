# SPDX-License-Identifier: GPL-3.0-or-later
"""What an unfinished run remembers: results/<run-id>/state.json, written atomically, gone when all have ended."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.processes import Process
from harness.redact import hidden_names, redact_extra_vars
from harness.results import write_atomic
from harness.stages import AnsibleOptions

INPUTS = (
    *("NODE_COUNT", "ANSIBLE_CONFIG", "KUBECONFIG", "K8S_AUTH_KUBECONFIG", "K8S_AUTH_CONTEXT"),
    *("NIGHTBENCH_STATE_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME"),
)
STATE_FILE = "state.json"
FAILURE_FILE = "FAILURE"


@dataclass
class RunState:
    """Enough to go on with a run in a new process. Secrets are left out and have to be given again."""

    run_id: str
    nightly: str
    cwd: str
    options: AnsibleOptions
    owner: Process
    run_state: str | None = None
    stages: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=lambda: inputs(os.environ))

    def save(self, run_dir: Path) -> None:
        document = {
            "schema_version": 1,
            "run_id": self.run_id,
            "nightly": self.nightly,
            "cwd": self.cwd,
            "options": asdict(self.options)
            | {"extra_vars": [redact_extra_vars(value) for value in self.options.extra_vars]},
            "hidden": [name for value in self.options.extra_vars for name in hidden_names(value)],
            "owner": asdict(self.owner),
            "run_state": self.run_state,
            "stages": self.stages,
            "environment": self.environment,
        }
        write_atomic(run_dir / STATE_FILE, json.dumps(document, indent=1) + "\n")


def load_state(run_dir: Path) -> tuple[RunState, list[str]]:
    """The state and the names of the variables whose values were hidden."""
    path = run_dir / STATE_FILE
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
        state = RunState(
            run_id=document["run_id"],
            nightly=document["nightly"],
            cwd=document["cwd"],
            options=options_of(document["options"]),
            owner=Process(**document["owner"]),
            run_state=document["run_state"],
            stages=dict(document["stages"]),
            environment=dict(document["environment"]),
        )
        return state, list(document["hidden"])
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} is damaged ({error}): the run cannot be resumed; "
            f"'python -m harness clean {run_dir.name}' ends what it left, 'run nightly' starts a new one"
        ) from error


def inputs(environ: Mapping[str, str]) -> dict[str, str]:
    """What of the environment decides what a run measures and where it lies; a resumed run gets the same."""
    return {name: environ[name] for name in INPUTS if name in environ}


def options_of(document: Mapping[str, Any]) -> AnsibleOptions:
    """JSON knows no tuples."""
    known = {entry.name for entry in fields(AnsibleOptions)} & set(document)
    values: dict[str, Any] = {
        name: tuple(document[name]) if isinstance(document[name], list) else document[name] for name in known
    }
    return AnsibleOptions(**values)


def new_run_id(now: datetime | None = None) -> str:
    """`20261122T183000Z-1a2b`: sorts by time, and two in one second still differ."""
    return f"{now or datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"
