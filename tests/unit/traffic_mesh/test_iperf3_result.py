# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of iperf3 as its versions write them. The fixtures are real: 8 Mb/s a stream over loopback for a second."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.unit.traffic_mesh.conftest import agent_module

FIXTURES = ROOT / "tests" / "fixtures" / "iperf3"
VERSIONS = ["3.12", "3.16", "3.19.1", "3.21"]
FORWARD, REVERSE = ["forward"], ["reverse"]


@pytest.fixture(scope="module")
def result() -> ModuleType:
    return agent_module("iperf3_result")


def text(form: str, version: str = "3.12") -> str:
    return (FIXTURES / f"{form}.{version}.json").read_text(encoding="utf-8")


# form, directions, streams, what is told and what cannot be
TCP, UDP = ("retransmits", "rtt_seconds"), ("jitter_seconds", "lost_ratio")
FORMS = [
    ("tcp", FORWARD, 2, 2_097_152, TCP, UDP),
    ("udp", FORWARD, 1, 1_015_808, UDP, TCP),
    ("reverse", REVERSE, 1, 1_048_576, TCP[:1], UDP),
    ("both", FORWARD + REVERSE, 1, 1_048_576, TCP, UDP),
    ("udp_both", FORWARD + REVERSE, 1, 1_015_808, UDP, TCP),
    ("udp_reverse", REVERSE, 1, 1_015_808, UDP, TCP),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("form", "directions", "streams", "size", "told", "untold"), FORMS)
def test_a_test_that_ran_is_read_in_every_version(
    result: ModuleType, version: str, form: str, directions: list[str], streams: int, size: int, told: Any, untold: Any
) -> None:
    found = result.read(text(form, version))
    assert (found["error"], found["version"], list(found["flows"])) == (None, version, directions)
    assert (found["local_address"], found["remote_address"]) == ("127.0.0.1", "127.0.0.1")
    for flow in found["flows"].values():
        assert [flow[name] for name in ("sent_bytes", "received_bytes", "socket_bytes", "streams")] == [
            *[size] * 3,
            streams,
        ]
        assert flow["goodput_bytes_per_second"] == pytest.approx(size / flow["seconds"])
        assert 1.0 <= flow["seconds"] < 1.1
        assert [name for name in told if flow[name] is None] == []
        assert [name for name in untold if flow[name] is not None] == []
        assert 0 < flow["sender_cpu_ratio"] < 1
        assert 0 < flow["receiver_cpu_ratio"] < 1


ERRORS = [
    ("busy", "the server is busy running a test. try again later"),
    ("refused", "Connection refused"),
    ("server_died", "control socket has closed unexpectedly"),
]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("form", "told"), ERRORS)
def test_a_test_that_failed_has_a_reason_and_no_measures(
    result: ModuleType, version: str, form: str, told: str
) -> None:
    found = result.read(text(form, version))
    assert found["error"].endswith(told)
    assert (found["flows"], found["version"]) == ({}, version)


def test_what_is_said_of_a_busy_server_is_known_in_every_version(result: ModuleType) -> None:
    from ansible.module_utils.nightbench.mesh_rows import BUSY

    assert [BUSY in result.read(text("busy", version))["error"] for version in VERSIONS] == [True] * 4


WHOLE = text("tcp")
TRUNCATED = [
    ("", "iperf3 wrote nothing"),
    (" \n", "iperf3 wrote nothing"),
    (WHOLE[:500], "iperf3 wrote no whole result (500 characters"),
    ("iperf3: parameter error", "iperf3 wrote no whole result"),
    ("[]", "iperf3 wrote something else than a result"),
    ('{"start": {}, "end": {}}', "the result of iperf3 has no end.sum_sent: it was cut short"),
    ('{"start": null, "end": null}', "the result of iperf3 has no end.sum_sent: it was cut short"),
]


@pytest.mark.parametrize(("written", "told"), TRUNCATED)
def test_a_result_that_is_not_whole_is_a_failure(result: ModuleType, written: str, told: str) -> None:
    found = result.read(written)
    assert found["error"].startswith(told)
    assert found["flows"] == {}


def changed(form: str, **end: Any) -> str:
    document = json.loads(text(form))
    document["end"] |= end
    return json.dumps(document)


def test_an_empty_error_is_none_and_any_other_takes_the_measures_away(result: ModuleType) -> None:
    document = json.loads(WHOLE)
    assert result.read(json.dumps(document | {"error": ""}))["error"] is None
    late = result.read(json.dumps(document | {"error": "error - idle timeout for receiving data"}))
    assert (late["error"], late["flows"]) == ("idle timeout for receiving data", {})


def test_a_loss_is_told_as_a_share_and_what_arrived_counts(result: ModuleType) -> None:
    end = json.loads(text("udp"))["end"]
    received = end["sum_received"] | {"lost_packets": 7, "packets": 28, "bytes": 750_000, "seconds": 1.5}
    flow = result.read(changed("udp", sum_received=received))["flows"]["forward"]
    assert (flow["lost_ratio"], flow["received_bytes"], flow["goodput_bytes_per_second"]) == (0.25, 750_000, 500_000.0)


def test_the_longer_of_both_ends_times_is_that_of_the_test(result: ModuleType) -> None:
    """A receiver that was late to start its clock would make the goodput look better than it was."""
    received = json.loads(WHOLE)["end"]["sum_received"] | {"seconds": 0.85}
    flow = result.read(changed("tcp", sum_received=received))["flows"]["forward"]
    assert flow["seconds"] == pytest.approx(1.0, abs=0.05)
    assert flow["goodput_bytes_per_second"] == pytest.approx(2_097_152 / flow["seconds"])


def test_without_a_sum_of_the_receiver_the_loss_is_taken_from_what_was_sent(result: ModuleType) -> None:
    """UDP of old versions."""
    document = json.loads(text("udp"))
    end = document["end"]
    del end["sum_received"], end["sum_sent"]
    end["sum"] |= {"lost_packets": 1, "packets": 4, "bytes": 1000}
    assert result.read(json.dumps(document))["flows"]["forward"]["received_bytes"] == 750


def test_addresses_that_differ_between_streams_are_all_told(result: ModuleType) -> None:
    document = json.loads(WHOLE)
    document["start"]["connected"][1]["remote_host"] = "10.0.0.9"
    assert result.read(json.dumps(document))["remote_address"] == "10.0.0.9,127.0.0.1"


def test_bytes_of_a_socket_whose_addresses_are_unknown_do_not_count(result: ModuleType) -> None:
    document = copy.deepcopy(json.loads(WHOLE))
    document["start"]["connected"].pop()
    assert result.read(json.dumps(document))["flows"]["forward"]["socket_bytes"] is None


def test_the_shared_examples_are_read_as_well(result: ModuleType) -> None:
    beside = [parent / "shared" / "fixtures" / "iperf3" for parent in Path(__file__).parents]
    folder = next((one for one in beside if one.is_dir()), None)
    if folder is None:
        pytest.skip("the shared fixtures are not beside the project")
    found = {path.stem: result.read(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    assert {name for name, one in found.items() if one["error"]} == {"refused", "server_busy"}
