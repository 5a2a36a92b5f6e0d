# SPDX-License-Identifier: GPL-3.0-or-later
"""What a mesh does, as data: a scenario of the suite, checked once and then only read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError
from .names import unknown

CHOICES = {
    "plan": ("isolated", "rings", "all_at_once", "coloured"),
    "protocol": ("tcp", "udp"),
    "direction": ("forward", "reverse", "both"),
    "server_ports": ("one_per_interface", "one_per_peer"),
}
PAIRS = ("all", "across_nodes", "within_node")
LIMITS = ("node", "nic", "link")

#: iperf3's own bounds: MAX_STREAMS (src/iperf.h) and MAX_TIME (src/iperf_api.h).
MOST_STREAMS = 128
MOST_SECONDS = 86_400

#: First version with what is asked (RELNOTES.md of esnet/iperf).
BIND_DEVICE = (3, 10)
THREADS = (3, 16)


@dataclass(frozen=True)
class Interface:
    """An interface of the pods, and between which of them it is used."""

    name: str
    pairs: str = "all"
    #: Extended resource of the virtual functions behind it, where it has any.
    resource: str = ""


@dataclass(frozen=True)
class Profile:
    """A checked profile."""

    interfaces: Sequence[Interface]
    plan: str = "rings"
    protocol: str = "tcp"
    direction: str = "forward"
    server_ports: str = "one_per_interface"
    #: Of a connection, over all of its streams; 0 for as much as goes.
    bits_per_second: int = 10_000_000_000
    streams: int = 16
    seconds: int = 10
    slack_seconds: float = 5.0
    #: How often iperf3 looks whether a stream with a rate may send; 0 for its own (1,000).
    pacing_microseconds: int = 0
    endless: bool = False
    keep_slices: int = 1000
    limits: dict[str, int] = field(default_factory=dict)

    @property
    def period_seconds(self) -> float:
        """From the start of a round to that of the next."""
        return self.seconds + self.slack_seconds

    @property
    def guard_seconds(self) -> float:
        """What is left at the end of a round for late bytes, killing and counting."""
        return min(0.3, self.slack_seconds / 4)

    @property
    def late_seconds(self) -> float:
        """An agent that comes later than this would make the next round's servers busy."""
        return self.slack_seconds / 2

    @property
    def stream_bits_per_second(self) -> int:
        """iperf3's -b is per stream (src/iperf3.1)."""
        return math.ceil(self.bits_per_second / self.streams)

    @property
    def directions(self) -> tuple[str, ...]:
        return ("forward", "reverse") if self.direction == "both" else (self.direction,)

    @property
    def iperf3_version(self) -> tuple[int, int]:
        """The first version that does what is asked; before 3.16 all streams share one thread."""
        return THREADS if self.streams > 1 else BIND_DEVICE


def read(given: Mapping[str, Any], interfaces: Sequence[str], resources: Mapping[str, str]) -> Profile:
    """The profile out of a scenario's ``mesh``; raises ConfigurationError naming everything that is wrong."""
    values = {**_DEFAULTS, **given}
    problems = unknown("key of the mesh", given, _DEFAULTS)
    for name, choices in CHOICES.items():
        if values[name] not in choices:
            problems.append(f"{name} is {values[name]!r}; it has to be one of {', '.join(choices)}.")
    streams = _whole("streams", values["streams"], 1, MOST_STREAMS, problems)
    seconds = _whole("seconds", values["seconds"], 1, MOST_SECONDS, problems)
    bits = _whole("bits_per_second", values["bits_per_second"], 0, 10**15, problems)
    keep = _whole("keep_slices", values["keep_slices"], 1, 10**6, problems)
    pacing = _whole("pacing_microseconds", values["pacing_microseconds"], 0, 10**6, problems)
    slack = _seconds("slack_seconds", values["slack_seconds"], problems)
    pairs = _pairs(values["pairs"], interfaces, problems)
    limits = _limits(values["limits"], problems)
    if values["plan"] == "coloured" and not limits:
        problems.append(f"plan coloured needs limits: how many cells at a time for one of {', '.join(LIMITS)}.")
    if values["plan"] != "coloured" and limits:
        problems.append(f"limits hold for the plan coloured only, not for {values['plan']}.")
    if not interfaces or len(set(interfaces)) < len(interfaces):
        problems.append(f"interfaces are {list(interfaces)}: at least one is needed, and each once.")
    if problems:
        raise ConfigurationError("The mesh cannot be run as asked: " + " ".join(problems))
    return Profile(
        interfaces=[Interface(name, pairs[name], resources.get(name, "")) for name in interfaces],
        bits_per_second=bits,
        streams=streams,
        seconds=seconds,
        slack_seconds=slack,
        pacing_microseconds=pacing,
        endless=bool(values["endless"]),
        keep_slices=keep,
        limits=limits,
        **{name: str(values[name]) for name in CHOICES},
    )


_DEFAULTS: dict[str, Any] = {
    "plan": "rings",
    "protocol": "tcp",
    "direction": "forward",
    "server_ports": "one_per_interface",
    "bits_per_second": 10_000_000_000,
    "streams": 16,
    "seconds": 10,
    "slack_seconds": 5.0,
    "pacing_microseconds": 0,
    "endless": False,
    "keep_slices": 1000,
    "limits": {},
    "pairs": "all",
}


def _pairs(value: Any, interfaces: Collection[str], problems: list[str]) -> dict[str, str]:
    """One word for every interface, or a word for each: by position, the last one for all that follow."""
    words = [value] if isinstance(value, str) else list(value or [])
    problems += unknown("word for pairs", words, PAIRS)
    words = [word for word in words if word in PAIRS] or ["all"]
    return {name: words[min(number, len(words) - 1)] for number, name in enumerate(interfaces)}


def _limits(value: Any, problems: list[str]) -> dict[str, int]:
    if not isinstance(value, Mapping):
        problems.append(f"limits are {value!r}; they have to be a mapping of {', '.join(LIMITS)} to numbers.")
        return {}
    problems += unknown("limit", value, LIMITS)
    return {name: _whole(f"limits.{name}", value[name], 1, 10**6, problems) for name in LIMITS if name in value}


def _whole(name: str, value: Any, least: int, most: int, problems: list[str]) -> int:
    """Values from the command line are strings."""
    text = str(value).strip()
    if isinstance(value, bool) or not (text.isascii() and text.isdigit()) or not least <= int(text) <= most:
        problems.append(f"{name} is {value!r}; it has to be a whole number from {least:,} to {most:,}.")
        return least
    return int(text)


def _seconds(name: str, value: Any, problems: list[str]) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if not 0.2 <= seconds <= MOST_SECONDS:
        problems.append(f"{name} is {value!r}; it has to be a number of seconds from 0.2 to {MOST_SECONDS:,}.")
        return 1.0
    return seconds
