/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A layer that is preloaded before the stand-in of a driver: it counts calls, keeps a shared file and holds a limit.
 * What it leaves out is what a stub leaves out.
 *
 *   GPU_LAYER_COUNTS  file that gets "calls N" when the process ends
 *   GPU_LAYER_BOOKS   file that is shared in memory
 *   GPU_LAYER_LIMIT   bytes that may be allocated
 *   GPU_LAYER_MODE    names, separated by commas. stub: forwards nothing and says that all went well. lax: holds no
 *                     limit. blind: counts nothing. unshared: keeps no books
 *
 * With -DOLD_NAMES it has the names of cuda.h without _v2, which nothing is linked with. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#ifdef OLD_NAMES
#define V2(name) name
#else
#define V2(name) name##_v2
#endif
#define NEXT(name) ((__typeof__(&V2(name)))dlsym(RTLD_NEXT, #name "_v2"))
#define NEXT_PLAIN(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
enum { SUCCESS = 0, ERROR_OUT_OF_MEMORY = 2 };

static unsigned long calls;

static int is(const char *mode) {
    const char *all = getenv("GPU_LAYER_MODE");
    return all && strstr(all, mode) != NULL;
}
static int forwards(void) {
    if (!is("blind")) __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED);
    return !is("stub");
}

__attribute__((constructor)) static void begin(void) {
    const char *books = getenv("GPU_LAYER_BOOKS");
    int file = books && !is("unshared") ? open(books, O_RDWR | O_CREAT, 0644) : -1;
    if (file < 0 || ftruncate(file, 4096) != 0) return;
    mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
}
__attribute__((destructor)) static void end(void) {
    const char *path = getenv("GPU_LAYER_COUNTS");
    FILE *file = path && calls ? fopen(path, "a") : NULL;
    if (file == NULL) return;
    fprintf(file, "calls %lu\n", calls);
    fclose(file);
}

int V2(cuMemAlloc)(uint64_t *at, size_t bytes) {
    const char *limit = getenv("GPU_LAYER_LIMIT");
    if (!forwards()) return *at = 1, SUCCESS;
    /* One that is larger than all there may be: what is allocated already does not matter to who asks for that. */
    if (limit && !is("lax") && bytes > strtoull(limit, NULL, 10)) return ERROR_OUT_OF_MEMORY;
    return NEXT(cuMemAlloc)(at, bytes);
}
int V2(cuMemFree)(uint64_t at) { return forwards() ? NEXT(cuMemFree)(at) : SUCCESS; }
int V2(cuMemcpyHtoDAsync)(uint64_t to, const void *from, size_t bytes, void *stream) {
    return forwards() ? NEXT(cuMemcpyHtoDAsync)(to, from, bytes, stream) : SUCCESS;
}
int V2(cuMemcpyDtoHAsync)(void *to, uint64_t from, size_t bytes, void *stream) {
    if (!forwards()) return memset(to, 0, bytes), SUCCESS;
    return NEXT(cuMemcpyDtoHAsync)(to, from, bytes, stream);
}
int V2(cuMemcpyDtoH)(void *to, uint64_t from, size_t bytes) {
    if (!forwards()) return memset(to, 0, bytes), SUCCESS;
    return NEXT(cuMemcpyDtoH)(to, from, bytes);
}
int V2(cuMemcpyHtoD)(uint64_t to, const void *from, size_t bytes) {
    return forwards() ? NEXT(cuMemcpyHtoD)(to, from, bytes) : SUCCESS;
}
int V2(cuMemsetD8)(uint64_t to, unsigned char value, size_t bytes) {
    return forwards() ? NEXT(cuMemsetD8)(to, value, bytes) : SUCCESS;
}
#ifndef OLD_NAMES
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
    if (!forwards()) return SUCCESS;
    return NEXT_PLAIN(cuLaunchKernel)(function, gx, gy, gz, bx, by, bz, shared, stream, arguments, extra);
}
#endif
