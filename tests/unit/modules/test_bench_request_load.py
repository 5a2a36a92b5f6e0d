# SPDX-License-Identifier: GPL-3.0-or-later
"""A load of real requests over loopback: every request is a row, and what went wrong says so."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import request_load
from ansible.modules import bench_request_load

from tests.conftest import RunModule, eventually
from tests.fakes.request_services import GENERATOR, NAMESPACE, TOKEN, Services, services, settled

GENERATE = {"path": "/generate?input={input}&output={output}&stream=1"}
FAST = ("--step-seconds", "0.002", "--input-seconds", "0.0001", "--batch", "4")


@pytest.fixture
def pods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Services]:
    monkeypatch.setattr(request_load, "LEAD_SECONDS", 0.5)
    with services(tmp_path) as found:
        yield found


@pytest.fixture
def run(run_module: RunModule, tmp_path: Path, pods: Services) -> Callable[..., Any]:
    def called(*items: dict[str, Any], **more: Any) -> Any:
        given = {
            "name": "chat.1",
            "namespace": NAMESPACE,
            "token": TOKEN,
            "host": pods.host,
            "services": list(items),
            "answer_seconds": 5,
            "samples_path": str(tmp_path / "samples.jsonl"),
            "run_state": str(tmp_path / "state"),
        }
        return run_module(bench_request_load, **{**given, **more})

    return called


def service(number: int, **more: Any) -> dict[str, Any]:
    arrivals = {"kind": "poisson", "rate": 60, "seconds": 0.8, "seed": 1}
    base = {"name": "chat", "addresses": ["127.0.0.1"], "port": number, "arrivals": arrivals, "request": GENERATE}
    return base | more


def rows(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def test_every_request_that_was_due_is_a_row(run: Callable[..., Any], pods: Services, tmp_path: Path) -> None:
    for name in ("one", "two"):
        pods.start(name, "load_agent.py", label=GENERATOR)
    model = pods.start("model", "model_server.py", *FAST, label="app=chat")
    sizes = {"input": {"median": 20, "sigma": 0.5}, "output": {"median": 3}}
    chat = service(model.port, addresses=None, label_selector="app=chat", sizes=sizes)
    others = {"kind": "poisson", "rate": 60, "seconds": 0.8, "seed": 2}
    health = service(model.port, name="health", request={"path": "/healthz"}, arrivals=others)
    result = run(chat, health).ok()
    found, told = rows(tmp_path), result["values"]
    assert result["samples"]["rows"] == len(found) == told["asked"] == told["answered"] == told["done"]
    assert (told["failed"], told["not_sent"], told["missing"]) == (0, 0, 0)
    assert {(row["service"], row["generator"]) for row in found} == {
        (name, generator) for name in ("chat", "health") for generator in ("one", "two")
    }
    assert [row["due_seconds"] for row in found] == sorted(row["due_seconds"] for row in found)
    assert {(row["items"], row["status"]) for row in found if row["service"] == "chat"} == {(3, 200)}
    for row in found:
        assert 0 <= row["delay_seconds"] <= row["first_item_seconds"] <= row["latency_seconds"]
        if row["service"] == "chat":
            planted = 3 * 0.002 + row["input"] * 0.0001
            assert row["planted_seconds"] == pytest.approx(planted, abs=2e-6)
            assert row["latency_seconds"] >= planted - 1e-5
        else:
            assert row["planted_seconds"] is None
    assert told["plan"]["services"]["chat"]["arrivals"]["kind"] == "poisson"
    assert told["services"]["chat"]["addresses"] == 1
    assert {one["scheduling"].split()[0] for one in told["generators"].values()} <= {"fifo", "nice", "other"}
    assert sum(one["requests"] for one in told["generators"].values()) == told["asked"]
    # What was handed over is gone.
    assert [pods.state(name)["plan"] for name in ("one", "two")] == [None, None]


def test_a_request_that_is_answered_late_or_wrong_is_a_row_with_the_reason(
    run: Callable[..., Any], pods: Services, tmp_path: Path
) -> None:
    pods.start("one", "load_agent.py", label=GENERATOR)
    slow = pods.start("slow", "model_server.py", "--step-seconds", "30")
    gone = pods.start("gone", "model_server.py")
    gone.kill()
    few = {"kind": "constant", "rate": 10, "seconds": 0.4}
    told = run(
        service(slow.port, name="slow", arrivals=few),
        service(slow.port, name="lost", arrivals=few, request={"path": "/nothing"}),
        service(gone.port, name="gone", arrivals=few),
        answer_seconds=0.5,
    ).ok()["values"]
    assert {name: (one["answered"], one["failed"], one["reasons"]) for name, one in told["services"].items()} == {
        "slow": (0, 4, {"no whole answer in 0.5 s": 4}),
        "lost": (0, 4, {"status 404": 4}),
        "gone": (0, 4, {"connect: Connection refused": 4}),
    }
    found = rows(tmp_path)
    assert {row["latency_seconds"] for row in found} == {None}
    assert {row["status"] for row in found if row["service"] == "lost"} == {404}


def test_nothing_waits_for_a_slow_answer(run: Callable[..., Any], pods: Services, tmp_path: Path) -> None:
    """A closed loop would send the second after the first answer; here they queue, and the queue is in the latency."""
    pods.start("one", "load_agent.py", label=GENERATOR)
    model = pods.start("model", "model_server.py", "--step-seconds", "0.1", "--batch", "1")
    burst = {"kind": "constant", "rate": 100, "seconds": 0.1}
    run(service(model.port, arrivals=burst, sizes={"output": {"median": 1}})).ok()
    found = rows(tmp_path)
    assert len(found) == 10
    assert max(row["delay_seconds"] for row in found) < 0.1
    latencies = [row["latency_seconds"] for row in found]
    assert latencies == sorted(latencies) and latencies[-1] > 0.8


def test_models_that_share_a_place_say_whether_they_were_in_memory(
    run: Callable[..., Any], pods: Services, tmp_path: Path
) -> None:
    pods.start("one", "load_agent.py", label=GENERATOR)
    model = pods.start("model", "model_server.py", *FAST, "--slots", "1", "--load-seconds", "0.05")
    few = {"kind": "constant", "rate": 10, "seconds": 0.8}
    asked = [
        service(model.port, name=name, arrivals=few, request={"path": f"/generate?model={name}&input=0"})
        for name in ("a", "b")
    ]
    told = run(*asked).ok()["values"]
    assert (told["asked"], told["answered"]) == (16, 16)
    found = rows(tmp_path)
    swapped = [row for row in found if not row["model_loaded"]]
    assert {row["model_loaded"] for row in found} <= {True, False}
    # Whoever waits for a load that another began is told what was left of it: never more than a load.
    assert all(0.002 - 2e-6 <= row["planted_seconds"] <= 0.052 for row in swapped)
    assert {row["planted_seconds"] for row in found if row["model_loaded"]} <= {0.002}
    whole = [row for row in swapped if row["planted_seconds"] >= 0.052 - 2e-6]
    assert len(whole) == pods.state("model")["loads"] >= 2
    assert all(row["latency_seconds"] >= row["planted_seconds"] - 1e-5 for row in found)


def test_the_queue_shows_the_whole_way_of_an_event(run: Callable[..., Any], pods: Services, tmp_path: Path) -> None:
    pods.start("one", "load_agent.py", label=GENERATOR)
    queue = pods.start("queue", "queue_server.py")
    pods.worker(queue, "--service-seconds", "0.02")
    few = {"kind": "constant", "rate": 20, "seconds": 0.5}
    put = {"method": "POST", "path": "/put?wait=1", "body": "input"}
    told = run(service(queue.port, arrivals=few, request=put, sizes={"input": {"median": 100}})).ok()["values"]
    assert (told["answered"], told["failed"]) == (10, 0)
    assert min(row["latency_seconds"] for row in rows(tmp_path)) >= 0.02
    assert {row["planted_seconds"] for row in rows(tmp_path)} == {0.02}
    state = pods.state("queue")
    assert (state["put"], state["done"], state["depth"], state["taken"]) == (10, 10, 0, 0)


def test_the_plan_is_shown_and_nobody_asked(run_module: RunModule) -> None:
    result = run_module(
        bench_request_load, check=True, name="x", namespace=NAMESPACE, token=TOKEN, services=[service(1)]
    ).ok()
    plan = result["plan"]
    assert result["changed"] is False
    assert (
        plan["requests"]
        == plan["services"]["chat"]["requests"]
        == plan["services"]["chat"]["arrivals"]["planned"]["arrivals"]
    )
    assert plan["predicted_seconds"] == pytest.approx(20.8, abs=0.2)


WRONG: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"port": 0}, {}, "chat: port 0 is none"),
    ({"label_selector": "app=chat"}, {}, "give label_selector or addresses"),
    ({"addresses": []}, {}, "label_selector or addresses, one"),
    ({"request": {"path": "generate"}}, {}, "request.path 'generate' is no path"),
    ({"request": {"path": "/a b"}}, {}, "is no path of a URL"),
    ({"request": {"body": "input"}}, {}, "a GET has no body"),
    ({"objectives": {"latency_seconds": 0}}, {}, "objectives are seconds above 0"),
    ({"arrivals": {"kind": "poisson"}}, {}, "services: chat: arrivals: seconds"),
    ({"request": {"method": "PUT", "body": "input"}, "sizes": {"input": {"median": 1e9}}}, {}, "load sends at most"),
    ({}, {"answer_seconds": 0}, "answer_seconds: 0.0 is no time"),
    ({}, {"services": []}, "services: there is none"),
    ({}, {"services": [service(1), service(2)]}, "services: chat is there more than once"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "more", "text"), WRONG, ids=[case[2] for case in WRONG])
def test_what_cannot_be_sent_is_refused(
    run: Callable[..., Any], changes: dict[str, Any], more: dict[str, Any], text: str
) -> None:
    assert text in run(service(1, **changes), **more).failed()["msg"]


def test_without_generators_or_services_there_is_no_load(run: Callable[..., Any], pods: Services) -> None:
    assert f"No pod of {GENERATOR} runs in {NAMESPACE}: nobody sends" in run(service(1)).failed()["msg"]
    pods.start("one", "load_agent.py", label=GENERATOR)
    pods.start("model", "model_server.py", label="app=chat")
    pods.ready["model"] = False
    asked = service(1, addresses=None, label_selector="app=chat")
    assert "No pod of app=chat runs in serving: there is nobody to ask" in run(asked).failed()["msg"]


def test_an_agent_that_wants_another_token_is_told_at_once(run: Callable[..., Any], pods: Services) -> None:
    pods.start("one", "load_agent.py", label=GENERATOR)
    assert "1 of 1 load generators do not answer, one for one: 401" in run(service(1), token="else").failed()["msg"]


def test_a_generator_that_breaks_ends_the_load(run: Callable[..., Any], pods: Services) -> None:
    pods.start("one", "load_agent.py", label=GENERATOR)
    # An address that is none is found out by the generator alone.
    said = run(service(1, addresses=["no address"])).failed()
    assert "Load generator one broke:" in said["msg"] and "Name or service not known" in said["msg"]
    assert pods.state("one")["plan"] is None


def test_a_generator_that_forgets_its_load_is_noticed(
    run: Callable[..., Any], pods: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods.start("one", "load_agent.py", label=GENERATOR)
    monkeypatch.setattr(request_load, "POLL_SECONDS", 0.1)

    def disturb() -> None:
        eventually(lambda: pods.state("one")["sent"] > 0)
        pods.ask("one", "PUT", "/plan", json.dumps({"id": "another"}).encode())

    thread = threading.Thread(target=disturb)
    thread.start()
    long = {"kind": "constant", "rate": 20, "seconds": 8}
    said = run(service(1, arrivals=long)).failed()
    thread.join()
    assert "Load generator one does not know the load any more" in said["msg"]


def test_a_stop_ends_the_load_and_the_generators(run: Callable[..., Any], pods: Services, tmp_path: Path) -> None:
    pods.start("one", "load_agent.py", label=GENERATOR)

    def stop() -> None:
        eventually(lambda: pods.state("one")["sent"] > 0)
        (tmp_path / "state" / "stop").touch()

    thread = threading.Thread(target=stop)
    thread.start()
    said = run(service(1, arrivals={"kind": "constant", "rate": 20, "seconds": 60})).failed()
    thread.join()
    assert said["stopped"] is True and "stopped on request" in said["msg"]
    settled(pods, "one", plan=None, finished=False)
