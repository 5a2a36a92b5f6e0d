# SPDX-License-Identifier: GPL-3.0-or-later
"""The driver API by ctypes: names as programs that are linked with it see them, so that a layer in between is met."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_ubyte, c_uint, c_uint64, c_void_p
from typing import Any

from .errors import DriverError, ProbeError

LIBRARY = "libcuda.so.1"
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
INTERNAL_ERRORS = {100: "no GPU", 803: "library and kernel module are of different versions"}
#: How a name is found: `global` as a linked program would (a preloaded layer comes first), `library` in the driver's
#: own file, `get_proc_address` by the driver's own function, as the CUDA runtime does since 11.3.
SYMBOLS = ("global", "library", "get_proc_address")

# cuda.h names these *_v2 and hides that behind a macro: a layer that only knows the bare names is passed by.
RENAMED = frozenset(
    {"cuDeviceGetUuid", "cuDeviceTotalMem", "cuDevicePrimaryCtxRelease", "cuMemAlloc", "cuMemFree", "cuMemGetInfo"}
    | {"cuMemcpyHtoD", "cuMemcpyDtoH", "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuMemsetD8"}
    | {"cuStreamDestroy", "cuEventDestroy", "cuStreamBeginCapture", "cuGetProcAddress"}
)
Out = POINTER(c_void_p)
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (POINTER(c_int),),
    "cuDeviceGetCount": (POINTER(c_int),),
    "cuDeviceGet": (POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetUuid": (POINTER(c_ubyte), c_int),
    "cuDeviceGetPCIBusId": (c_char_p, c_int, c_int),
    "cuDeviceTotalMem": (POINTER(c_size_t), c_int),
    "cuDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (Out, c_int),
    "cuDevicePrimaryCtxRelease": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuCtxSynchronize": (),
    "cuModuleLoadData": (Out, c_char_p),
    "cuModuleGetFunction": (Out, c_void_p, c_char_p),
    "cuMemAlloc": (POINTER(c_uint64), c_size_t),
    "cuMemFree": (c_uint64,),
    "cuMemGetInfo": (POINTER(c_size_t), POINTER(c_size_t)),
    "cuMemHostAlloc": (Out, c_size_t, c_uint),
    "cuMemFreeHost": (c_void_p,),
    "cuMemsetD8": (c_uint64, c_ubyte, c_size_t),
    "cuMemcpyHtoD": (c_uint64, c_void_p, c_size_t),
    "cuMemcpyDtoH": (c_void_p, c_uint64, c_size_t),
    "cuMemcpyHtoDAsync": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuStreamCreate": (Out, c_uint),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamDestroy": (c_void_p,),
    "cuStreamBeginCapture": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, Out),
    "cuEventCreate": (Out, c_uint),
    "cuEventRecord": (c_void_p, c_void_p),
    "cuEventSynchronize": (c_void_p,),
    "cuEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cuEventDestroy": (c_void_p,),
    "cuLaunchKernel": (c_void_p, *(c_uint,) * 7, c_void_p, c_void_p, c_void_p),
    "cuGraphInstantiateWithFlags": (Out, c_void_p, c_uint64),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGraphDestroy": (c_void_p,),
}
# CUdevice_attribute of cuda.h.
ATTRIBUTES = {
    "clock_khz": 13,
    "multiprocessors": 16,
    "memory_clock_khz": 36,
    "memory_bus_bits": 37,
    "compute_major": 75,
    "compute_minor": 76,
}


class Driver:
    """Every function of SIGNATURES as a method-like attribute; an answer that is not success is a DriverError."""

    def __init__(self, library: str = LIBRARY, symbols: str = "global") -> None:
        try:
            own = ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise ProbeError(f"no NVIDIA driver: {library} cannot be loaded ({error})") from error
        self.library, self.symbols = library, symbols
        self._name_of = _of(own, library, "cuGetErrorName")
        self._found = {name: self._resolve(own, name, types) for name, types in SIGNATURES.items()}

    def _resolve(self, own: ctypes.CDLL, name: str, types: tuple[Any, ...]) -> Any:
        linked = name + "_v2" if name in RENAMED else name
        if self.symbols == "get_proc_address":
            address, status = c_void_p(), c_int()
            # 12000: the oldest driver whose versions of these functions we know.
            code = _of(own, self.library, "cuGetProcAddress_v2")(
                name.encode(), ctypes.byref(address), 12000, c_uint64(0), ctypes.byref(status)
            )
            if code or not address.value:
                raise ProbeError(f"wrong driver: cuGetProcAddress does not know {name}")
            return ctypes.CFUNCTYPE(c_int, *types)(address.value)
        try:
            function = getattr(ctypes.CDLL(None) if self.symbols == "global" else own, linked)
        except AttributeError as error:
            raise ProbeError(f"wrong driver: {self.library} has no {linked}") from error
        function.argtypes, function.restype = types, c_int
        return function

    def __getattr__(self, name: str) -> Any:
        function = self.__dict__["_found"][name]

        def checked(*arguments: Any) -> None:
            code = function(*arguments)
            if code:
                raise DriverError(name, code, self.error_name(code))

        # The next look at this name finds it without coming here.
        setattr(self, name, checked)
        return checked

    def error_name(self, code: int) -> str:
        text = c_char_p()
        self._name_of(c_int(code), ctypes.byref(text))
        return text.value.decode() if text.value else f"error {code}"

    def make(self, name: str, *arguments: Any) -> int:
        """What a function that hands out a handle gives."""
        made = c_void_p()
        getattr(self, name)(ctypes.byref(made), *arguments)
        return int(made.value or 0)

    def end_capture(self, stream: int) -> int:
        graph = c_void_p()
        self.cuStreamEndCapture(stream, ctypes.byref(graph))
        return int(graph.value or 0)

    def allocate(self, size: int) -> int:
        at = c_uint64()
        self.cuMemAlloc(ctypes.byref(at), size)
        return int(at.value)

    def elapsed(self, first: int, last: int) -> float:
        """Seconds between two events."""
        found = c_float()
        self.cuEventElapsedTime(ctypes.byref(found), first, last)
        return float(found.value) / 1e3

    def memory(self) -> tuple[int, int]:
        """(free, all) as this process is told."""
        free, total = c_size_t(), c_size_t()
        self.cuMemGetInfo(ctypes.byref(free), ctypes.byref(total))
        return int(free.value), int(total.value)


def _of(own: ctypes.CDLL, library: str, name: str) -> Any:
    try:
        return getattr(own, name)
    except AttributeError as error:
        raise ProbeError(f"wrong driver: {library} has no {name}") from error


def start(driver: Driver, ordinal: int) -> tuple[int, dict[str, Any]]:
    """The device, and what the driver says of it; no context yet."""
    try:
        driver.cuInit(0)
    except DriverError as error:
        raise ProbeError(
            "{}: cuInit answers {}".format(INTERNAL_ERRORS.get(error.code, "no GPU"), error.text)
        ) from error
    count, version, device = c_int(), c_int(), c_int()
    driver.cuDeviceGetCount(ctypes.byref(count))
    if ordinal >= count.value:
        raise ProbeError(f"no GPU: device {ordinal} of {count.value}")
    driver.cuDriverGetVersion(ctypes.byref(version))
    driver.cuDeviceGet(ctypes.byref(device), ordinal)
    name, bus, uuid, total = _text(256), _text(32), (c_ubyte * 16)(), c_size_t()
    driver.cuDeviceGetName(name, 256, device)
    driver.cuDeviceGetPCIBusId(bus, 32, device)
    driver.cuDeviceGetUuid(uuid, device)
    driver.cuDeviceTotalMem(ctypes.byref(total), device)
    facts: dict[str, Any] = {"name": name.value.decode(), "bus": bus.value.decode(), "uuid": bytes(uuid).hex()}
    facts.update(memory_bytes=int(total.value), cuda_driver_version=int(version.value), **_attributes(driver, device))
    return int(device.value), facts


def _attributes(driver: Driver, device: c_int) -> dict[str, int]:
    found = {}
    for name, number in ATTRIBUTES.items():
        value = c_int()
        driver.cuDeviceGetAttribute(ctypes.byref(value), number, device)
        found[name] = int(value.value)
    return found


def _text(length: int) -> Any:
    return ctypes.create_string_buffer(length)


def arguments(values: list[int]) -> Any:
    """Kernel parameters of eight bytes each: (the array of pointers, what they point at)."""
    held = [c_uint64(value) for value in values]
    return (c_void_p * len(held))(*(ctypes.addressof(one) for one in held)), held
