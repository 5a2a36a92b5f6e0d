# SPDX-License-Identifier: GPL-3.0-or-later
"""The pure parts of hosts on Google Cloud: what an error means, where a host is tried next, journal, budget, labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import gcp_budget, gcp_errors, gcp_labels
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.gcp_journal import Journal, runs
from ansible.module_utils.nightbench.gcp_placement import COOL_DOWN_SECONDS, Candidate, Placement, ZoneMemory

ERRORS = [
    ("capacity", None, ["ZONE_RESOURCE_POOL_EXHAUSTED"], ""),
    ("capacity", None, ["ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS"], ""),
    ("capacity", None, ["REGION_RESOURCE_POOL_EXHAUSTED"], ""),
    ("capacity", 503, ["resourcePoolExhausted"], ""),
    ("capacity", 503, ["insufficientCapacity"], ""),
    ("capacity", 503, ["backendError"], "The zone 'z' does not have enough resources available"),
    ("capacity", None, ["VM_MIN_COUNT_NOT_REACHED", "ZONE_RESOURCE_POOL_EXHAUSTED"], "neutral beside its cause"),
    ("quota", None, ["QUOTA_EXCEEDED"], ""),
    ("quota", 403, ["quotaExceeded"], ""),
    ("quota", 403, ["forbidden"], "Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 0.0 globally."),
    ("quota", None, ["QUOTA_EXCEEDED", "ZONE_RESOURCE_POOL_EXHAUSTED"], "no zone mends a quota"),
    ("not_offered", 404, ["notFound"], "The resource 'projects/p/zones/z/acceleratorTypes/x' was not found"),
    ("not_offered", 400, ["invalid"], "machineTypes/n9-standard-1 does not exist in zone z"),
    ("not_found", 404, ["notFound"], "The resource 'projects/p/zones/z/instances/i' was not found"),
    ("taken", 409, ["alreadyExists"], ""),
    ("auth", 401, ["authError"], ""),
    ("auth", 403, ["forbidden"], ""),
    ("auth", 403, [], ""),
    ("invalid", 400, ["invalid"], "Invalid value for field 'resource.name'"),
    ("invalid", 412, [], ""),
    ("invalid", 503, ["INVALID_ARGUMENT"], ""),
    ("invalid", None, ["VM_MIN_COUNT_NOT_REACHED"], "neutral, and nothing beside it"),
    ("invalid", None, ["SOMETHING_NEW"], "what nobody knows is not tried again"),
    ("transient", 429, [], ""),
    ("transient", 403, ["rateLimitExceeded"], ""),
    ("transient", 500, ["backendError"], ""),
    ("transient", 502, [], ""),
    ("transient", 503, [], ""),
    ("transient", None, ["INTERNAL_ERROR"], ""),
]


@pytest.mark.parametrize(("kind", "status", "codes", "message"), ERRORS)
def test_an_error_is_of_the_kind_that_says_what_helps(
    kind: str, status: int | None, codes: list[str], message: str
) -> None:
    assert gcp_errors.classify(status, codes, message) == kind
    assert gcp_errors.NEXT_STEP[gcp_errors.Kind(kind)]


def test_the_zones_that_a_stockout_names_are_read_from_it() -> None:
    info = {"metadatas": {"zone": "r-a", "zonesAvailable": "r-c, r-f,r-c"}}
    error = {"code": "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "errorDetails": [{"help": {}}, {"errorInfo": info}]}
    found = gcp_errors.of_operation("create", {"error": {"errors": [error]}})
    assert found is not None
    assert (found.kind, found.hints) == ("capacity", ("r-c", "r-f"))
    assert gcp_errors.of_operation("create", {"status": "DONE"}) is None


def order(placement: Placement, outcomes: dict[str, Any]) -> list[str]:
    """Take until there is nothing; `outcomes` are the hints by candidate, `drop` for never."""
    taken = []
    while (candidate := placement.take()) is not None:
        taken.append(str(candidate))
        hints = outcomes.get(str(candidate), [])
        if hints == "drop":
            placement.drop(candidate.zone, "not offered")
        else:
            placement.exhausted(candidate, hints, "none")
    return taken


ORDERS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {}, ["a (spot)", "b (spot)", "c (spot)", "a (standard)", "b (standard)", "c (standard)"]),
    ({"models": ["spot"]}, {"a (spot)": ["c"]}, ["a (spot)", "c (spot)", "b (spot)"]),
    ({"models": ["spot"]}, {"a (spot)": ["elsewhere"]}, ["a (spot)", "b (spot)", "c (spot)"]),
    ({}, {"a (spot)": "drop"}, ["a (spot)", "b (spot)", "c (spot)", "b (standard)", "c (standard)"]),
    ({"models": ["spot"], "cooling": frozenset([Candidate("a", "spot")])}, {}, ["b (spot)", "c (spot)", "a (spot)"]),
    (
        {"models": ["spot"], "cooling": frozenset([Candidate("a", "spot")])},
        {"b (spot)": ["a"]},
        ["b (spot)", "a (spot)", "c (spot)"],
    ),
]


@pytest.mark.parametrize(("given", "outcomes", "expected"), ORDERS)
def test_candidates_come_in_order(given: dict[str, Any], outcomes: dict[str, Any], expected: list[str]) -> None:
    placement = Placement(**{"zones": ["a", "b", "c"], "models": ["spot", "standard"], **given})
    assert order(placement, outcomes) == expected


def test_a_zone_is_remembered_for_its_kind_of_host_and_forgotten_in_time(tmp_path: Path) -> None:
    memory, a, b = ZoneMemory(tmp_path / "zones.json"), Candidate("a", "spot"), Candidate("b", "spot")
    memory.exhausted("t4", a, now=1000)
    seen = [
        memory.cooling(kind, [a, b], now)
        for kind, now in (("t4", 1001), ("l4", 1001), ("t4", 1000 + COOL_DOWN_SECONDS))
    ]
    assert seen == [frozenset([a]), frozenset(), frozenset()]
    memory.path.write_text("{", encoding="utf-8")
    assert memory.cooling("t4", [a], 1001) == frozenset(), "a damaged memory only costs a try"


def test_the_journal_knows_every_request_and_how_it_ended(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "20260101T000000Z-0a1b")
    first = journal.intend("gpu-0", "a", "spot", now=1000, until=4600, cost_per_hour=2.0)
    assert (journal.remembered("gpu-0", 1001), journal.remembered("gpu-0", 1000 + 3600)) == (first, None)
    assert journal.reserved() == 2.0
    journal.note(first, "failed", 1010)
    assert (journal.remembered("gpu-0", 1011), journal.reserved()) == (None, 0.0)
    second = journal.intend("gpu-0", "b", "spot", now=1020, until=4620, cost_per_hour=2.0)
    journal.note(second, "created", 1030)
    assert (journal.living(), journal.remembered("gpu-0", 1031)) == ([second], None)
    journal.note(second, "deleted", 1020 + 1800)
    assert (journal.living(), journal.reserved(), first.request_id == second.request_id) == ([], 1.0, False)
    assert list(runs(tmp_path)) == ["20260101t000000z-0a1b"]


def test_a_line_that_was_cut_by_a_kill_costs_no_entry(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "run")
    entry = journal.intend("gpu-0", "a", "spot", now=1000, until=4600, cost_per_hour=None)
    with journal.path.open("a") as stream:
        stream.write('{"event":"crea')
    assert [one.event for one in journal.entries()] == ["intent"]
    journal.note(entry, "deleted", 1001)
    assert journal.living() == []


def test_a_price_is_the_sum_of_its_parts_and_names_what_has_none() -> None:
    assert gcp_budget.price_per_hour("n1-standard-4", "nvidia-tesla-t4", 2, "pd-balanced", 73, {}) == (
        pytest.approx(0.19 + 0.70 + 0.01),
        [],
    )
    assert gcp_budget.price_per_hour("x9", "nvidia-h900", 1, "pd-ssd", 10, {"x9": 3.0})[1] == ["nvidia-h900"]


@pytest.mark.parametrize(("budget", "reserved", "fits"), [(2.0, 0.0, True), (2.0, 0.1, False), (1.99, 0.0, False)])
def test_what_could_exceed_the_budget_is_refused(budget: float, reserved: float, fits: bool) -> None:
    def ask() -> None:
        gcp_budget.check(budget, reserved, 1.0, 3600, ["gpu-0", "gpu-1"])

    if fits:
        ask()
    else:
        with pytest.raises(ConfigurationError, match=r"create gpu-0, gpu-1: at most 2.00 USD .* Nothing was created"):
            ask()


def test_labels_are_what_the_api_takes() -> None:
    made = gcp_labels.labels("20260101T000000Z-0a1b", "Me@Example.com", 1e9 + 0.5, {"team": "x"})
    assert made == {
        "managed-by": "nightbench",
        "run-id": "20260101t000000z-0a1b",
        "owner": "me-example-com",
        "expires": "1000000000",
        "team": "x",
    }
    assert [gcp_labels.expires(one) for one in (made, {"expires": "soon"}, {}, None)] == [1000000000, None, None, None]
    assert (gcp_labels.of_run(made, "20260101T000000Z-0a1b"), gcp_labels.of_run({"run-id": "x"}, "x")) == (True, False)
