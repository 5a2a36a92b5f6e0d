# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods are found on this machine by their uid, whoever names the cgroups."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import pod_places
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.policy_pairs import Pair, in_pods

FIRST, SECOND = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
CGROUPS = {
    "cgroupfs": f"0::/nodes/x/kubepods/besteffort/pod{FIRST}/0123456789abcdef",
    "version 1": f"12:pids:/kubepods/burstable/pod{FIRST}/77\n1:name=systemd:/kubepods/burstable/pod{FIRST}/77",
    "systemd": f"0::/kubepods.slice/kubepods-besteffort-pod{FIRST.replace('-', '_')}.slice/cri-1.scope",
}


def proc(root: Path, processes: dict[str, str | None]) -> Path:
    for name, cgroup in processes.items():
        (root / name).mkdir()
        if cgroup is not None:
            (root / name / "cgroup").write_text(cgroup)
    return root


@pytest.mark.parametrize("cgroup", CGROUPS.values(), ids=CGROUPS)
def test_a_pod_is_found_by_any_form_of_its_cgroup(tmp_path: Path, cgroup: str) -> None:
    there = proc(tmp_path, {"self": None, "1": "0::/init.scope", "7": None, "42": cgroup, "43": cgroup})
    found = pod_places.network_namespaces([FIRST, SECOND], there)
    assert found in ({FIRST: f"{there}/42/ns/net"}, {FIRST: f"{there}/43/ns/net"})


def test_nobody_is_found_who_was_not_asked_for(tmp_path: Path) -> None:
    there = proc(tmp_path, {"42": CGROUPS["cgroupfs"]})
    assert (pod_places.network_namespaces([SECOND], there), pod_places.network_namespaces([], there)) == ({}, {})


class Listed:
    """The API of a namespace in which these pods are."""

    def __init__(self, pods: Sequence[dict[str, Any]]) -> None:
        self.pods = pods

    def list_pages(self, path: str) -> tuple[Sequence[dict[str, Any]], str]:
        assert path == "/api/v1/namespaces/jobs/pods"
        return self.pods, "1"


def pod(name: str, uid: str, address: str | None) -> dict[str, Any]:
    status = {"podIP": address} if address else {}
    return {"metadata": {"name": name, "uid": uid}, "spec": {"nodeName": "real-0"}, "status": status}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        pod_places, "network_namespaces", lambda uids: {FIRST: "/proc/42/ns/net"} if FIRST in uids else {}
    )


def test_a_place_is_node_address_and_namespace(here: None) -> None:
    kube: Any = Listed([pod("a", FIRST, "198.18.0.5"), pod("stranger", SECOND, None)])
    place = pod_places.PodPlace("a", "real-0", "198.18.0.5", "/proc/42/ns/net")
    assert pod_places.places(kube, "jobs", ["a", "a"]) == {"a": place}


WRONG = [
    (pod("b", FIRST, "198.18.0.5"), "pod a is not in namespace jobs. Create it"),
    (pod("a", FIRST, None), "pod jobs/a has no address yet"),
    (pod("a", SECOND, "198.18.0.5"), r"no process of pod jobs/a \(node real-0\) is on this machine"),
]


@pytest.mark.parametrize(("item", "says"), WRONG, ids=["absent", "no address", "elsewhere"])
def test_a_pod_that_cannot_be_probed_is_named(here: None, item: dict[str, Any], says: str) -> None:
    kube: Any = Listed([item])
    with pytest.raises(ConfigurationError, match=says):
        pod_places.places(kube, "jobs", ["a"])


def test_a_pair_takes_its_ends_from_its_pods_and_keeps_what_it_says_itself() -> None:
    sender = pod_places.PodPlace("a", "real-0", "198.18.0.5", "/proc/1/ns/net")
    receiver = pod_places.PodPlace("b", "real-1", "198.18.0.6", "/proc/2/ns/net")
    assert in_pods(Pair("pair", "", 7331), sender, receiver) == Pair(
        "pair", "198.18.0.6", 7331, "198.18.0.5", "/proc/1/ns/net", "/proc/2/ns/net"
    )
    own = Pair("pair", "192.0.2.1", 7331, "192.0.2.2", "/proc/8/ns/net", "/proc/9/ns/net")
    assert in_pods(own, sender, receiver) == own
    assert in_pods(own, None, None) == own
