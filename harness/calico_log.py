# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a published log of the Calico node start-up test: a restarted calico-node, and a load beside it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.calico_label import Label, label_of
from harness.errors import UsageError

LARGEST = 16 * 2**20
SHAPE = "a log of that test says 'Calico-node startup time: 35s' under 'Starting Calico Node Restart Test'"
#: Where the start-up stands; it is one number, so all of them have to agree.
START_UPS = {
    "restart": r"became Ready in (\d{1,15}) seconds",
    "summary": r"^  Calico-node startup time: (\d{1,15})s$",
    "result": r"\((\d{1,15}) seconds(?: <|\))",
}
#: `calls  failed(share) | average minimum maximum median | calls a second …`: locust's line of all requests together.
AGGREGATED = re.compile(
    r"^\s+Aggregated\s+(?P<requests>\d{1,15})\s+(?P<failed>\d{1,15})\(\d+(?:\.\d+)?%\)\s*\|"
    r"\s*(?P<mean>\d{1,15})\s+(?P<least>\d{1,15})\s+(?P<most>\d{1,15})\s+(?P<median>\d{1,15})\s*\|",
    re.MULTILINE,
)
#: The summary's median with the lines that follow it: two tables in the log make two numbers of it.
MEDIAN = re.compile(r"^  Pod-to-Pod Median Latency(?: \(ms\))?: (?P<numbers>\d{1,15}(?:\n\d{1,15})*)ms$", re.MULTILINE)
RESULT = re.compile(r"(?P<result>SUCCESS|FAILURE): \S+ startup ")


@dataclass(frozen=True)
class Traffic:
    """All requests together, from the load's start to the moment of its table; times in milliseconds."""

    requests: int
    failed: int
    mean: int
    least: int
    most: int
    median: int

    @property
    def failure_ratio(self) -> float:
        return self.failed / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class CalicoLog:
    """What one log says, as its own word; None is what it does not say."""

    name: str
    label: Label
    dataplane: str | None  # asked of the operator: no log shows what the nodes ran
    kubernetes: str | None
    encapsulation: str | None
    bgp: str | None
    policies: int | None
    services: int | None
    nodes: int | None
    nodes_are_ready: bool | None  # the older form counted nodes that were not Ready too
    pods_on_node: int | None
    start_ups: Mapping[str, int]
    limit: int | None
    succeeded: bool | None
    traffic: tuple[Traffic, ...]  # in the log's order: the last one covers the longest time
    medians: tuple[int, ...]  # as its summary prints them
    sha256: str
    data: bytes

    @property
    def start_up(self) -> int | None:
        """None where the log contradicts itself."""
        found = set(self.start_ups.values())
        return found.pop() if len(found) == 1 else None

    @property
    def total(self) -> Traffic | None:
        return self.traffic[-1] if self.traffic else None

    @property
    def document(self) -> dict[str, Any]:
        """Without the bytes: what is written down of it."""
        found = {name: value for name, value in asdict(self).items() if name != "data"}
        return found | {"start_ups": dict(self.start_ups), "medians": list(self.medians), "traffic": self._traffic}

    @property
    def _traffic(self) -> list[dict[str, int]]:
        return [asdict(item) for item in self.traffic]


def read(path: Path, name: str = "") -> CalicoLog:
    """Raise UsageError for whatever is no such log, naming what is wrong with it."""
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise UsageError(f"{path} is {size:,} bytes long: no log of the test is", hint=SHAPE)
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text: {error.reason} at byte {error.start}", hint=SHAPE) from error
    try:
        return parse(text.replace("\r\n", "\n"), name or path.name, data)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", hint=error.hint or SHAPE) from error


def parse(text: str, name: str, data: bytes) -> CalicoLog:
    tests = max(text.count("=== Starting Calico Node Restart Test ==="), text.count("\nTEST RESULTS SUMMARY\n"))
    if tests > 1:
        raise UsageError(f"holds {tests} tests", hint="cut it into one file a test")
    start_ups = {
        place: int(found[1]) for place, what in START_UPS.items() if (found := re.search(what, text, re.MULTILINE))
    }
    if not start_ups:
        raise UsageError("says no start-up time")
    result = RESULT.search(text)
    medians = MEDIAN.search(text)
    ready, every = _number(text, "Total Ready Nodes"), _number(text, "Total Nodes")
    dataplane = _said(text, "Dataplane Mode")
    return CalicoLog(
        name=name,
        label=label_of(text, name),
        dataplane=dataplane if dataplane and re.fullmatch(r"[A-Za-z]+", dataplane) else None,
        kubernetes=_said(text, "Kubernetes Version"),
        encapsulation=_said(text, "Encapsulation(?: Type)?"),
        bgp=_said(text, "BGP Enabled"),
        policies=_number(text, "Total NetworkPolicies"),
        services=_number(text, "Total Services"),
        nodes=every if ready is None else ready,
        nodes_are_ready=None if ready is None and every is None else ready is not None,
        pods_on_node=_number(text, r"Pods on target node(?: \([^)]*\))?"),
        start_ups=start_ups,
        limit=_number(text, "Acceptable Startup Time", "s") or _limit_of_result(text),
        succeeded=result["result"] == "SUCCESS" if result else None,
        traffic=tuple(
            Traffic(*(int(row[what]) for what in ("requests", "failed", "mean", "least", "most", "median")))
            for row in AGGREGATED.finditer(text)
        ),
        medians=tuple(int(one) for one in medians["numbers"].split("\n")) if medians else (),
        sha256=hashlib.sha256(data).hexdigest(),
        data=data,
    )


def _said(text: str, what: str) -> str | None:
    found = re.search(rf"^ *{what}: (\S.*)$", text, re.MULTILINE)
    value = found[1].strip() if found else ""
    return value if value and value not in ("null", "Unknown") else None


def _number(text: str, what: str, unit: str = "") -> int | None:
    found = re.search(rf"^ *{what}: (\d{{1,15}}){unit}$", text, re.MULTILINE)
    return int(found[1]) if found else None


def _limit_of_result(text: str) -> int | None:
    """A log whose beginning is cut off still ends with the limit."""
    found = re.search(r"(?:< (\d{1,15})s\)|to meet (\d{1,15}) second startup)", text)
    return int(found[1] or found[2]) if found else None
