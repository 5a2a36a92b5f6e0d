# SPDX-License-Identifier: GPL-3.0-or-later
"""What pods were given by their networks: what is tolerated, what is refused, and what is compared."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.network_reading import of_pods
from ansible.module_utils.nightbench.network_status import (
    NETWORK_STATUS,
    Attachment,
    Wanted,
    of_pod,
    parse,
    problem,
    same_addresses,
    selection,
)

VF = {
    "name": "mesh/net1",
    "interface": "net1",
    "ips": ["198.19.0.1"],
    "mac": "02:00:00:00:00:01",
    "mtu": 9000,
    "dns": {},
    "gateway": [None],
    "device-info": {
        "type": "pci",
        "version": "1.1.0",
        "pci": {"pci-address": "0000:18:02.0", "pf-pci-address": "0000:18:00.0", "rdma-device": "mlx5_2"},
    },
}
AWS = {"name": "aws-cni", "interface": "dummy1a2b3c", "ips": ["10.0.0.7"], "mac": "0", "default": True, "dns": {}}


def test_an_entry_is_read_as_a_whole() -> None:
    assert parse(json.dumps([VF])) == [
        Attachment(
            network="mesh/net1",
            interface="net1",
            addresses=("198.19.0.1",),
            mac="02:00:00:00:00:01",
            mtu=9000,
            device="0000:18:02.0",
            physical="0000:18:00.0",
        )
    ]


@pytest.mark.parametrize(
    ("entry", "interface", "addresses"),
    [
        (AWS, "eth0", ("10.0.0.7",)),
        ({"name": "aws-cni", "ips": ["10.0.0.7"]}, "eth0", ("10.0.0.7",)),
        ({"name": "aws-cni", "interface": "eth7"}, "eth7", ()),
        ({"name": "cbr0", "interface": "dummy0"}, "dummy0", ()),
        ({"name": "a/net1", "interface": "net1"}, "net1", ()),
        ({"name": "a/net1", "interface": "net1", "ips": None}, "net1", ()),
        ({"name": "a/net1", "interface": ""}, None, ()),
        ({"name": "a/vfio", "device-info": None}, None, ()),
        ({"ips": ["198.19.0.1/24"]}, None, ("198.19.0.1",)),
        ({"name": "six", "ips": ["FD00:0::1"]}, None, ("fd00::1",)),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_what_an_entry_may_lack_is_tolerated(entry: Any, interface: str | None, addresses: tuple[str, ...]) -> None:
    (found,) = parse(json.dumps([entry]))
    assert (found.interface, found.addresses) == (interface, addresses)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[{", f"{NETWORK_STATUS} is not JSON (Expecting property name"),
        ("net1=198.19.0.1", "is not JSON"),
        ("x" * 200, "x" * 80 + "…"),
        ("{}", "is a mapping, not a list: {}"),
        ("null", "is null, not a list: null"),
        ('"[]"', "is a text, not a list"),
        ('["net1"]', "[0] is a text, not a mapping"),
        ("[null]", "[0] is null, not a mapping"),
        ('[{"name": 7}]', "[0].name is a whole number, not a text: 7"),
        ('[{"interface": ["net1"]}]', "[0].interface is a list, not a text"),
        ('[{}, {"ips": "198.19.0.1"}]', '[1].ips is a text, not a list: "198.19.0.1"'),
        ('[{"ips": [1]}]', "[0].ips holds a whole number, not texts: 1"),
        ('[{"ips": ["198.19.0.256"]}]', "[0].ips: '198.19.0.256' does not appear to be an IPv4 or IPv6 interface."),
        ('[{"ips": [""]}]', "[0].ips: '' does not appear"),
        ('[{"mtu": "9000"}]', '[0].mtu is a text, not a whole number: "9000"'),
        ('[{"mtu": true}]', "[0].mtu is true or false, not a whole number: true"),
        ('[{"default": 1}]', "[0].default is a whole number, not true or false"),
        ('[{"device-info": []}]', "[0].device-info is a list, not a mapping"),
        ('[{"device-info": {"pci": "0000:18:00.0"}}]', "[0].device-info.pci is a text, not a mapping"),
    ],
)
def test_what_nobody_would_write_is_refused_and_told(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        parse(text)
    assert told in str(error.value)


def test_a_pod_without_the_annotation_says_nothing() -> None:
    empty: list[dict[str, Any]] = [{}, {"metadata": {}}, {"metadata": {"annotations": {NETWORK_STATUS: ""}}}]
    assert [of_pod(pod) for pod in empty] == [None, None, None]
    assert of_pod({"metadata": {"annotations": {NETWORK_STATUS: "[]"}}}) == []


def test_the_annotation_of_a_pod_names_its_networks_with_their_addresses() -> None:
    elements = [
        {"name": "net1", "namespace": "mesh", "interface": "net1", "ips": ["198.19.0.1/24"], "subnet": "x"},
        {"name": "net2", "namespace": None, "interface": "", "ips": []},
    ]
    assert json.loads(selection(elements)) == [
        {"name": "net1", "namespace": "mesh", "interface": "net1", "ips": ["198.19.0.1/24"]},
        {"name": "net2"},
    ]


WANTED = Wanted("a", "net1", address="198.19.0.1", subnet="198.19.0.0/24", network="mesh/net1", mtu=9000)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"mtu": None}, None),
        ({"ips": ["fd00::1", "198.19.0.1"]}, None),
        ({"interface": "net2"}, "it has no interface net1 (it has: net2)"),
        ({"interface": None}, "it has no interface net1 (it has: none; mesh/net1 without an interface's name)"),
        ({"name": "mesh/other"}, "net1 is of network mesh/other, not mesh/net1"),
        ({"ips": []}, "net1 has no address (no ips in its entry)"),
        ({"ips": ["198.19.0.2"]}, "net1 has 198.19.0.2, not 198.19.0.1"),
        ({"mtu": 1500}, "net1 has an MTU of 1500, not 9000"),
    ],
    ids=str,
)
def test_an_interface_that_is_not_what_was_wanted_is_told(change: dict[str, Any], reason: str | None) -> None:
    assert problem(WANTED, parse(json.dumps([VF | change]))) == reason


def test_without_an_address_any_of_the_subnet_will_do() -> None:
    given = parse(json.dumps([VF]))
    assert problem(Wanted("a", "net1", subnet="198.19.0.0/24"), given) is None
    assert (
        problem(Wanted("a", "net1", subnet="198.19.1.0/24"), given) == "net1 has 198.19.0.1, outside of 198.19.1.0/24"
    )
    assert problem(Wanted("a", "net1"), given * 2) == "it has net1 2 times"


def test_one_address_of_several_interfaces_is_seen() -> None:
    one = parse(json.dumps([VF]))
    assert same_addresses({"b": one, "a": one, "c": []}) == {"198.19.0.1": ["a/net1", "b/net1"]}


@pytest.mark.parametrize(("field", "value"), [("address", "198.19.0.1/24"), ("subnet", "198.19.0.1/24")])
def test_an_expectation_that_cannot_be_is_refused(field: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match="What is expected of a/net1 cannot be"):
        Wanted("a", "net1", **{field: value})


def pod(name: str, given: Any = None, **more: Any) -> dict[str, Any]:
    text = given if isinstance(given, str) or given is None else json.dumps(given)
    return {"metadata": {"name": name, "annotations": {NETWORK_STATUS: text} if text else {}}, **more}


def test_every_pod_is_read_missing_or_broken_and_nobody_else_is_looked_at() -> None:
    items = [
        pod("right", [VF]),
        pod("late", spec={"nodeName": "node-1"}, status={"phase": "Running"}),
        pod("unbound"),
        pod("broken", "{"),
        pod("stranger", "{"),
    ]
    wanted = [Wanted(name, "net1") for name in ("right", "late", "unbound", "broken", "none")]
    found = of_pods(items, wanted).as_json()
    assert {key: [one["pod"] for one in found[key]] for key in ("missing", "broken", "wrong")} == {
        "missing": ["late", "none", "unbound"],
        "broken": ["broken"],
        "wrong": [],
    }
    assert [one["reason"] for one in found["missing"]] == [
        f"no annotation {NETWORK_STATUS} (Running on node-1)",
        "the pod does not exist",
        f"no annotation {NETWORK_STATUS} (Pending on no node)",
    ]
    assert (list(found["pods"]), found["holds"]) == (["right"], False)


def test_an_address_that_pods_share_is_wrong_even_where_it_was_wanted() -> None:
    items = [pod(f"mg-{number:02}", [VF]) for number in range(40)]
    wanted = [Wanted(f"mg-{number:02}", "net1", address="198.19.0.1") for number in range(40)]
    found = of_pods(items, wanted)
    assert [one["reason"][:70] for one in found.wrong] == [
        "198.19.0.1 is the address of 40 interfaces: mg-00/net1, mg-01/net1, mg"
    ]
    assert found.wrong[0]["reason"].endswith(" and 30 more")
    assert found.hopeless
