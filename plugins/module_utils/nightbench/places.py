# SPDX-License-Identifier: GPL-3.0-or-later
"""Where runs lie on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """The folder of the lease and of the runs' state, and the folder of the results."""

    state_root: Path
    results_root: Path

    def state(self, run_id: str) -> Path:
        return state_folder(self.state_root, run_id)

    def results(self, run_id: str) -> Path:
        return self.results_root / run_id


def state_folder(state_root: Path, run_id: str) -> Path:
    return state_root / "runs" / run_id


def default_state_root(environ: Mapping[str, str]) -> Path:
    """As the XDG base directories have it."""
    base = environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path(environ.get("HOME") or "~").expanduser() / ".local" / "state") / "nightbench"
