# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-ins wait as the services they stand for do, and refuse what those would."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.fakes.request_services import Services, services, settled


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Services]:
    with services(tmp_path) as found:
        yield found


def together(pods: Services, name: str, paths: list[str]) -> list[float]:
    """Seconds until each of the requests is answered, all sent at once."""
    started = time.monotonic()

    def ask(path: str) -> float:
        status, _ = pods.ask(name, "GET", path)
        assert status == 200
        return time.monotonic() - started

    with ThreadPoolExecutor(len(paths)) as pool:
        return sorted(pool.map(ask, paths))


def test_a_batch_holds_so_many_and_the_others_wait(pods: Services) -> None:
    pods.start("model", "model_server.py", "--batch", "2", "--step-seconds", "0.2")
    took = together(pods, "model", ["/generate"] * 6)
    assert took[0] >= 0.2 and took[2] >= 0.4 and took[4] >= 0.6
    state = pods.state("model")
    assert (state["answered"], state["active"], state["waiting"]) == (6, 0, 0)
    assert 3 <= state["steps"] <= 6


def test_a_step_takes_longer_with_more_requests_in_it(pods: Services) -> None:
    pods.start("model", "model_server.py", "--batch", "8", "--step-seconds", "0", "--step-seconds-per-request", "0.1")
    assert together(pods, "model", ["/generate"])[0] >= 0.1
    # The one that is first may have a step to itself; the others share theirs.
    assert together(pods, "model", ["/generate"] * 4)[-1] >= 0.3


def test_a_model_that_is_not_in_memory_waits_until_one_may_go(pods: Services) -> None:
    pods.start("model", "model_server.py", "--slots", "1", "--load-seconds", "0.2", "--step-seconds", "0.01")
    assert together(pods, "model", ["/generate?model=a"])[0] >= 0.2
    assert pods.state("model")["loaded"] == ["a"]
    assert together(pods, "model", ["/generate?model=b"])[0] >= 0.2
    state = pods.state("model")
    assert (state["loaded"], state["loads"]) == (["b"], 2)
    assert together(pods, "model", ["/generate?model=c&output=10", "/generate?model=d"])[-1] >= 0.4


def test_a_client_that_is_gone_is_generated_nothing(pods: Services) -> None:
    model = pods.start("model", "model_server.py", "--step-seconds", "0.05")

    with socket.create_connection(("127.0.0.1", model.port)) as made:
        made.sendall(b"GET /generate?output=1000&stream=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        assert made.recv(100)
    settled(pods, "model", active=0)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/nothing", 404, "there is no /nothing"),
        ("/generate?input=many", 400, "input is no number"),
        ("/generate?output=2000000", 400, "numbers up to 1000000"),
        ("/generate?input=-1", 400, "numbers up to 1000000"),
    ],
)
def test_what_a_model_server_refuses(pods: Services, path: str, status: int, text: str) -> None:
    pods.start("model", "model_server.py")
    seen, body = pods.ask("model", "GET", path)
    assert seen == status and text in json.loads(body)["error"]


def test_a_queue_gives_each_event_to_one_worker_in_order(pods: Services) -> None:
    pods.start("queue", "queue_server.py")
    for _ in range(3):
        assert pods.ask("queue", "POST", "/put", b"body")[0] == 201
    assert pods.state("queue")["depth"] == 3
    taken = [json.loads(pods.ask("queue", "GET", "/take")[1]) for _ in range(4)]
    assert [one["number"] for one in taken] == [1, 2, 3, None]
    assert taken[0]["bytes"] == 4 and taken[0]["age_seconds"] >= 0
    assert pods.ask("queue", "POST", "/done?number=1")[0] == 200
    assert pods.ask("queue", "POST", "/done?number=1")[0] == 409
    assert pods.ask("queue", "POST", "/done?number=9")[0] == 409
    assert pods.ask("queue", "PUT", "/put")[0] == 404
    state = pods.state("queue")
    assert (state["put"], state["done"], state["taken"], state["depth"], state["most"]) == (3, 1, 2, 0, 3)


def test_what_a_worker_keeps_for_too_long_goes_to_another(pods: Services) -> None:
    pods.start("queue", "queue_server.py", "--lease-seconds", "0.1")
    pods.ask("queue", "POST", "/put")
    assert json.loads(pods.ask("queue", "GET", "/take")[1])["number"] == 1
    assert json.loads(pods.ask("queue", "GET", "/take?seconds=10")[1])["number"] == 1
    assert pods.state("queue")["again"] == 1


def test_a_worker_outlives_its_queue(pods: Services) -> None:
    queue = pods.start("queue", "queue_server.py")
    pods.worker(queue, "--service-seconds", "0")
    queue.kill()
    pods.start("queue", "queue_server.py", "--port", str(queue.port))
    pods.ask("queue", "POST", "/put")
    eventually(lambda: pods.state("queue")["done"] == 1)


def test_what_the_store_has_answered_is_on_the_disk(pods: Services, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    pods.start("store", "tracking_store.py", "--folder", str(folder))
    for number in range(3):
        assert pods.ask("store", "POST", "/runs/one/metrics", b"loss %d" % number)[0] == 201
    assert pods.ask("store", "PUT", "/artifacts/model.bin", b"x" * 1000)[0] == 201
    assert (folder / "runs" / "one").read_bytes() == b"loss 0\nloss 1\nloss 2\n"
    assert os.path.getsize(folder / "artifacts" / "model.bin") == 1000
    assert pods.state("store") == {"metrics": 3, "artifacts": 1, "bytes": 1018}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/runs/one/metrics", 404),
        ("PUT", "/artifacts/..%2fout", 400),
        ("PUT", "/artifacts/.hidden", 400),
        ("POST", "/runs//metrics", 400),
        ("PUT", "/artifacts/a/b", 404),
    ],
)
def test_what_the_store_refuses(pods: Services, tmp_path: Path, method: str, path: str, status: int) -> None:
    pods.start("store", "tracking_store.py", "--folder", str(tmp_path / "store"))
    assert pods.ask("store", method, path, b"")[0] == status
    assert [*(tmp_path / "store").rglob("*")] == [tmp_path / "store" / "runs", tmp_path / "store" / "artifacts"]


def test_a_disk_that_takes_nothing_is_said(pods: Services, tmp_path: Path) -> None:
    pods.start("store", "tracking_store.py", "--folder", str(tmp_path / "store"))
    (tmp_path / "store" / "artifacts").rmdir()
    status, body = pods.ask("store", "PUT", "/artifacts/one", b"x")
    assert status == 503 and "No such file" in json.loads(body)["error"]
