# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of real nodes: disjoint, inside the range set aside for tests, and clear of what the machine uses."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import combinations

import pytest
from ansible.module_utils.nightbench import node_network
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.node_network import NodeNetwork

WHOLE = IPv4Network("198.18.16.0/20")


@pytest.mark.parametrize(
    ("interfaces", "pod_prefix", "capacity"), [(1, 25, 16), (2, 25, 8), (2, 26, 16), (3, 24, 4), (4, 25, 4), (2, 21, 0)]
)
def test_a_range_has_room_for_so_many_nodes(interfaces: int, pod_prefix: int, capacity: int) -> None:
    network = NodeNetwork(WHOLE, interfaces, pod_prefix)
    assert network.capacity == capacity
    assert len(network.routes()) == capacity * interfaces


@pytest.mark.parametrize("interfaces", [1, 2, 3, 5])
def test_no_address_belongs_to_two(interfaces: int) -> None:
    network = NodeNetwork(WHOLE, interfaces, 26)
    pods = [network.pods(number, index) for number in range(interfaces) for index in range(network.capacity)]
    assert not [pair for pair in combinations([network.nodes, *pods], 2) if pair[0].overlaps(pair[1])]
    assert all(one.subnet_of(WHOLE) for one in pods)
    single = {network.machine, network.router, *(network.node(index) for index in range(network.capacity))}
    assert len(single) == network.capacity + 2
    assert all(address in network.nodes for address in single)


def test_a_node_has_no_route_to_its_own_pods() -> None:
    network = NodeNetwork(WHOLE, 2, 25)
    own = {str(network.pods(number, 3)) for number in range(2)}
    assert own == {target for target, _ in network.routes()} - {target for target, _ in network.routes(but=3)}


def test_runs_begin_at_different_ranges_and_leave_out_what_is_in_use() -> None:
    firsts = {node_network.candidates(f"run-{number}", [])[0] for number in range(40)}
    assert len(firsts) > 10
    free = node_network.candidates("run", [])
    assert len(free) == 32
    used = [IPv4Network("198.18.0.0/16"), IPv4Network("10.0.0.0/8")]
    assert node_network.candidates("run", used) == [one for one in free if not one.overlaps(used[0])]
    assert node_network.candidates("run", [IPv4Network("0.0.0.0/0")]) == []


def test_what_ip_shows_is_read() -> None:
    routes = [{"dst": "default"}, {"dst": "198.18.0.0/20"}, {"dst": "192.0.2.7"}, {"dst": "fe80::/64"}]
    addresses = [{"addr_info": [{"local": "198.19.1.1", "prefixlen": 24}]}, {}]
    expected = [IPv4Network("198.18.0.0/20"), IPv4Network("192.0.2.7/32"), IPv4Network("198.19.1.0/24")]
    assert node_network.taken(routes, addresses) == expected


@pytest.mark.parametrize("text", ["10.0.0.0/8", "198.16.0.0/14", "198.18.0.1/20", "word", "::/0"])
def test_a_range_outside_of_that_for_tests_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        node_network.parse(text)


@pytest.mark.parametrize(("count", "max_pods", "said"), [(9, 10, "for 8 nodes"), (1, 126, "for 125 pods")])
def test_what_has_no_room_is_refused(count: int, max_pods: int, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        node_network.check(NodeNetwork(WHOLE, 2, 25), count, max_pods)
