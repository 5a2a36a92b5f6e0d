/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A GPU that is none: the driver API's and NVML's names over this machine's memory and a clock, with costs, bandwidths
 * and faults that the environment sets. It stands in for a GPU where what is measured is known (calibration, tests).
 *
 *   GPU_STAND_IN_CLOCK      host: costs are waited for. virtual: they are only added up, and a program that preloads
 *                           this library sees that clock
 *   GPU_STAND_IN_SLOWER     factor on every cost (1.05: five percent slower)
 *   GPU_STAND_IN_ADDED      nanoseconds on every call of the driver, as a layer in between would add them
 *   GPU_STAND_IN_NOISE      standard deviation of the logarithm of one call's cost
 *   GPU_STAND_IN_RUN_NOISE  the same of a whole process
 *   GPU_STAND_IN_DRIFT      how much slower each call is than the one before
 *   GPU_STAND_IN_SEED       of both; NIGHTBENCH_BLOCK and NIGHTBENCH_POSITION make each run another one
 *   GPU_STAND_IN_COST_NAME  nanoseconds of one call: CALL CONTEXT MODULE ALLOC FREE LAUNCH GRAPH SYNC EMPTY GEMM COPY
 *   GPU_STAND_IN_BANDWIDTH_NAME  bytes a second: H2D D2H H2D_PAGEABLE D2H_PAGEABLE DEVICE
 *   GPU_STAND_IN_NVML_NAME  what NVML says: SM_CLOCK SM_CLOCK_MAX MEMORY_CLOCK MEMORY_CLOCK_MAX REASONS POWER POWER_LIMIT
 *                           TEMPERATURE VIRTUALIZATION PERSISTENCE COMPUTE_MODE LINK_GENERATION LINK_WIDTH
 *                           LINK_GENERATION_MAX LINK_WIDTH_MAX LINK_REPLAYS ECC_ERRORS MIG (instances of it)
 *   GPU_STAND_IN_LIMIT      bytes that may be allocated
 *   GPU_STAND_IN_STATE      folder in which processes with a context are known to each other
 *   CUDA_MPS_PIPE_DIRECTORY a process that finds `control` there is a client of the multi-process service, for whom
 *                           CUDA_MPS_PINNED_DEVICE_MEM_LIMIT (0=4096M) holds
 *   GPU_STAND_IN_FAULTS     names, separated by commas: see device.c
 */
#ifndef STAND_IN_H
#define STAND_IN_H
#include <stddef.h>
#include <stdint.h>

#define EXPORT __attribute__((visibility("default")))

enum fault {
    ZEROS, NO_LIMIT, SKIPPED, CPU_FALLBACK, THROTTLING, HUNG, NO_DEVICE, DRIVER_MISMATCH, BUSY, PERSISTENCE_OFF,
    CLOCKS_FIXED, ECC_RISING, NO_NVML, VIRTUAL_MACHINE, MPS_PASSED_BY, REPEATED, BUSY_LATER, FAULTS
};

int has(enum fault which);
double setting(const char *name, double otherwise);
const char *text(const char *name, const char *otherwise);

int64_t now(void);               /* nanoseconds of the clock that is in use */
void wait_until(int64_t moment); /* of that clock */
int64_t cost(const char *name, double otherwise);              /* with noise and drift, in nanoseconds */
int64_t transfer(const char *name, double otherwise, size_t bytes);
void call(void);                 /* what every call of the driver costs */

void enter_device(void);         /* this process has a context now */
void leave_device(void);
int is_mps_client(void);
size_t list_processes(uint32_t *found, size_t room, int mps_clients);
size_t allocated(void);
#endif
