# SPDX-License-Identifier: GPL-3.0-or-later
"""What one iperf3 client wrote (`iperf3 -J`, 3.12 to 3.21), reduced to what a cell of the mesh needs.

Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import json
from typing import Any

#: Text of iperf_strerror(IEACCESS), src/iperf_error.c of esnet/iperf: the server serves one test at a time.
BUSY = "the server is busy"

FORWARD, REVERSE = "forward", "reverse"
#: Which sums belong to a direction. With -R alone the plain ones are of the reverse direction.
SUMS = {FORWARD: ("sum_sent", "sum_received"), REVERSE: ("sum_sent_bidir_reverse", "sum_received_bidir_reverse")}


def read(text: str) -> dict[str, Any]:
    """{"error", "version", "local_address", "remote_address", "flows": {"forward" and/or "reverse": measures}}.

    With an error there are no flows: half a test is no measurement.
    """
    document, error = _decode(text)
    start = _mapping(document.get("start"))
    connected = [one for one in start.get("connected") or [] if isinstance(one, dict)]
    found: dict[str, Any] = {
        "error": error or _error(document.get("error")),
        "version": str(start.get("version", "")).replace("iperf", "").strip() or None,
        "local_address": _joined(connected, "local_host"),
        "remote_address": _joined(connected, "remote_host"),
        "flows": {},
    }
    if found["error"]:
        return found
    end = _mapping(document.get("end"))
    test = _mapping(start.get("test_start"))
    sockets = {one.get("socket") for one in connected}
    directions = _directions(end, test)
    for direction, (sent, received) in directions.items():
        if not isinstance(end.get(sent), dict) and not isinstance(end.get("sum"), dict):
            found["error"] = f"the result of iperf3 has no end.{sent}: it was cut short"
            found["flows"] = {}
            return found
        found["flows"][direction] = _flow(end, direction, sent, received, sockets)
    return found


def _decode(text: str) -> tuple[dict[str, Any], str | None]:
    if not text.strip():
        return {}, "iperf3 wrote nothing"
    try:
        document = json.loads(text)
    except ValueError as error:
        return {}, f"iperf3 wrote no whole result ({len(text)} characters: {error})"
    if not isinstance(document, dict):
        return {}, "iperf3 wrote something else than a result"
    return document, None


def _error(value: Any) -> str | None:
    """Some versions write the key with an empty text."""
    text = str(value or "").strip()
    return text.removeprefix("error - ") or None if text else None


def _directions(end: dict[str, Any], test: dict[str, Any]) -> dict[str, tuple[str, str]]:
    if test.get("bidir") or SUMS[REVERSE][0] in end:
        return dict(SUMS)
    return {REVERSE if test.get("reverse") else FORWARD: SUMS[FORWARD]}


def _flow(end: dict[str, Any], direction: str, sent_key: str, received_key: str, sockets: set[Any]) -> dict[str, Any]:
    streams = _streams(end, direction)
    sent = _mapping(end.get(sent_key) or end.get("sum"))
    received = _mapping(end.get(received_key))
    packets, lost = _number(received.get("packets")), _number(received.get("lost_packets"))
    if not packets:
        whole = _mapping(end.get("sum"))
        packets, lost = _number(whole.get("packets")), _number(whole.get("lost_packets"))
    lost_ratio = lost / packets if packets and lost is not None else None
    received_bytes = _number(received.get("bytes"))
    if received_bytes is None:  # UDP before sum_received was written
        received_bytes = (_number(sent.get("bytes")) or 0) * (1 - (lost_ratio or 0))
    # Each end has its own: one that was late to look at its clock says less than the test took.
    seconds = max(_number(received.get("seconds")) or 0, _number(sent.get("seconds")) or 0)
    jitter = _number(received.get("jitter_ms"))
    cpu = _mapping(end.get("cpu_utilization_percent"))
    client, server = _ratio(cpu.get("host_total")), _ratio(cpu.get("remote_total"))
    sends = direction == FORWARD
    return {
        "sent_bytes": _number(sent.get("bytes")),
        "received_bytes": int(received_bytes),
        "seconds": seconds,
        "goodput_bytes_per_second": received_bytes / seconds if seconds else None,
        "retransmits": _number(sent.get("retransmits")),
        "rtt_seconds": _rtt(streams),
        "jitter_seconds": jitter / 1000 if jitter is not None and packets else None,
        "lost_ratio": lost_ratio,
        "sender_cpu_ratio": client if sends else server,
        "receiver_cpu_ratio": server if sends else client,
        "socket_bytes": _socket_bytes(streams, sends, sockets),
        "streams": len(streams),
    }


def _streams(end: dict[str, Any], direction: str) -> list[dict[str, Any]]:
    """The streams of the direction: `sender` says whether it is the client that sends on the socket."""
    found = [one for one in end.get("streams") or [] if isinstance(one, dict)]
    if SUMS[REVERSE][0] not in end:
        return found
    return [one for one in found if bool(_half(one, "sender").get("sender")) is (direction == FORWARD)]


def _half(stream: dict[str, Any], side: str) -> dict[str, Any]:
    return _mapping(stream.get(side) or stream.get("udp"))


def _socket_bytes(streams: list[dict[str, Any]], sends: bool, sockets: set[Any]) -> int | None:
    """Bytes of the client's own sockets, and of those only whose addresses are known."""
    halves = [_half(one, "sender" if sends else "receiver") for one in streams]
    counted = [_number(one.get("bytes")) for one in halves if one.get("socket") in sockets]
    return int(sum(one or 0 for one in counted)) if counted and len(counted) == len(streams) else None


def _rtt(streams: list[dict[str, Any]]) -> float | None:
    """Mean of the streams; iperf3 writes microseconds, and 0 where the other side sent."""
    values = [_number(_half(one, "sender").get("mean_rtt")) for one in streams]
    known = [one for one in values if one]
    return sum(known) / len(known) / 1e6 if known else None


def _joined(connected: list[dict[str, Any]], key: str) -> str | None:
    """One address, or all of them where the streams differ."""
    return ",".join(sorted({str(one.get(key)) for one in connected})) or None


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _number(value: Any) -> Any:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _ratio(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else number / 100
