# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernels, as PTX that every GPU since Volta takes, and how they are launched.

`count` adds one to a counter, so that launches that did not happen are missed. `copy` moves 16 bytes a thread. `gemm`
multiplies matrices in tiles of 16 × 16 in shared memory, in FP32: no library's speed, but the same work every time.
"""

from __future__ import annotations

import ctypes

from . import driver as api
from .driver import Driver

TILE = 16
COPY_THREADS = 256
COPY_BYTES = 16

PTX = """
.version 6.3
.target sm_70
.address_size 64

.visible .entry nightbench_count(.param .u64 counter)
{
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [counter];
    cvta.to.global.u64 %rd2, %rd1;
    red.global.add.u64 [%rd2], 1;
    ret;
}

.visible .entry nightbench_copy(.param .u64 to, .param .u64 from, .param .u64 bytes)
{
    .reg .pred %p<2>;
    .reg .b32 %r<8>;
    .reg .b64 %rd<10>;
    ld.param.u64 %rd1, [to];
    ld.param.u64 %rd2, [from];
    ld.param.u64 %rd3, [bytes];
    mov.u32 %r1, %ctaid.x;
    mov.u32 %r2, %ntid.x;
    mov.u32 %r3, %tid.x;
    mul.wide.u32 %rd4, %r1, %r2;
    cvt.u64.u32 %rd5, %r3;
    add.u64 %rd4, %rd4, %rd5;
    shl.b64 %rd4, %rd4, 4;
    setp.ge.u64 %p1, %rd4, %rd3;
    @%p1 bra end;
    cvta.to.global.u64 %rd6, %rd1;
    cvta.to.global.u64 %rd7, %rd2;
    add.u64 %rd8, %rd7, %rd4;
    add.u64 %rd9, %rd6, %rd4;
    ld.global.v4.u32 {%r4, %r5, %r6, %r7}, [%rd8];
    st.global.v4.u32 [%rd9], {%r4, %r5, %r6, %r7};
end:
    ret;
}

.visible .entry nightbench_gemm(.param .u64 c, .param .u64 a, .param .u64 b, .param .u64 size)
{
    .shared .align 4 .b8 left[1024];
    .shared .align 4 .b8 right[1024];
    .reg .pred %p<3>;
    .reg .b32 %r<24>;
    .reg .f32 %f<5>;
    .reg .b64 %rd<16>;
    ld.param.u64 %rd1, [c];
    ld.param.u64 %rd2, [a];
    ld.param.u64 %rd3, [b];
    ld.param.u32 %r1, [size];
    cvta.to.global.u64 %rd1, %rd1;
    cvta.to.global.u64 %rd2, %rd2;
    cvta.to.global.u64 %rd3, %rd3;
    mov.u32 %r2, %tid.x;
    mov.u32 %r3, %tid.y;
    mov.u32 %r4, %ctaid.x;
    mov.u32 %r5, %ctaid.y;
    shl.b32 %r6, %r5, 4;
    add.u32 %r6, %r6, %r3;
    shl.b32 %r7, %r4, 4;
    add.u32 %r7, %r7, %r2;
    mul.lo.u32 %r8, %r6, %r1;
    add.u32 %r9, %r8, %r2;
    mul.lo.u32 %r10, %r3, %r1;
    add.u32 %r10, %r10, %r7;
    mov.u32 %r11, left;
    mov.u32 %r12, right;
    shl.b32 %r13, %r3, 6;
    shl.b32 %r14, %r2, 2;
    add.u32 %r15, %r11, %r13;
    add.u32 %r16, %r15, %r14;
    add.u32 %r17, %r12, %r13;
    add.u32 %r17, %r17, %r14;
    add.u32 %r18, %r12, %r14;
    shl.b32 %r19, %r1, 4;
    mov.f32 %f1, 0f00000000;
    mov.u32 %r20, 0;
tiles:
    mul.wide.u32 %rd4, %r9, 4;
    add.u64 %rd5, %rd2, %rd4;
    ld.global.f32 %f2, [%rd5];
    st.shared.f32 [%r16], %f2;
    mul.wide.u32 %rd6, %r10, 4;
    add.u64 %rd7, %rd3, %rd6;
    ld.global.f32 %f3, [%rd7];
    st.shared.f32 [%r17], %f3;
    bar.sync 0;
    mov.u32 %r21, 0;
    mov.u32 %r22, %r15;
    mov.u32 %r23, %r18;
products:
    ld.shared.f32 %f2, [%r22];
    ld.shared.f32 %f3, [%r23];
    fma.rn.f32 %f1, %f2, %f3, %f1;
    add.u32 %r22, %r22, 4;
    add.u32 %r23, %r23, 64;
    add.u32 %r21, %r21, 1;
    setp.lt.u32 %p1, %r21, 16;
    @%p1 bra products;
    bar.sync 0;
    add.u32 %r9, %r9, 16;
    add.u32 %r10, %r10, %r19;
    add.u32 %r20, %r20, 16;
    setp.lt.u32 %p2, %r20, %r1;
    @%p2 bra tiles;
    add.u32 %r8, %r8, %r7;
    mul.wide.u32 %rd8, %r8, 4;
    add.u64 %rd9, %rd1, %rd8;
    st.global.f32 [%rd9], %f1;
    ret;
}
"""


class Kernel:
    """One launch, made once and repeated: (grid, block, arguments)."""

    def __init__(self, driver: Driver, function: int, grid: list[int], block: list[int], values: list[int]) -> None:
        self._launch, self._function = driver.cuLaunchKernel, function
        self._shape = (*grid, *block, 0)
        self._arguments, self._held = api.arguments(values)

    def launch(self, stream: int = 0) -> None:
        self._launch(self._function, *self._shape, stream, self._arguments, None)


class Module:
    """The kernels as the driver has loaded them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        module = driver.make("cuModuleLoadData", PTX.encode())
        names = ("count", "copy", "gemm")
        self._functions: dict[str, int] = {
            name: driver.make("cuModuleGetFunction", module, b"nightbench_" + name.encode()) for name in names
        }

    def count(self, counter: int) -> Kernel:
        return Kernel(self._driver, self._functions["count"], [1, 1, 1], [1, 1, 1], [counter])

    def copy(self, to: int, source: int, size: int) -> Kernel:
        blocks = -(-size // (COPY_BYTES * COPY_THREADS))
        return Kernel(self._driver, self._functions["copy"], [blocks, 1, 1], [COPY_THREADS, 1, 1], [to, source, size])

    def gemm(self, c: int, a: int, b: int, size: int) -> Kernel:
        tiles = size // TILE
        return Kernel(self._driver, self._functions["gemm"], [tiles, tiles, 1], [TILE, TILE, 1], [c, a, b, size])


def read_number(driver: Driver, at: int) -> int:
    found = ctypes.c_uint64()
    driver.cuMemcpyDtoH(ctypes.addressof(found), at, 8)
    return int(found.value)
