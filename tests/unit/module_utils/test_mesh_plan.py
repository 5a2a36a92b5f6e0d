# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of a mesh: every pair once, nobody twice at the same time, limits kept, no more rounds than needed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from ansible.module_utils.nightbench import mesh_plan, mesh_pods, mesh_profile
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.mesh_plan import Cell, Plan

GROUPS = [{"name": "mesh", "count": 3}, {"name": "lb-bgp", "count": 6}, {"name": "mg", "count": 40}]
SMALL = [{"name": "mg", "count": 6}]


def plan(groups: Any = None, nodes: int = 2, interfaces: tuple[str, ...] = ("eth0", "net1"), **mesh: Any) -> Plan:
    pods = mesh_pods.predicted(groups or GROUPS, [f"node-{number}" for number in range(nodes)])
    return mesh_plan.make(pods, mesh_profile.read(mesh, interfaces, {}))


def busy(made: Plan) -> int:
    """The most cells that one pod's interface sends, or serves, in a round."""
    counts: list[int] = []
    for cells in made.rounds:
        counts += Counter((cell.source, cell.interface) for cell in cells).values()
        counts += Counter((cell.target, cell.interface) for cell in cells).values()
    return max(counts)


def everything(made: Plan) -> list[Cell]:
    return [cell for cells in made.rounds for cell in cells]


# (mesh, rounds, cells, most cells of one interface at a time)
SHAPES: list[tuple[dict[str, Any], int, int, int]] = [
    ({"plan": "rings"}, 48, 4704, 1),
    ({"plan": "isolated"}, 4704, 4704, 1),
    ({"plan": "all_at_once", "server_ports": "one_per_peer"}, 1, 4704, 48),
    ({"plan": "coloured", "limits": {"nic": 4}}, 450, 4704, 1),
    ({"plan": "coloured", "limits": {"node": 2}}, 1800, 4704, 1),
    ({"plan": "coloured", "limits": {"link": 6}}, 200, 4704, 1),
    ({"plan": "rings", "pairs": ["across_nodes", "within_node"]}, 48, 2352, 1),
]


@pytest.mark.parametrize(("mesh", "rounds", "cells", "most"), SHAPES, ids=lambda value: str(value)[:60])
def test_a_plan_has_every_cell_once_and_as_few_rounds_as_its_limits_allow(
    mesh: dict[str, Any], rounds: int, cells: int, most: int
) -> None:
    made = plan(**mesh)
    found = everything(made)
    assert (len(made.rounds), made.cells, len(set(found)), busy(made)) == (rounds, cells, cells, most)


@pytest.mark.parametrize("limits", [{"node": 3}, {"nic": 2}, {"link": 2}, {"node": 5, "nic": 3, "link": 2}])
def test_a_coloured_plan_keeps_its_limits_and_is_close_to_the_best(limits: dict[str, int]) -> None:
    made = plan([{"name": "mg", "count": 14}], nodes=3, plan="coloured", limits=limits)
    for cells in made.rounds:
        nodes: Counter[Any] = Counter()
        for cell in cells:
            ends = sorted({made.pods[cell.source].node, made.pods[cell.target].node})
            nodes.update([("node", node) for node in ends])
            nodes.update([("nic", node, cell.interface) for node in ends])
            nodes.update([("link", *ends, cell.interface)] if len(ends) == 2 else [])
        over = {key: count for key, count in nodes.items() if count > limits.get(key[0], 10**9)}
        assert over == {}
    assert busy(made) == 1
    assert made.rounds_at_least <= len(made.rounds) <= made.rounds_at_least * 1.2


def test_the_published_pairs_stay_where_they_belong() -> None:
    made = plan(plan="rings", pairs=["across_nodes", "within_node"])
    kinds = Counter(
        (cell.interface, made.pods[cell.source].node == made.pods[cell.target].node) for cell in everything(made)
    )
    assert set(kinds) == {("eth0", False), ("net1", True)}


PORTS = [
    ("one_per_interface", [("eth0", 5201), ("net1", 5201)]),
    ("one_per_peer", [(name, 10_000 + peer) for name in ("eth0", "net1") for peer in (0, 1, 2, 4, 5)]),
]


@pytest.mark.parametrize(("ports", "servers"), PORTS)
def test_a_pod_has_a_server_for_each_interface_or_for_each_peer(ports: str, servers: list[tuple[str, int]]) -> None:
    assert plan(SMALL, plan="all_at_once", server_ports=ports).servers(3) == servers


def test_the_predicted_time_is_that_of_the_rounds_and_the_lead() -> None:
    made = plan(plan="rings", seconds=1, slack_seconds=1.5)
    assert made.predicted_seconds == pytest.approx(48 * 2.5 + made.lead_seconds)


def test_what_is_offered_is_divided_among_the_streams() -> None:
    profile = mesh_profile.read({"bits_per_second": 10_000_000_000, "streams": 16}, ["eth0"], {})
    assert profile.stream_bits_per_second == 625_000_000


def test_both_directions_give_two_rows_for_a_cell() -> None:
    assert [plan(SMALL, direction=word).asked_rows("eth0") for word in ("forward", "reverse", "both")] == [30, 30, 60]


IMPOSSIBLE = [
    ([{"name": "mg", "count": 1}], 1, {}, "A mesh of 1 pods cannot be planned"),
    (SMALL, 1, {"pairs": "across_nodes"}, "No pair of the 6 pods on 1 nodes is wanted"),
    (SMALL, 6, {"pairs": "within_node"}, "No pair of the 6 pods on 6 nodes is wanted"),
]


@pytest.mark.parametrize(("groups", "nodes", "mesh", "told"), IMPOSSIBLE)
def test_a_plan_without_any_cell_is_refused(groups: Any, nodes: int, mesh: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        plan(groups, nodes, **mesh)


WRONG = [
    ({"plan": "ring"}, "plan is 'ring'; it has to be one of isolated, rings"),
    ({"stream": 3}, "There is no key of the mesh 'stream'; the nearest is 'streams'"),
    ({"streams": 129}, "streams is 129; it has to be a whole number from 1 to 128"),
    ({"streams": "many"}, "streams is 'many'"),
    ({"seconds": 0}, "seconds is 0; it has to be a whole number from 1 to 86,400"),
    ({"seconds": 1.5}, "seconds is 1.5"),
    ({"bits_per_second": -1}, "bits_per_second is -1"),
    ({"slack_seconds": "none"}, "slack_seconds is 'none'"),
    ({"slack_seconds": 0}, "slack_seconds is 0; it has to be a number of seconds from 0.2"),
    ({"plan": "coloured"}, "plan coloured needs limits"),
    ({"limits": {"node": 1}}, "limits hold for the plan coloured only"),
    ({"plan": "coloured", "limits": {"rack": 1}}, "There is no limit 'rack'"),
    ({"plan": "coloured", "limits": {"nic": 0}}, "limits.nic is 0"),
    ({"plan": "coloured", "limits": 4}, "limits are 4; they have to be a mapping"),
    ({"pairs": ["all", "between"]}, "There is no word for pairs 'between'"),
    ({"direction": "backward"}, "direction is 'backward'"),
]


@pytest.mark.parametrize(("mesh", "told"), WRONG, ids=lambda value: str(value)[:40])
def test_a_profile_that_means_nothing_is_refused(mesh: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        mesh_profile.read(mesh, ["eth0", "net1"], {})
    assert told in str(refused.value)


@pytest.mark.parametrize("interfaces", [[], ["eth0", "eth0"]])
def test_interfaces_are_named_and_each_once(interfaces: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="at least one is needed, and each once"):
        mesh_profile.read({}, interfaces, {})


@pytest.mark.parametrize(("streams", "version"), [(1, (3, 10)), (16, (3, 16))])
def test_several_streams_need_an_iperf3_with_a_thread_for_each(streams: int, version: tuple[int, int]) -> None:
    assert mesh_profile.read({"streams": streams}, ["eth0"], {}).iperf3_version == version
