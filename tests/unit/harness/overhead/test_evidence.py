# SPDX-License-Identifier: GPL-3.0-or-later
"""A row is only taken when its layer was there, worked, enforced and lost no byte: each case breaks one thing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import judge
from harness.model import Plan, PlannedRecord, Record, SamplesReference
from harness.overhead import evidence, experiment, experiment_checks, measures, output, plausibility
from harness.overhead.reader import OverheadReader
from harness.overhead.runs import Run
from harness.reader import Material
from tests.fakes import overhead_runs as fake
from tests.fakes.overhead_runs import Lines, blocks, of_kind, slower

GEMM = measures.BY_METRIC["gpu_gemm_overhead_ratio"]
ALL = tuple(evidence.OF_LAYERS)
INSTANCE = "MIG-abababab-abab-abab-abab-abababababab"
PROXY = {"library": r"libproxy\.so", "shared": r"/books$", "speed": 1.0}


def put(kind: str, **values: Any) -> Callable[[Lines], None]:
    return lambda lines: of_kind(lines, kind).update(values)


def inside(kind: str, name: str, **values: Any) -> Callable[[Lines], None]:
    return lambda lines: of_kind(lines, kind)[name].update(values)


def device_copy(seconds: float) -> Callable[[Lines], None]:
    def change(lines: Lines) -> None:
        line = next(one for one in lines if one.get("metric") == "device_copy" and one["kind"] == "sample")
        line["host_seconds"] = seconds

    return change


def good(change: Callable[[Lines], object] = lambda lines: None, **values: Any) -> Run:
    """A run that holds every piece of evidence there is, but for the change."""

    def changed(lines: Lines) -> None:
        of_kind(lines, "surroundings").update(
            in_pod=True, device_mounts=["GPU-1"], mps={"control": True}, boot_id="the guest's"
        )
        instances = ["MIG-00000000-0000-0000-0000-000000000000", INSTANCE]
        of_kind(lines, "device")["management"].update(mig=1, instances=instances)
        of_kind(lines, "afterwards").update(libraries=["/lib/libc.so.6", "/opt/libproxy.so"], shared=["/run/books"])
        of_kind(lines, "attestation").update(own_pids=[12], after=[7, 12], mps_clients=[12])
        change(lines)

    says = {"layer": PROXY, "evidence": list(ALL), **values.pop("says", {})}
    counter = values.pop("counter", {"before": 10.0, "after": 900.0})
    service = values.pop("service", {"pids": [7, 8]})
    return fake.run("proxy", says=says, change=changed, counter=counter, service=service, **values)


def held(run: Run, native: Run) -> dict[str, bool]:
    checks = {**evidence.ALWAYS, **evidence.OF_LAYERS}
    found = {name: check(run, native) for name, check in checks.items()}
    return {name: finding.holds for name, finding in found.items() if finding is not None}


def test_a_layer_that_has_counted_nothing_before_has_no_file_yet() -> None:
    assert held(good(counter={"before": None, "after": 5.0}), fake.run())["layer_counted"]


def test_a_good_run_holds_everything() -> None:
    found = held(good(), fake.run())
    assert [name for name, holds in found.items() if not holds] == []
    assert set(found) == {*evidence.ALWAYS, *evidence.OF_LAYERS}


BROKEN: dict[str, tuple[Mapping[str, Any], str]] = {
    "in no list of NVML": ({"change": put("attestation", how=None)}, "attested"),
    "a copy that came back as zeros": ({"change": put("integrity", holds=False)}, "bytes_verified"),
    "nothing was looked at": (
        {"change": lambda lines: lines.__setitem__(slice(None), [x for x in lines if x["kind"] != "integrity"])},
        "bytes_verified",
    ),
    "another GPU": ({"change": inside("device", "driver", cuda_driver_version=13000)}, "same_device"),
    "another driver": ({"change": inside("device", "management", driver_version="535.1")}, "same_device"),
    "another probe": ({"probe_sha256": "e" * 64}, "same_probe"),
    "another Python": ({"change": put("surroundings", python="3.12.7")}, "same_interpreter"),
    "fewer CPUs": ({"change": put("surroundings", cpus=[0])}, "same_cpus"),
    "somebody else on the GPU, later": ({"change": put("afterwards", processes=[12, 77])}, "device_to_itself"),
    "somebody else on the GPU of a pod, later": (
        {
            "change": lambda lines: (
                put("attestation", how="one more process")(lines),
                put("afterwards", processes=[901, 902])(lines),
            )
        },
        "device_to_itself",
    ),
    "NVML lists nobody at all in the end": ({"change": put("afterwards", processes=None)}, "device_to_itself"),
    "somebody else on the GPU": ({"change": put("device", processes=[77])}, "device_to_itself"),
    "NVML lists nobody at all": ({"change": put("device", processes=None)}, "device_to_itself"),
    "throttled": ({"change": put("series", kept=12, discarded={"throttled": 8})}, "clocks_held"),
    "memory errors that rise": ({"change": inside("afterwards", "management", ecc_errors=2)}, "memory_without_errors"),
    "held back by a CPU limit": ({"change": put("afterwards", quota={"throttled": 9})}, "not_held_back"),
    "faster than its memory": ({"change": device_copy(1e-5)}, "plausible"),
    "not in a pod": ({"change": put("surroundings", in_pod=False)}, "in_pod"),
    "a pod with a device that nobody gave it": (
        {"change": put("surroundings", device_mounts=[], environment={"NVIDIA_VISIBLE_DEVICES": "all"})},
        "device_given",
    ),
    "a pod with two devices": ({"change": put("surroundings", device_mounts=["GPU-1", "GPU-2"])}, "device_given"),
    "a library that is not loaded": ({"change": put("afterwards", libraries=["/lib/libc.so.6"])}, "layer_loaded"),
    "a stub that sees no call": ({"counter": {"before": 10.0, "after": 10.0}}, "layer_counted"),
    "a counter that is not there": ({"counter": {"before": None, "after": None}}, "layer_counted"),
    "a layer that keeps no books": ({"change": put("afterwards", shared=["/run/other"])}, "layer_keeps_books"),
    "a server that is not on the device": ({"service": {"pids": [8]}}, "service_attested"),
    "no server": ({"service": None}, "service_attested"),
    "a client that MPS did not let in": ({"change": put("attestation", mps_clients=[7])}, "mps_client"),
    "a driver that lists no clients of MPS": ({"change": put("attestation", mps_clients=None)}, "mps_client"),
    "a limit that is only told": (
        {"change": put("enforcement", refused=False, answer="given")},
        "limit_enforced",
    ),
    "half the speed that holds nothing": ({"says": {"layer": {**PROXY, "speed": 0.5}}}, "speed_limited"),
    "no guest": ({"change": inside("device", "management", virtualization_mode=0)}, "in_guest"),
    "no MPS": ({"change": put("surroundings", mps={"control": False}, in_pod=True)}, "mps_serves"),
    "a container on a host that is a guest itself": ({"change": put("surroundings", boot_id="one")}, "in_guest"),
    "a guest that does not tell which kernel it has": ({"change": put("surroundings", boot_id=None)}, "in_guest"),
    "MIG is off": ({"change": inside("device", "management", mig=0)}, "mig_instance"),
    "a device that is none of the instances": (
        {"change": inside("device", "management", instances=["MIG-1"])},
        "mig_instance",
    ),
    "a tenant that never came": (
        {"change": lambda lines: next(x for x in lines if x.get("metric") == "start").update(listed=False)},
        "tenants_at_once",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_the_only_thing_that_does_not_hold(case: str) -> None:
    values, name = BROKEN[case]
    found = held(good(**dict(values)), fake.run())
    assert [one for one, holds in found.items() if not holds] == [name]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (put("afterwards", libraries=["/opt/libproxy.so"]), "layer_absent_natively"),
        (put("surroundings", iommu_groups=0), "iommu_on"),
        (inside("device", "driver", memory_bytes=10**9), "limit_enforced"),
        (put("attestation", own_pids=[3], mps_clients=[3]), "mps_client"),
    ],
)
def test_the_native_run_has_to_be_native(change: Callable[[Lines], None], name: str) -> None:
    found = held(good(), fake.run(change=change))
    assert [one for one, holds in found.items() if not holds] == [name]


def test_a_plugin_may_name_its_device_by_the_environment_too() -> None:
    given = put("surroundings", device_mounts=[], environment={"NVIDIA_VISIBLE_DEVICES": "GPU-1"})
    assert held(good(given), fake.run())["device_given"]


@pytest.mark.parametrize(("guest", "holds"), [("HVM", True), ("PVH", True), ("PV", False), (None, False)])
def test_a_host_that_is_a_domain_of_xen_sees_no_iommu_and_its_guest_says_whether_there_is_one(
    guest: str | None, holds: bool
) -> None:
    native = fake.run(change=put("surroundings", iommu_groups=0, hypervisor={"type": "xen", "flag": True}))
    run = fake.run(change=put("surroundings", hypervisor={"type": "xen", "guest_type": guest, "flag": True}))
    assert evidence.iommu_on(run, native).holds is holds


def test_what_a_system_does_not_have_is_not_asked() -> None:
    """No ECC, no cgroup of version 2: nothing to look at is no evidence, and none against."""
    found = held(
        good(
            change=lambda lines: (
                inside("device", "management", ecc_errors=None)(lines),
                put("afterwards", quota={})(lines),
            )
        ),
        fake.run(),
    )
    assert {"memory_without_errors", "not_held_back"} & set(found) == set()


@pytest.mark.parametrize(
    ("mode", "expected"),
    [(0, "bare metal"), (1, "VM passthrough"), (2, "vGPU"), (None, "not told by NVML"), (9, "not told")],
)
def test_bare_metal_is_asked_of_the_device(mode: int | None, expected: str) -> None:
    assert evidence.label(fake.run(change=inside("device", "management", virtualization_mode=mode))).startswith(
        expected
    )


def test_ceilings_are_those_of_link_memory_and_cores() -> None:
    run = fake.run()
    assert plausibility.link_bytes_per_second(run) == pytest.approx(8e9 * 128 / 130 * 8 / 8)  # generation 3, 8 lanes
    assert plausibility.memory_bytes_per_second(run) == pytest.approx(320.06e9, rel=1e-3)  # a T4's data sheet: 320 GB/s
    assert plausibility.operations_per_second(run) == pytest.approx(8.14e12, rel=1e-3)  # a T4's data sheet: 8.1 TFLOPS
    assert plausibility.implausible(run) == []


def test_a_copy_faster_than_its_link_is_named() -> None:
    def change(lines: Lines) -> None:
        for line in lines:
            if line.get("metric") == "copy" and line["parameters"].get("bytes") == 64 << 20:
                line["host_seconds"] = 1e-3

    found = plausibility.implausible(fake.run(change=change))
    assert len(found) == 4
    assert found[0].startswith("to_device pinned 64 MiB: ")


def collected(runs: list[Run], variant: str = "proxy") -> dict[str, bool]:
    built = experiment.build(runs)
    return {item.name: item.holds for item in experiment_checks.collect(built, variant, GEMM)}


def test_evidence_that_nobody_knows_does_not_hold() -> None:
    runs = blocks(5, {"proxy": slower(1.0)}, {"proxy": {"evidence": ["blessed"]}})
    assert [name for name, holds in collected(runs).items() if not holds] == ["blessed"]


def test_a_variant_may_be_another_device_when_it_says_so() -> None:
    says = {"mig": {"without_evidence": ["same_device"]}}
    assert "same_device" not in collected(blocks(5, {"mig": slower(1.0)}, says), "mig")


@pytest.mark.parametrize(("proven", "holds"), [(True, True), (False, False)])
def test_faster_than_native_is_not_believed_until_every_byte_proves_it(proven: bool, holds: bool) -> None:
    says = {"proxy": {"objectives": {"compute": 0.05}}}

    def make(block: int) -> Lines:
        found = slower(0.8)(block)
        of_kind(found, "integrity")["holds"] = proven
        return found

    assert collected(blocks(6, {"proxy": make}, says))["not_faster_than_native"] is holds


def test_a_calibration_that_recovers_something_else_does_not_hold() -> None:
    says = {
        "slower_5": {
            "objectives": {"compute": 0.08},
            "true_overhead": 0.05,
            "evidence": ["injected_overhead_recovered"],
        }
    }
    assert collected(blocks(6, {"slower_5": slower(1.05)}, says), "slower_5")["injected_overhead_recovered"] is True
    assert collected(blocks(6, {"slower_5": slower(1.02)}, says), "slower_5")["injected_overhead_recovered"] is False


def records(tmp_path: Path, runs: list[Run], subject: str = "proxy", metric: str = GEMM.metric) -> Record:
    """The judge's word on runs that the role has written."""
    observations = []
    for number, run in enumerate(runs):
        path = tmp_path / f"{number}.jsonl"
        data = "".join(json.dumps(line) + "\n" for line in run.lines).encode()
        path.write_bytes(data)
        reference = SamplesReference(path.name, hashlib.sha256(data).hexdigest(), len(run.lines))
        observations.append(replace(run.observation, samples=reference))
    planned = PlannedRecord("gpu_overhead", "isolation", subject, metric, 8)
    plan = Plan(fake.RUN_ID, "", (), (planned,))
    loads = OverheadReader().gather(tmp_path, observations).loads
    material = Material(fake.RUN_ID, plan, observations, {}, loads, ())
    [record] = judge.records(material, {})
    output.write(tmp_path, material, [record])
    return record


SAYS = {"proxy": {"objectives": {"compute": 0.05}}}


def test_a_record_has_the_blocks_verdict_and_interval(tmp_path: Path) -> None:
    record = records(tmp_path, blocks(8, {"proxy": slower(1.03)}, SAYS))
    assert (record.verdict, record.objective, record.n) == ("pass", {"max": 0.05}, 8), record.reason
    assert record.value == pytest.approx(0.03, abs=1e-3)
    assert record.ci is not None and record.ci.method.startswith("BCa bootstrap over blocks")
    assert record.resolution is not None and record.resolution < 0.01
    page = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    assert "| proxy | VM passthrough | matrix product | compute | 3 % |" in page
    files = sorted(path.name for path in (tmp_path / "gpu_overhead" / "isolation").iterdir())
    assert files == ["baseline_results.txt", "host_again-results.txt", "with-gpu-proxy-results.txt"]


@pytest.mark.parametrize(
    ("runs", "verdict", "says"),
    [
        (blocks(8, {"proxy": slower(1.12)}, SAYS), "fail", "is above it"),
        (blocks(3, {"proxy": slower(1.0)}, SAYS), "inconclusive", "3 complete blocks of at least 5"),
        (blocks(8, {"proxy": slower(1.0)}), "measured", ""),
        (
            [one for one in blocks(8, {"proxy": slower(1.0)}, SAYS) if one.variant != "host"],
            "invalid",
            "baseline_measured: one was never run",
        ),
        (
            [one for one in blocks(1, {"proxy": slower(1.0)}, SAYS) if one.variant != "host_again" or one.block > 1]
            + [fake.run("host_again", 2)],
            "invalid",
            "blocks_whole: 0 whole, block 1 dropped (without host_again)",
        ),
        (
            blocks(8, {"proxy": lambda block: [x for x in slower(1.0)(block) if x.get("metric") != "gemm"]}, SAYS),
            "invalid",
            "matrix product is not in every run",
        ),
    ],
)
def test_a_record_that_cannot_be_given_says_why(tmp_path: Path, runs: list[Run], verdict: str, says: str) -> None:
    record = records(tmp_path, runs)
    assert record.verdict == verdict, record.reason
    assert says in record.reason


def test_samples_that_are_not_the_roles_drop_their_block(tmp_path: Path) -> None:
    runs = blocks(6, {"proxy": slower(1.0)}, SAYS)
    record = records(tmp_path, runs)
    assert record.n == 6
    broken = [one for one in runs if (one.variant, one.block) == ("proxy", 4)]
    broken[0].lines[0]["cpus"] = [0, 1, 2]  # type: ignore[index]
    built = experiment.build([Run(one.observation, one.lines, "changed") if one is broken[0] else one for one in runs])
    assert built.dropped == {4: "proxy: changed"}
