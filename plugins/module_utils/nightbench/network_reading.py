# SPDX-License-Identifier: GPL-3.0-or-later
"""What many pods were given by their networks, read in one list, and compared with what was wanted."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError
from .kube import Kube
from .network_status import NETWORK_STATUS, Attachment, Wanted, of_pod, problem, same_addresses

POLL_SECONDS = (0.1, 2.0)  # the first pause and the longest


@dataclass
class Reading:
    """Every pod is in exactly one of `pods`, `missing` and `broken`; `wrong` is about those in `pods`."""

    pods: dict[str, list[Attachment]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)  # nobody has said anything yet, and why
    broken: dict[str, str] = field(default_factory=dict)  # what was said cannot be read
    wrong: list[dict[str, str]] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        return not (self.missing or self.broken or self.wrong)

    @property
    def hopeless(self) -> bool:
        """Multus writes the annotation once, when the pod is set up: what is wrong stays wrong."""
        return bool(self.broken or self.wrong)

    def as_json(self) -> dict[str, Any]:
        return {
            "pods": {pod: _by_interface(given) for pod, given in sorted(self.pods.items())},
            "missing": [{"pod": pod, "reason": why} for pod, why in sorted(self.missing.items())],
            "broken": [{"pod": pod, "reason": why} for pod, why in sorted(self.broken.items())],
            "wrong": self.wrong,
            "holds": self.holds,
        }


def read(kube: Kube, namespace: str, label_selector: str, wanted: Sequence[Wanted]) -> Reading:
    """One list; a pod that is wanted and does not exist is missing."""
    path = kube.resource("v1", "Pod").collection(namespace)
    items, _ = kube.list_pages(path, label_selector=label_selector)
    # A pod that is going has another of its name soon, and what it was given is nobody's any more.
    return of_pods([item for item in items if not item["metadata"].get("deletionTimestamp")], wanted)


def of_pods(items: Sequence[dict[str, Any]], wanted: Sequence[Wanted]) -> Reading:
    by_pod: dict[str, list[Wanted]] = defaultdict(list)
    for one in wanted:
        by_pod[one.pod].append(one)
    reading = Reading()
    for item in items:
        name = item["metadata"]["name"]
        if by_pod and name not in by_pod:
            continue
        try:
            given = of_pod(item)
        except ConfigurationError as error:
            reading.broken[name] = error.message
            continue
        if given is None:
            node = (item.get("spec") or {}).get("nodeName") or "no node"
            phase = (item.get("status") or {}).get("phase") or "Pending"
            reading.missing[name] = f"no annotation {NETWORK_STATUS} ({phase} on {node})"
        else:
            reading.pods[name] = given
    seen = {item["metadata"]["name"] for item in items}
    reading.missing |= {pod: "the pod does not exist" for pod in by_pod if pod not in seen}
    reading.wrong = _wrong(reading.pods, by_pod)
    return reading


def await_reading(look: Callable[[], Reading], over: Callable[[], bool]) -> Reading:
    """Look until nothing is missing, something is wrong for good, or it is over; `over` may raise."""
    pause = POLL_SECONDS[0]
    while True:
        reading = look()
        if not reading.missing or reading.hopeless or over():
            return reading
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS[1])


def _wrong(pods: dict[str, list[Attachment]], by_pod: dict[str, list[Wanted]]) -> list[dict[str, str]]:
    found = []
    for pod, given in sorted(pods.items()):
        for one in by_pod.get(pod, ()):
            reason = problem(one, given)
            if reason is not None:
                found.append({"pod": pod, "interface": one.interface, "reason": reason})
    for address, holders in sorted(same_addresses(pods).items()):
        others = ", ".join(holders[:10]) + (f" and {len(holders) - 10} more" if len(holders) > 10 else "")
        pod, _, interface = holders[0].rpartition("/")
        reason = f"{address} is the address of {len(holders)} interfaces: {others}"
        found.append({"pod": pod, "interface": interface, "reason": reason})
    return found


def _by_interface(given: list[Attachment]) -> dict[str, Any]:
    """Entries without an interface's name go by their network's."""
    return {one.interface or one.network: one.as_json() for one in given}
