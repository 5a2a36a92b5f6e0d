/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The driver API's names for memory. A device pointer is one of this process, so copies really copy. */
#define _GNU_SOURCE
#include "driver.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };
static struct { void *at; size_t bytes; } device[MOST], pinned[MOST];
static size_t used;

size_t allocated(void) { return used; }

/* As the service's clients are told it: 0=4096M, in M or G. */
static size_t mps_limit(void) {
    const char *asked = is_mps_client() ? getenv("CUDA_MPS_PINNED_DEVICE_MEM_LIMIT") : NULL;
    char unit = 0;
    unsigned long long number = 0;
    if (asked == NULL || sscanf(asked, "0=%llu%c", &number, &unit) != 2) return 0;
    return (size_t)number << (unit == 'G' ? 30 : 20);
}
static size_t told_limit(void) {
    size_t asked = (size_t)setting("LIMIT", 0), client = mps_limit();
    return client && (!asked || client < asked) ? client : asked;
}
static size_t limit(void) {
    size_t all = (size_t)setting("MEMORY", 4e9), asked = told_limit();
    return asked && asked < all && !has(NO_LIMIT) ? asked : all;
}

EXPORT int cuMemAlloc_v2(uint64_t *at, size_t bytes) {
    call(), wait_until(now() + cost("ALLOC", 30000));
    if (bytes == 0) return ERROR_INVALID_VALUE;
    if (used + bytes > limit()) return ERROR_OUT_OF_MEMORY;
    for (int i = 0; i < MOST; i++)
        if (device[i].at == NULL) {
            /* Pages come only when they are touched. */
            device[i].at = malloc(bytes), device[i].bytes = bytes;
            return used += bytes, *at = (uint64_t)(uintptr_t)device[i].at, SUCCESS;
        }
    return ERROR_OUT_OF_MEMORY;
}
EXPORT int cuMemFree_v2(uint64_t at) {
    call(), wait_until(now() + cost("FREE", 20000));
    for (int i = 0; i < MOST; i++)
        if (device[i].at == (void *)(uintptr_t)at) {
            free(device[i].at), used -= device[i].bytes, device[i].at = NULL;
            return SUCCESS;
        }
    return ERROR_INVALID_VALUE;
}
EXPORT int cuMemGetInfo_v2(size_t *available, size_t *total) {
    size_t asked = told_limit();
    *total = asked ? asked : (size_t)setting("MEMORY", 4e9); /* a layer tells its limit even where it does not hold it */
    return *available = *total > used ? *total - used : 0, SUCCESS;
}
EXPORT int cuMemHostAlloc(void **at, size_t bytes, unsigned flags) {
    (void)flags;
    call();
    for (int i = 0; i < MOST; i++)
        if (pinned[i].at == NULL) return pinned[i].at = *at = malloc(bytes), pinned[i].bytes = bytes, SUCCESS;
    return ERROR_OUT_OF_MEMORY;
}
EXPORT int cuMemFreeHost(void *at) {
    for (int i = 0; i < MOST; i++)
        if (pinned[i].at == at) return free(at), pinned[i].at = NULL, SUCCESS;
    return ERROR_INVALID_VALUE;
}

static int is_pinned(const void *at) {
    for (int i = 0; i < MOST; i++)
        if (pinned[i].at && (const char *)at >= (char *)pinned[i].at && (const char *)at < (char *)pinned[i].at + pinned[i].bytes)
            return 1;
    return 0;
}

static int done_before(const void *to, const void *from, size_t bytes) {
    enum { REMEMBERED = 256 };
    static struct { const void *to, *from; size_t bytes; } copies[REMEMBERED];
    static unsigned count;
    if (!has(REPEATED)) return 0;
    for (unsigned i = 0; i < count && i < REMEMBERED; i++)
        if (copies[i].to == to && copies[i].from == from && copies[i].bytes == bytes) return 1;
    copies[count % REMEMBERED].to = to, copies[count % REMEMBERED].from = from, copies[count % REMEMBERED].bytes = bytes;
    return count++, 0;
}
static void copy_in(uint64_t to, const void *from, size_t bytes) {
    if (!has(SKIPPED) && !done_before((void *)(uintptr_t)to, from, bytes)) memcpy((void *)(uintptr_t)to, from, bytes);
}
static void copy_out(void *to, uint64_t from, size_t bytes) {
    if (has(SKIPPED) || done_before(to, (const void *)(uintptr_t)from, bytes)) return;
    if (has(ZEROS)) memset(to, 0, bytes);
    else memcpy(to, (const void *)(uintptr_t)from, bytes);
}
static int64_t into(const void *from, size_t bytes) {
    if (has(SKIPPED)) return 0;
    return is_pinned(from) ? transfer("H2D", 1.2e9, bytes) : transfer("H2D_PAGEABLE", 0.6e9, bytes);
}
static int64_t out_of(const void *to, size_t bytes) {
    if (has(SKIPPED)) return 0;
    return is_pinned(to) ? transfer("D2H", 1.3e9, bytes) : transfer("D2H_PAGEABLE", 0.7e9, bytes);
}

EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, struct stream *where) {
    call();
    /* The cost is counted from here: what the copy itself takes is part of it. */
    queue(stream_of(where), into(from, bytes));
    return copy_in(to, from, bytes), SUCCESS;
}
EXPORT int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, struct stream *where) {
    call();
    queue(stream_of(where), out_of(to, bytes));
    return copy_out(to, from, bytes), SUCCESS;
}
EXPORT int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t bytes) {
    cuMemcpyHtoDAsync_v2(to, from, bytes, NULL);
    return drain(stream_of(NULL)->free_at);
}
EXPORT int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t bytes) {
    cuMemcpyDtoHAsync_v2(to, from, bytes, NULL);
    return drain(stream_of(NULL)->free_at);
}
EXPORT int cuMemsetD8_v2(uint64_t to, unsigned char value, size_t bytes) {
    call();
    if (has(SKIPPED)) return SUCCESS;
    queue(stream_of(NULL), transfer("DEVICE", 1e10, bytes));
    return memset((void *)(uintptr_t)to, value, bytes), SUCCESS;
}

/* --- what the probe's kernels do */

#define POINTER(i, type) ((type *)(uintptr_t) * (uint64_t *)arguments[i])
#define NUMBER(i) (*(uint64_t *)arguments[i])

static int64_t empty_length(void **arguments) { return (void)arguments, cost("EMPTY", 1500); }
static void count_run(void **arguments) { *POINTER(0, uint64_t) += 1; }

static int64_t copy_length(void **arguments) { return transfer("DEVICE", 5e9, 2 * NUMBER(2)); }
static void copy_run(void **arguments) { memcpy(POINTER(0, char), POINTER(1, char), NUMBER(2)); }

static int64_t gemm_length(void **arguments) {
    double size = (double)NUMBER(3);
    return cost("GEMM", 5000 + size * size * size * 2 / 2e9 * 1e9 / 4);
}
static void gemm_run(void **arguments) {
    float *c = POINTER(0, float), *a = POINTER(1, float), *b = POINTER(2, float);
    size_t n = NUMBER(3);
    memset(c, 0, n * n * sizeof *c);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            for (size_t j = 0; j < n; j++) c[i * n + j] += a[i * n + k] * b[k * n + j];
}

static const struct kernel kernels[] = {
    {"nightbench_count", 1, empty_length, count_run},
    {"nightbench_copy", 3, copy_length, copy_run},
    {"nightbench_gemm", 4, gemm_length, gemm_run},
};

const struct kernel *kernel_of(const char *name) {
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++)
        if (strcmp(kernels[i].name, name) == 0) return &kernels[i];
    return NULL;
}
