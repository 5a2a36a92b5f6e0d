# SPDX-License-Identifier: GPL-3.0-or-later
"""From what agents hand over to a row for every cell that was asked for."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ansible.module_utils.nightbench import mesh_plan, mesh_pods, mesh_profile, mesh_rows
from ansible.module_utils.nightbench.mesh_agents import Clock
from ansible.module_utils.nightbench.mesh_rows import Collected, Context

FLOW = {
    "sent_bytes": 1000,
    "received_bytes": 900,
    "seconds": 1.0,
    "goodput_bytes_per_second": 900.0,
    "socket_bytes": 1000,
}


def context(direction: str = "forward", offset: float = 0.0, **mesh: Any) -> Context:
    pods = mesh_pods.predicted([{"name": "mg", "count": 3}], ["a", "b"])
    plan = mesh_plan.make(pods, mesh_profile.read({"direction": direction, **mesh}, ["eth0"], {}))
    interfaces = lambda number: {"eth0": {"addresses": [{"address": f"198.18.0.{number}", "prefix": 24}]}}  # noqa: E731
    states = {pod.name: {"interfaces": interfaces(number)} for number, pod in enumerate(pods)}
    return Context(plan, states, {pod.name: Clock(offset, 0.001) for pod in pods}, {})


def cell(target: int, error: str | None = None, **flows: Any) -> dict[str, Any]:
    flows = flows or {"forward": FLOW}
    return {
        "target": target, "interface": "eth0", "error": error, "started": 100.0, "ended": 101.0,
        "flows": {} if error else flows, "version": "3.12",
    }  # fmt: skip


def step(number: int, *cells: dict[str, Any], sent: int = 1100, received: int = 1000) -> dict[str, Any]:
    after = {"lo": [7, 7], "eth0": [sent, received], "net1": [3, 4]}
    return {
        "step": number,
        "before": {"lo": [0, 0], "eth0": [0, 0], "net1": [3, 4]},
        "after": after,
        "cells": list(cells),
    }


def result(*steps: dict[str, Any], gaps: Any = (), finished: Any = None) -> dict[str, Any]:
    return {"steps": list(steps), "gaps": list(gaps), "finished": finished, "server_restarts": 0}


def whole(direction: str = "forward") -> Collected:
    """Three pods, two rounds, everything done."""
    flows = {"forward": FLOW, "reverse": FLOW} if direction == "both" else {direction: FLOW}
    return Collected(
        {
            f"mg-{index}": result(*(step(number, cell((index + number + 1) % 3, **flows)) for number in range(2)))
            for index in range(3)
        }
    )


@pytest.mark.parametrize(("direction", "count"), [("forward", 6), ("reverse", 6), ("both", 12)])
def test_every_cell_and_direction_has_a_row(direction: str, count: int) -> None:
    found = list(mesh_rows.rows(context(direction), whole(direction)))
    assert mesh_rows.counts(found) == {"asked": count, "done": count, "failed": 0, "missing": 0, "busy": 0}
    assert len({(row["source"], row["target"], row["direction"]) for row in found}) == count
    assert {(row["expected_local"], row["expected_remote"]) for row in found if row["source"] == "mg-0"} == {
        ("198.18.0.0", "198.18.0.1"), ("198.18.0.0", "198.18.0.2"),
    }  # fmt: skip


def test_moments_are_told_in_the_clock_of_this_machine() -> None:
    found = list(mesh_rows.rows(context(offset=50.0), whole()))
    assert {(row["started"], row["ended"]) for row in found} == {(50.0, 51.0)}


def test_a_difference_of_clocks_that_the_way_explains_is_none() -> None:
    assert (Clock(0.02, 0.03).correction, Clock(0.04, 0.03).correction) == (0.0, 0.04)


OUTCOMES: list[tuple[str, Collected, str, str]] = [
    ("an error", Collected({"mg-0": result(step(0, cell(1, "boom")))}), "failed", "boom"),
    ("a gap", Collected({"mg-0": result(gaps=[[0, 0, "it was away"]])}), "failed", "it was away"),
    ("stopped", Collected({"mg-0": result(finished={"why": "stopped"})}), "failed",
     "the agent of mg-0 played no such round: stopped"),
    ("not done", Collected({"mg-0": result()}), "failed",
     "the agent of mg-0 played no such round: it was still at work"),
    ("silent", Collected(), "failed", "no result of mg-0: its agent did not answer"),
    ("dead", Collected(reasons={"mg-0": "pod mg-0 has ended: Failed"}), "failed",
     "no result of mg-0: pod mg-0 has ended: Failed"),
    ("given up, silent", Collected(given_up="not done within 9 s"), "missing", "not done within 9 s"),
    ("given up", Collected({"mg-0": result()}, given_up="not done within 9 s"), "missing", "not done within 9 s"),
    ("other direction", Collected({"mg-0": result(step(0, cell(1, reverse=FLOW)))}), "failed",
     "iperf3 told nothing of the direction forward"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "collected", "state", "error"), OUTCOMES, ids=lambda value: str(value)[:20])
def test_a_cell_that_is_not_done_says_why(name: str, collected: Collected, state: str, error: str) -> None:
    found = next(row for row in mesh_rows.rows(context(), collected) if row["round"] == 0)
    assert (found["source"], found["state"], found["error"]) == ("mg-0", state, error)


def test_nothing_that_was_asked_for_is_left_out() -> None:
    collected = Collected({"mg-0": result(step(0, cell(1)))}, reasons={"mg-1": "gone"}, given_up="")
    counts = mesh_rows.counts(mesh_rows.rows(context(), collected))
    assert counts["asked"] == counts["done"] + counts["failed"] + counts["missing"] == 6


def test_busy_servers_are_counted() -> None:
    collected = Collected({"mg-0": result(step(0, cell(1, "the server is busy running a test. try again later")))})
    assert mesh_rows.counts(mesh_rows.rows(context(), collected))["busy"] == 1


def test_counters_stand_beside_what_the_cells_of_the_round_moved() -> None:
    made, collected = context(), whole()
    found = list(mesh_rows.counters(made, collected, mesh_rows.rows(made, collected)))
    assert Counter(row["interface"] for row in found) == {"eth0": 6, "net1": 6}
    eth0 = next(row for row in found if row["interface"] == "eth0")
    assert {name: eth0[name] for name in eth0 if name.endswith("bytes")} == {
        "tx_bytes": 1100, "rx_bytes": 1000, "cells_tx_bytes": 1000, "cells_rx_bytes": 900,
    }  # fmt: skip
    assert {(row["tx_bytes"], row["cells_tx_bytes"]) for row in found if row["interface"] == "net1"} == {(0, 0)}


def test_data_of_the_other_direction_counts_for_the_other_pods() -> None:
    made = context("reverse")
    collected = Collected({"mg-0": result(step(0, cell(1, reverse=FLOW))), "mg-1": result(step(0))})
    found = list(mesh_rows.counters(made, collected, mesh_rows.rows(made, collected)))
    eth0 = [row for row in found if row["interface"] == "eth0"]
    assert [(row["pod"], row["cells_tx_bytes"], row["cells_rx_bytes"]) for row in eth0] == [
        ("mg-0", 0, 900), ("mg-1", 1000, 0),
    ]  # fmt: skip


def test_an_interface_that_came_in_between_has_no_bytes() -> None:
    made = context()
    one = step(0)
    del one["before"]["eth0"]
    found = list(mesh_rows.counters(made, Collected({"mg-0": result(one)}), []))
    assert next(row for row in found if row["interface"] == "eth0")["tx_bytes"] is None


def test_slices_of_an_endless_mesh_count_as_far_as_every_agent_has_kept_them() -> None:
    made = context(endless=True)
    steps = {"mg-0": range(4, 8), "mg-1": range(6, 8), "mg-2": range(6, 9)}
    kept = Collected({name: result(*(step(number) for number in numbers)) for name, numbers in steps.items()})
    assert list(mesh_rows.steps_of(made.plan, kept)) == [6, 7, 8]
    found = list(mesh_rows.rows(made, kept))
    assert {(row["slice"], row["round"]) for row in found} == {(3, 0), (3, 1), (4, 0)}
    assert len(found) == 9
