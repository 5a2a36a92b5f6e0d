# SPDX-License-Identifier: GPL-3.0-or-later
"""A layer between the probe and the stand-in, as a process has it: each way of not being one is found by evidence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import gpu_probe
from ansible.module_utils.nightbench.gpu_probe import Variant

from harness.model import SamplesReference
from harness.overhead import evidence, runs
from harness.overhead.runs import Run
from tests.conftest import ROOT
from tests.fakes import gpu_stand_in, overhead_runs

LIMIT = 10**8
PLAN = {
    "measures": ["copy", "launch", "gemm", "allocate_free"],
    "copy_bytes": [65536],
    "copy_memory": ["pinned"],
    "gemm_sizes": [32],
    "batches": [1, 10],
    "limit_bytes": LIMIT,
    "samples": {"least": 8, "most": 12, "warm_up": 12, "seconds": 0.5},
}
OF_LAYER = ["layer_loaded", "layer_absent_natively", "layer_counted", "layer_keeps_books", "limit_enforced"]
OF_MPS = ["mps_serves", "mps_client", "limit_enforced"]
Measured = Callable[..., Run]


class Bench:
    """Runs a variant as the role does, and reads it as the harness does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stand_in = gpu_stand_in.build(folder)
        (folder / "old").mkdir()
        self.layers = {"": gpu_stand_in.build_layer(folder)}
        self.layers["old names"] = gpu_stand_in.build_layer(folder / "old", "-DOLD_NAMES")
        self.probe = folder / "gpu_probe.pyz"
        gpu_probe.write_packed(gpu_stand_in.FILES / "gpu_probe", self.probe)
        self.runs = 0

    def run(
        self, environment: dict[str, str], layer: str | None = None, service: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        self.runs += 1
        state = self.folder / f"devices{self.runs}"
        state.mkdir()
        preloaded = [str(self.layers[layer])] if layer is not None else []
        given = {"GPU_STAND_IN_CLOCK": "virtual", "GPU_STAND_IN_STATE": str(state)}
        variant = Variant(
            "variant",
            [sys.executable],
            ["--driver", str(self.stand_in), "--management", str(self.stand_in)],
            {**given, "LD_PRELOAD": ":".join([*preloaded, str(self.stand_in)]), **environment},
            counter={"path": str(self.folder / "counts"), "pattern": "calls ([0-9]+)"} if preloaded else {},
            service=service or {},
        )
        return gpu_probe.run(variant, self.probe, PLAN, self.folder / f"{self.runs}.jsonl", 60.0)

    def read(self, seen: dict[str, Any], **says: Any) -> Run:
        assert seen["status"] == "complete", seen["reason"]
        samples = SamplesReference(**{**seen["samples"], "path": Path(seen["samples"]["path"]).name})
        values = {key: value for key, value in seen.items() if key != "samples"}
        return runs.read(self.folder, replace(overhead_runs.run(says=says, **values).observation, samples=samples))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("layers"))


@pytest.fixture(scope="module")
def native(bench: Bench) -> Run:
    return bench.read(bench.run({}))


def broken(run: Run, native: Run, names: list[str]) -> set[str]:
    """Of the layer's evidence and of that which every row has, what does not hold. (Both have the same probe.)"""
    asked = {name: evidence.OF_LAYERS[name] for name in names} | {**evidence.ALWAYS}
    del asked["same_probe"]
    found = {name: check(run, native) for name, check in asked.items()}
    return {name for name, finding in found.items() if finding is not None and not finding.holds}


LAYERS: list[tuple[str, str | None, str, set[str]]] = [
    ("works", "", "", set()),
    # A stub is faster than any GPU: it says that all went well.
    ("forwards nothing", "", "stub", {"bytes_verified", "limit_enforced"}),
    ("holds no limit", "", "lax", {"limit_enforced"}),
    ("sees no call", "", "blind", {"layer_counted"}),
    ("keeps no books", "", "unshared", {"layer_keeps_books"}),
    ("is not loaded", None, "", {"layer_loaded", "layer_counted", "layer_keeps_books", "limit_enforced"}),
    # cuda.h renames the calls, so programs go past a library that has the bare names.
    ("has names that nobody calls", "old names", "", {"layer_counted", "limit_enforced"}),
]


@pytest.mark.parametrize(("layer", "mode", "expected"), [one[1:] for one in LAYERS], ids=[one[0] for one in LAYERS])
def test_a_layer_that_is_none_is_found(
    bench: Bench, native: Run, layer: str | None, mode: str, expected: set[str]
) -> None:
    books = bench.folder / f"books{bench.runs}"
    environment = {"GPU_LAYER_MODE": mode, "GPU_LAYER_LIMIT": str(LIMIT), "GPU_LAYER_BOOKS": str(books)}
    seen = bench.run({**environment, "GPU_LAYER_COUNTS": str(bench.folder / "counts")}, layer)
    run = bench.read(seen, layer={"library": r"gpu_layer\.so", "shared": str(books)})
    assert broken(run, native, OF_LAYER) - {"plausible"} == expected


def mps(bench: Bench, pipe: Path) -> dict[str, Any]:
    """The words of role gpu_proxy, with a stand-in for NVIDIA's program."""
    control = [sys.executable, str(ROOT / "tests" / "fakes" / "mps_control.py")]
    pipe.mkdir()
    return {
        "argv": [*control, "-f"],
        "environment": {"CUDA_MPS_PIPE_DIRECTORY": str(pipe)},
        "log": str(pipe / "log"),
        "ready": {"file": str(pipe / "control")},
        "stop": {"argv": control, "input": "quit -t 5\n"},
    }


@pytest.mark.parametrize(
    ("faults", "expected"),
    [("", set()), ("mps_passed_by", {"mps_client", "limit_enforced"}), ("no_limit", {"limit_enforced"})],
)
def test_a_client_of_mps_is_served_or_is_none(bench: Bench, native: Run, faults: str, expected: set[str]) -> None:
    """Without its service a program runs on as if nothing were: the pipe alone proves nothing."""
    pipe = bench.folder / f"pipe{bench.runs}"
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(pipe), "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=95M"}
    run = bench.read(bench.run({**environment, "GPU_STAND_IN_FAULTS": faults}, service=mps(bench, pipe)))
    assert broken(run, native, OF_MPS) == expected
    assert not (pipe / "control").exists(), "it was told to quit, so native has the device to itself"
    assert (pipe / "quits").read_text() == "quit\n"


def test_a_native_process_that_mps_serves_is_not_native(bench: Bench) -> None:
    pipe = bench.folder / f"pipe{bench.runs}"
    environment = {"CUDA_MPS_PIPE_DIRECTORY": str(pipe), "CUDA_MPS_PINNED_DEVICE_MEM_LIMIT": "0=95M"}
    run = bench.read(bench.run(environment, service=mps(bench, pipe)))
    assert broken(run, run, OF_MPS) == {"mps_client"}


def test_a_service_that_does_not_start_is_an_error_of_its_run(bench: Bench) -> None:
    pipe = bench.folder / f"pipe{bench.runs}"
    service = {**mps(bench, pipe), "argv": [sys.executable, "-c", "raise SystemExit('no device')"]}
    seen = bench.run({}, service=service)
    assert (seen["status"], seen["samples"], seen["exit_code"]) == ("error", None, None)
    assert seen["reason"] == "the service of variant ended with exit code 1; it said: no device"
