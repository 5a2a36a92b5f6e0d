# SPDX-License-Identifier: GPL-3.0-or-later
"""Networks of pods: what is planned of them, and every plan that cannot carry a mesh."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible.module_utils.nightbench.network_model import Pod, network_of
from ansible.module_utils.nightbench.network_plan import Place, Plan, make

PLACE = Place("mesh", "sriov-network-operator", {"nightbench.io/role": "sriov_network"})
NET = {"name": "net1", "form": "macvlan", "subnet": "198.19.0.0/24", "options": {"master": "eth1"}}
POLICY = {"numVfs": 64, "nodeSelector": {"nic": True}, "nicSelector": {"vendor": "15b3", "pfNames": ["ens1"]}}
VF = {
    "name": "fast",
    "form": "operator",
    "interface": "net1",
    "subnet": "198.19.0.0/24",
    "resource": "mlnx_vf",
    "policy": POLICY,
}
PODS = [Pod("mesh-0", "mesh"), Pod("mesh-1", "mesh"), Pod("mg-0", "mg")]


def plan(*networks: dict[str, Any], pods: list[Pod] | None = None) -> tuple[Plan, list[str]]:
    problems: list[str] = []
    found = [network_of(one, problems) for one in networks]
    return make(found, PODS if pods is None else pods, PLACE, problems), problems


def good(*networks: dict[str, Any], pods: list[Pod] | None = None) -> Plan:
    made, problems = plan(*networks, pods=pods)
    assert problems == []
    return made


def test_a_macvlan_network_is_one_object_whose_configuration_is_a_text() -> None:
    (made,) = good(NET | {"mtu": 9000}).objects()
    config = made["spec"].pop("config")
    assert made == {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": "net1", "namespace": "mesh", "labels": {"nightbench.io/role": "sriov_network"}},
        "spec": {},
    }
    assert isinstance(config, str)
    assert json.loads(config) == {
        "cniVersion": "1.0.0",
        "name": "net1",
        "type": "macvlan",
        "master": "eth1",
        "mode": "bridge",
        "mtu": 9000,
        "capabilities": {"ips": True},
        "ipam": {"type": "static"},
    }


def test_a_network_of_the_operator_is_a_policy_and_a_network() -> None:
    options = {"vlan": "100", "spoofChk": False, "trust": True, "linkState": "enable", "maxTxRate": 20000}
    policy, network = good(VF | {"mtu": 9000, "options": options}).objects()
    assert (policy["kind"], policy["metadata"]["namespace"], policy["spec"]) == (
        "SriovNetworkNodePolicy",
        "sriov-network-operator",
        {
            "resourceName": "mlnx_vf",
            "mtu": 9000,
            "numVfs": 64,
            "nodeSelector": {"nic": "true"},
            "nicSelector": {"vendor": "15b3", "pfNames": ["ens1"]},
        },
    )
    assert (network["kind"], network["spec"]) == (
        "SriovNetwork",
        {
            "resourceName": "mlnx_vf",
            "networkNamespace": "mesh",
            "ipam": '{"type":"static"}',
            "capabilities": '{"ips":true}',
            "vlan": 100,
            "spoofChk": "off",
            "trust": "on",
            "linkState": "enable",
            "maxTxRate": 20000,
        },
    )


def test_a_network_of_a_device_plugin_says_it_in_the_words_of_the_cni_plugin() -> None:
    options = {"vlan": 5, "spoofChk": "off", "linkState": "auto", "minTxRate": 1, "maxTxRate": 2}
    given = VF | {"form": "device_plugin", "policy": {}, "ipam": "whereabouts", "options": options}
    (made,) = good(given | {"range_start": "198.19.0.10", "exclude": ["198.19.0.64/26"]}).objects()
    assert made["metadata"]["annotations"] == {"k8s.v1.cni.cncf.io/resourceName": "intel.com/mlnx_vf"}
    assert json.loads(made["spec"]["config"]) == {
        "cniVersion": "1.0.0",
        "name": "fast",
        "type": "sriov",
        "vlan": 5,
        "spoofchk": "off",
        "link_state": "auto",
        "min_tx_rate": 1,
        "max_tx_rate": 2,
        "ipam": {
            "type": "whereabouts",
            "range": "198.19.0.0/24",
            "range_start": "198.19.0.10",
            "exclude": ["198.19.0.64/26"],
        },
    }


def test_every_pod_gets_an_address_of_its_own_in_its_annotation() -> None:
    second = NET | {"name": "slow", "interface": "net2", "subnet": "198.19.1.0/24", "groups": ["mg"]}
    made = good(VF | {"addresses": {"mesh-1": "198.19.0.1"}, "exclude": ["198.19.0.2"]}, second)
    assert {name: pod["addresses"] for name, pod in made.pods().items()} == {
        "mesh-0": {"net1": "198.19.0.3"},
        "mesh-1": {"net1": "198.19.0.1"},
        "mg-0": {"net1": "198.19.0.4", "net2": "198.19.1.1"},
    }
    mg = made.pods()["mg-0"]
    assert json.loads(mg["annotations"]["k8s.v1.cni.cncf.io/networks"]) == [
        {"name": "fast", "namespace": "mesh", "interface": "net1", "ips": ["198.19.0.4/24"]},
        {"name": "slow", "namespace": "mesh", "interface": "net2", "ips": ["198.19.1.1/24"]},
    ]
    assert (mg["resources"], mg["group"]) == ({"openshift.io/mlnx_vf": "1"}, "mg")
    assert made.interfaces()["net2"] == {
        "subnet": "198.19.1.0/24",
        "mtu": None,
        "form": "macvlan",
        "resources": [],
        "networks": ["mesh/slow"],
        "pods": 1,
    }
    assert made.interfaces()["net1"]["resources"] == ["openshift.io/mlnx_vf"]
    assert made.expected()[0] == {
        "pod": "mesh-0",
        "interface": "net1",
        "network": "mesh/fast",
        "address": "198.19.0.3",
        "subnet": "198.19.0.0/24",
        "mtu": None,
    }


def test_whereabouts_gives_addresses_itself() -> None:
    pods = good(NET | {"ipam": "whereabouts"}).pods()
    assert [pod["addresses"] for pod in pods.values()] == [{"net1": None}] * 3
    assert all("ips" not in pod["annotations"]["k8s.v1.cni.cncf.io/networks"] for pod in pods.values())


@pytest.mark.parametrize(
    ("subnet", "addresses"),
    [
        ("198.19.0.0/29", ["198.19.0.1", "198.19.0.2", "198.19.0.3"]),
        ("fd00::/64", ["fd00::1", "fd00::2", "fd00::3"]),
    ],
)
def test_addresses_are_the_same_every_time(subnet: str, addresses: list[str]) -> None:
    pods = good(NET | {"subnet": subnet}).pods()
    assert [pod["addresses"]["net1"] for pod in pods.values()] == addresses


def test_a_network_for_each_pod_with_an_address_in_its_ipam_is_a_plan_too() -> None:
    def own(name: str, address: str) -> dict[str, Any]:
        options = {"addresses": [{"address": address}], "routes": [{"dst": "198.18.0.0/16"}]}
        return NET | {"name": name, "groups": [name], "subnet": "", "ipam_options": options}

    pods = [Pod("one", "a"), Pod("two", "b")]
    made = good(own("a", "198.19.0.1/24"), own("b", "198.19.0.2/24"), pods=pods)
    assert {name: pod["addresses"]["net1"] for name, pod in made.pods().items()} == {
        "one": "198.19.0.1",
        "two": "198.19.0.2",
    }
    ipams = [json.loads(one["spec"]["config"])["ipam"] for one in made.objects()]
    assert ipams == [{"type": "static", "routes": [{"dst": "198.18.0.0/16"}]}] * 2


def seed(mesh: list[str], media_gateway: str) -> tuple[list[dict[str, Any]], list[Pod]]:
    """49 pods: three mesh pods with a network each, and one network for each of the other groups."""
    pods = [Pod(f"mesh-{number}", f"mesh-{number}") for number in range(3)]
    pods += [Pod(f"lb-bgp-{number}", "lb-bgp") for number in range(6)]
    pods += [Pod(f"mg-{number}", "mg") for number in range(40)]

    def network(name: str, address: str) -> dict[str, Any]:
        ipam = {"addresses": [{"address": address}]}
        sriov = {"form": "device_plugin", "resource": "mlnx_sriov_netdevice", "resource_prefix": "openshift.io"}
        return {"name": name, "groups": [name], "ipam_options": ipam, **sriov}

    groups = {f"mesh-{number}": address for number, address in enumerate(mesh)}
    return [network(*one) for one in {**groups, "lb-bgp": "169.30.1.30/24", "mg": media_gateway}.items()], pods


def test_one_address_for_forty_pods_is_refused_with_the_reason() -> None:
    networks, pods = seed(["169.30.1.1/24", "169.30.1.2/24", "169.30.1.3/24"], "169.30.1.10/24")
    _, problems = plan(*networks, pods=pods)
    advice = (
        "each would take traffic for the others as its own, over lo. Leave ipam_options.addresses out, then every pod "
        "gets an address of its own in its annotation."
    )
    some = "(mg-0, mg-1, mg-2, mg-3, mg-4 and 35 more)"
    told = f"Network mg gives the one address 169.30.1.10/24 of its ipam_options to all of its 40 pods {some}: {advice}"
    assert told in problems
    assert sum(advice in one for one in problems) == 2


def test_three_subnets_of_one_interface_are_refused_with_the_reason() -> None:
    networks, pods = seed(["169.30.1.5/24", "169.30.2.5/24", "169.30.3.5/24"], "169.30.1.10/24")
    _, problems = plan(*networks[:3], pods=pods[:3])
    told = (
        "The pods' net1 would be in 3 subnets (mesh-0: 169.30.1.0/24, mesh-1: 169.30.2.0/24, mesh-2: 169.30.3.0/24): "
        "no pair across them is on one link, so nothing is measured between them. Give every network of an interface "
        "the same subnet."
    )
    assert problems == [told]


def test_a_network_address_is_refused_with_the_reason() -> None:
    networks, pods = seed(["169.30.1.0/24", "169.30.1.2/24", "169.30.1.3/24"], "169.30.1.10/24")
    _, problems = plan(*networks[:3], pods=pods[:3])
    told = "the address 169.30.1.0/24 of mesh-0 is the network address of 169.30.1.0/24, which no interface can have."
    assert problems == [f"Network mesh-0: {told}"]


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("one address twice", {"addresses": {"mesh-0": "198.19.0.7", "mg-0": "198.19.0.7"}},
     "198.19.0.7 would be the net1 address of 2 pods (mesh-0, mg-0): each would take traffic"),
    ("outside", {"addresses": {"mg-0": "198.19.1.7"}}, "the address 198.19.1.7/32 of mg-0 is outside of 198.19.0.0/24"),
    ("another prefix", {"addresses": {"mg-0": "198.19.0.7/25"}}, "has a prefix of /25, and the subnet is"),
    ("broadcast", {"addresses": {"mg-0": "198.19.0.255"}}, "is the broadcast address of 198.19.0.0/24"),
    ("no address", {"addresses": {"mg-0": "198.19.0.300"}}, "the address of mg-0 cannot be: '198.19.0.300' does not"),
    ("no such pod", {"addresses": {"mg-9": "198.19.0.7"}}, "addresses names mg-9, which is none of its pods (mesh-0, "),
    ("chosen in three subnets",
     {"subnet": "", "addresses": {"mesh-0": "10.0.1.5/24", "mesh-1": "10.0.2.5/24", "mg-0": "10.0.3.5/24"}},
     "Network net1 has addresses in 3 subnets ("),
    ("no subnet", {"subnet": ""}, "Network net1 has no subnet. Give one, such as 198.19.0.0/24"),
    ("subnet of an address", {"subnet": "198.19.0.7/24"}, "has host bits set. Its network is 198.19.0.0/24."),
    ("no subnet at all", {"subnet": "here"}, "the subnet cannot be: 'here' does not appear to be"),
    ("small", {"subnet": "198.19.0.0/30"}, "198.19.0.0/30 has room for 2 pods, and 3 are on it."),
    ("small for whereabouts", {"ipam": "whereabouts", "range_start": "198.19.0.253"},
     "198.19.0.0/24 has room for 2 pods, and 3 are on it."),
    ("all excluded", {"exclude": ["198.19.0.0/16"]}, "has room for 0 pods"),
    ("exclude", {"exclude": ["198.19.0.7/24"]}, "exclude holds 198.19.0.7/24, which cannot be"),
    ("range", {"range_end": "198.18.0.1"}, "range_end 198.18.0.1 is outside of 198.19.0.0/24"),
    ("range no address", {"range_start": "first"}, "range_start cannot be: 'first' does not appear"),
    ("eth0", {"interface": "eth0"}, "interface 'eth0' cannot be"),
    ("long interface", {"interface": "network-of-a-pod"}, "up to 15 characters"),
    ("name", {"name": "Net_1"}, "the name has to be small letters, digits and hyphens"),
    ("group", {"groups": ["mess"]}, "There is no group 'mess'; the nearest is 'mesh'."),
    ("mtu", {"mtu": 90000}, "mtu 90000 is not between 68 and 65535"),
    ("field", {"options": {"master": "eth1", "mod": "bridge"}}, "There is no field 'mod'; the nearest is 'mode'."),
    ("mode", {"options": {"master": "eth1", "mode": "switch"}},
     "options.mode has to be one of bridge, private, vepa, passthru, and is 'switch'."),
    ("no master", {"options": {}}, "form macvlan needs options.master"),
    ("resource of macvlan", {"resource": "vf"}, "form macvlan has no policy and no resource"),
    ("whereabouts and addresses", {"ipam": "whereabouts", "addresses": {"mg-0": "198.19.0.7"}},
     "with ipam whereabouts nobody chooses addresses"),
]  # fmt: skip
BAD_VF: list[tuple[str, dict[str, Any], str]] = [
    ("no resource", {"resource": ""}, "form operator needs the name of the resource that its VFs are."),
    ("hyphen", {"resource": "mlnx-sriov-vf"},
     "resource 'mlnx-sriov-vf' has a hyphen, which the SR-IOV device plugin refuses; call it 'mlnx_sriov_vf'."),
    ("prefix in the name", {"resource": "openshift.io/vf"}, "the prefix stands apart"),
    ("policy of a device plugin", {"form": "device_plugin"}, "a policy is for form operator, not device_plugin."),
    ("vlan", {"options": {"vlan": 4095}}, "options.vlan has to be a whole number from 0 to 4094, and is 4095."),
    ("vlan text", {"options": {"vlan": "ten"}}, "options.vlan has to be a whole number from 0 to 4094, and is 'ten'."),
    ("vlan truth", {"options": {"vlan": True}}, "options.vlan has to be a whole number"),
    ("trust", {"options": {"trust": "yes"}}, "options.trust has to be one of on, off, and is 'yes'."),
    ("rates", {"options": {"minTxRate": 2, "maxTxRate": 1}}, "minTxRate 2 is over maxTxRate 1."),
    ("word of the plugin", {"options": {"spoofchk": "off"}}, "no field 'spoofchk'; the nearest is 'spoofChk'."),
    ("no VFs", {"policy": POLICY | {"numVfs": 0}}, "policy.numVfs has to be a whole number from 1 to 4096"),
    ("every node", {"policy": POLICY | {"nodeSelector": {}}}, "the policy needs nodeSelector"),
    ("every NIC", {"policy": POLICY | {"nicSelector": {}}}, "the policy needs nicSelector"),
    ("NIC", {"policy": POLICY | {"nicSelector": {"pfName": "ens1"}}}, "no field 'pfName'; the nearest is 'pfNames'"),
    ("NIC list", {"policy": POLICY | {"nicSelector": {"pfNames": "ens1"}}}, "pfNames has to be a list, and is 'ens1'"),
    ("vfio", {"policy": POLICY | {"deviceType": "vfio-pci"}}, "vfio-pci gives pods no interface"),
    ("policy field", {"policy": POLICY | {"mtu": 9000}}, "Network fast: policy: There is no field 'mtu'"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("network", "change", "told"),
    [
        *(pytest.param(NET, change, told, id=f"macvlan {name}") for name, change, told in BAD),
        *(pytest.param(VF, change, told, id=f"VF {name}") for name, change, told in BAD_VF),
    ],
)
def test_what_cannot_carry_a_mesh_is_refused(network: dict[str, Any], change: dict[str, Any], told: str) -> None:
    _, problems = plan(network | change)
    assert any(told in one for one in problems), problems


@pytest.mark.parametrize(
    ("networks", "pods", "told"),
    [
        ([NET], [], "There are no pods"),
        ([NET], [Pod("a"), Pod("a")], "There is more than one pod a."),
        ([NET, NET | {"interface": "net2", "subnet": "198.19.1.0/24"}], PODS, "There is more than one network net1."),
        ([NET, NET | {"name": "b"}], PODS, "Pod mesh-0 is on 2 networks of net1: net1, b."),
        ([NET | {"groups": ["mesh"]}, NET | {"name": "b", "groups": ["mg"]}], PODS,
         "198.19.0.1 would be the net1 address of 2 pods (mesh-0, mg-0)"),
        ([NET | {"groups": ["mesh"], "mtu": 9000}, NET | {"name": "b", "groups": ["mg"]}], PODS,
         "The pods' net1 would have 2 MTUs (net1: 9000, b: the default): the larger packets never arrive."),
        ([NET, NET | {"name": "b", "interface": "net2", "subnet": "198.19.0.0/16"}], PODS,
         "net1 (net1: 198.19.0.0/24) and net2 (b: 198.19.0.0/16) overlap: the kernel sends"),
        ([VF, VF | {"name": "b", "interface": "net2", "subnet": "198.19.1.0/24"}], PODS,
         "Resource mlnx_vf has 2 policies; give it with one network"),
    ],
)  # fmt: skip
def test_what_cannot_be_together_is_refused(networks: list[dict[str, Any]], pods: list[Pod], told: str) -> None:
    _, problems = plan(*networks, pods=pods)
    assert any(told in one for one in problems), problems
