/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef DRIVER_H
#define DRIVER_H
#include "stand_in.h"

/* CUresult, as in cuda.h. */
enum { SUCCESS = 0, ERROR_INVALID_VALUE = 1, ERROR_OUT_OF_MEMORY = 2, ERROR_NO_DEVICE = 100, ERROR_INVALID_DEVICE = 101,
       ERROR_NOT_FOUND = 500, ERROR_SYSTEM_DRIVER_MISMATCH = 803 };
enum { MOST_ARGUMENTS = 4 };

struct kernel {
    const char *name;
    int arguments; /* of eight bytes each */
    int64_t (*length)(void **arguments);
    void (*run)(void **arguments);
};
struct node {
    const struct kernel *function;
    uint64_t values[MOST_ARGUMENTS];
    struct node *next;
};
struct graph {
    struct node *first, **last;
};
struct stream {
    int64_t free_at;
    struct graph *capturing;
};

const struct kernel *kernel_of(const char *name);
void record(struct graph *where, const struct kernel *function, void **arguments);
struct stream *stream_of(struct stream *given);
int64_t queue(struct stream *where, int64_t length); /* when it will have ended */
int drain(int64_t moment);
#endif
