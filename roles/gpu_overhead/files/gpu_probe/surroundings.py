# SPDX-License-Identifier: GPL-3.0-or-later
"""Where this process is: what stands between it and the device, as the system itself tells it."""

from __future__ import annotations

import os
import platform
import re
from typing import Any

#: Of the environment only what steers a layer; the rest is nobody's business.
STEERING = re.compile(r"^(LD_PRELOAD|CUDA_.*|NVIDIA_VISIBLE_DEVICES|NVIDIA_MIG_.*|GPU_CORE_UTILIZATION_POLICY)$")
LIBRARY = re.compile(r"\.so(\.[0-9]+)*$")


def facts() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "kernel": platform.release(),
        "boot_id": _read("/proc/sys/kernel/random/boot_id"),
        "pids": own_pids(),
        "cpus": sorted(os.sched_getaffinity(0)),
        "cgroup": _read("/proc/self/cgroup"),
        "cpu_quota": cpu_quota(),
        "libraries": libraries(),
        "environment": {name: value for name, value in sorted(os.environ.items()) if STEERING.match(name)},
        "devices": _names("/dev", re.compile(r"^nvidia[0-9]*$|^nvidiactl$")),
        "hypervisor": {
            "type": _read("/sys/hypervisor/type"),
            "guest_type": _read("/sys/hypervisor/guest_type"),
            "product": _read("/sys/class/dmi/id/product_name"),
            "vendor": _read("/sys/class/dmi/id/sys_vendor"),
            "flag": " hypervisor " in (_read("/proc/cpuinfo") or "").replace("\n", " "),
        },
        "iommu_groups": len(_names("/sys/kernel/iommu_groups", re.compile("."))),
        "mps": {"control": os.path.exists(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps") + "/control")},
        # By which the device plugin of Kubernetes says what a container was given (NVIDIA/k8s-device-plugin, README,
        # DEVICE_LIST_STRATEGY: volume-mounts).
        "device_mounts": _names("/var/run/nvidia-container-devices", re.compile(".")),
        "in_pod": bool(os.environ.get("KUBERNETES_SERVICE_HOST")),
    }


def own_pids() -> list[int]:
    """This process in its own pid namespace and, as far as it is told, in those around it."""
    found = re.search(r"^NSpid:\s*(.*)$", _read("/proc/self/status") or "", re.MULTILINE)
    return [int(one) for one in found.group(1).split()] if found else [os.getpid()]


def libraries() -> list[str]:
    """Shared libraries in this process: a preloaded layer is one of them or it is not there."""
    return sorted(path for path in _mapped("") if LIBRARY.search(path))


def shared() -> list[str]:
    """Files that this process shares with others in memory, as the books that layers keep over all processes."""
    return sorted(path for path in _mapped("s") if not path.startswith("/dev/"))


def _mapped(kind: str) -> set[str]:
    """Files in this process's memory; the fourth letter of the rights says whether they are shared (proc(5))."""
    parts = (line.split(None, 5) for line in (_read("/proc/self/maps") or "").splitlines())
    return {part[5] for part in parts if len(part) > 5 and part[5].startswith("/") and part[1].endswith(kind)}


def cpu_quota() -> dict[str, Any]:
    """The cgroup's limit and how often it has held this process back: that would look like a slow layer."""
    own = re.search(r"^0::(.*)$", _read("/proc/self/cgroup") or "", re.MULTILINE)
    found: dict[str, Any] = {"limit": None, "throttled": None}
    for folder in ("/sys/fs/cgroup" + (own.group(1) if own else ""), "/sys/fs/cgroup"):
        text = _read(folder + "/cpu.stat")
        throttled = re.search(r"^nr_throttled (\d+)$", text or "", re.MULTILINE)
        if throttled:
            return {"limit": _read(folder + "/cpu.max"), "throttled": int(throttled.group(1))}
    return found


def _read(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return None


def _names(folder: str, pattern: re.Pattern[str]) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if pattern.match(name))
    except OSError:
        return []
