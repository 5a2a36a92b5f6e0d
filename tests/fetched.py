# SPDX-License-Identifier: GPL-3.0-or-later
"""What every test of bench_fetch does: lay files somewhere, call the module, look at what came."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible.modules import bench_fetch

if TYPE_CHECKING:
    from tests.conftest import ModuleResult, RunModule

Fetch = Callable[..., "ModuleResult"]


def lay(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def fetching(run_module: RunModule, source: Path, **given: Any) -> Fetch:
    """The module with these parameters, and with those of the call before them; it brings to `here` beside source."""

    def call(**parameters: Any) -> ModuleResult:
        usual = {"source": str(source), "dest": str(source.parent / "here"), "pause_seconds": 0.01}
        return run_module(bench_fetch, **{**usual, **given, **parameters})

    return call


def brought(tmp_path: Path) -> dict[str, bytes]:
    here = tmp_path / "here"
    found = {str(path.relative_to(here)): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    return {name: content for name, content in found.items() if name != "manifest.json"}
