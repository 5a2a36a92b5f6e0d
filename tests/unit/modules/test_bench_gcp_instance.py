# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts on a stand-in of the Compute API: created once, found again, removed, and nobody else's touched."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.modules import bench_gcp_instance

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi
    from tests.conftest import ModuleResult, RunModule

RUN = "20260101T000000Z-0a1b"
INSERT, DELETE = "compute.instances.insert", "compute.instances.delete"
WRITES = (INSERT, DELETE, "compute.disks.delete", "compute.addresses.delete")
Hosts = Callable[..., "ModuleResult"]


@pytest.fixture
def hosts(cloud: ComputeApi, run_module: RunModule, tmp_path: Path) -> Hosts:
    """The module with everything that the stand-in needs; a test gives what it is about."""

    def call(**parameters: Any) -> ModuleResult:
        given = {
            "names": ["gpu-0"],
            "run_id": RUN,
            "zones": ["us-central1-a", "us-central1-b", "us-central1-f"],
            "pause_seconds": 0.01,
            "journal_dir": str(tmp_path / "gcp"),
            **cloud.access,
        }
        return run_module(bench_gcp_instance, **{**given, **parameters})

    return call


def journal(tmp_path: Path) -> list[tuple[str, str]]:
    lines = (tmp_path / "gcp" / f"{RUN.lower()}.jsonl").read_text(encoding="utf-8").splitlines()
    return [(line["event"], line["zone"]) for line in map(json.loads, lines)]


def test_a_host_is_created_with_a_limit_that_the_server_enforces(cloud: ComputeApi, hosts: Hosts) -> None:
    result = hosts(owner="Me@Example.com", external_address=True, provisioning_models=["spot"]).ok()
    (asked,) = cloud.asked(INSERT)
    (there,) = cloud.state["instances"]
    assert result["changed"] is True
    assert {key: result["hosts"][0][key] for key in ("name", "zone", "status", "external_address")} == {
        "name": "gpu-0",
        "zone": "us-central1-a",
        "status": "RUNNING",
        "external_address": "203.0.113.7",
    }
    assert asked["body"]["scheduling"] == {
        "provisioningModel": "SPOT",
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": False,
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": "7200"},
    }
    assert asked["body"]["disks"][0]["autoDelete"] is True
    assert asked["body"]["disks"][0]["initializeParams"]["labels"] == there["labels"]
    assert {key: there["labels"][key] for key in ("managed-by", "run-id", "owner")} == {
        "managed-by": "nightbench",
        "run-id": "20260101t000000z-0a1b",
        "owner": "me-example-com",
    }


def test_a_second_call_changes_nothing(cloud: ComputeApi, hosts: Hosts) -> None:
    first = hosts(names=["gpu-0", "gpu-1"]).ok()
    second = hosts(names=["gpu-0", "gpu-1"]).ok()
    assert (first["created"], second["created"], second["changed"]) == (["gpu-0", "gpu-1"], [], False)
    assert first["hosts"] == second["hosts"]
    assert len(cloud.asked(INSERT)) == 2


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_check_mode_foretells_and_writes_nothing(cloud: ComputeApi, hosts: Hosts, there: bool, state: str) -> None:
    if there:
        hosts().ok()
    before = len(cloud.asked(*WRITES))
    foretold = hosts(state=state, check=True, diff=True).ok()
    assert len(cloud.asked(*WRITES)) == before
    done = hosts(state=state, diff=True).ok()
    assert foretold["changed"] == done["changed"] == (there == (state == "absent"))
    assert bool(foretold["diff"]["before"] == foretold["diff"]["after"]) == (not done["changed"])


def test_absent_leaves_nothing_and_does_it_once(cloud: ComputeApi, hosts: Hosts) -> None:
    hosts(names=["gpu-0", "gpu-1"]).ok()
    assert hosts(state="absent", names=["gpu-0"]).ok()["removed"][0]["name"] == "gpu-0"
    assert cloud.settled()["instances"] == ["us-central1-a/gpu-1"]
    assert hosts(state="absent", names=[]).ok()["changed"] is True
    assert cloud.settled() == {"instances": [], "disks": [], "addresses": []}
    assert hosts(state="absent", names=[]).ok()["changed"] is False


def test_every_option_arrives_in_the_words_of_the_api(cloud: ComputeApi, hosts: Hosts) -> None:
    hosts(
        provisioning_models=["reservation"],
        reservation="ours",
        nested_virtualization=True,
        service_account="sa@nightbench-test.iam.gserviceaccount.com",
        tags=["ssh"],
        subnetwork="regions/us-central1/subnetworks/a",
        metadata={"startup-script": "true"},
        ssh_user="bench",
        ssh_public_key="ssh-ed25519 AAAA me@here",
        max_run_seconds=600,
    ).ok()
    (asked,) = cloud.asked(INSERT)
    body = asked["body"]
    metadata = {item["key"]: item["value"] for item in body["metadata"]["items"]}
    assert body["reservationAffinity"] == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["ours"],
    }
    assert body["advancedMachineFeatures"] == {"enableNestedVirtualization": True}
    assert body["tags"] == {"items": ["ssh"]}
    assert (metadata["enable-oslogin"], metadata["block-project-ssh-keys"]) == ("FALSE", "TRUE")
    assert metadata["ssh-keys"].startswith('bench:ssh-ed25519 AAAA google-ssh {"userName":"bench","expireOn":"')
    assert (asked["requestId"].count("-"), body["scheduling"]["maxRunDuration"]) == (4, {"seconds": "600"})


#: By model: scheduling.provisioningModel, which reservations are used, how long the cloud may look for one.
PROVISIONED: dict[str, tuple[str, str | None, str | None]] = {
    "spot": ("SPOT", "NO_RESERVATION", None),
    "standard": ("STANDARD", None, None),
    "flex_start": ("FLEX_START", "NO_RESERVATION", "300"),
    "reservation": ("STANDARD", "SPECIFIC_RESERVATION", None),
}


@pytest.mark.parametrize("model", PROVISIONED)
def test_each_way_to_pay_has_the_words_of_the_api_and_the_same_limit(
    cloud: ComputeApi, hosts: Hosts, model: str
) -> None:
    hosts(provisioning_models=[model], reservation="ours").ok()
    (asked,) = cloud.asked(INSERT)
    body = asked["body"]
    found = (
        body["scheduling"]["provisioningModel"],
        body.get("reservationAffinity", {}).get("consumeReservationType"),
        body.get("params", {}).get("requestValidForDuration", {}).get("seconds"),
    )
    assert found == PROVISIONED[model]
    limit = {key: body["scheduling"][key] for key in ("maxRunDuration", "instanceTerminationAction")}
    assert limit == {"maxRunDuration": {"seconds": "7200"}, "instanceTerminationAction": "DELETE"}


@pytest.mark.parametrize(("patience", "waited"), [(60, "0"), (600, "600"), (9000, "7200")])
def test_a_flex_start_host_is_waited_for_as_long_by_the_cloud_as_by_us(
    cloud: ComputeApi, hosts: Hosts, patience: int, waited: str
) -> None:
    """The cloud takes 90 seconds to 2 hours, and 0 for at once or not at all."""
    hosts(provisioning_models=["flex_start"], operation_seconds=patience).ok()
    (asked,) = cloud.asked(INSERT)
    assert asked["body"]["params"]["requestValidForDuration"] == {"seconds": waited}


def test_without_a_key_os_login_says_who_may_come_in(cloud: ComputeApi, hosts: Hosts) -> None:
    hosts().ok()
    (asked,) = cloud.asked(INSERT)
    assert asked["body"]["metadata"]["items"] == [{"key": "enable-oslogin", "value": "TRUE"}]


def test_the_server_removes_what_lives_too_long(cloud: ComputeApi, hosts: Hosts) -> None:
    hosts(max_run_seconds=60).ok()
    cloud.control("set", skew_seconds=61)
    assert hosts(state="info").ok()["hosts"] == []


def test_info_finds_by_label_and_keeps_what_the_serial_port_said(
    cloud: ComputeApi, hosts: Hosts, tmp_path: Path
) -> None:
    hosts().ok()
    cloud.put("instance", "europe-west4-b", "other", managed_by="nightbench", run_id="another", expires="1")
    cloud.put("instance", "europe-west4-b", "stranger", team="x")
    everything = hosts(state="info", names=[], run_id="", serial_dir=str(tmp_path)).ok()
    assert [one["name"] for one in everything["hosts"]] == ["gpu-0", "other"]
    assert "login:" in (tmp_path / "gpu-0.serial.txt").read_text(encoding="utf-8")
    assert [one["name"] for one in hosts(state="info", names=[]).ok()["hosts"]] == ["gpu-0"]


@pytest.mark.parametrize("labels", [{}, {"managed_by": "nightbench", "run_id": "another"}, {"team": "x"}])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_an_instance_of_somebody_else_is_never_touched(
    cloud: ComputeApi, hosts: Hosts, labels: dict[str, str], state: str
) -> None:
    cloud.put("instance", "us-central1-b", "gpu-0", **labels)
    result = hosts(state=state)
    assert cloud.asked(*WRITES) == []
    if state == "present":
        assert "an instance of that name in us-central1-b belongs to" in result.failed().msg
        assert "It was not touched. Choose another name." in result.msg
    else:
        assert (result.ok()["changed"], result["left_alone"]) == (False, ["gpu-0 in us-central1-b"])


def test_a_host_of_another_kind_is_told_and_kept(cloud: ComputeApi, hosts: Hosts) -> None:
    hosts().ok()
    told = hosts(machine_type="n1-standard-8", accelerator_count=2).failed().msg
    assert "machine_type is 'n1-standard-4', asked for 'n1-standard-8'" in told
    assert "accelerator_count is 1, asked for 2" in told
    assert cloud.asked(DELETE) == []


def test_a_host_that_was_stopped_is_no_host_to_go_on_with(cloud: ComputeApi, hosts: Hosts) -> None:
    """The cloud stops what has no instanceTerminationAction."""
    cloud.put("instance", "us-central1-a", "gpu-0", managed_by="nightbench", run_id=RUN.lower())
    cloud.control("preempt", zone="us-central1-a", name="gpu-0")
    assert "gpu-0 in us-central1-a is TERMINATED: it was preempted or stopped" in hosts().failed().msg
    assert cloud.asked(*WRITES) == []


def test_a_host_that_was_preempted_is_created_anew(cloud: ComputeApi, hosts: Hosts) -> None:
    hosts().ok()
    cloud.control("preempt", zone="us-central1-a", name="gpu-0")
    assert hosts(state="info").ok()["hosts"] == []
    again = hosts().ok()
    assert (again["created"], len(cloud.asked(INSERT))) == (["gpu-0"], 2)


BAD = [
    ({"names": ["Gpu_0"]}, "name 'Gpu_0': small letters"),
    ({"names": ["a" * 64]}, "at most 63"),
    ({"names": ["gpu-"]}, "name 'gpu-': small letters"),
    ({"names": []}, "names is empty"),
    ({"run_id": ""}, "run_id '': letters"),
    ({"run_id": "a.b"}, "run_id 'a.b': letters, digits, - and _"),
    ({"run_id": "r" * 64}, "begins with a letter or digit, at most 63"),
    ({"state": "absent", "run_id": ""}, "most 63. Nothing was removed"),
    ({"state": "absent", "run_id": "a.b"}, "Nothing was removed"),
    ({"names": ["a", "a"]}, "name 'a': is there twice"),
    ({"max_run_seconds": 29}, "max_run_seconds is 29; the server takes 30 to 10368000"),
    ({"max_run_seconds": 0}, "max_run_seconds is 0"),
    ({"max_run_seconds": 10_368_001}, "the server takes 30 to 10368000 for standard"),
    ({"max_run_seconds": 700_000, "provisioning_models": ["flex_start"]}, "the server takes 600 to 604800"),
    ({"provisioning_models": ["reservation"]}, "name it in reservation"),
    ({"accelerator_count": 0}, "accelerator_type and accelerator_count go together"),
    ({"ssh_public_key": "ssh-ed25519 AAAA"}, "ssh_public_key needs ssh_user"),
    ({"labels": {"Team": "x"}}, "label Team: begins with a small letter"),
    ({"labels": {"team": "Blue"}}, "label team: 'Blue': small letters"),
    ({"labels": {"team": "b" * 64}}, "and _, at most 63"),
    ({"labels": {"run-id": "x"}}, "label run-id: is written by the module itself"),
    ({"alternatives": [{"machine_type": "n1-standard-4", "accelerator_type": "nvidia-l4"}]}, "go together"),
    (
        {"alternatives": [{"machine_type": "g2-standard-4"}] * 2},
        "alternatives: g2-standard-4 is there twice",
    ),
    ({"budget_usd": 9, "alternatives": [{"machine_type": "n8-standard-4"}]}, "there is no price of n8-standard-4"),
    ({"disk_gb": 5}, "a boot disk has at least 10"),
    ({"zones": ["us-central1-z"]}, "There is no zone 'us-central1-z'; the nearest is 'us-central1-"),
    ({"zones": [], "region": "us-centrall"}, "There is no region 'us-centrall'; the nearest is 'us-central1'"),
    ({"zones": ["europe-west4-c"]}, "none of europe-west4-c offers it; these do: europe-west4-b, us-central1-a"),
    ({"accelerator_type": "nvidia-h900"}, "and no other zone either"),
    ({"project": "not-ours"}, "Required 'compute.instances.list' permission for 'projects/not-ours'"),
    ({"access_token": "expired"}, "the credentials are not accepted"),
    ({"auth_kind": "accesstoken", "access_token": ""}, "there is no access_token"),
    ({"auth_kind": "serviceaccount"}, "there is no service_account_file"),
    ({"auth_kind": "serviceaccount", "service_account_file": "/nowhere.json"}, "find credentials for the Compute API"),
    ({"budget_usd": 1.0}, "its budget is 1.00 USD"),
    ({"budget_usd": 0}, "its budget is 0.00 USD"),
    ({"budget_usd": -1}, "budget_usd is -1; it has to be a number of USD, 0 or more"),
    ({"budget_usd": "nan"}, "budget_usd is nan"),
    ({"budget_usd": "inf"}, "budget_usd is inf"),
    ({"budget_usd": 9, "prices": {"n1-standard-4": -1}}, "prices: n1-standard-4 is -1; every price is a number"),
    ({"prices": {"n1-standard-4": "nan"}}, "prices: n1-standard-4 is 'nan'"),
    ({"prices": {"n1-standard-4": float("inf")}}, "prices: n1-standard-4 is inf"),
    ({"prices": {"n1-standard-4": True}}, "prices: n1-standard-4 is True"),
    ({"prices": {"n1-standard-4": {"usd": 1}}}, "prices: n1-standard-4 is {'usd': 1}"),
    ({"budget_usd": 9, "machine_type": "n9-standard-4"}, "there is no price of n9-standard-4"),
    ({"budget_usd": 9, "prices": {"n1-standard-4": "cheap"}}, "every price is a number in USD"),
    ({"journal_dir": "/proc/nowhere"}, "/proc/nowhere"),
    ({"request_seconds": 0}, "request_seconds is 0; it has to be more than 0"),
]


@pytest.mark.parametrize(("parameters", "told"), BAD, ids=[text[:40] for _, text in BAD])
def test_what_cannot_be_meant_is_told_and_nothing_is_created(
    cloud: ComputeApi, hosts: Hosts, parameters: dict[str, Any], told: str
) -> None:
    assert told in hosts(**parameters).failed().msg
    assert cloud.asked(*WRITES) == []


def test_no_credentials_at_all_says_how_to_get_some(
    cloud: ComputeApi, hosts: Hosts, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("GOOGLE_APPLICATION_CREDENTIALS", "GCP_AUTH_KIND"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    assert "gcloud auth application-default login" in hosts(auth_kind="application").failed().msg
    assert cloud.state["requests"] == []


def test_a_missing_library_is_told_with_the_command_that_brings_it(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_gcp_instance.gcp_client, "MISSING", "No module named 'google'")
    assert "pip install -r requirements-gcp.txt" in hosts().failed().msg


DAMAGED = ["\x00" * 40 + "\n{}\n", '{"event":"intent","name":"gpu-0"}\n', "5\n", '{"event":"inte\n{"event":"x"}\n']


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_journal_keeps_hosts_from_being_created_and_none_from_being_removed(
    cloud: ComputeApi, hosts: Hosts, tmp_path: Path, text: str
) -> None:
    """What it had open cannot be known any more; what is there is found by its labels."""
    hosts().ok()
    (tmp_path / "gcp" / f"{RUN.lower()}.jsonl").write_text(text, encoding="utf-8")
    assert f"{RUN.lower()}.jsonl" in hosts(names=["gpu-0", "gpu-1"]).failed().msg
    assert len(cloud.asked(INSERT)) == 1
    result = hosts(state="absent").ok()
    assert f"{RUN.lower()}.jsonl" in str(result["warnings"])
    assert cloud.settled() == {"instances": [], "disks": [], "addresses": []}


def test_the_budget_counts_what_the_run_has_asked_for_before(cloud: ComputeApi, hosts: Hosts) -> None:
    """A T4 host costs at most 2 x (0.19 + 0.35 + 0.0137) USD in two hours."""
    first = hosts(budget_usd=2.0).ok()
    assert (first["cost_per_hour_usd"], first["cost_at_most_usd"]) == (0.5537, pytest.approx(1.1074, abs=0.01))
    assert "1.11 USD are taken by what this run has asked for" in hosts(names=["gpu-1"], budget_usd=2.0).failed().msg
    hosts(state="absent", names=["gpu-0"]).ok()
    assert hosts(names=["gpu-1"], budget_usd=2.0).ok()["changed"] is True
