/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * NVML's names. */
#include "stand_in.h"
#include <stdio.h>
#include <string.h>

/* nvmlReturn_t, as in nvml.h. */
enum { SUCCESS = 0, ERROR_UNINITIALIZED = 1, ERROR_INVALID_ARGUMENT = 2, ERROR_NOT_SUPPORTED = 3, ERROR_NO_PERMISSION = 4,
       ERROR_NOT_FOUND = 6, ERROR_INSUFFICIENT_SIZE = 7, ERROR_LIBRARY_NOT_FOUND = 12 };
struct process {
    unsigned pid;
    unsigned long long bytes;
    unsigned gpu_instance, compute_instance;
};
struct memory {
    unsigned long long total, available, used;
};
static unsigned locked;
enum { MOST_INSTANCES = 7 };

EXPORT int nvmlInit_v2(void) { return has(NO_NVML) ? ERROR_LIBRARY_NOT_FOUND : SUCCESS; }
EXPORT int nvmlShutdown(void) { return SUCCESS; }
EXPORT const char *nvmlErrorString(int code) {
    return code == ERROR_NO_PERMISSION ? "Insufficient Permissions" : code == ERROR_NOT_SUPPORTED ? "Not Supported"
         : code == ERROR_LIBRARY_NOT_FOUND ? "NVML Shared Library Not Found" : "Unknown Error";
}
EXPORT int nvmlSystemGetDriverVersion(char *found, unsigned length) {
    return snprintf(found, length, "550.54.15"), SUCCESS;
}
EXPORT int nvmlSystemGetNVMLVersion(char *found, unsigned length) { return snprintf(found, length, "12.550"), SUCCESS; }
EXPORT int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) {
    return *device = (void *)bus, SUCCESS;
}
EXPORT int nvmlDeviceGetUUID(void *device, char *found, unsigned length) {
    if ((uintptr_t)device <= MOST_INSTANCES)
        return snprintf(found, length, "MIG-cdcdcdcd-cdcd-cdcd-cdcd-cdcdcdcdcd%02x", (unsigned)(uintptr_t)device), SUCCESS;
    return snprintf(found, length, "GPU-abababab-abab-abab-abab-abababababab"), SUCCESS;
}
#define NUMBER(name, value)                                                                                            \
    EXPORT int name(void *device, unsigned *found) { return (void)device, *found = (unsigned)(value), SUCCESS; }

NUMBER(nvmlDeviceGetVirtualizationMode, setting("NVML_VIRTUALIZATION", has(VIRTUAL_MACHINE) ? 1 : 0))
NUMBER(nvmlDeviceGetComputeMode, setting("NVML_COMPUTE_MODE", 0))
NUMBER(nvmlDeviceGetPersistenceMode, setting("NVML_PERSISTENCE", !has(PERSISTENCE_OFF)))
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, setting("NVML_LINK_GENERATION", 3))
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, setting("NVML_LINK_WIDTH", 16))
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, setting("NVML_LINK_GENERATION_MAX", 3))
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, setting("NVML_LINK_WIDTH_MAX", 16))
NUMBER(nvmlDeviceGetPcieReplayCounter, setting("NVML_LINK_REPLAYS", 0))
NUMBER(nvmlDeviceGetPowerUsage, setting("NVML_POWER", 31000))
NUMBER(nvmlDeviceGetEnforcedPowerLimit, setting("NVML_POWER_LIMIT", 70000))

/* A MIG instance's handle is its number, plus one, in the place of a pointer. */
static uintptr_t instances(void) { return (uintptr_t)setting("NVML_MIG", 0); }

EXPORT int nvmlDeviceGetMigMode(void *device, unsigned *current, unsigned *pending) {
    (void)device;
    *current = *pending = instances() > 0;
    return instances() ? SUCCESS : ERROR_NOT_SUPPORTED;
}
NUMBER(nvmlDeviceGetMaxMigDeviceCount, instances() ? MOST_INSTANCES : 0)
EXPORT int nvmlDeviceGetMigDeviceHandleByIndex(void *device, unsigned place, void **found) {
    (void)device;
    if (place >= instances()) return ERROR_NOT_FOUND;
    return *found = (void *)(uintptr_t)(place + 1), SUCCESS;
}
EXPORT int nvmlDeviceGetEccMode(void *device, unsigned *current, unsigned *pending) {
    (void)device;
    return *current = *pending = 1, SUCCESS;
}
EXPORT int nvmlDeviceGetTotalEccErrors(void *device, int kind, int counter, unsigned long long *found) {
    static unsigned long long looks;
    (void)device, (void)kind, (void)counter;
    return *found = (unsigned long long)setting("NVML_ECC_ERRORS", 0) + (has(ECC_RISING) ? looks++ : 0), SUCCESS;
}
EXPORT int nvmlDeviceGetClockInfo(void *device, int kind, unsigned *found) {
    (void)device;
    unsigned clock = (unsigned)setting("NVML_SM_CLOCK", has(THROTTLING) ? 795 : locked ? locked : 1590);
    *found = kind == 2 ? (unsigned)setting("NVML_MEMORY_CLOCK", 5001) : clock;
    return SUCCESS;
}
EXPORT int nvmlDeviceGetMaxClockInfo(void *device, int kind, unsigned *found) {
    (void)device;
    *found = (unsigned)(kind == 2 ? setting("NVML_MEMORY_CLOCK_MAX", 5001) : setting("NVML_SM_CLOCK_MAX", 1590));
    return SUCCESS;
}
EXPORT int nvmlDeviceGetCurrentClocksThrottleReasons(void *device, unsigned long long *found) {
    return (void)device, *found = (unsigned long long)setting("NVML_REASONS", has(THROTTLING) ? 0x20 | 0x4 : 0), SUCCESS;
}
EXPORT int nvmlDeviceGetTemperature(void *device, int sensor, unsigned *found) {
    (void)device, (void)sensor;
    return *found = (unsigned)setting("NVML_TEMPERATURE", has(THROTTLING) ? 93 : 45), SUCCESS;
}
EXPORT int nvmlDeviceGetMemoryInfo(void *device, struct memory *found) {
    (void)device;
    found->total = (unsigned long long)setting("MEMORY", 4e9), found->used = allocated();
    return found->available = found->total - found->used, SUCCESS;
}
static int listed(unsigned *count, struct process *found, int mps_clients) {
    uint32_t pids[256];
    unsigned there = (unsigned)list_processes(pids, 256, mps_clients), room = *count;
    *count = there;
    if (there > room) return ERROR_INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < there; i++) found[i] = (struct process){pids[i], 1 << 20, 0xffffffffu, 0xffffffffu};
    return SUCCESS;
}
EXPORT int nvmlDeviceGetComputeRunningProcesses_v3(void *device, unsigned *count, struct process *found) {
    return (void)device, listed(count, found, 0);
}
EXPORT int nvmlDeviceGetMPSComputeRunningProcesses_v3(void *device, unsigned *count, struct process *found) {
    return (void)device, listed(count, found, 1);
}
EXPORT int nvmlDeviceSetGpuLockedClocks(void *device, unsigned least, unsigned most) {
    (void)device, (void)least;
    if (has(CLOCKS_FIXED)) return ERROR_NO_PERMISSION;
    return locked = most, SUCCESS;
}
EXPORT int nvmlDeviceResetGpuLockedClocks(void *device) { return (void)device, locked = 0, SUCCESS; }
