# SPDX-License-Identifier: GPL-3.0-or-later
"""One end of a UDP probe, in one file without anything beside the standard library: it runs where the pods are.

The sender sends one packet of each flow every few milliseconds: of the flow `established` always from the same port,
and the receiver answers it now and then, so that the kernel knows it as established; of the flow `new` each from a port
that was not used for as long as the kernel remembers. The receiver writes down what arrived, with the kernel's own
stamp. Which packets a policy lets through, and from when on, is found out elsewhere, from both files.

    udp_probe.py send    --address A --port P --source S --seconds N --interval 0.005 --token T --out FILE
    udp_probe.py receive --address A --port P --seconds N --token T --out FILE

Both end early on SIGTERM and write their file then; a line "ready" on standard output says that they run.
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import os
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

#: token, flow, number of the packet, CLOCK_REALTIME in nanoseconds when it was sent.
PACKET = struct.Struct("!8sBIQ")
FLOWS = ("established", "new")
ESTABLISHED, NEW = 0, 1
#: A UDP flow that nobody answers is forgotten after 30 s (net.netfilter.nf_conntrack_udp_timeout): 40,000 ports at
#: 200 a second come again after 200 s.
FIRST_PORT, LAST_PORT = 20_000, 59_999
#: The receiver looks into its socket so often: what arrived has the kernel's stamp, so nothing is lost by being late.
DRAIN_SECONDS = 0.05
#: So many packets of the established flow for one answer.
ANSWER_EVERY = 25
BUFFER_BYTES = 4 * 2**20
SO_TIMESTAMPNS = 35  # asm-generic/socket.h: SO_TIMESTAMPNS_OLD
_TIMESPEC = struct.Struct("@ll")


class Stopping:
    """True once SIGTERM came or the time is over."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds
        self.asked = False
        signal.signal(signal.SIGTERM, self._ask)
        signal.signal(signal.SIGINT, self._ask)

    def __bool__(self) -> bool:
        return self.asked or time.monotonic() >= self.ends

    def _ask(self, number: int, frame: object) -> None:
        self.asked = True


def send(args: argparse.Namespace, stopping: Stopping) -> dict[str, Any]:
    """Packets at the moments of a plan; a moment that was missed is left out, never made up for."""
    token, target = args.token.encode().ljust(8)[:8], (args.address, args.port)
    established = _socket(args.source, 0)
    established.setblocking(False)
    ports = _ports()
    sent: list[int] = []
    errors: Counter[str] = Counter()
    interval = int(args.interval * 1e9)
    due = time.monotonic_ns()
    _ready()
    while not stopping:
        number, now = len(sent), time.time_ns()
        sent.append(time.monotonic_ns())
        _send(established, PACKET.pack(token, ESTABLISHED, number, now), target, errors)
        fresh = _new_socket(args.source, ports, errors)
        _send(fresh, PACKET.pack(token, NEW, number, now), target, errors)
        fresh.close()
        # Whole intervals: a late one is not followed by a hurried one.
        late = time.monotonic_ns() - due
        due += interval * max(1, -(-late // interval))
        time.sleep(max(0, due - time.monotonic_ns()) / 1e9)
    established.close()
    return {"sent": sent, "errors": dict(errors), "interval": args.interval}


def receive(args: argparse.Namespace, stopping: Stopping) -> dict[str, Any]:
    token = args.token.encode().ljust(8)[:8]
    sock = _socket(args.address, args.port)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sock.setblocking(False)
    arrived: dict[str, list[list[int]]] = {flow: [] for flow in FLOWS}
    errors: Counter[str] = Counter()
    _ready()
    while True:
        last = bool(stopping)
        for data, at, source in _drain(sock, errors):
            if len(data) != PACKET.size or not data.startswith(token):
                errors["a packet that is not ours"] += 1
                continue
            _, flow, number, sent = PACKET.unpack(data)
            # The number, and how long it took on its way; an answer that is refused is the sender's concern.
            arrived[FLOWS[flow]].append([number, at - sent])
            if flow == ESTABLISHED and number % ANSWER_EVERY == 0:
                _send(sock, data, source, errors)
        if last:
            sock.close()
            return {"arrived": arrived, "errors": dict(errors)}
        time.sleep(DRAIN_SECONDS)


def _drain(sock: socket.socket, errors: Counter[str]) -> Iterator[tuple[bytes, int, Any]]:
    while True:
        try:
            data, ancillary, _, source = sock.recvmsg(64, 64)
        except BlockingIOError:
            return
        except OSError as error:  # ICMP errors of our answers come back here
            errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1
            continue
        stamp = next((value for level, kind, value in ancillary if kind == SO_TIMESTAMPNS), None)
        if stamp is None:
            errors["a packet without the kernel's stamp"] += 1
            yield data, time.time_ns(), source
        else:
            seconds, nanoseconds = _TIMESPEC.unpack(stamp)
            yield data, seconds * 1_000_000_000 + nanoseconds, source


def _ports() -> Iterator[int]:
    while True:
        yield from range(FIRST_PORT, LAST_PORT + 1)


def _new_socket(source: str, ports: Iterator[int], errors: Counter[str]) -> socket.socket:
    while True:
        try:
            return _socket(source, next(ports))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            errors["EADDRINUSE"] += 1


def _socket(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


def _send(sock: socket.socket, data: bytes, target: Any, errors: Counter[str]) -> None:
    """A packet that cannot be sent is one that does not arrive: a policy on the way out refuses it like this."""
    try:
        sock.sendto(data, target)
    except OSError as error:
        errors[errno.errorcode.get(error.errno or 0, "unknown")] += 1


def _ready() -> None:
    print("ready", flush=True)


def _scheduling() -> str:
    """Ahead of everybody where we may: a probe that waits for a busy machine sees less."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError:
        return "other"
    return "fifo"


def _wall_offset() -> int:
    return time.time_ns() - time.monotonic_ns()


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("end", choices=["send", "receive"])
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--source", default="0.0.0.0")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--interval", type=float, default=0.005)
    parser.add_argument("--token", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    stopping = Stopping(args.seconds)
    gc.disable()  # nothing here makes cycles, and a collection is a gap
    header = {
        "end": args.end,
        "token": args.token,
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "scheduling": _scheduling(),
        "wall_offset_start": _wall_offset(),
        "started": time.monotonic_ns(),
    }
    used = time.process_time()
    found = (send if args.end == "send" else receive)(args, stopping)
    found |= header | {
        "ended": time.monotonic_ns(),
        "wall_offset_end": _wall_offset(),
        "cpu_seconds": time.process_time() - used,
    }
    partial = args.out.with_name(args.out.name + ".partial")
    partial.write_text(json.dumps(found))
    partial.replace(args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
