# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for a row to mean what it says: the layer was there, worked, held its limits and lost no byte.

Every row looks at one run beside the native run of the same block. ALWAYS is asked of every variant, the rest of those
that name it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from harness import common_checks, units
from harness.common_checks import Finding
from harness.model import Evidence
from harness.overhead import plausibility
from harness.overhead.experiment import Experiment
from harness.overhead.runs import Run

Check = Callable[[Run, Run], Finding | None]

#: Of a series' samples that may have been discarded; with more, what is left is of another device.
DISCARDED_MOST = 0.1
#: nvmlGpuVirtualizationMode_t.
VIRTUALIZATION = {0: "bare metal", 1: "VM passthrough", 2: "vGPU", 3: "host of vGPUs", 4: "host of shared GPUs"}
#: How far a limit of the speed may be off.
SPEED_TOLERANCE = 0.25


def label(run: Run) -> str:
    """What the native row is called; asked of the device, never typed."""
    if run.of_variant("true_overhead") is not None:
        return "no GPU: a stand-in"
    mode = run.line("device", "management", "virtualization_mode")
    return VIRTUALIZATION.get(mode, "not told by NVML") if mode is not None else "not told by NVML"


def attested(run: Run, native: Run) -> Finding:
    how = run.line("attestation", "how")
    told = {"pid": "by its pid", "one more process": "as the one process that came"}.get(how, "in no list")
    return Finding("this process in NVML's list", told, how is not None)


def bytes_verified(run: Run, native: Run) -> Finding:
    lines = run.by_kind.get("integrity", [])
    wrong = [f"{line['metric']} {dict(line['parameters'])}" for line in lines if not line["holds"]]
    seen = f"{len(wrong)} of {len(lines)} are not: {wrong[0]}" if wrong else f"{len(lines)} results looked at"
    return Finding("every copied byte, launch and product as it has to be", seen, bool(lines) and not wrong)


def same_device(run: Run, native: Run) -> Finding:
    names = ("uuid", "name", "cuda_driver_version")
    here, there = ([one.line("device", "driver", name) for name in names] for one in (run, native))
    version, other = (one.line("device", "management", "driver_version") for one in (run, native))
    same = here == there and version == other
    return Finding(f"{there[1]}, driver {other}", "the same" if same else f"{here[1]}, driver {version}", same)


def same_probe(run: Run, native: Run) -> Finding:
    here, there = run.value("probe_sha256"), native.value("probe_sha256")
    return Finding(f"probe {str(there)[:12]}", f"probe {str(here)[:12]}", here is not None and here == there)


def same_interpreter(run: Run, native: Run) -> Finding:
    """What a call costs through ctypes differs from one version to the next by more than a pod does."""
    told = [one.line("surroundings", "python") for one in (run, native)]
    here, there = (".".join(str(version).split(".")[:2]) for version in told)
    return Finding(f"Python {there}", f"Python {here}", None not in told and here == there)


def same_cpus(run: Run, native: Run) -> Finding:
    here, there = (len(one.line("surroundings", "cpus") or ()) for one in (run, native))
    return Finding(f"{there} CPUs", f"{here} CPUs", here == there > 0)


def device_to_itself(run: Run, native: Run) -> Finding:
    """Before its first call and after its last: who comes in between has not gone yet, or has come and gone."""
    allowed = int(run.of_variant("processes") or 0)
    before, after = run.line("device", "processes"), run.line("afterwards", "processes")
    expected = f"at most {allowed} other processes on the device, before and after"
    if not isinstance(before, Sequence) or not isinstance(after, Sequence):
        return Finding(expected, common_checks.UNSEEN, False)
    # In a pid namespace its own entry has a number that it does not know.
    unnamed = run.line("attestation", "how") == "one more process"
    others = len(set(after) - set(run.line("attestation", "own_pids") or ())) - unnamed
    seen = "NVML lists none" if not before and others <= 0 else f"{len(before)} before, {max(0, others)} after"
    return Finding(expected, seen, len(before) <= allowed and others <= allowed)


def clocks_held(run: Run, native: Run) -> Finding:
    lines = run.by_kind.get("series", [])
    worst = max(lines, key=lambda line: 1 - line["kept"] / line["samples"], default=None)
    share = 1 - worst["kept"] / worst["samples"] if worst else None
    why = ", ".join(worst["discarded"]) if worst else ""
    seen = common_checks.UNSEEN if share is None else f"{units.show(share, 'ratio')} {why}".strip()
    expected = f"at most {units.show(DISCARDED_MOST, 'ratio')} of a series discarded (throttled, slow clock)"
    return Finding(expected, seen, share is not None and share <= DISCARDED_MOST)


def memory_without_errors(run: Run, native: Run) -> Finding | None:
    counts = [run.line(kind, "management", "ecc_errors") for kind in ("device", "afterwards")]
    if None in counts:
        return None  # a card without ECC counts none
    return Finding("no new uncorrected error of the memory", f"{counts[1] - counts[0]} new", counts[0] == counts[1])


def not_held_back(run: Run, native: Run) -> Finding | None:
    before = run.line("surroundings", "cpu_quota", "throttled")
    after = run.line("afterwards", "quota", "throttled")
    if before is None or after is None:
        return None
    return Finding("never held back by the cgroup's CPU limit", f"{after - before} times", after == before)


def plausible(run: Run, native: Run) -> Finding:
    found = plausibility.implausible(run)
    return Finding("nothing faster than link, memory and cores allow", found[0] if found else "nothing", not found)


def in_pod(run: Run, native: Run) -> Finding:
    cgroup = str(run.line("surroundings", "cgroup"))
    there = bool(run.line("surroundings", "in_pod")) or "kubepods" in cgroup
    return Finding("a pod's process", "a pod's" if there else f"cgroup {cgroup.splitlines()[-1:] or ''}", there)


def device_given(run: Run, native: Run) -> Finding:
    """The device plugin names what it gives, by mounts or by the environment: this device and no other."""
    uuid = run.line("device", "management", "uuid")
    mounts = [str(name) for name in run.line("surroundings", "device_mounts") or ()]
    told = str(run.line("surroundings", "environment", "NVIDIA_VISIBLE_DEVICES") or "")
    given = mounts or [name for name in told.split(",") if name]
    return Finding("this device given by the device plugin, and no other", ", ".join(given) or "none", given == [uuid])


def layer_loaded(run: Run, native: Run) -> Finding:
    pattern = str(run.of_variant("layer", "library"))
    libraries = run.line("afterwards", "libraries") or ()
    found = [path for path in libraries if re.search(pattern, path)]
    return Finding(f"a library like {pattern} in the process", found[0] if found else "none", bool(found))


def layer_absent_natively(run: Run, native: Run) -> Finding:
    pattern = str(run.of_variant("layer", "library"))
    found = [path for path in native.line("afterwards", "libraries") or () if re.search(pattern, path)]
    return Finding(f"no library like {pattern} in the native process", found[0] if found else "none", not found)


def layer_counted(run: Run, native: Run) -> Finding:
    # A layer that has counted nothing yet may have no file.
    before, after = run.value("counter", "before") or 0, run.value("counter", "after")
    seen = common_checks.UNSEEN if after is None else f"{after - before:g} more"
    return Finding("calls that the layer itself has counted", seen, after is not None and after > before)


def limit_enforced(run: Run, native: Run) -> Finding:
    answer = run.line("enforcement", "answer")
    asked, limit = (run.line("enforcement", name) for name in ("asked_bytes", "limit_bytes"))
    expected = f"{units.show(asked, 'bytes')} refused at a limit of {units.show(limit, 'bytes')}"
    # As the native process is told it: a device that has no more refuses by itself.
    room = native.line("device", "driver", "memory_bytes")
    if asked is not None and (room is None or asked > room):
        return Finding(expected, f"{answer}, of a device with {units.show(room, 'bytes')}", False)
    return Finding(expected, str(answer or common_checks.UNSEEN), run.line("enforcement", "refused") is True)


def speed_limited(run: Run, native: Run) -> Finding:
    """Limits of the speed are held by a loop of a second and more: only a whole series shows them."""
    limit = float(run.of_variant("layer", "speed") or 1)
    here, there = ([s.median for _, s in one.all_of("gemm")] for one in (run, native))
    share = there[0] / here[0] if here and there and here[0] and there[0] else None
    expected = f"{units.show(limit, 'ratio')} of the native speed, ± {units.show(SPEED_TOLERANCE, 'ratio')} of it"
    seen = common_checks.UNSEEN if share is None else units.show(share, "ratio")
    return Finding(expected, seen, share is not None and abs(share - limit) <= SPEED_TOLERANCE * limit)


def in_guest(run: Run, native: Run) -> Finding:
    """A host may be a guest itself, and a container on it would look like one: a guest has a kernel of its own."""
    kind = run.line("surroundings", "hypervisor", "type")
    flag, mode = run.line("surroundings", "hypervisor", "flag"), run.line("device", "management", "virtualization_mode")
    here, there = (one.line("surroundings", "boot_id") for one in (run, native))
    own = None not in (here, there) and here != there
    seen = f"hypervisor {kind or ('by the CPU flag' if flag else 'none')}, NVML: {VIRTUALIZATION.get(mode, mode)}"
    seen += ", a kernel of its own" if own else ", the kernel of the native process"
    return Finding(
        "a guest with a kernel of its own, and NVML says so", seen, own and bool(kind or flag) and mode in (1, 2)
    )


def iommu_on(run: Run, native: Run) -> Finding:
    """Xen keeps the IOMMU from the domain that is the host; without one it gives a device to no guest but a PV one
    (libxl_create.c, "passthrough is enabled but IOMMU is not present/enabled")."""
    groups, guest = native.line("surroundings", "iommu_groups"), run.line("surroundings", "hypervisor", "guest_type")
    if native.line("surroundings", "hypervisor", "type") == "xen":
        return Finding("a guest of Xen that is HVM or PVH", str(guest or common_checks.UNSEEN), guest in ("HVM", "PVH"))
    return Finding("IOMMU groups on the host", f"{groups or 0} groups", bool(groups))


def layer_keeps_books(run: Run, native: Run) -> Finding:
    """The file in which a layer counts what all processes use: without it nobody watches the limits."""
    pattern = str(run.of_variant("layer", "shared"))
    found = [path for path in run.line("afterwards", "shared") or () if re.search(pattern, path)]
    return Finding(f"a shared file like {pattern} in the process", found[0] if found else "none", bool(found))


def service_attested(run: Run, native: Run) -> Finding:
    """Where calls are carried to another process, that one is on the device, or nobody is."""
    own, there = set(run.value("service", "pids") or ()), set(run.line("attestation", "after") or ())
    seen = "in no list" if not own & there else "by its pid"
    return Finding("the layer's own process in NVML's list", seen, bool(own & there))


def mps_client(run: Run, native: Run) -> Finding:
    """A pipe proves nothing: a client that is not let in runs on without the service, and the native one must."""
    served = _is_mps_client(run)
    seen = {True: "this process", False: "not this process", None: common_checks.UNSEEN}[served]
    if _is_mps_client(native):
        seen, served = f"{seen}, and the native one too", False
    return Finding("this process in NVML's list of MPS clients, the native one not", seen, served is True)


def _is_mps_client(run: Run) -> bool | None:
    clients = run.line("attestation", "mps_clients")
    return None if clients is None else bool(set(clients) & set(run.line("attestation", "own_pids") or ()))


def mps_serves(run: Run, native: Run) -> Finding:
    there = run.line("surroundings", "mps", "control")
    return Finding("a control daemon of MPS at its pipe", "there" if there else "none", there is True)


def mig_instance(run: Run, native: Run) -> Finding:
    """NVML names the device and its instances; which one the process has, only the driver tells it (cuda.h,
    cuDeviceGetUuid_v2)."""
    mode, own = run.line("device", "management", "mig"), run.line("device", "driver", "uuid")
    known = [str(uuid) for uuid in run.line("device", "management", "instances") or ()]
    found = [uuid for uuid in known if uuid.removeprefix("MIG-").replace("-", "") == own]
    seen = f"MIG {mode}, {found[0] if found else f'{own} among {len(known)} instances'}"
    return Finding("MIG on, the process's device one of its instances", seen, mode == 1 and bool(found))


def tenants_at_once(run: Run, native: Run) -> Finding:
    rows = [line for line in run.by_kind.get("sample", ()) if line["metric"] == "start"]
    most = max((line["parameters"]["tenants"] for line in rows), default=0)
    listed = sum(line["listed"] is True for line in rows if line["parameters"]["tenants"] == most)
    return Finding("two tenants or more, each on the device", f"{listed} of {most}", listed == most >= 2)


ALWAYS: Mapping[str, Check] = {
    "attested": attested,
    "bytes_verified": bytes_verified,
    "same_device": same_device,
    "same_probe": same_probe,
    "same_interpreter": same_interpreter,
    "same_cpus": same_cpus,
    "device_to_itself": device_to_itself,
    "clocks_held": clocks_held,
    "memory_without_errors": memory_without_errors,
    "not_held_back": not_held_back,
    "plausible": plausible,
}
OF_LAYERS: Mapping[str, Check] = {
    "in_pod": in_pod,
    "device_given": device_given,
    "layer_loaded": layer_loaded,
    "layer_absent_natively": layer_absent_natively,
    "layer_counted": layer_counted,
    "layer_keeps_books": layer_keeps_books,
    "service_attested": service_attested,
    "limit_enforced": limit_enforced,
    "speed_limited": speed_limited,
    "in_guest": in_guest,
    "iommu_on": iommu_on,
    "mps_serves": mps_serves,
    "mps_client": mps_client,
    "mig_instance": mig_instance,
    "tenants_at_once": tenants_at_once,
}


def unknown(run: Run, native: Run) -> Finding:
    return Finding("evidence that is known here", "nobody here knows it", False)


def collect(experiment: Experiment, variant: str) -> tuple[Evidence, ...]:
    """Of all whole blocks; a name that nobody knows does not hold."""
    runs = experiment.of(variant)
    asked = {**ALWAYS}
    for name in (runs[0].of_variant("evidence") or ()) if runs else ():
        if name == "injected_overhead_recovered":
            continue  # of all blocks together, not of one
        asked[str(name)] = OF_LAYERS.get(str(name), ALWAYS.get(str(name), unknown))
    # MIG has another device on purpose, and a guest may count its CPUs itself.
    for name in (runs[0].of_variant("without_evidence") or ()) if runs else ():
        asked.pop(str(name), None)
    found = []
    for name, check in asked.items():
        results = [
            (number, check(block[variant], block[experiment.native]))
            for number, block in experiment.blocks.items()
            if variant in block
        ]
        item = common_checks.merge(name, results)
        if item is not None:
            found.append(item)
    return tuple(found)
