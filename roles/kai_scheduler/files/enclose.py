# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a program in a network of its own, of which only named ports of 127.0.0.1 lead in and out.

    enclose.py --out PORT --in PORT -- PROGRAM ARGUMENT…

A program that listens on every address of the machine whatever it is told listens on those of this network alone, and
reaches the machine's 127.0.0.1:PORT (--out) at the same address; the machine reaches its 127.0.0.1:PORT (--in) so too.
The process becomes the program: its pid and signals are the program's. A child carries the bytes between both networks
and ends with it. It needs the right to make a network (CAP_SYS_ADMIN).
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import threading

CLONE_NEWNET = 0x40000000  # linux/sched.h
PR_SET_PDEATHSIG = 1  # linux/prctl.h
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1  # linux/sockios.h, linux/if.h
HERE = "127.0.0.1"
BLOCK = 2**16
CONNECT_SECONDS = 10.0

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--out", type=int, action="append", default=[])
    arguments.add_argument("--in", type=int, action="append", default=[], dest="into")
    arguments.add_argument("program", nargs="+")
    given = arguments.parse_args()
    machine = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    # A socket stays in the network in which it was made.
    entrances = [listen(port) for port in given.into]
    _call("make a network", _libc.unshare(CLONE_NEWNET))
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    _up()
    exits = [listen(port) for port in given.out]
    program = os.getpid()
    if os.fork() == 0:
        _carry(machine, own, entrances, exits, program)
    for one in (*entrances, *exits):
        one.close()
    os.execv(given.program[0], given.program)


def listen(port: int) -> socket.socket:
    try:
        return socket.create_server((HERE, port), backlog=64)
    except OSError as error:
        sys.exit(f"enclose: listen on {HERE}:{port}: {error.strerror}")


def _carry(machine: int, own: int, entrances: list[socket.socket], exits: list[socket.socket], program: int) -> None:
    """Until the program ends. Each thread belongs to the network into which it connects."""
    _call("end with the program", _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    if os.getppid() != program:
        os._exit(0)
    for network, listeners in ((own, entrances), (machine, exits)):
        for one in listeners:
            threading.Thread(target=_serve, args=(one, network), daemon=True).start()
    signal.pause()


def _serve(listener: socket.socket, network: int) -> None:
    """A socket that is made here is one of that network: a thread may be in another than its process."""
    _call("enter a network", _libc.setns(network, CLONE_NEWNET))
    address = listener.getsockname()
    while True:
        near, _ = listener.accept()
        try:
            far = socket.create_connection(address, timeout=CONNECT_SECONDS)
        except OSError:
            near.close()
            continue
        far.settimeout(None)
        for one in (near, far):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(BLOCK):
            target.sendall(block)
    for one, how in ((target, socket.SHUT_WR), (source, socket.SHUT_RD)):
        with contextlib.suppress(OSError):
            one.shutdown(how)


def _up() -> None:
    """A new network has a loopback device that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


def _call(what: str, answer: int) -> None:
    if answer != 0:
        sys.exit(f"enclose: {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    main()
