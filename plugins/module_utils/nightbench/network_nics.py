# SPDX-License-Identifier: GPL-3.0-or-later
"""The SR-IOV NICs of a node as its SriovNetworkNodeState has them, and which of them a policy selects."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .sriov_state import policies_on

_PART = re.compile(r"(?P<name>[^#]+)#(?P<first>\d+)-(?P<last>\d+)")


@dataclass(frozen=True)
class Nic:
    """One PF; `policies` are those that have VFs on it."""

    name: str
    address: str
    vendor: str
    device: str
    net_filter: str
    other_names: tuple[str, ...]
    total: int
    policies: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name, *self.other_names)


def nics_of(state: Mapping[str, Any]) -> list[Nic]:
    holders = policies_on(state)
    return [
        Nic(
            name=str(one.get("name") or one.get("pciAddress")),
            address=str(one.get("pciAddress")),
            vendor=str(one.get("vendor") or ""),
            device=str(one.get("deviceID") or ""),
            net_filter=str(one.get("netFilter") or ""),
            other_names=tuple(one.get("altNames") or ()),
            total=int(one.get("totalvfs") or 0),
            policies=tuple(policy for policy, devices in holders.items() if one.get("pciAddress") in devices),
        )
        for one in (state.get("status") or {}).get("interfaces") or ()
    ]


def selected(nic: Nic, selector: Mapping[str, Any]) -> bool:
    """As SriovNetworkNicSelector.Selected of sriov-network-operator v1.6.0 (api/v1/helper.go)."""
    names = [name.partition("#")[0] for name in selector.get("pfNames") or ()]
    return (
        selector.get("vendor", nic.vendor) == nic.vendor
        and selector.get("deviceID", nic.device) == nic.device
        and (not selector.get("rootDevices") or nic.address in selector["rootDevices"])
        and (not names or any(name in names for name in nic.names))
        and selector.get("netFilter", nic.net_filter) == nic.net_filter
    )


def capacity(policy: Mapping[str, Any], nics: Sequence[Nic]) -> int:
    """VFs that the policy offers on these NICs of one node: all of each, or the part that its name says (ens1#0-7)."""
    return sum(_of_nic(policy, nic) for nic in nics)


def _of_nic(policy: Mapping[str, Any], nic: Nic) -> int:
    for name in policy["nicSelector"].get("pfNames") or ():
        part = _PART.fullmatch(name)
        if part and part["name"] in nic.names:
            return max(0, int(part["last"]) - int(part["first"]) + 1)
    return int(policy["numVfs"])
