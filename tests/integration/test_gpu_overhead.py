# SPDX-License-Identifier: GPL-3.0-or-later
"""From the probe over a stand-in to the verdict: known overheads are recovered, and every fault is found."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import gpu_blocks, gpu_probe
from ansible.module_utils.nightbench.gpu_probe import Variant

from harness.model import Observation, SamplesReference
from harness.overhead import cost_model, evidence, experiment, experiment_checks, measures, runs
from harness.overhead.experiment import Experiment
from harness.overhead.runs import Run
from tests.fakes import gpu_stand_in, overhead_runs

BLOCKS = 6
TRUE = {"native_again": 0.0, "slower_5": 0.05, "slower_10": 0.10}
VERDICTS = {"native_again": "pass", "slower_5": "inconclusive", "slower_10": "fail"}
PLAN = {
    "measures": ["gemm", "device_copy", "copy", "application"],
    "copy_bytes": [1 << 20],
    "copy_memory": ["pinned"],
    "gemm_sizes": [32],
    "device_copy_bytes": [1 << 18],
    "applications": [{"size": 32, "layers": 2}],
    "samples": {"least": 8, "most": 12, "warm_up": 12, "seconds": 0.5},
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpu_stand_in.build(tmp_path_factory.mktemp("stand_in"))


@pytest.fixture(scope="module")
def built(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    """The stand-in as it is, again, 5 % and 10 % slower; one run in two hundred differs by more than 1 % by chance."""
    folder = tmp_path_factory.mktemp("experiment")
    (folder / "devices").mkdir()
    common = {"GPU_STAND_IN_CLOCK": "virtual", "LD_PRELOAD": str(library), "GPU_STAND_IN_RUN_NOISE": "0.004"}
    common |= {"GPU_STAND_IN_STATE": str(folder / "devices"), "GPU_STAND_IN_COST_GEMM": "1000000"}
    libraries = ["--driver", str(library), "--management", str(library)]
    variants = [
        Variant(name, [sys.executable], libraries, {**common, "GPU_STAND_IN_SLOWER": str(1 + true)})
        for name, true in {"native": 0.0, **TRUE}.items()
    ]
    packed = folder / "gpu_probe.pyz"
    digest = gpu_probe.write_packed(gpu_stand_in.FILES / "gpu_probe", packed)
    seen = gpu_blocks.run(variants, packed, digest, PLAN, range(1, BLOCKS + 1), 1, folder / "samples", 60.0)
    return experiment.build([_read(folder, one) for one in seen])


def _read(folder: Path, seen: dict[str, Any]) -> Run:
    """What the role writes down of one run."""
    name = seen["variant"]
    says = {
        "layers": [],
        "evidence": [],
        "objectives": {"application": 0.05, "compute": 0.05, "transfer": 0.05},
        "title": name,
    }
    values = {key: value for key, value in seen.items() if key != "samples"}
    observation = Observation(
        run_id=overhead_runs.RUN_ID,
        at="2026-01-01T00:00:00Z",
        suite="gpu_overhead",
        scenario="calibration",
        subject="calibration",
        repeat=seen["block"],
        kind="overhead",
        values={**values, "judged": name == "slower_5"},
        parameters={
            "experiment": {"native": "native", "again": "native_again", "looks": [BLOCKS]},
            "variant": {**says, "true_overhead": TRUE.get(name, 0.0)},
        },
        samples=SamplesReference(**{**seen["samples"], "path": str(Path(seen["samples"]["path"]).relative_to(folder))}),
    )
    return runs.read(folder, observation)


def test_every_block_is_whole_and_every_row_proven(built: Experiment) -> None:
    assert (sorted(built.blocks), built.dropped) == (list(range(1, BLOCKS + 1)), {})
    for variant in TRUE:
        assert [item.name for item in evidence.collect(built, variant) if not item.holds] == []


@pytest.mark.parametrize("variant", TRUE)
def test_a_known_overhead_is_recovered_with_the_right_verdict(built: Experiment, variant: str) -> None:
    for decision in built.decisions(variant).values():
        assert decision.estimate == pytest.approx(TRUE[variant], abs=0.01)
        assert decision.verdict == VERDICTS[variant], decision.reason


def test_the_calibration_says_so_itself(built: Experiment) -> None:
    found = experiment_checks.injected_overhead_recovered(built)
    assert (found.holds, found.observed) == (True, "12 of 12")


@pytest.fixture(scope="module")
def run_of(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """A run of the whole probe with faults, as evidence looks at it."""
    probe = partial(gpu_stand_in.probe, library, tmp_path_factory.mktemp("faults") / "state")

    def made(faults: str = "", **settings: Any) -> Run:
        plan = {
            "measures": ["copy", "launch", "gemm", "device_copy", "application"],
            "copy_bytes": [1 << 20],
            "limit_bytes": 10**8,
        }
        seen = probe(plan, faults=faults, limit=10**8, **settings)
        assert seen.code == 0, seen.errors
        return replace(
            overhead_runs.run(says={"evidence": ["limit_enforced"]}), lines=json.loads(json.dumps(seen.lines))
        )

    return made


@pytest.fixture(scope="module")
def native(run_of: Callable[..., Run]) -> Run:
    return run_of()


def broken(run: Run, native: Run) -> set[str]:
    checks = {**evidence.ALWAYS, "limit_enforced": evidence.limit_enforced}
    found = {name: check(run, native) for name, check in checks.items()}
    return {name for name, finding in found.items() if finding is not None and not finding.holds}


FAULTS: list[tuple[str, dict[str, Any], set[str]]] = [
    ("", {}, set()),
    ("zeros", {}, {"bytes_verified"}),
    # What is skipped takes no time either: no link and no core is that fast.
    ("skipped", {}, {"bytes_verified", "plausible"}),
    ("no_limit", {}, {"limit_enforced"}),
    ("cpu_fallback", {}, {"attested"}),
    ("throttling", {}, {"clocks_held"}),
    ("busy", {}, {"device_to_itself"}),
    ("busy_later", {}, {"device_to_itself"}),
    ("repeated", {}, {"bytes_verified"}),
    ("", {"nvml_link_width": 1}, {"plausible"}),
    ("", {"nvml_reasons": 0x40}, {"clocks_held"}),
    ("ecc_rising", {}, {"memory_without_errors"}),
    ("persistence_off,clocks_fixed", {}, set()),
    ("", {"bandwidth_h2d": 50e9}, {"plausible"}),
]


@pytest.mark.parametrize(("faults", "settings", "expected"), FAULTS)
def test_a_fault_of_the_device_or_a_layer_is_found(
    run_of: Callable[..., Run], native: Run, faults: str, settings: dict[str, Any], expected: set[str]
) -> None:
    assert broken(run_of(faults, **settings), native) == expected


def test_what_a_programs_calls_predict_of_it_is_near_what_it_takes(
    library: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A layer of 20 µs a call, and kernels too short to hide it. The model adds up calls that were each waited for, so
    that it predicts at least what was measured, and not much more."""
    plan = {"measures": ["copy", "launch", "application"], "copy_bytes": [4096, 1 << 20], "copy_memory": ["pinned"]}
    made = []
    for name, added in (("host", 0), ("host_again", 0), ("proxy", 20_000)):
        state = tmp_path_factory.mktemp("model") / "state"
        seen = gpu_stand_in.probe(library, state, plan, added=added, cost_gemm=1000)
        assert seen.code == 0, seen.errors
        made.append(overhead_runs.run(name, made=seen.lines))
    built = experiment.build(made)
    trace = cost_model.application_of(built)
    native, _, proxy = (measures.BY_METRIC["gpu_application_overhead_ratio"].value(run) for run in made)
    assert native is not None and proxy is not None and trace != []
    assert proxy - native == pytest.approx(6 * 20e-6, rel=0.1), "six calls in a step of two products"
    found = cost_model.predict(built, "proxy", trace)
    assert proxy - native <= found.seconds - found.native_seconds <= 1.6 * (proxy - native)


def test_drift_inside_a_run_does_not_hide_in_the_median(run_of: Callable[..., Run], native: Run) -> None:
    """A device that gets slower with every call: later measures show it, and the native run of its block does not."""
    measure = measures.BY_METRIC["gpu_device_copy_overhead_ratio"]
    drifting, steady = measure.value(run_of(drift=0.0005)), measure.value(native)
    assert drifting is not None and steady is not None
    assert drifting > 1.1 * steady
