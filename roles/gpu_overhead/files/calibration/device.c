/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * The clock, the costs, the faults and who else is there. */
#define _GNU_SOURCE
#include "stand_in.h"
#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const char *const names[FAULTS] = {
    "zeros",           /* copies to the host bring zeros */
    "no_limit",        /* allocations beyond the limit succeed */
    "skipped",         /* copies and kernels return at once and do nothing */
    "cpu_fallback",    /* the process is in no list of the device's */
    "throttling",      /* too hot: half the clock, twice the time */
    "hung",            /* kernels never end */
    "no_device",       /* the driver finds none */
    "driver_mismatch", /* kernel module and library are of two versions */
    "busy",            /* somebody else computes */
    "persistence_off", /* the driver is unloaded between processes */
    "clocks_fixed",    /* nobody here may lock them */
    "ecc_rising",      /* each look finds one more error */
    "no_nvml",         /* the management library does not start */
    "virtual_machine", /* passed through to a guest */
    "mps_passed_by",   /* the multi-process service is there and serves nobody */
    "repeated",        /* a copy that was done before is not done again */
    "busy_later",      /* somebody else begins to compute while this process does */
};

int has(enum fault which) {
    const char *list = text("FAULTS", ""), *place = list;
    size_t length = strlen(names[which]);
    while ((place = strstr(place, names[which])) != NULL) {
        int begins = place == list || place[-1] == ',';
        if (begins && (place[length] == ',' || place[length] == '\0')) return 1;
        place += length;
    }
    return 0;
}

const char *text(const char *name, const char *otherwise) {
    char full[64];
    snprintf(full, sizeof full, "GPU_STAND_IN_%s", name);
    const char *value = getenv(full);
    return value && *value ? value : otherwise;
}

double setting(const char *name, double otherwise) {
    const char *value = text(name, NULL);
    return value ? atof(value) : otherwise;
}

/* --- the clock */

static int64_t added; /* to the machine's clock, when it is a virtual one */
static int64_t begun;

static int is_virtual(void) {
    static int known = -1;
    if (known < 0) known = strcmp(text("CLOCK", "host"), "virtual") == 0;
    return known;
}

static int64_t machine(clockid_t which) {
    struct timespec found;
    syscall(SYS_clock_gettime, which, &found);
    return (int64_t)found.tv_sec * 1000000000 + found.tv_nsec;
}

/* Looking at it takes a moment too, or a loop that waits for it would never end. */
static int64_t look(void) {
    if (begun == 0) begun = machine(CLOCK_MONOTONIC);
    return begun + __atomic_add_fetch(&added, 20, __ATOMIC_RELAXED);
}

int64_t now(void) { return is_virtual() ? look() : machine(CLOCK_MONOTONIC); }

void wait_until(int64_t moment) {
    if (is_virtual()) {
        int64_t ahead = moment - look();
        if (ahead > 0) __atomic_add_fetch(&added, ahead, __ATOMIC_RELAXED);
        return;
    }
    while (machine(CLOCK_MONOTONIC) < moment) { /* as a driver that polls */
    }
}

/* Python's perf_counter and monotonic come here when the library is preloaded. */
EXPORT int clock_gettime(clockid_t which, struct timespec *found) {
    if (!is_virtual() || which != CLOCK_MONOTONIC) return (int)syscall(SYS_clock_gettime, which, found);
    int64_t moment = look();
    found->tv_sec = moment / 1000000000;
    found->tv_nsec = moment % 1000000000;
    return 0;
}

/* --- costs */

static double normal(void) {
    static uint64_t state;
    if (state == 0) {
        /* Each run of an experiment is another one, and the same one when it is repeated. */
        const char *block = getenv("NIGHTBENCH_BLOCK"), *position = getenv("NIGHTBENCH_POSITION");
        uint64_t run = (block ? strtoull(block, NULL, 10) : 0) * 101 + (position ? strtoull(position, NULL, 10) : 0);
        state = 88172645463325252ull + 7919 * ((uint64_t)setting("SEED", 1) * 1000003 + run);
        for (int round = 0; round < 20; round++) normal();
    }
    double sum = 0; /* twelve even ones make a normal one */
    for (int part = 0; part < 12; part++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        sum += (double)(state >> 11) / 9007199254740992.0;
    }
    return sum - 6;
}

static int64_t with_noise(double nanoseconds) {
    static double run = -1, noise, drift, slower;
    static int64_t calls;
    if (run < 0) {
        slower = setting("SLOWER", 1), noise = setting("NOISE", 0), drift = setting("DRIFT", 0);
        run = exp(setting("RUN_NOISE", 0) * normal());
    }
    double factor = slower * run * (1 + drift * (double)calls++);
    if (noise > 0) factor *= exp(noise * normal());
    return (int64_t)(nanoseconds * factor * (has(THROTTLING) ? 2 : 1));
}

int64_t cost(const char *name, double otherwise) {
    char full[40];
    snprintf(full, sizeof full, "COST_%s", name);
    return with_noise(setting(full, otherwise));
}

int64_t transfer(const char *name, double otherwise, size_t bytes) {
    char full[40];
    snprintf(full, sizeof full, "BANDWIDTH_%s", name);
    return with_noise(2000 + (double)bytes / setting(full, otherwise) * 1e9);
}

void call(void) { wait_until(now() + cost("CALL", 400) + (int64_t)setting("ADDED", 0)); }

/* --- who is there */

static char entry[4200];
static const char client[] = ".mps"; /* behind the pid of one that the multi-process service serves */

int is_mps_client(void) {
    char control[4200];
    const char *folder = getenv("CUDA_MPS_PIPE_DIRECTORY");
    snprintf(control, sizeof control, "%s/control", folder ? folder : "/tmp/nvidia-mps");
    return access(control, F_OK) == 0 && !has(MPS_PASSED_BY);
}

void enter_device(void) {
    const char *folder = text("STATE", NULL);
    if (folder == NULL || has(CPU_FALLBACK) || entry[0]) return;
    snprintf(entry, sizeof entry, "%s/%d%s", folder, (int)getpid(), is_mps_client() ? client : "");
    FILE *file = fopen(entry, "w");
    if (file) fclose(file);
}

void leave_device(void) {
    if (entry[0]) unlink(entry);
    entry[0] = '\0';
}

__attribute__((destructor)) static void forget(void) { leave_device(); }

size_t list_processes(uint32_t *found, size_t room, int mps_clients) {
    size_t count = 0;
    static int looks;
    looks += !mps_clients;
    if ((has(BUSY) || (has(BUSY_LATER) && looks > 2)) && !mps_clients && count < room) found[count++] = 1;
    const char *name = text("STATE", NULL);
    DIR *folder = name ? opendir(name) : NULL;
    if (folder == NULL) return count;
    for (struct dirent *file; (file = readdir(folder)) != NULL && count < room;) {
        char *behind;
        int pid = (int)strtol(file->d_name, &behind, 10);
        int of_mps = strcmp(behind, client) == 0;
        if (pid > 0 && of_mps == mps_clients && kill(pid, 0) == 0) found[count++] = (uint32_t)pid;
    }
    closedir(folder);
    return count;
}
