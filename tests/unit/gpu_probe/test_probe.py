# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe over a stand-in whose costs are known: what it measures, what it proves, what it notices."""

from __future__ import annotations

import ast
import os
import statistics
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import gpu_stand_in
from tests.fakes.gpu_stand_in import FILES, Seen

Probe = Callable[..., Seen]
EVERYTHING = {"context", "module", "first_kernel", "start_to_first_kernel", "allocate_free", "synchronise", "launch"}
EVERYTHING |= {"copy", "gemm", "device_copy", "layer", "application", "start"}
ONLY_GEMM = {"measures": ["gemm"]}


def median(seen: Seen, metric: str, clock: str = "host_seconds", **parameters: Any) -> float:
    return statistics.median(
        line[clock] for line in seen.of("sample", metric=metric) if parameters.items() <= line["parameters"].items()
    )


@pytest.fixture(scope="module")
def whole(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    from tests.fakes.gpu_stand_in import probe

    return probe(library, tmp_path_factory.mktemp("run") / "state")


def test_every_measure_is_taken_and_the_run_says_that_it_is_whole(whole: Seen) -> None:
    assert whole.code == 0, whole.errors
    assert {line["metric"] for line in whole.of("sample")} == EVERYTHING
    end = whole.one("end")
    assert (end["status"], end["discarded"], end["samples"]) == ("complete", 0, len(whole.of("sample")))


#: CUDA driver API, cuEventElapsedTime: "a resolution of around 0.5 microseconds".
EVENT_SECONDS = 0.5e-6


#: Before there is a context there is no event; a tenant is another process.
HOST_ONLY = {"context", "module", "start_to_first_kernel", "start"}
STATE = {
    "sm_clock_mhz": 1410,
    "memory_clock_mhz": 877,
    "event_reasons": 4,
    "power_watts": 55.0,
    "temperature_celsius": 61,
}


def test_both_clocks_and_the_devices_state_stand_beside_every_sample(probe: Probe) -> None:
    """The state is what NVML says at that moment, here that of another card under its power cap."""
    said = {
        "sm_clock": 1410,
        "memory_clock": 877,
        "reasons": 4,
        "power": 55000,
        "temperature": 61,
        "sm_clock_max": 1410,
    }
    seen = probe(**{f"nvml_{name}": value for name, value in said.items()})
    assert {line["metric"] for line in seen.of("sample")} == EVERYTHING
    for line in seen.of("sample"):
        assert {name: line[name] for name in STATE} == STATE
        assert (line["device_seconds"] is None) == (line["metric"] in HOST_ONLY), line
        assert line["host_seconds"] > 0
        # Where a call waits itself, the events stand around it.
        if line["submit_seconds"] is not None:
            assert line["host_seconds"] >= line["submit_seconds"] > 0
        if line["metric"] not in HOST_ONLY:
            assert line["device_seconds"] > 0
        if line["metric"] == "gemm":
            assert 1.01 * line["host_seconds"] + EVENT_SECONDS >= line["device_seconds"]


def test_every_direction_memory_and_size_is_copied_and_every_byte_looked_at(whole: Seen) -> None:
    asked = {
        (direction, memory, size)
        for direction in ("to_device", "from_device", "both")
        for memory in ("pinned", "pageable")
        for size in (4, 65536, 1 << 20)
    }
    found = {
        (p["direction"], p["memory"], p["bytes"]): line["holds"]
        for line in whole.of("integrity", metric="copy")
        for p in [line["parameters"]]
    }
    assert found == dict.fromkeys(asked, True)


def test_every_launch_is_counted_on_the_device(whole: Seen) -> None:
    [line] = whole.of("integrity", metric="launch")
    assert line["expected"] == line["found"] > 0


def test_every_series_says_what_ended_it(whole: Seen) -> None:
    assert {line["stop"] for line in whole.of("series")} <= {"known well enough", "most samples", "time"}
    assert all(line["warm_up"]["steady"] for line in whole.of("series", metric="gemm"))


def test_tenants_begin_together_and_each_is_seen_on_the_device(whole: Seen) -> None:
    rows = whole.of("sample", metric="start")
    assert [line["parameters"]["tenants"] for line in rows] == [1, 2, 2]
    assert [line["listed"] for line in rows] == [True] * 3
    assert all(line["host_seconds"] > 0.02 for line in rows)
    assert len({line["pid"] for line in rows}) == 3


def test_the_device_and_the_process_are_attested(whole: Seen) -> None:
    line = whole.one("attestation")
    assert line["how"] == "pid"
    assert set(line["own_pids"]) & set(line["after"])
    device = whole.one("device")
    assert device["management"]["virtualization_mode"] == 0
    assert device["driver"]["multiprocessors"] == 40
    surroundings = whole.one("surroundings")
    assert surroundings["cpus"] == sorted(os.sched_getaffinity(0))
    assert any(name.endswith("stand_in.so") for name in surroundings["libraries"])


def test_costs_are_those_of_the_stand_in(probe: Probe) -> None:
    plan = {"measures": ["gemm", "copy", "launch", "allocate_free", "synchronise"], "copy_bytes": [12_000_000]}
    seen = probe(plan, cost_gemm=2_000_000, cost_alloc=50_000, cost_free=30_000, cost_call=1000, bandwidth_h2d=6e9)
    # Every look at the virtual clock takes 20 ns, and how often a thread looks is the machine's affair.
    near = partial(pytest.approx, rel=0.05)
    assert median(seen, "gemm", "device_seconds") == near(2e-3)
    assert median(seen, "gemm") == near(2e-3)
    assert median(seen, "allocate_free", batch=10) == near(10 * 82e-6)
    pinned = {"direction": "to_device", "memory": "pinned"}
    assert median(seen, "copy", "device_seconds", **pinned) == near(2.002e-3)
    assert median(seen, "copy", "device_seconds", **{**pinned, "memory": "pageable"}) == near(0.02)


@pytest.mark.parametrize("slower", [1.01, 1.05, 1.1])
def test_a_slower_device_is_as_much_slower(probe: Probe, slower: float) -> None:
    plain, slow = probe(ONLY_GEMM, cost_gemm=1e6), probe(ONLY_GEMM, cost_gemm=1e6, slower=slower)
    assert median(slow, "gemm") / median(plain, "gemm") == pytest.approx(slower, rel=0.004)


def test_a_layer_that_adds_to_every_call_is_seen_by_the_host_and_not_by_the_device(probe: Probe) -> None:
    plain, layered = (probe({"measures": ["launch"]}, added=added) for added in (0, 20_000))
    on_host = median(layered, "launch", form="plain", batch=10) - median(plain, "launch", form="plain", batch=10)
    assert on_host > 10 * 20e-6
    plain, layered = (probe(ONLY_GEMM, added=added, cost_gemm=1e6) for added in (0, 20_000))
    assert median(layered, "gemm", "device_seconds") < 1.05 * median(plain, "gemm", "device_seconds")


FAULTS = [
    # fault, plan, the line that shows it, what it says
    ("zeros", {"measures": ["copy"]}, ("integrity", {"metric": "copy"}), {"holds": False}),
    ("skipped", {"measures": ["copy"]}, ("integrity", {"metric": "copy"}), {"holds": False}),
    ("repeated", {"measures": ["copy"]}, ("integrity", {"metric": "copy"}), {"holds": False}),
    ("skipped", {"measures": ["application"]}, ("integrity", {"metric": "application"}), {"holds": False}),
    ("zeros", {"measures": ["application"]}, ("integrity", {"metric": "application"}), {"holds": False}),
    ("skipped", {"measures": ["launch"]}, ("integrity", {"metric": "launch"}), {"holds": False}),
    ("skipped", ONLY_GEMM, ("integrity", {"metric": "gemm"}), {"holds": False}),
    ("skipped", {"measures": ["device_copy"]}, ("integrity", {"metric": "device_copy"}), {"holds": False}),
    ("cpu_fallback", ONLY_GEMM, ("attestation", {}), {"how": None, "new": []}),
    ("throttling", ONLY_GEMM, ("sample", {"metric": "gemm"}), {"discarded": "throttled", "sm_clock_mhz": 795}),
    ("busy", ONLY_GEMM, ("device", {}), {"processes": [1]}),
    ("busy_later", ONLY_GEMM, ("device", {}), {"processes": []}),
]


@pytest.mark.parametrize(("fault", "plan", "where", "says"), FAULTS)
def test_a_fault_is_in_what_is_written(
    probe: Probe, fault: str, plan: dict[str, Any], where: tuple[str, dict[str, Any]], says: dict[str, Any]
) -> None:
    seen = probe(plan, faults=fault)
    assert seen.code == 0, seen.errors
    lines = seen.of(where[0], **where[1])
    assert lines, seen.lines
    # A copy onto the device of a stand-in that only loses what comes back is found by the copy back.
    assert [{name: line[name] for name in says} for line in lines] == [says] * len(lines)


@pytest.mark.parametrize(("faults", "refused"), [("", True), ("no_limit", False)])
def test_more_than_the_limit_is_asked_for(probe: Probe, faults: str, refused: bool) -> None:
    seen = probe({**ONLY_GEMM, "limit_bytes": 10**8}, faults=faults, limit=10**8)
    line = seen.one("enforcement")
    assert (line["refused"], line["told_bytes"], line["asked_bytes"]) == (refused, 10**8, 10**8 + (64 << 20))
    assert line["answer"] == ("CUDA_ERROR_OUT_OF_MEMORY" if refused else "given")


def test_errors_of_the_memory_that_rise_are_seen(probe: Probe) -> None:
    seen = probe(ONLY_GEMM, faults="ecc_rising")
    counts = [seen.one(kind)["management"]["ecc_errors"] for kind in ("device", "afterwards")]
    assert counts[0] < counts[1]


@pytest.mark.parametrize(
    ("faults", "plan", "says"),
    [
        ("", {"lock_clocks": True}, {"asked": 1590, "locked": True, "reason": ""}),
        ("clocks_fixed", {"lock_clocks": True}, {"asked": 1590, "locked": False, "reason": "Insufficient Permissions"}),
        ("clocks_fixed", {}, {"asked": None, "locked": False, "reason": "not asked for"}),
    ],
)
def test_clocks_are_locked_only_when_asked_and_permitted(
    probe: Probe, faults: str, plan: dict[str, Any], says: dict[str, Any]
) -> None:
    assert probe({**ONLY_GEMM, **plan}, faults=faults).one("attestation")["clocks"] == says


@pytest.mark.parametrize(("faults", "mode"), [("", 0), ("virtual_machine", 1)])
def test_what_the_device_is_behind_is_asked_of_it(probe: Probe, faults: str, mode: int) -> None:
    seen = probe(ONLY_GEMM, faults=f"{faults},persistence_off")
    facts = seen.one("device")["management"]
    assert (facts["virtualization_mode"], facts["persistence"], facts["mig"]) == (mode, 0, None)
    assert facts["refused"] == {}


def test_somebody_who_comes_later_is_in_the_last_list(probe: Probe) -> None:
    last = probe(ONLY_GEMM, faults="busy_later").one("afterwards")["processes"]
    assert (len(last), 1 in last) == (2, True)


def test_an_instance_of_a_divided_device_is_known_by_the_drivers_uuid(probe: Probe) -> None:
    device = probe(ONLY_GEMM, nvml_mig=2).one("device")
    assert device["management"]["mig"] == 1
    assert device["management"]["instances"] == [f"MIG-{'cdcdcdcd-' + 'cdcd-' * 3}cdcdcdcdcd{n:02}" for n in (1, 2)]
    assert device["driver"]["uuid"] == "cd" * 15 + "01"


def test_what_is_measured_where_nobody_says_spans_what_programs_copy_and_how_they_start() -> None:
    plan = read_plan()
    assert (min(plan["copy_bytes"]), max(plan["copy_bytes"])) == (4, 1 << 30)
    steps = [after / before for before, after in pairwise(plan["copy_bytes"])]
    assert max(steps) <= 1024 and len(steps) >= 5, "spread evenly over the powers of ten"
    assert set(plan["copy_memory"]) == {"pinned", "pageable"}
    assert (min(plan["tenants"]), max(plan["tenants"])) == (1, 4)


def read_plan() -> dict[str, Any]:
    tree = ast.parse((FILES / "gpu_probe" / "main.py").read_text(encoding="utf-8"))
    [value] = [node.value for node in tree.body if isinstance(node, ast.AnnAssign) and node.target.id == "PLAN"]  # type: ignore[union-attr]
    found: dict[str, Any] = eval(compile(ast.Expression(value), "PLAN", "eval"))  # type: ignore[arg-type]
    return found


ENDED = [
    ("no_device", {}, "not_runnable", "no GPU: cuInit answers CUDA_ERROR_NO_DEVICE"),
    ("driver_mismatch", {}, "error", "library and kernel module are of different versions"),
    ("no_nvml", {}, "error", "NVML does not start: NVML Shared Library Not Found"),
    ("", {**ONLY_GEMM, "gemm_sizes": [33]}, "error", "the plan's gemm_sizes: 33 is no multiple of 16"),
    ("", {"measures": ["device_copy"], "device_copy_bytes": [7]}, "error", "device_copy_bytes: 7 is no multiple of 16"),
    (
        "",
        {"measures": ["application"], "applications": [{"size": 32, "layers": 5}]},
        "error",
        "there are not 1 to 4 layers but 5",
    ),
    ("", {"measures": ["gem"]}, "error", "the plan names no measure of ours: gem"),
]


@pytest.mark.parametrize(("faults", "plan", "status", "reason"), ENDED)
def test_what_cannot_be_measured_says_why(
    probe: Probe, faults: str, plan: dict[str, Any], status: str, reason: str
) -> None:
    seen = probe(plan, faults=faults)
    assert seen.code == 1
    assert seen.one("end")["status"] == status
    assert reason in seen.one("end")["reason"]


def test_a_device_without_room_says_so(probe: Probe) -> None:
    seen = probe({"measures": ["copy"]}, memory=100_000)
    assert seen.one("end")["status"] == "error"
    assert seen.one("end")["reason"] == "cuMemAlloc answers CUDA_ERROR_OUT_OF_MEMORY"


def test_without_a_driver_there_is_nothing_to_measure(probe: Probe) -> None:
    seen = probe(arguments=("--driver", "libcuda-that-is-not-there.so.1"), clock="host")
    assert seen.one("end")["status"] == "not_runnable"
    assert seen.one("end")["reason"].startswith("no NVIDIA driver: libcuda-that-is-not-there.so.1 cannot be loaded")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--driver", "libm.so.6"), "wrong driver: libm.so.6 has no cuGetErrorName"),
        (("--management", "libm.so.6"), "wrong NVML: libm.so.6 has no nvmlInit_v2"),
        (("--management", "libnvml-that-is-not-there.so"), "no NVML: libnvml-that-is-not-there.so cannot be loaded"),
    ],
)
def test_a_library_that_is_none_of_the_drivers_is_named(probe: Probe, arguments: tuple[str, str], reason: str) -> None:
    seen = probe(arguments=arguments, clock="host")
    assert (seen.code, "Traceback" in seen.errors) == (1, False)
    assert reason in seen.one("end")["reason"]


def test_an_older_nvml_that_lacks_a_question_tells_what_it_lacks(probe: Probe, tmp_path: Path) -> None:
    """Three names, and nothing else: it can be asked for the device and for nothing that the device is."""
    source = tmp_path / "old.c"
    source.write_text(OLD_NVML, encoding="utf-8")
    library = gpu_stand_in.compiled(tmp_path / "old_nvml.so", [source])
    seen = probe(ONLY_GEMM, arguments=("--management", str(library)), clock="host", cost_gemm=1e5)
    assert (seen.code, seen.one("end")["status"]) == (0, "complete"), seen.errors
    facts = seen.one("device")["management"]
    assert (facts["virtualization_mode"], facts["mig"], facts["instances"]) == (None, None, [])
    assert facts["refused"]["nvmlDeviceGetVirtualizationMode"] == "this NVML does not have it"
    assert seen.one("attestation")["how"] is None, "and a row that cannot be attested is none"


OLD_NVML = """
int nvmlInit_v2(void) { return 0; }
const char *nvmlErrorString(int code) { return code ? "error" : "none"; }
int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) { *device = (void *)bus; return 0; }
"""


def test_a_device_that_is_not_there_is_named(probe: Probe) -> None:
    assert probe(arguments=("--device", "3")).one("end")["reason"] == "no GPU: device 3 of 1"


def test_a_kernel_that_hangs_ends_the_run_and_resets_nothing(probe: Probe) -> None:
    seen = probe({"hung_seconds": 0.5}, faults="hung", clock="host")
    assert seen.code == 3
    assert seen.one("end")["reason"] == "hung: the first kernel did not end within 0.5 s; the device was not reset"


@pytest.mark.parametrize("symbols", ["global", "library", "get_proc_address"])
def test_the_drivers_names_are_found_in_every_way(probe: Probe, symbols: str) -> None:
    seen = probe(ONLY_GEMM, arguments=("--symbols", symbols), clock="host", cost_context=1000, cost_module=1000)
    assert (seen.code, seen.one("surroundings")["symbols"]) == (0, symbols)
