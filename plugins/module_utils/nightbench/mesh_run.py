# SPDX-License-Identifier: GPL-3.0-or-later
"""A mesh from the control machine's side: deliver the plan, name the moment, wait, collect, have it given up.

All traffic is the agents' own. Whoever calls again with the same identity finds the mesh as it is and goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import mesh_preflight
from .errors import ConfigurationError, DeadlineExceeded, NightbenchError
from .mesh_agents import Agents, Answer, Clock
from .mesh_plan import Plan
from .mesh_pods import Exporter
from .mesh_rows import Collected

#: How often agents are asked while they work. Every question costs the pods' first interface a kilobyte.
POLL_SECONDS = 45.0
#: How many of them: rounds begin everywhere at the same instant, so a few tell how far all are.
WATCHED = 4
#: How often agents are asked where something is due: servers, the last round.
DUE_SECONDS = 0.5
#: What servers may take to listen.
LISTEN_SECONDS = 20.0
#: How long an agent may take to come, with all the others that come at the same moment.
COME_SECONDS = 60.0
#: How long after the last round an agent may still be at work: whoever is not done then hangs.
GRACE_SECONDS = 5.0


@dataclass
class Mesh:
    """One mesh: its plan, its agents and how far they are. Moments are of this machine's Unix clock."""

    plan: Plan
    agents: Agents
    identity: str
    check: Callable[[str], None]
    #: Why a pod cannot answer any more, by name: what the API server says of it.
    gone: Callable[[], Mapping[str, str]]
    deadline_seconds: float
    #: When an endless mesh is to end: seconds after its start, or as soon as the file exists.
    endless_seconds: float | None = None
    #: By pod: where its node tells the bytes of virtual functions, and which of them are behind its interfaces.
    exporters: Mapping[str, Exporter] = field(default_factory=dict)
    stop_path: Path | None = None
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    clocks: dict[str, Clock] = field(default_factory=dict)
    start: float | None = None
    ended: float | None = None
    taken_over: bool = False
    steps_done: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        return [pod.name for pod in self.plan.pods]

    def look(self) -> None:
        """Ask every agent what it is; the moment of the start where they are at work already."""
        answers, self.clocks = self.agents.states(self.names)
        if any(answer.value is None for answer in answers.values()):
            self._await_agents()
            answers, self.clocks = self.agents.states(self.names)
        silent = {name: answers[name].error for name in self.names if answers[name].value is None}
        self.states = {name: answers[name].value for name in self.names if answers[name].value is not None}
        starts = [
            float(state["start"]) - self.clocks[name].correction
            for name, state in self.states.items()
            if state["plan"] == self.identity and state["start"] is not None
        ]
        self.taken_over = bool(starts)
        self.start = min(starts, default=None)
        if silent and not self.taken_over:
            name, why = next(iter(silent.items()))
            raise NightbenchError(
                f"{len(silent)} of {len(self.names)} agents do not answer, {name} for one: {why}.",
                hint="Look at the pod's log; it has to be Running with the agent as its command.",
            )

    def deliver(self) -> None:
        """Give every agent its part, wait for the servers, and name the moment of the first round."""
        until = time.time() + self.deadline_seconds
        bodies = {
            pod.name: self.part(index, until + self.clocks[pod.name].correction)
            for index, pod in enumerate(self.plan.pods)
        }
        _all_good("take the plan", self.agents.ask("PUT", "plan", self.names, bodies))
        self._await_servers()
        self.start = time.time() + self.plan.lead_seconds
        starts = {
            name: {"id": self.identity, "start": self.start + self.clocks[name].correction} for name in self.names
        }
        _all_good("take the moment of the start", self.agents.ask("PUT", "start", self.names, starts))

    def part(self, index: int, until: float) -> dict[str, Any]:
        """What one agent has to know."""
        plan, profile = self.plan, self.plan.profile
        local = self.states[plan.pods[index].name]
        exporter = self.exporters.get(plan.pods[index].name)
        return {
            "id": self.identity,
            "rounds": len(plan.rounds),
            "steps": None if profile.endless else len(plan.rounds),
            "period": profile.period_seconds,
            "guard_seconds": profile.guard_seconds,
            "late_seconds": profile.late_seconds,
            "keep_steps": profile.keep_slices * len(plan.rounds),
            "until": until,
            "seconds": profile.seconds,
            "streams": profile.streams,
            "stream_bits_per_second": profile.stream_bits_per_second,
            "pacing_microseconds": profile.pacing_microseconds,
            "protocol": profile.protocol,
            "direction": profile.direction,
            "connect_milliseconds": int(profile.slack_seconds * 800),
            "local": {one.name: mesh_preflight.address(local, one.name) for one in profile.interfaces},
            "vf_exporter": exporter.as_json() if exporter else None,
            "servers": plan.servers(index),
            "cells": [
                [number, cell.target, cell.interface, self._address(cell.target, cell.interface), plan.port(cell)]
                for number, cells in enumerate(plan.rounds)
                for cell in cells
                if cell.source == index
            ],
        }

    def follow(self) -> Collected:
        """Wait until every agent that can has played its part; then fetch all results."""
        assert self.start is not None
        collected = Collected()
        if self.plan.profile.endless:
            self._follow_endless()
        due = self._end()
        left = list(self.names)
        try:
            while left:
                self._sleep(min(POLL_SECONDS, max(due - time.time(), DUE_SECONDS)))
                if time.time() < due and not all(self._looked_at(left[:WATCHED], collected)):
                    continue
                finished = self._looked_at(left, collected)
                left = [name for name, over in zip(left, finished, strict=True) if not over]
                if left and time.time() > due:
                    for name, why in self.gone().items():
                        collected.reasons[name] = why
                        left = [one for one in left if one != name]
                    if time.time() > due + self.plan.profile.period_seconds + GRACE_SECONDS:
                        break
        except DeadlineExceeded as error:
            collected.given_up = error.message
            self.stop()
        self.ended = time.time()
        self._fetch(collected)
        return collected

    def stop(self) -> None:
        """No agent begins another round."""
        self.agents.ask("PUT", "stop", self.names, {name: {"id": self.identity} for name in self.names})

    def hand_over(self) -> None:
        """The results are safe: agents that still have them may give them up."""
        self.agents.ask("DELETE", "result", self.names, identity=self.identity)

    def progress(self) -> dict[str, Any]:
        rounds = len(self.plan.rounds)
        done = sum(min(steps, rounds) for steps in self.steps_done.values()) / max(1, len(self.steps_done) * rounds)
        return {"done": int(done * self.plan.cells), "asked": self.plan.cells, "unit": "cells"}

    def _address(self, pod: int, interface: str) -> str | None:
        return mesh_preflight.address(self.states[self.plan.pods[pod].name], interface)

    def _await_agents(self) -> None:
        """Until all of them answer; not when some are at work already, for the others may never come."""
        bound = time.monotonic() + COME_SECONDS
        left = list(self.names)
        while left and time.monotonic() < bound:
            self.check(f"{len(left)} of {len(self.names)} agents do not answer yet")
            answers = self.agents.ask("GET", "progress", left)
            known = [answers[name].value for name in left if answers[name].value is not None]
            if any(one["plan"] == self.identity and one["start"] is not None for one in known):
                return
            left = [name for name in left if answers[name].value is None]
            if left and all(answers[name].error.startswith(("401", "403", "404")) for name in left):
                return
            if left:
                time.sleep(DUE_SECONDS)

    def _await_servers(self) -> None:
        wanted = {pod.name: len(self.plan.servers(index)) for index, pod in enumerate(self.plan.pods)}
        bound = time.monotonic() + LISTEN_SECONDS
        left = list(self.names)
        while left:
            self.check(f"{len(left)} of {len(self.names)} agents wait for their servers")
            answers = self.agents.ask("GET", "progress", left)
            left = [
                name
                for name in left
                if answers[name].value is None or (answers[name].value["listening"] or 0) < wanted[name]
            ]
            if left and time.monotonic() > bound:
                raise NightbenchError(
                    f"The servers of {len(left)} pods do not listen after {LISTEN_SECONDS:g} s, {left[0]} for one: "
                    f"{(answers[left[0]].value or {}).get('listening')} of {wanted[left[0]]}.",
                    hint="Is iperf3 in the pods' image, and are the ports free?",
                )
            if left:
                time.sleep(DUE_SECONDS)

    def _follow_endless(self) -> None:
        """Until it is asked to stop; the rest is as with any other plan."""
        assert self.start is not None
        end = None if self.endless_seconds is None else self.start + self.endless_seconds
        while (end is None or time.time() < end) and not (self.stop_path and self.stop_path.exists()):
            time.sleep(DUE_SECONDS)
            self.check("the mesh is endless and goes on")
        self.stop()

    def _end(self) -> float:
        assert self.start is not None
        period = self.plan.profile.period_seconds
        return time.time() + period if self.plan.profile.endless else self.start + len(self.plan.rounds) * period

    def _looked_at(self, names: Sequence[str], collected: Collected) -> list[bool]:
        """Of each of these agents whether nothing more comes of it."""
        answers = self.agents.ask("GET", "progress", names)
        return [self._finished(name, answers[name], collected) for name in names]

    def _finished(self, name: str, answer: Answer, collected: Collected) -> bool:
        """Whether nothing more comes of this agent."""
        if answer.value is None:
            collected.reasons[name] = answer.error
            return False
        collected.reasons.pop(name, None)
        if answer.value["plan"] != self.identity:
            collected.reasons[name] = "its agent does not know the plan any more (a new container with an empty folder)"
            return True
        self.steps_done[name] = int(answer.value["steps_done"])
        return bool(answer.value["finished"])

    def _fetch(self, collected: Collected) -> None:
        for name, answer in self.agents.ask("GET", "result", self.names, identity=self.identity).items():
            if answer.value is not None:
                collected.results[name] = answer.value
            else:
                collected.reasons.setdefault(name, answer.error)

    def _sleep(self, seconds: float) -> None:
        moment = time.monotonic() + seconds
        while True:
            progress = self.progress()
            self.check(f"{progress['done']:,} of {progress['asked']:,} cells are over")
            left = moment - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, DUE_SECONDS))


def _all_good(what: str, answers: Mapping[str, Answer]) -> None:
    bad: Sequence[tuple[str, str]] = [(name, one.error) for name, one in answers.items() if one.value is None]
    if bad:
        raise ConfigurationError(
            f"{len(bad)} of {len(answers)} agents did not {what}, {bad[0][0]} for one: {bad[0][1]}.",
            hint="Nothing was started; call again once its pod is well.",
        )
