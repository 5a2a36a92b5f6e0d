# SPDX-License-Identifier: GPL-3.0-or-later
"""What is refused before the first packet, and with which words."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench import mesh_plan, mesh_preflight, mesh_profile
from ansible.module_utils.nightbench.mesh_plan import Pod

BOOT = "a kernel"


def state(index: int, **change: Any) -> dict[str, Any]:
    """A pod with two interfaces, both of one subnet each."""
    interfaces = {
        "eth0": {
            "addresses": [{"address": f"198.18.0.{index + 11}", "prefix": 24}],
            "mtu": 1500,
            "routes": ["0.0.0.0/0 via 198.18.0.1", "198.18.0.0/24"],
        },
        "net1": {
            "addresses": [{"address": f"198.18.1.{index + 11}", "prefix": 24}],
            "mtu": 9000,
            "routes": ["198.18.1.0/24"],
        },
    }
    return {"interfaces": interfaces, "iperf3_version": "3.16", "neighbour_limit": 1024, "boot_id": BOOT} | change


def pods(count: int = 4) -> dict[str, dict[str, Any]]:
    return {f"mg-{index}": state(index) for index in range(count)}


def checked(
    states: dict[str, dict[str, Any]],
    mesh: dict[str, Any] | None = None,
    resources: dict[str, str] | None = None,
    allocatable: dict[str, dict[str, int]] | None = None,
    limit: tuple[str, int] | None = None,
) -> list[dict[str, Any]]:
    all_pods = [Pod(name, "mg", f"node-{index % 2}") for index, name in enumerate(states)]
    profile = mesh_profile.read(mesh or {}, ["eth0", "net1"], resources or {})
    return mesh_preflight.checks(mesh_plan.make(all_pods, profile), states, allocatable or {}, limit)


def refused(*arguments: Any, **named: Any) -> list[str]:
    return mesh_preflight.refusals(checked(*arguments, **named))


def with_second(states: dict[str, dict[str, Any]], address: str, prefix: int, *names: str) -> dict[str, dict[str, Any]]:
    """net1 of these pods has this address instead, and the route that the kernel makes for it."""
    import ipaddress

    network = str(ipaddress.ip_interface(f"{address}/{prefix}").network)
    for name in names:
        states[name]["interfaces"]["net1"] |= {
            "addresses": [{"address": address, "prefix": prefix}],
            "routes": [network],
        }
    return states


def test_a_mesh_that_can_measure_is_not_refused() -> None:
    assert refused(pods()) == []


def test_an_interface_or_an_address_that_is_missing_is_told() -> None:
    states = pods()
    del states["mg-1"]["interfaces"]["net1"]
    states["mg-2"]["interfaces"]["net1"]["addresses"] = []
    told = refused(states)
    assert told[0] == (
        "interfaces are missing: expected none, observed mg-1 has no net1 with an address; "
        "mg-2 has no net1 with an address"
    )


def test_the_published_addresses_are_refused_every_pod_of_a_group_on_one() -> None:
    """All pods of a group took their one static address from the same NetworkAttachmentDefinition."""
    states = with_second(pods(), "169.30.3.10", 24, "mg-0", "mg-1", "mg-2", "mg-3")
    assert refused(states) == [
        "addresses are used twice: expected none, observed 169.30.3.10: mg-0 net1, mg-1 net1, mg-2 net1, mg-3 net1"
    ]


def test_the_published_correction_is_refused_too_an_address_that_is_a_network() -> None:
    states = pods()
    for number, name in enumerate(states):
        with_second(states, f"169.30.{number + 1}.0", 24, name)
    told = refused(states)
    assert told[0].startswith("addresses name a whole network: expected none, observed mg-0 net1: 169.30.1.0/24; mg-1")
    assert told[1].startswith(
        "targets are not routed over the interface: expected none, observed mg-0 net1 to 169.30.2.0"
    )


def test_a_routed_network_needs_no_common_subnet() -> None:
    """Point-to-point links: each pod has an address of its own and a default route over the interface."""
    states = pods()
    for index, name in enumerate(states):
        with_second(states, f"198.18.9.{index + 1}", 32, name)
        states[name]["interfaces"]["net1"]["routes"] = ["0.0.0.0/0 via 198.18.9.250"]
    assert refused(states) == []


def test_an_mtu_that_differs_is_told_with_the_pods() -> None:
    states = pods()
    states["mg-2"]["interfaces"]["net1"]["mtu"] = 1500
    assert refused(states) == [
        "MTUs of an interface differ: expected none, observed net1: 9000 on mg-0, mg-1, mg-3, 1500 on mg-2"
    ]


VERSIONS = [
    ("3.12", {"streams": 1}, []),
    ("3.12", {"streams": 16}, ["iperf3 version: expected >= 3.16 (a thread for each stream), observed 3.12 in 4 pods"]),
    ("3.9", {"streams": 1}, ["iperf3 version: expected >= 3.10, observed 3.9 in 4 pods"]),
    ("3.19.1", {"streams": 16}, []),
    ("3.21+", {"streams": 16}, []),
    (None, {"streams": 1}, ["iperf3 version: expected >= 3.10, observed None in 4 pods"]),
]


@pytest.mark.parametrize(("version", "mesh", "told"), VERSIONS)
def test_an_iperf3_that_cannot_do_what_is_asked_is_refused(version: Any, mesh: dict[str, Any], told: list[str]) -> None:
    states = {name: one | {"iperf3_version": version} for name, one in pods().items()}
    assert refused(states, mesh) == told


VIRTUAL_FUNCTIONS = [
    ({"node-0": {"vf": 2}, "node-1": {"vf": 2}}, []),
    (
        {"node-0": {"vf": 2}, "node-1": {"vf": 1}},
        ["nodes with fewer vf than pods: expected none, observed node-1: 1 for 2 pods"],
    ),
    ({}, ["nodes with fewer vf than pods: expected none, observed node-0: 0 for 2 pods; node-1: 0 for 2 pods"]),
]


@pytest.mark.parametrize(("offered", "told"), VIRTUAL_FUNCTIONS)
def test_fewer_virtual_functions_than_pods_are_refused(offered: Any, told: list[str]) -> None:
    assert refused(pods(), resources={"net1": "vf"}, allocatable=offered) == told


# (limit that the pods see, limit that is known of which kernel, what the check says)
TABLES = [
    (28, None, (">= 28", 28, True)),
    (27, None, (">= 28", 27, False)),
    (None, (BOOT, 27), (">= 28", 27, False)),
    (None, (BOOT, 1024), (">= 28", 1024, True)),
    (None, ("another kernel", 1), (">= 28", "not visible from inside the pods", None)),
    (None, None, (">= 28", "not visible from inside the pods", None)),
]


@pytest.mark.parametrize(("seen", "known", "told"), TABLES)
def test_the_neighbour_table_has_room_for_every_peer_of_every_pod(seen: Any, known: Any, told: Any) -> None:
    """Four pods with three peers on each of two interfaces, and the other side of each pod's first interface."""
    states = {name: one | {"neighbour_limit": seen} for name, one in pods().items()}
    found = checked(states, limit=known)[-1]
    assert (found["expected"], found["observed"], found["holds"]) == told


def test_kernels_are_told_apart() -> None:
    states = pods()
    states["mg-3"] |= {"boot_id": "another kernel", "neighbour_limit": 4}
    found = [check for check in checked(states) if check["name"].startswith("neighbour")]
    assert [(check["expected"], check["observed"], check["holds"]) for check in found] == [
        (">= 21", 1024, True),
        (">= 7", 4, False),
    ]


def test_a_routed_mesh_needs_one_neighbour_an_interface() -> None:
    states = pods()
    for index, name in enumerate(states):
        for number, interface in enumerate(("eth0", "net1")):
            states[name]["interfaces"][interface] |= {
                # The address has the prefix of all pods of the node; the routes say that its link is the pod's own.
                "addresses": [{"address": f"198.18.{number}.{index + 2}", "prefix": 24}],
                "routes": [f"198.18.{number}.1/32", f"198.18.{number}.0/24 via 198.18.{number}.1"],
            }
    assert checked(states)[-1]["expected"] == ">= 12"
