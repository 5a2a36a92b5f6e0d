# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrivals that were recorded elsewhere: read, cut, and scaled in time and size apart. Pure but for reading the file.

Azure LLM inference trace 2023 (Azure/AzurePublicDataset, CC-BY; Patel et al., Splitwise, ISCA 2024):
TIMESTAMP,ContextTokens,GeneratedTokens. Alibaba GPU cluster trace 2023 (alibaba/clusterdata, cluster-trace-gpu-v2023;
Weng et al., Beware of Fragmentation, USENIX ATC 2023): creation_time, deletion_time and num_gpu of each pod, seconds.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from .arrivals import number
from .errors import ConfigurationError

_Row = Mapping[str, str]


@dataclass(frozen=True)
class Arrival:
    """at: seconds after the first. input, output: tokens; of a pod its GPUs and the seconds it ran."""

    at: float
    input: int
    output: int


@dataclass(frozen=True)
class Trace:
    """What of a trace is replayed, before and after it is scaled, and of which bytes it is."""

    path: str
    sha256: str
    whole: tuple[float, ...]  # every moment of the file, in its own seconds
    arrivals: tuple[Arrival, ...]  # of the slice, scaled
    source: tuple[float, ...]  # of the slice, in the trace's own seconds


def _azure(row: _Row) -> Arrival:
    # Seven digits after the second; Python 3.9 reads six.
    stamp = datetime.fromisoformat(row["TIMESTAMP"][:26].ljust(26, "0"))
    at = (stamp - datetime(1970, 1, 1)).total_seconds()
    return Arrival(at, int(row["ContextTokens"]), int(row["GeneratedTokens"]))


def _alibaba(row: _Row) -> Arrival:
    created, deleted = float(row["creation_time"]), float(row["deletion_time"] or row["creation_time"])
    return Arrival(created, int(row["num_gpu"]), max(0, int(deleted - created)))


#: What a file that is not what it should be is told by: packed wrong, cut off, no table, without a column, no number.
BROKEN = (OSError, EOFError, zlib.error, csv.Error, ValueError, KeyError, TypeError, OverflowError)
READERS: Mapping[str, Callable[[_Row], Arrival]] = {"azure_llm": _azure, "alibaba_gpu": _alibaba}


def read(data: bytes, form: str, path: str) -> list[Arrival]:
    """Every arrival of a file's bytes, gzipped or not, in order, the first at 0."""
    if form not in READERS:
        raise ConfigurationError(f"arrivals: trace: format {form} is none of {', '.join(READERS)}.")
    try:
        text = (gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode("utf-8-sig")
        found = sorted(map(READERS[form], csv.DictReader(io.StringIO(text))), key=lambda one: one.at)
        negative = next((one for one in found if one.input < 0 or one.output < 0), None)
        if negative is not None:
            raise ValueError(f"a size below 0: {negative}")
    except BROKEN as error:
        raise ConfigurationError(
            f"arrivals: trace: {path} cannot be read as {form}: {type(error).__name__}: {error}.",
            hint="Is it the file that the format is of, whole, with its header?",
        ) from error
    if len(found) < 2:
        raise ConfigurationError(f"arrivals: trace: {path} has {len(found)} arrivals; at least 2 make a trace.")
    first = found[0].at
    return [Arrival(one.at - first, one.input, one.output) for one in found]


def replay(options: Mapping[str, Any], seconds: float | None = None, count: int | None = None) -> Trace:
    """The slice that fills so many seconds, or has so many arrivals, once `time_scale` of its seconds pass in one."""
    if not isinstance(options, Mapping):
        raise ConfigurationError(f"arrivals: trace: path and format of a file, not {options!r}.")
    path, form = str(options.get("path") or ""), str(options.get("format") or "")
    begin = number(options, "from_seconds")
    time_scale, size_scale = number(options, "time_scale", 1.0), number(options, "size_scale", 1.0)
    if begin < 0 or not (time_scale > 0 and size_scale > 0):
        raise ConfigurationError("arrivals: trace: from_seconds is at least 0, time_scale and size_scale are above 0.")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"arrivals: trace: {path or 'no path'} cannot be read: {error.strerror}.") from error
    every = read(data, form, path)
    end = math.inf if seconds is None else begin + seconds * time_scale
    chosen = [one for one in every if begin <= one.at < end][:count]
    if len(chosen) < 2 or (count is not None and len(chosen) < count):
        raise ConfigurationError(
            f"arrivals: trace: {len(chosen)} arrivals of {path} lie in the slice, of {len(every)} in "
            f"{every[-1].at:.0f} s.",
            hint="Begin earlier, or let more of the trace's seconds pass in one (time_scale).",
        )
    zero = begin if count is None else chosen[0].at
    scaled = [
        Arrival((one.at - zero) / time_scale, _sized(one.input, size_scale), _sized(one.output, size_scale))
        for one in chosen
    ]
    return Trace(
        path,
        hashlib.sha256(data).hexdigest(),
        tuple(one.at for one in every),
        tuple(scaled),
        tuple(one.at for one in chosen),
    )


def _sized(value: int, scale: float) -> int:
    """Something stays something: a request of one token does not become one of none."""
    return max(min(value, 1), round(value * scale))
