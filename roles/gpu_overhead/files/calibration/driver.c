/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The driver API's names: devices, contexts, streams, events, kernels and graphs. Memory is in memory.c. */
#define _GNU_SOURCE
#include "driver.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct stream standard;
static int ready;

static int64_t busiest;

struct stream *stream_of(struct stream *given) { return given ? given : &standard; }

int64_t queue(struct stream *where, int64_t length) {
    int64_t begin = now();
    if (where->free_at > begin) begin = where->free_at;
    where->free_at = begin + length;
    if (where->free_at > busiest) busiest = where->free_at;
    return where->free_at;
}

int drain(int64_t moment) {
    if (has(HUNG)) pause();
    wait_until(moment);
    return SUCCESS;
}

EXPORT int cuInit(unsigned flags) {
    (void)flags;
    if (has(NO_DEVICE)) return ERROR_NO_DEVICE;
    if (has(DRIVER_MISMATCH)) return ERROR_SYSTEM_DRIVER_MISMATCH;
    ready = 1;
    return SUCCESS;
}
EXPORT int cuDriverGetVersion(int *version) { return *version = 12040, SUCCESS; }
EXPORT int cuDeviceGetCount(int *count) { return *count = ready, SUCCESS; }
EXPORT int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal ? ERROR_INVALID_DEVICE : SUCCESS; }
EXPORT int cuDeviceGetName(char *name, int length, int device) {
    (void)device;
    return snprintf(name, (size_t)length, "Nightbench stand-in (no GPU)"), SUCCESS;
}
EXPORT int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
    (void)device;
    if (setting("NVML_MIG", 0) > 0) /* a process sees its instance: the first */
        return memset(uuid, 0xcd, 15), uuid[15] = 1, SUCCESS;
    return memset(uuid, 0xab, 16), SUCCESS;
}
EXPORT int cuDeviceGetPCIBusId(char *name, int length, int device) {
    (void)device;
    return snprintf(name, (size_t)length, "0000:00:04.0"), SUCCESS;
}
EXPORT int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    (void)device;
    return *bytes = (size_t)setting("MEMORY", 4e9), SUCCESS;
}
/* CUdevice_attribute, as in cuda.h: 13 kHz of the SMs, 16 SMs, 36 kHz of the memory, 37 bits of its bus, 75 and 76
 * compute capability. */
EXPORT int cuDeviceGetAttribute(int *value, int which, int device) {
    (void)device;
    switch (which) {
    case 13: return *value = 1590000, SUCCESS;
    case 16: return *value = 40, SUCCESS;
    case 36: return *value = 5001000, SUCCESS;
    case 37: return *value = 256, SUCCESS;
    case 75: return *value = 7, SUCCESS;
    case 76: return *value = 5, SUCCESS;
    default: return *value = 0, SUCCESS;
    }
}
EXPORT int cuGetErrorName(int code, const char **name) {
    const char *known = code == SUCCESS                      ? "CUDA_SUCCESS"
                        : code == ERROR_INVALID_VALUE        ? "CUDA_ERROR_INVALID_VALUE"
                        : code == ERROR_OUT_OF_MEMORY        ? "CUDA_ERROR_OUT_OF_MEMORY"
                        : code == ERROR_NO_DEVICE            ? "CUDA_ERROR_NO_DEVICE"
                        : code == ERROR_INVALID_DEVICE       ? "CUDA_ERROR_INVALID_DEVICE"
                        : code == ERROR_NOT_FOUND            ? "CUDA_ERROR_NOT_FOUND"
                        : code == ERROR_SYSTEM_DRIVER_MISMATCH ? "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"
                                                             : "CUDA_ERROR_UNKNOWN";
    return *name = known, SUCCESS;
}
EXPORT int cuGetProcAddress_v2(const char *name, void **found, int version, uint64_t flags, int *status) {
    static const char *const renamed[] = {"cuMemAlloc", "cuMemFree", "cuMemcpyHtoD", "cuMemcpyDtoH", "cuMemcpyDtoD",
        "cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync", "cuMemcpyDtoDAsync", "cuMemGetInfo", "cuStreamDestroy",
        "cuEventDestroy", "cuDevicePrimaryCtxRelease", "cuDeviceTotalMem", "cuDeviceGetUuid", "cuMemsetD8",
        "cuStreamBeginCapture"};
    char full[64];
    (void)version, (void)flags;
    snprintf(full, sizeof full, "%s", name);
    for (size_t i = 0; i < sizeof renamed / sizeof *renamed; i++)
        if (strcmp(name, renamed[i]) == 0) snprintf(full, sizeof full, "%s_v2", name);
    *found = dlsym(RTLD_DEFAULT, full);
    if (*found == NULL) {
        Dl_info self;
        dladdr((void *)cuGetProcAddress_v2, &self);
        void *library = dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD);
        *found = library ? dlsym(library, full) : NULL;
    }
    if (status) *status = *found ? 0 : 1;
    return *found ? SUCCESS : ERROR_NOT_FOUND;
}

/* --- contexts */

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    call(), wait_until(now() + cost("CONTEXT", 20e6));
    enter_device();
    return *context = &ready, SUCCESS;
}
EXPORT int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    return leave_device(), SUCCESS;
}
EXPORT int cuCtxSetCurrent(void *context) { return (void)context, SUCCESS; }
EXPORT int cuCtxSynchronize(void) {
    call(), wait_until(now() + cost("SYNC", 1000));
    return drain(busiest);
}

/* --- streams and events */

EXPORT int cuStreamCreate(struct stream **made, unsigned flags) {
    (void)flags;
    return *made = calloc(1, sizeof **made), SUCCESS;
}
EXPORT int cuStreamDestroy_v2(struct stream *which) { return free(which), SUCCESS; }
EXPORT int cuStreamSynchronize(struct stream *which) {
    call(), wait_until(now() + cost("SYNC", 1000));
    return drain(stream_of(which)->free_at);
}
EXPORT int cuEventCreate(int64_t **made, unsigned flags) {
    (void)flags;
    return *made = calloc(1, sizeof **made), SUCCESS;
}
EXPORT int cuEventDestroy_v2(int64_t *which) { return free(which), SUCCESS; }
EXPORT int cuEventRecord(int64_t *which, struct stream *where) { return call(), *which = queue(stream_of(where), 0), SUCCESS; }
EXPORT int cuEventSynchronize(int64_t *which) { return call(), drain(*which); }
EXPORT int cuEventElapsedTime(float *milliseconds, int64_t *first, int64_t *last) {
    return *milliseconds = (float)((double)(*last - *first) / 1e6), SUCCESS;
}

/* --- kernels: those that the probe brings, by name; their PTX is not looked at */

EXPORT int cuModuleLoadData(void **module, const void *image) {
    call(), wait_until(now() + cost("MODULE", 2e6));
    return *module = (void *)image, image ? SUCCESS : ERROR_INVALID_VALUE;
}
EXPORT int cuModuleGetFunction(const struct kernel **function, void *module, const char *name) {
    (void)module;
    *function = kernel_of(name);
    return *function ? SUCCESS : ERROR_NOT_FOUND;
}
EXPORT int cuLaunchKernel(const struct kernel *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                          unsigned bz, unsigned shared, struct stream *given, void **arguments, void **extra) {
    (void)gx, (void)gy, (void)gz, (void)bx, (void)by, (void)bz, (void)shared, (void)extra;
    struct stream *where = stream_of(given);
    if (where->capturing) return record(where->capturing, function, arguments), SUCCESS;
    call(), wait_until(now() + cost("LAUNCH", 3000));
    if (has(SKIPPED)) return SUCCESS;
    queue(where, function->length(arguments));
    return function->run(arguments), SUCCESS;
}

/* --- graphs */

void record(struct graph *where, const struct kernel *function, void **arguments) {
    struct node *next = calloc(1, sizeof *next);
    next->function = function;
    for (int i = 0; i < function->arguments; i++) memcpy(&next->values[i], arguments[i], sizeof next->values[i]);
    *where->last = next;
    where->last = &next->next;
}
EXPORT int cuStreamBeginCapture_v2(struct stream *where, int mode) {
    (void)mode;
    struct graph *made = calloc(1, sizeof *made);
    made->last = &made->first;
    return stream_of(where)->capturing = made, SUCCESS;
}
EXPORT int cuStreamEndCapture(struct stream *where, struct graph **made) {
    *made = stream_of(where)->capturing;
    return stream_of(where)->capturing = NULL, SUCCESS;
}
EXPORT int cuGraphInstantiateWithFlags(struct graph **made, struct graph *from, uint64_t flags) {
    (void)flags;
    return *made = from, SUCCESS;
}
EXPORT int cuGraphLaunch(struct graph *which, struct stream *given) {
    call(), wait_until(now() + cost("GRAPH", 4000));
    if (has(SKIPPED)) return SUCCESS;
    for (struct node *one = which->first; one; one = one->next) {
        void *arguments[MOST_ARGUMENTS];
        for (int i = 0; i < one->function->arguments; i++) arguments[i] = &one->values[i];
        queue(stream_of(given), one->function->length(arguments));
        one->function->run(arguments);
    }
    return SUCCESS;
}
EXPORT int cuGraphExecDestroy(struct graph *which) { return (void)which, SUCCESS; }
EXPORT int cuGraphDestroy(struct graph *which) {
    for (struct node *one = which->first, *next; one; one = next) next = one->next, free(one);
    return free(which), SUCCESS;
}
