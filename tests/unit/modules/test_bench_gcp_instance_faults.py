# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a host when the cloud has none, is slow, loses an answer or takes the host away again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench.gcp_journal import Journal
from ansible.modules import bench_gcp_instance

from tests.compute_api import service_account
from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi
    from tests.conftest import ModuleResult, RunModule

RUN = "20260101T000000Z-0a1b"
INSERT = "compute.instances.insert"
AB = "a STANDARD, b STANDARD"
ABF = ["us-central1-a", "us-central1-b", "us-central1-f"]
Hosts = Callable[..., "ModuleResult"]


@pytest.fixture
def hosts(cloud: ComputeApi, run_module: RunModule, tmp_path: Path) -> Hosts:
    def call(**parameters: Any) -> ModuleResult:
        given = {
            "names": ["gpu-0"],
            "run_id": RUN,
            "zones": ABF,
            "pause_seconds": 0.01,
            "journal_dir": str(tmp_path / "gcp"),
            **cloud.access,
        }
        return run_module(bench_gcp_instance, **{**given, **parameters})

    return call


def tries(cloud: ComputeApi) -> list[tuple[str, str]]:
    """Zone and provisioning model of every host that was asked for."""
    return [(one["zone"][-1], one["body"]["scheduling"]["provisioningModel"]) for one in cloud.asked(INSERT)]


L4 = {"machine_type": "g2-standard-4"}
SHORT = {"at": INSERT, "do": "stockout"}
#: Script, options, zones and models tried in order.
PLACEMENTS = {
    "the next zone in order": ([SHORT], {}, AB),
    "the hinted zone first": ([{**SHORT, "hint": ["us-central1-f"]}], {}, "a STANDARD, f STANDARD"),
    "a hint outside the zones that are allowed is not followed": (
        [{**SHORT, "hint": ["europe-west4-b"]}], {}, AB,
    ),
    "spot, then standard, when that is allowed": (
        [{**SHORT, "model": "SPOT", "times": 0}],
        {"provisioning_models": ["spot", "standard"]},
        "a SPOT, b SPOT, f SPOT, a STANDARD",
    ),
    "a shortage that comes as 503 with words": (
        [{"at": INSERT, "do": "status", "code": 503, "message": "zone does not have enough resources available"}], {},
        AB,
    ),
    "a machine type that the zone does not know": (
        [{"at": INSERT, "do": "status", "code": 404, "reason": "notFound",
          "message": "The resource 'projects/p/zones/us-central1-a/machineTypes/n1-standard-4' was not found"}], {},
        AB,
    ),
    "preempted while it is provisioned": ([{"at": INSERT, "do": "preempt", "stage": "PROVISIONING"}], {}, AB),
    "preempted while it is staged": ([{"at": INSERT, "do": "preempt", "stage": "STAGING"}], {}, AB),
    "preempted as soon as it ran": ([{"at": INSERT, "do": "preempt", "stage": "RUNNING"}], {}, AB),
    "429 is asked again": ([{**SHORT, "do": "status", "code": 429, "times": 2}], {}, "a STANDARD" + ", a STANDARD" * 2),
    "500 is asked again": ([{"at": ".*", "do": "status", "code": 500, "times": 3}], {}, "a STANDARD"),
    "rate limits that come as 403": (
        [{"at": INSERT, "do": "status", "code": 403, "reason": "rateLimitExceeded"}], {}, "a STANDARD, a STANDARD",
    ),
    "a lost answer": ([{"at": INSERT, "do": "lost"}], {}, "a STANDARD, a STANDARD"),
    "a connection that was cut": ([{"at": INSERT, "do": "reset"}], {}, "a STANDARD, a STANDARD"),
    "an operation that ends with trouble of the server": (
        [{"at": INSERT, "do": "error", "code": "INTERNAL_ERROR", "times": 2}], {}, "a STANDARD" + ", a STANDARD" * 2,
    ),
    "an operation that ends with a rate limit": (
        [{"at": INSERT, "do": "error", "code": "RATE_LIMIT_EXCEEDED"}], {}, "a STANDARD, a STANDARD",
    ),
    "the name is taken by our own earlier request": (
        [{"at": INSERT, "do": "appear", "name": "gpu-0",
          "labels": {"managed-by": "nightbench", "run-id": RUN.lower()}}], {}, "a STANDARD",
    ),
    "an answer that comes too late": (
        [{"at": INSERT, "do": "slow", "seconds": 0.6}], {"request_seconds": 0.3}, "a STANDARD, a STANDARD",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACEMENTS)
def test_a_host_is_found_where_it_can_be_had(cloud: ComputeApi, hosts: Hosts, case: str) -> None:
    script, options, expected = PLACEMENTS[case]
    cloud.faults(*script)
    result = hosts(**options).ok()
    assert ", ".join(f"{zone} {model}" for zone, model in tries(cloud)) == expected
    assert len(cloud.settled()["instances"]) == len(cloud.settled()["disks"]) == 1, "and there is one of it, no more"
    assert result["hosts"][0]["zone"][-1] == expected.split(", ")[-1][0]


def test_a_request_that_is_repeated_has_the_same_request_id(cloud: ComputeApi, hosts: Hosts) -> None:
    cloud.faults({"at": INSERT, "do": "lost"}, {"at": INSERT, "do": "status", "code": 503})
    hosts().ok()
    assert len({one["requestId"] for one in cloud.asked(INSERT)}) == 1
    assert len(cloud.asked(INSERT)) == 3


STOPS = {
    "quota in the operation": (
        [{"at": INSERT, "do": "error", "code": "QUOTA_EXCEEDED",
          "message": "Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 0.0 globally."}], {}, "quota", 1,
    ),
    "quota as 403": ([{"at": INSERT, "do": "status", "code": 403, "reason": "quotaExceeded"}], {}, "quota", 1),
    "no right": ([{"at": INSERT, "do": "status", "code": 403, "reason": "forbidden"}], {}, "auth", 1),
    "credentials that are taken back": ([{"at": INSERT, "do": "status", "code": 401}], {}, "auth", 1),
    "an invalid request": ([{"at": INSERT, "do": "status", "code": 400, "reason": "invalid"}], {}, "invalid", 1),
    "invalid in the operation": ([{"at": INSERT, "do": "error", "code": "INVALID_ARGUMENT"}], {}, "invalid", 1),
    "a name that is taken and nobody sees by whom": (
        [{"at": INSERT, "do": "status", "code": 409, "reason": "alreadyExists"}], {}, "taken", 1,
    ),
    "no zone at all": ([{**SHORT, "times": 0}], {}, "capacity", 3),
    "another kind of host is not taken where the quota is used up": (
        [{"at": INSERT, "do": "error", "code": "QUOTA_EXCEEDED"}], {"alternatives": [L4]}, "quota", 1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", STOPS)
def test_what_no_other_zone_mends_stops_at_once(cloud: ComputeApi, hosts: Hosts, case: str) -> None:
    script, options, kind, asked = STOPS[case]
    cloud.faults(*script)
    assert hosts(**options).failed()["kind"] == kind
    assert len(cloud.asked(INSERT)) == asked
    assert cloud.settled() == {"instances": [], "disks": [], "addresses": []}


def test_a_request_whose_operation_failed_is_asked_anew_and_not_brought_back(cloud: ComputeApi, hosts: Hosts) -> None:
    """The API would answer the same requestId with the operation that has failed."""
    cloud.faults({"at": INSERT, "do": "error", "code": "INTERNAL_ERROR"})
    hosts().ok()
    assert len({one["requestId"] for one in cloud.asked(INSERT)}) == 2


def test_a_stranger_who_takes_the_name_in_between_is_never_touched(cloud: ComputeApi, hosts: Hosts) -> None:
    cloud.faults({"at": INSERT, "do": "appear", "name": "gpu-0", "labels": {"team": "x"}})
    told = hosts().failed().msg
    assert "an instance of that name in us-central1-a belongs to somebody else" in told
    assert hosts(state="absent", names=[]).ok()["removed"] == []
    assert cloud.settled()["instances"] == ["us-central1-a/gpu-0"]


T4_SHORT = {**SHORT, "machine_type": "n1-.*", "times": 0}
#: Script, options, machine types that were asked for.
KINDS: dict[str, tuple[list[dict[str, Any]], dict[str, Any], list[str]]] = {
    "the first kind is there": ([], {"alternatives": [L4]}, ["n1-standard-4"]),
    "no zone has it under any model": (
        [T4_SHORT],
        {"alternatives": [L4], "provisioning_models": ["spot", "standard"]},
        ["n1-standard-4"] * 6 + ["g2-standard-4"],
    ),
    "no zone offers it": ([], {"alternatives": [L4], "accelerator_type": "nvidia-h900"}, ["g2-standard-4"]),
    "two alternatives": (
        [T4_SHORT],
        {"alternatives": [{"machine_type": "n9-standard-1"}, L4]},
        ["n1-standard-4"] * 3 + ["g2-standard-4"],
    ),
}


@pytest.mark.parametrize("case", KINDS)
def test_another_kind_of_host_is_taken_only_where_that_is_allowed(cloud: ComputeApi, hosts: Hosts, case: str) -> None:
    script, options, expected = KINDS[case]
    cloud.faults(*script)
    result = hosts(**options).ok()
    assert [one["body"]["machineType"].rpartition("/")[2] for one in cloud.asked(INSERT)] == expected
    assert result["hosts"][0]["machine_type"] == expected[-1]
    assert hosts(**options).ok()["changed"] is False, "it is one of the kinds that will do"


def test_an_open_request_for_another_kind_is_gone_on_with_as_it_was(cloud: ComputeApi, hosts: Hosts) -> None:
    cloud.faults(T4_SHORT, {"at": INSERT, "machine_type": "g2-.*", "do": "lost", "times": 0})
    hosts(alternatives=[L4], timeout_seconds=2.0).failed()
    cloud.faults()
    assert "an earlier call has asked for g2-standard-4" in hosts().failed().msg
    assert hosts(alternatives=[L4]).ok()["hosts"][0]["machine_type"] == "g2-standard-4"
    requests = [one["requestId"] for one in cloud.asked(INSERT) if "g2-" in one["body"]["machineType"]]
    assert (len(set(requests)), len(cloud.settled()["instances"])) == (1, 1)


def test_the_budget_holds_for_the_dearest_kind(cloud: ComputeApi, hosts: Hosts) -> None:
    """2 h of a T4 host cost 1.11 USD, of an L4 host 1.45 USD."""
    told = hosts(alternatives=[L4], budget_usd=1.2).failed().msg
    assert ("its budget is 1.20 USD" in told, cloud.asked(INSERT)) == (True, [])


OWN_GPUS: dict[str, tuple[dict[str, Any], str]] = {
    "quota": ({"names": ["gpu-0", "gpu-1"]}, "2 GPUs are needed, and NVIDIA_L4_GPUS has 1 left in us-central1"),
    "offer": ({"zones": ["us-central1-c"]}, "none of us-central1-c offers it; these do: europe-west4-a, us-central1-a"),
    "no such machine type": (
        {"machine_type": "n9-standard-1"},
        "place n9-standard-1: none of us-central1-a, us-central1",
    ),
}


@pytest.mark.parametrize("case", OWN_GPUS)
def test_a_machine_type_that_brings_its_own_gpus_is_looked_at_too(cloud: ComputeApi, hosts: Hosts, case: str) -> None:
    options, told = OWN_GPUS[case]
    given = {"machine_type": "g2-standard-4", "accelerator_type": "", "accelerator_count": 0}
    assert told in hosts(**{**given, **options}).failed().msg
    assert cloud.asked(INSERT) == []
    result = hosts(**given).ok()
    assert result["tried"] == ["us-central1-f: does not offer g2-standard-4"]


QUOTAS = {
    "the whole project": ({"": {"GPUS_ALL_REGIONS": 0.0}}, "GPUS_ALL_REGIONS has 0 left in project"),
    "the region": ({"us-central1": {"NVIDIA_T4_GPUS": 0.0}}, "NVIDIA_T4_GPUS has 0 left in us-central1"),
}


@pytest.mark.parametrize("case", QUOTAS)
def test_quota_is_looked_at_before_anything_is_created(cloud: ComputeApi, hosts: Hosts, case: str) -> None:
    change, told = QUOTAS[case]
    usual = {"": {"GPUS_ALL_REGIONS": 4.0}, "us-central1": {"NVIDIA_T4_GPUS": 4.0}, "europe-west4": {}}
    cloud.control("set", quotas={**usual, **change})
    result = hosts().failed()
    assert (result["kind"], told in result.msg, cloud.asked(INSERT)) == ("quota", True, [])


def test_spot_may_use_the_usual_quota_and_other_regions_are_still_tried(cloud: ComputeApi, hosts: Hosts) -> None:
    cloud.control(
        "set", quotas={"": {}, "us-central1": {"NVIDIA_T4_GPUS": 0.0}, "europe-west4": {"NVIDIA_T4_GPUS": 1.0}}
    )
    result = hosts(zones=["us-central1-a", "europe-west4-b"], provisioning_models=["spot"]).ok()
    assert result["hosts"][0]["zone"] == "europe-west4-b"
    assert result["tried"] == ["us-central1: NVIDIA_T4_GPUS has 0 left in us-central1"]


def test_a_host_that_is_preempted_while_it_is_removed_is_removed(cloud: ComputeApi, hosts: Hosts) -> None:
    """After its deletion was accepted, before that has done anything."""
    hosts(names=["gpu-0", "gpu-1"]).ok()
    cloud.faults({"at": "compute.instances.delete", "do": "preempt", "stage": "PROVISIONING"})
    result = hosts(state="absent", names=[]).ok()
    assert (len(result["removed"]), cloud.settled()["instances"]) == (2, [])


def test_a_zone_that_had_none_is_asked_last_for_half_an_hour(cloud: ComputeApi, hosts: Hosts) -> None:
    cloud.faults({**SHORT, "zone": "us-central1-a"})
    hosts().ok()
    hosts(names=["gpu-1"], run_id="20260101T000000Z-ffff").ok()
    cloud.control("set", skew_seconds=1801)
    hosts(names=["gpu-2"], run_id="20260101T000000Z-eeee").ok()
    assert [zone for zone, _ in tries(cloud)] == ["a", "b", "b", "a"]


def test_the_failure_names_every_try_and_the_zones_that_the_cloud_offers(cloud: ComputeApi, hosts: Hosts) -> None:
    cloud.faults({**SHORT, "times": 0, "hint": ["europe-west4-b"]})
    told = hosts(provisioning_models=["spot"]).failed().msg
    assert [f"us-central1-{letter} (spot): ZONE_RESOURCE_POOL_EXHAUSTED" in told for letter in "abf"] == [True] * 3
    assert "The cloud names europe-west4-b beside." in told


@pytest.mark.parametrize(("after", "left"), [(0, []), (2, [])])
def test_an_operation_that_does_not_go_on_ends_in_time_and_is_taken_back(
    cloud: ComputeApi, hosts: Hosts, after: int, left: list[str]
) -> None:
    cloud.faults({"at": INSERT, "do": "stuck", "after": after})
    told = hosts(operation_seconds=0.3).failed().msg
    assert "does not go on. It was given 0.3 s." in told
    assert cloud.settled()["instances"] == left


def test_patience_ends_when_the_api_never_answers(cloud: ComputeApi, hosts: Hosts) -> None:
    cloud.faults({"at": ".*", "do": "status", "code": 503, "times": 0})
    assert "not done within 0.5 s; list instances: 503" in hosts(timeout_seconds=0.5).failed().msg


def test_the_stop_file_of_the_run_ends_the_waiting(cloud: ComputeApi, hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "stop").touch()
    cloud.faults({"at": ".*", "do": "status", "code": 503, "times": 0})
    assert "stopped on request" in hosts(run_state=str(tmp_path)).failed().msg


CALL = """
import json, sys
import tests.conftest
from ansible.module_utils.testing import patch_module_args
from ansible.modules import bench_gcp_instance
with patch_module_args(json.loads(sys.argv[1])):
    bench_gcp_instance.main()
"""


def test_two_calls_at_once_do_not_spend_a_budget_twice(cloud: ComputeApi, hosts: Hosts, tmp_path: Path) -> None:
    """The second one waits for the first; without that both would find the host missing and the budget free."""
    journal = Journal(tmp_path / "gcp", RUN)
    with journal.held(lambda _: None):
        told = hosts(timeout_seconds=0.3).failed().msg
    assert f"another process is at work on the hosts of run {RUN.lower()}" in told
    assert cloud.asked(INSERT) == []
    given = {**cloud.access, "run_id": RUN, "zones": ABF, "pause_seconds": 0.01, "journal_dir": str(tmp_path / "gcp")}
    calls = []
    for name in ("gpu-0", "gpu-1"):
        arguments = json.dumps({**given, "names": [name], "budget_usd": 2.0})
        argv = [sys.executable, "-c", CALL, arguments]
        calls.append(subprocess.Popen(argv, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True))
    answers = [json.loads(call.communicate()[0]) for call in calls]
    (refused,) = [answer for answer in answers if answer.get("failed")]
    assert "1.11 USD are taken by what this run has asked for" in refused["msg"]
    assert len(cloud.asked(INSERT)) == len(cloud.settled()["instances"]) == 1


def test_an_entry_that_was_left_open_is_gone_on_with(cloud: ComputeApi, hosts: Hosts, tmp_path: Path) -> None:
    """A process that was killed after its request: the next one does not ask for a second host."""
    cloud.faults({"at": INSERT, "do": "lost", "times": 0})
    hosts(timeout_seconds=0.3, zones=["us-central1-f"]).failed()
    cloud.faults()
    result = hosts().ok()
    assert result["hosts"][0]["zone"] == "us-central1-f"
    assert cloud.settled()["instances"] == ["us-central1-f/gpu-0"]
    assert len({one["requestId"] for one in cloud.asked(INSERT)}) == 1


@pytest.mark.parametrize("skew", [-7 * 86400, 3 * 86400])
def test_expiry_follows_the_clock_of_the_server(cloud: ComputeApi, hosts: Hosts, skew: int) -> None:
    cloud.reset(skew_seconds=skew)
    result = hosts(max_run_seconds=600).ok()
    now = cloud.control("now")["now"]
    assert 600 < int(result["hosts"][0]["labels"]["expires"]) - now <= 600 + 900 + 60


def test_a_service_account_that_was_taken_back_is_told(cloud: ComputeApi, hosts: Hosts, tmp_path: Path) -> None:
    (tmp_path / "key.json").write_text(json.dumps(service_account(cloud.url)), encoding="utf-8")
    cloud.faults({"at": ".*", "do": "status", "code": 401, "times": 0})
    result = hosts(auth_kind="serviceaccount", service_account_file=str(tmp_path / "key.json")).failed()
    assert result["kind"] == "auth"


def test_a_host_that_an_earlier_call_has_begun_and_that_comes_to_nothing_is_created_anew(
    cloud: ComputeApi, hosts: Hosts
) -> None:
    """Seen while it was there for a moment: its disk was made, then the zone had no GPU."""
    cloud.reset(operation_looks=3)
    cut = {"at": "compute.zoneOperations.get", "do": "status", "code": 401, "skip": 4}
    cloud.faults({"at": INSERT, "do": "leave_disk"}, cut)
    hosts().failed()
    assert cloud.state["instances"][0]["status"] == "PROVISIONING"
    result = hosts().ok()
    assert (result["created"], result["hosts"][0]["status"]) == (["gpu-0"], "RUNNING")
    assert cloud.settled()["instances"] == ["us-central1-b/gpu-0"]
