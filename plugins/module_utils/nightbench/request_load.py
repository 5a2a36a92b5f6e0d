# SPDX-License-Identifier: GPL-3.0-or-later
"""A load of requests from the control machine's side: deliver the plan, name the moment, wait, fetch, have it given up.

The requests are the load generators' own; nothing depends on this machine once they have begun.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import ConfigurationError, NightbenchError
from .kube import Kube
from .mesh_agents import Agents, Answer, Clock
from .mesh_pods import listed
from .request_load_plan import LoadPlan

POLL_SECONDS = 1.0
WAIT_SECONDS = 0.2
#: How long a generator may take to answer for the first time.
COME_SECONDS = 60.0
#: Between naming the moment and the moment: a new process has to read its plan, and a thousand requests a millisecond.
LEAD_SECONDS = 1.0
LEAD_SECONDS_PER_REQUEST = 10e-6
#: After the last answer can have come a generator that is still at work hangs.
GRACE_SECONDS = 15.0


@dataclass
class RequestLoad:
    """One load; moments are of this machine's Unix clock. ``check`` raises when it is time to stop."""

    kube: Kube
    namespace: str
    selector: str
    agents: Agents
    plan: LoadPlan
    check: Callable[[str], None]
    identity: str = field(default_factory=lambda: uuid.uuid4().hex)
    names: list[str] = field(default_factory=list)
    addresses: list[list[str]] = field(default_factory=list)
    clocks: dict[str, Clock] = field(default_factory=dict)
    results: dict[str, dict[str, Any]] = field(default_factory=dict)
    start: float = 0.0
    ended: float = 0.0
    _over: dict[str, int] = field(default_factory=dict)

    def run(self) -> None:
        """From the pods as they are to the results of all generators, or NightbenchError."""
        self.names = sorted(running(listed(self.kube, self.namespace, self.selector)))
        if not self.names:
            raise ConfigurationError(
                f"No pod of {self.selector} runs in {self.namespace}: nobody sends the requests.",
                hint="Their command is load_agent.py; wait until they are Ready.",
            )
        self.addresses = [list(one.addresses) or self._addresses(one.label_selector) for one in self.plan.services]
        self._await_agents()
        try:
            self._deliver()
            self._follow()
        except NightbenchError:
            self.agents.ask("PUT", "stop", self.names, self._each({"id": self.identity}))
            self.hand_over()
            raise
        self._fetch()

    def hand_over(self) -> None:
        """The results are safe, or nobody wants them: the generators may forget them."""
        self.agents.ask("DELETE", "result", self.names, identity=self.identity)

    def progress(self) -> dict[str, Any]:
        return {"done": sum(self._over.values()), "asked": len(self.plan.due), "unit": "requests"}

    def _addresses(self, selector: str) -> list[str]:
        found = running(listed(self.kube, self.namespace, selector))
        if not found:
            raise ConfigurationError(
                f"No pod of {selector} runs in {self.namespace}: there is nobody to ask.",
                hint="Wait until the service's pods are Ready before the load.",
            )
        return [found[name] for name in sorted(found)]

    def _await_agents(self) -> None:
        bound = time.monotonic() + COME_SECONDS
        while True:
            answers, self.clocks = self.agents.states(self.names)
            silent = {name: answer.error for name, answer in answers.items() if answer.value is None}
            if not silent:
                return
            self.check(f"{len(silent)} of {len(self.names)} load generators do not answer yet")
            refused = all(error.startswith(("401", "403", "404")) for error in silent.values())
            if refused or time.monotonic() > bound:
                name, why = next(iter(silent.items()))
                raise NightbenchError(
                    f"{len(silent)} of {len(self.names)} load generators do not answer, {name} for one: {why}.",
                    hint="Look at the pod's log; it has to be Running with load_agent.py as its command.",
                )
            time.sleep(WAIT_SECONDS)

    def _deliver(self) -> None:
        parts = {
            name: {"id": self.identity, **self.plan.part(index, len(self.names), self.addresses)}
            for index, name in enumerate(self.names)
        }
        _all_good("take the plan", self.agents.ask("PUT", "plan", self.names, parts))
        self.start = time.time() + LEAD_SECONDS + LEAD_SECONDS_PER_REQUEST * len(self.plan.due)
        starts = {
            name: {"id": self.identity, "start": self.start + self.clocks[name].correction} for name in self.names
        }
        _all_good("take the moment of the start", self.agents.ask("PUT", "start", self.names, starts))

    def _follow(self) -> None:
        """Until every generator is done; one that broke or hangs ends the load."""
        last = self.start + self.plan.due[-1][0]
        bound = last + self.plan.answer_seconds + GRACE_SECONDS
        left = list(self.names)
        while left:
            # Near the end more often: nobody has to wait a second for the last answer.
            self._sleep(POLL_SECONDS if time.time() + POLL_SECONDS < last else WAIT_SECONDS)
            answers = self.agents.ask("GET", "progress", left)
            left = [name for name in left if not self._finished(name, answers[name])]
            if left and time.time() > bound:
                answer = answers[left[0]]
                raise NightbenchError(
                    f"{len(left)} of {len(self.names)} load generators are not done {GRACE_SECONDS:g} s after the last "
                    f"answer was due, {left[0]} for one: {answer.error or answer.value}.",
                    hint="Does its pod still run, and has its node processor time left?",
                )
        self.ended = time.time()

    def _finished(self, name: str, answer: Answer) -> bool:
        if answer.value is None:
            return False
        if answer.value["plan"] != self.identity:
            raise NightbenchError(
                f"Load generator {name} does not know the load any more: it was restarted or got another plan.",
                hint="One load at a time; look for a restart of its container.",
            )
        if answer.value["failed"]:
            raise NightbenchError(f"Load generator {name} broke: {answer.value['failed']}")
        self._over[name] = int(answer.value["over"])
        return bool(answer.value["finished"])

    def _fetch(self) -> None:
        answers = self.agents.ask("GET", "result", self.names, identity=self.identity)
        _all_good("hand over its result", answers)
        self.results = {name: answer.value for name, answer in answers.items()}

    def _sleep(self, seconds: float) -> None:
        moment = time.monotonic() + seconds
        while (left := moment - time.monotonic()) > 0:
            self.check(f"{sum(self._over.values())} of {len(self.plan.due)} requests are over")
            time.sleep(min(left, WAIT_SECONDS))

    def _each(self, body: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
        return dict.fromkeys(self.names, body)


def running(items: list[dict[str, Any]]) -> dict[str, str]:
    """Address by name of the pods that are Ready and stay."""
    found = {}
    for item in items:
        status = item.get("status") or {}
        ready = any(
            one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or []
        )
        if ready and status.get("podIP") and not item["metadata"].get("deletionTimestamp"):
            found[item["metadata"]["name"]] = str(status["podIP"])
    return found


def _all_good(what: str, answers: Mapping[str, Answer]) -> None:
    bad = [(name, one.error) for name, one in answers.items() if one.value is None]
    if bad:
        raise NightbenchError(
            f"{len(bad)} of {len(answers)} load generators did not {what}, {bad[0][0]} for one: {bad[0][1]}.",
            hint="Call again once its pod is well.",
        )
