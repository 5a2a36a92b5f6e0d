# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in for a GPU, built once, and the probe run over it in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.contract.tree import ROOT

FILES = ROOT / "roles" / "gpu_overhead" / "files"
FLAGS = ("-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared")
SHORT = {
    "copy_bytes": [4, 65536, 1 << 20],
    "copy_memory": ["pinned", "pageable"],
    "gemm_sizes": [32],
    "device_copy_bytes": [1 << 20],
    "applications": [{"size": 32, "layers": 2}],
    "batches": [1, 10],
    "tenants": [1, 2],
    "hung_seconds": 30,
    "samples": {"most": 12, "least": 8, "seconds": 0.5, "warm_up": 12},
}


def build(folder: Path) -> Path:
    """The library; its sources are those that a calibration is built from."""
    return compiled(folder / "stand_in.so", sorted((FILES / "calibration").glob("*.c")), "-fvisibility=hidden")


def build_layer(folder: Path, *flags: str) -> Path:
    """A layer to preload before it."""
    return compiled(folder / "gpu_layer.so", [Path(__file__).with_name("gpu_layer.c")], *flags)


def compiled(target: Path, sources: list[Path], *flags: str) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")
    folders = [str(path) for path in sources]
    subprocess.run([compiler, *FLAGS, *flags, "-o", str(target), *folders, "-lm", "-ldl"], check=True)
    return target


@dataclass(frozen=True)
class Seen:
    """What one run of the probe has written."""

    code: int
    lines: list[dict[str, Any]]
    errors: str

    def of(self, kind: str, **values: Any) -> list[dict[str, Any]]:
        return [
            line
            for line in self.lines
            if line["kind"] == kind and all(line.get(name) == value for name, value in values.items())
        ]

    def one(self, kind: str) -> dict[str, Any]:
        [line] = self.of(kind)
        return line


def probe(
    library: Path,
    state: Path,
    plan: dict[str, Any] | None = None,
    *,
    clock: str = "virtual",
    faults: str = "",
    arguments: tuple[str, ...] = (),
    python: str = sys.executable,
    **settings: Any,
) -> Seen:
    """Settings are those of the stand-in (SLOWER, ADDED, LIMIT …), in small letters."""
    state.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "GPU_STAND_IN_CLOCK": clock,
        "GPU_STAND_IN_STATE": str(state),
        "GPU_STAND_IN_FAULTS": faults,
        **{f"GPU_STAND_IN_{name.upper()}": str(value) for name, value in settings.items()},
    }
    if clock == "virtual":
        environment["LD_PRELOAD"] = str(library)
    asked = json.dumps({**SHORT, **(plan or {})})
    command = [python, "-m", "gpu_probe", "--driver", str(library), "--management", str(library), "--plan", asked]
    answer = subprocess.run(
        [*command, *arguments], cwd=FILES, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    return Seen(answer.returncode, lines, answer.stderr)
