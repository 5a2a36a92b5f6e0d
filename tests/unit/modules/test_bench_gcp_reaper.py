# SPDX-License-Identifier: GPL-3.0-or-later
"""What is removed from a project, in which order, and what never is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench.gcp_journal import Journal
from ansible.modules import bench_gcp_instance, bench_gcp_reaper

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi
    from tests.conftest import ModuleResult, RunModule

RUN = "20260101T000000Z-0a1b"
DELETES = ("compute.instances.delete", "compute.disks.delete", "compute.addresses.delete")
OURS = {"managed_by": "nightbench", "run_id": "dead", "expires": "1000"}
LATER = {**OURS, "expires": "9999999999"}
Reap = Callable[..., "ModuleResult"]


@pytest.fixture
def reap(cloud: ComputeApi, run_module: RunModule, tmp_path: Path) -> Reap:
    def call(**parameters: Any) -> ModuleResult:
        given = {"pause_seconds": 0.01, "journal_dir": str(tmp_path / "gcp"), "dry_run": False, **cloud.access}
        return run_module(bench_gcp_reaper, **{**given, **parameters})

    return call


@pytest.fixture
def hosts(cloud: ComputeApi, run_module: RunModule, tmp_path: Path) -> Reap:
    def call(**parameters: Any) -> ModuleResult:
        given = {
            "names": ["gpu-0"],
            "run_id": RUN,
            "region": "us-central1",
            "pause_seconds": 0.01,
            "journal_dir": str(tmp_path / "gcp"),
            **cloud.access,
        }
        return run_module(bench_gcp_instance, **{**given, **parameters})

    return call


def named(result: ModuleResult, key: str = "removed") -> list[str]:
    return [f"{one['kind']} {one['name']}" for one in result[key]]


def test_everything_expired_goes_from_all_zones_in_the_order_of_dependency(cloud: ComputeApi, reap: Reap) -> None:
    cloud.put("address", "europe-west4", "address", **OURS)
    cloud.put("disk", "us-central1-f", "disk", **OURS)
    cloud.put("instance", "europe-west4-c", "host", **OURS)
    shown = reap(dry_run=True).ok()
    assert (shown["changed"], cloud.asked(*DELETES)) == (False, [])
    done = reap().ok()
    assert named(done) == ["instance host", "disk disk", "address address"]
    assert [one["method"] for one in cloud.asked(*DELETES)] == list(DELETES)
    assert cloud.settled() == {"instances": [], "disks": [], "addresses": []}
    assert {"instance host", "disk disk", "address address"} <= set(named(shown))
    assert reap().ok()["changed"] is False


def test_disks_of_a_region_and_addresses_of_no_region_go_too(cloud: ComputeApi, reap: Reap) -> None:
    cloud.put("address", "global", "address", **OURS)
    cloud.put("disk", "us-central1", "disk", **OURS)
    done = reap().ok()
    assert [(one["kind"], one["place"]) for one in done["removed"]] == [("disk", "us-central1"), ("address", "global")]
    assert cloud.settled() == {"instances": [], "disks": [], "addresses": []}
    assert reap().ok()["changed"] is False


STAYS = {
    "a stranger's": ({"team": "x", "expires": "1000"}, {}, None),
    "without any label": ({}, {}, None),
    "not over yet": (LATER, {}, "its run is not over"),
    "an expiry that is no number": ({**OURS, "expires": "soon"}, {}, "its label expires is no number"),
    "a preserved name": (OURS, {"preserved_names": ["th.*"]}, "its name is preserved"),
    "expired ones do not count": (OURS, {"expired": False}, "its run is not over"),
    "another run": (LATER, {"run_ids": ["another"]}, "its run is not over"),
}


@pytest.mark.parametrize("kind", ["instance", "disk", "address"])
@pytest.mark.parametrize("case", STAYS)
def test_what_may_not_go_stays(cloud: ComputeApi, reap: Reap, case: str, kind: str) -> None:
    labels, options, reason = STAYS[case]
    cloud.put(kind, "us-central1" if kind == "address" else "us-central1-a", "thing", **labels)
    result = reap(**options).ok()
    assert (result["changed"], cloud.asked(*DELETES)) == (False, [])
    assert {one["reason"] for one in result["kept"]} == ({reason} if reason else set())


def test_a_run_that_is_named_goes_though_its_time_is_not_over(cloud: ComputeApi, reap: Reap, hosts: Reap) -> None:
    hosts().ok()
    cloud.put("disk", "us-central1-a", "extra", **{**LATER, "run_id": RUN.lower()})
    cloud.put("disk", "us-central1-a", "others", **LATER)
    assert named(reap(run_ids=[RUN]).ok()) == ["instance gpu-0", "disk extra"]
    assert cloud.settled() == {"instances": [], "disks": ["us-central1-a/others"], "addresses": []}


def test_a_disk_that_somebody_uses_stays(cloud: ComputeApi, reap: Reap) -> None:
    """A stranger's instance on a disk with our labels."""
    cloud.put("instance", "us-central1-a", "theirs", **OURS)
    for instance in cloud.state["instances"]:
        cloud.control("relabel", zone="us-central1-a", name=instance["name"], labels={})
    result = reap().ok()
    assert (named(result), result["kept"][0]["reason"]) == ([], "theirs uses it")


def test_one_that_cannot_be_removed_does_not_keep_the_others(cloud: ComputeApi, reap: Reap) -> None:
    for name in ("a", "b"):
        cloud.put("instance", "us-central1-a", name, **OURS)
    cloud.put("address", "us-central1", "address", **OURS)
    cloud.faults({"at": DELETES[0], "do": "status", "code": 400})
    result = reap().failed()
    assert named(result) == ["instance b", "address address"]
    assert "instance a in us-central1-a: delete instance a" in result.msg
    assert named(reap().ok()) == ["instance a"]


@pytest.mark.parametrize("fault", ["lost", "reset"])
@pytest.mark.parametrize("at", DELETES)
def test_a_deletion_whose_answer_is_lost_is_asked_again(cloud: ComputeApi, reap: Reap, at: str, fault: str) -> None:
    cloud.put("instance", "us-central1-a", "host", **OURS)
    cloud.put("disk", "us-central1-a", "disk", **OURS)
    cloud.put("address", "us-central1", "address", **OURS)
    cloud.faults({"at": at, "do": fault})
    reap().ok()
    assert cloud.settled() == {"instances": [], "disks": [], "addresses": []}


def test_a_deletion_that_does_not_go_on_is_told(cloud: ComputeApi, reap: Reap) -> None:
    cloud.put("instance", "us-central1-a", "host", **OURS)
    cloud.faults({"at": DELETES[0], "do": "stuck"})
    assert "does not go on" in reap(operation_seconds=0.2).failed().msg


@pytest.mark.parametrize("skew", [-7 * 86400, 7 * 86400])
def test_expired_is_what_the_server_says(cloud: ComputeApi, reap: Reap, hosts: Reap, skew: int) -> None:
    """This machine's clock is a week off: a host that lives is not taken for dead."""
    cloud.reset(skew_seconds=skew)
    hosts(max_run_seconds=600).ok()
    assert named(reap().ok()) == []
    cloud.put("disk", "us-central1-a", "old", **{**OURS, "expires": str(int(cloud.control("now")["now"]) - 1)})
    assert named(reap().ok()) == ["disk old"]


def test_a_disk_that_a_failed_creation_leaves_is_found(cloud: ComputeApi, reap: Reap, hosts: Reap) -> None:
    cloud.faults({"at": "compute.instances.insert", "do": "leave_disk"})
    hosts().ok()
    assert len(cloud.settled()["disks"]) == 2
    reap(run_ids=[RUN]).ok()
    assert cloud.settled() == {"instances": [], "disks": [], "addresses": []}


def test_the_journal_of_a_run_that_lives_is_left_as_it_is(
    cloud: ComputeApi, reap: Reap, hosts: Reap, tmp_path: Path
) -> None:
    """Its host may still be on its way; that of a run that is named is closed."""
    cloud.faults({"at": "compute.instances.insert", "do": "lost", "times": 0})
    hosts(timeout_seconds=0.3).failed()
    cloud.faults()
    reap().ok()
    assert len(Journal(tmp_path / "gcp", RUN).living()) == 1
    hosts().ok()
    assert len(cloud.asked("compute.instances.insert")) > 1
    assert cloud.settled()["instances"] == ["us-central1-a/gpu-0"]
    reap(run_ids=[RUN]).ok()
    assert Journal(tmp_path / "gcp", RUN).living() == []


def test_one_damaged_journal_keeps_nothing_of_the_other_runs(cloud: ComputeApi, reap: Reap, tmp_path: Path) -> None:
    (tmp_path / "gcp").mkdir()
    (tmp_path / "gcp" / "other.jsonl").write_text("{\n{}\n", encoding="utf-8")
    cloud.put("instance", "us-central1-a", "host", **OURS)
    result = reap().ok()
    assert named(result) == ["instance host"]
    assert "other.jsonl: line 1 is not valid JSON" in str(result["warnings"])


def test_a_run_whose_hosts_are_still_being_created_is_waited_for(cloud: ComputeApi, reap: Reap, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "gcp", RUN)
    entry = journal.intend("gpu-0", "us-central1-a", "spot", now=1000, until=4600, cost_per_hour=None)
    journal.note(entry, "created", 1001)
    with journal.held(lambda _: None):
        assert "another process is at work on the hosts" in reap(run_ids=[RUN], timeout_seconds=0.3).failed().msg
    reap(run_ids=[RUN]).ok()


BAD = [
    ({"run_ids": ["a.b"]}, "run_id 'a.b': letters"),
    ({"run_ids": [""]}, "run_id ''"),
    ({"project": "not-ours"}, "permission"),
    ({"access_token": "expired"}, "the credentials are not accepted"),
    ({"preserved_names": ["("]}, "preserved_names: '(' is no regular expression"),
]


@pytest.mark.parametrize(("parameters", "told"), BAD)
def test_what_cannot_be_meant_is_told(cloud: ComputeApi, reap: Reap, parameters: dict[str, Any], told: str) -> None:
    assert told in reap(**parameters).failed().msg


def test_a_missing_library_is_told(reap: Reap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_gcp_reaper.gcp_client, "MISSING", "No module named 'google'")
    assert "pip install -r requirements-gcp.txt" in reap().failed().msg
