# SPDX-License-Identifier: GPL-3.0-or-later
"""NVML by ctypes: what the device says of itself, of its state beside every sample, and of who is on it."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_uint, c_ulonglong, c_void_p
from typing import Any

from .errors import ProbeError

LIBRARY = "libnvidia-ml.so.1"
# nvml.h: nvmlClockType_t, nvmlTemperatureSensors_t, nvmlMemoryErrorType_t, nvmlEccCounterType_t, nvmlReturn_t.
SM_CLOCK, MEMORY_CLOCK, GPU_SENSOR, UNCORRECTED, VOLATILE, TOO_SMALL = 1, 2, 0, 1, 0, 7
# nvmlClocksEventReasons: hardware slowdown, software and hardware thermal slowdown, power brake. The power cap (0x4) is
# the usual state of small cards under load: it is written down, and discards nothing by itself.
THROTTLED = 0x8 | 0x20 | 0x40 | 0x80
# Below this share of its highest clock the device does not do what it could (nvbench's throttle threshold).
LEAST_CLOCK = 0.75


# Without these nothing can be asked. An older library lacks others, and those are told as refused.
NEEDED = ("nvmlInit_v2", "nvmlErrorString", "nvmlDeviceGetHandleByPciBusId_v2")
NOT_THERE = -1


class Process(Structure):
    """nvmlProcessInfo_t of nvmlDeviceGetComputeRunningProcesses_v3."""

    _fields_ = (("pid", c_uint), ("bytes", c_ulonglong), ("gpu_instance", c_uint), ("compute_instance", c_uint))


class Memory(Structure):
    _fields_ = (("total", c_ulonglong), ("free", c_ulonglong), ("used", c_ulonglong))


NUMBERS = {
    "virtualization_mode": "nvmlDeviceGetVirtualizationMode",
    "compute_mode": "nvmlDeviceGetComputeMode",
    "persistence": "nvmlDeviceGetPersistenceMode",
    "link_generation": "nvmlDeviceGetCurrPcieLinkGeneration",
    "link_width": "nvmlDeviceGetCurrPcieLinkWidth",
    "link_generation_max": "nvmlDeviceGetMaxPcieLinkGeneration",
    "link_width_max": "nvmlDeviceGetMaxPcieLinkWidth",
    "link_replays": "nvmlDeviceGetPcieReplayCounter",
    "power_limit_milliwatts": "nvmlDeviceGetEnforcedPowerLimit",
}
TEXTS = {"driver_version": "nvmlSystemGetDriverVersion", "nvml_version": "nvmlSystemGetNVMLVersion"}


class Management:
    """One device. What a question has no answer for (not supported, not permitted) is null with the reason."""

    def __init__(self, bus: str, library: str = LIBRARY) -> None:
        try:
            self._library = ctypes.CDLL(library)
        except OSError as error:
            raise ProbeError(f"no NVML: {library} cannot be loaded ({error})") from error
        self.refused: dict[str, str] = {}
        missing = [name for name in NEEDED if not hasattr(self._library, name)]
        if missing:
            raise ProbeError(f"wrong NVML: {library} has no {missing[0]}")
        self._library.nvmlErrorString.restype = c_char_p
        code = self._library.nvmlInit_v2()
        if code:
            raise ProbeError(f"NVML does not start: {self.error(code)}")
        self._device = c_void_p()
        # Kept, as some implementations hold on to it.
        self._bus = bus.encode()
        code = self._library.nvmlDeviceGetHandleByPciBusId_v2(self._bus, byref(self._device))
        if code:
            raise ProbeError(f"NVML does not know the device {bus}: {self.error(code)}")

    def error(self, code: int) -> str:
        if code == NOT_THERE:
            return "this NVML does not have it"
        return bytes(self._library.nvmlErrorString(c_int(code)) or b"").decode() or f"error {code}"

    def _call(self, name: str, *arguments: Any) -> int:
        """What it answers; an older library may not have a question that newer ones know."""
        question = getattr(self._library, name, None)
        return NOT_THERE if question is None else int(question(*arguments))

    def _ask(self, name: str, made: Any, *arguments: Any) -> Any | None:
        code = self._call(name, *arguments, byref(made))
        if code:
            self.refused[name] = self.error(code)
            return None
        return made

    def _number(self, name: str, *arguments: Any, kind: Any = c_uint) -> int | None:
        found = self._ask(name, kind(), self._device, *arguments)
        return None if found is None else int(found.value)

    def facts(self) -> dict[str, Any]:
        """What does not change while a run lasts, or should not."""
        found: dict[str, Any] = {name: self._number(question) for name, question in NUMBERS.items()}
        for name, question in TEXTS.items():
            text = ctypes.create_string_buffer(96)
            found[name] = None if self._call(question, text, c_uint(96)) else text.value.decode()
        found["uuid"] = self._uuid(self._device)
        found["instances"] = self.instances()
        current, pending = c_uint(), c_uint()
        for name, question in (("mig", "nvmlDeviceGetMigMode"), ("ecc", "nvmlDeviceGetEccMode")):
            code = self._call(question, self._device, byref(current), byref(pending))
            found[name] = None if code else int(current.value)
        found["sm_clock_max_mhz"] = self._number("nvmlDeviceGetMaxClockInfo", c_int(SM_CLOCK))
        found["ecc_errors"] = self.ecc_errors()
        found["refused"] = dict(self.refused)
        return found

    def _uuid(self, device: c_void_p) -> str | None:
        text = ctypes.create_string_buffer(96)
        return None if self._call("nvmlDeviceGetUUID", device, text, c_uint(96)) else text.value.decode()

    def instances(self) -> list[str]:
        """The uuids of its MIG instances; the device itself keeps its own."""
        most = self._number("nvmlDeviceGetMaxMigDeviceCount") or 0
        found = []
        for place in range(most):
            handle = c_void_p()
            if not self._call("nvmlDeviceGetMigDeviceHandleByIndex", self._device, c_uint(place), byref(handle)):
                found.append(self._uuid(handle))
        return [uuid for uuid in found if uuid]

    def ecc_errors(self) -> int | None:
        kinds = (c_int(UNCORRECTED), c_int(VOLATILE))
        return self._number("nvmlDeviceGetTotalEccErrors", *kinds, kind=c_ulonglong)

    def look(self) -> dict[str, Any]:
        """The state beside one sample."""
        power = self._number("nvmlDeviceGetPowerUsage")
        return {
            "sm_clock_mhz": self._number("nvmlDeviceGetClockInfo", c_int(SM_CLOCK)),
            "memory_clock_mhz": self._number("nvmlDeviceGetClockInfo", c_int(MEMORY_CLOCK)),
            "event_reasons": self._number("nvmlDeviceGetCurrentClocksThrottleReasons", kind=c_ulonglong),
            "power_watts": None if power is None else power / 1000,
            "temperature_celsius": self._number("nvmlDeviceGetTemperature", c_int(GPU_SENSOR)),
        }

    def processes(self) -> list[int] | None:
        """Pids of those with a context, as the device's driver numbers them."""
        return self._listed("nvmlDeviceGetComputeRunningProcesses_v3")

    def mps_clients(self) -> list[int] | None:
        """The same of those whose context is one of the multi-process service; a driver before 510 does not tell."""
        return self._listed("nvmlDeviceGetMPSComputeRunningProcesses_v3")

    def _listed(self, name: str) -> list[int] | None:
        room = 64
        try:
            question = getattr(self._library, name)
        except AttributeError:
            return None
        question.argtypes = (c_void_p, POINTER(c_uint), POINTER(Process))
        while True:
            found, count = (Process * room)(), c_uint(room)
            code = question(self._device, byref(count), found)
            if code == TOO_SMALL and room < 65536:
                room = int(count.value) + 64
                continue
            return None if code else [int(found[place].pid) for place in range(count.value)]

    def used_bytes(self) -> int | None:
        found = self._ask("nvmlDeviceGetMemoryInfo", Memory(), self._device)
        return None if found is None else int(found.used)

    def lock_clocks(self, megahertz: int) -> tuple[bool, str]:
        code = self._call("nvmlDeviceSetGpuLockedClocks", self._device, c_uint(megahertz), c_uint(megahertz))
        return not code, "" if not code else self.error(code)

    def unlock_clocks(self) -> None:
        self._call("nvmlDeviceResetGpuLockedClocks", self._device)


def why_discarded(state: dict[str, Any], highest: int | None) -> str | None:
    """Why a sample that was taken in this state says nothing of the device; none when it does."""
    if (state.get("event_reasons") or 0) & THROTTLED:
        return "throttled"
    clock = state.get("sm_clock_mhz")
    return "slow clock" if clock and highest and clock < LEAST_CLOCK * highest else None
