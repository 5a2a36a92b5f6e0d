# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_gpu_probe as Ansible calls it, over small programs in the place of the probe."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import gpu_blocks, gpu_probe, gpu_service
from ansible.modules import bench_gpu_probe

from tests.conftest import ModuleResult, RunModule

# What the program does is said by its plan: how it ends, what it writes, how long it takes.
PROGRAM = """
import json, os, sys, time
given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
plan = json.loads(given["--plan"])
lines = [{"kind": "sample", "place": os.environ["NIGHTBENCH_BLOCK"] + "." + os.environ["NIGHTBENCH_POSITION"]}]
if plan.get("counts"):
    with open(plan["counts"], "a") as stream:
        stream.write("calls 5\\n")
if "end" in plan:
    lines.append({"kind": "end", **plan["end"]})
with open(given["--output"], "w") as stream:
    stream.write("".join(json.dumps(line) + "\\n" for line in lines))
time.sleep(plan.get("sleep", 0))
if plan.get("raises"):
    raise SystemExit(plan["raises"])
"""
COMPLETE = {"end": {"status": "complete", "reason": ""}}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "probe"
    folder.mkdir()
    (folder / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    (folder / "other.py").write_text("VALUE = 1\n", encoding="utf-8")
    return folder


@pytest.fixture
def bench(run_module: RunModule, source: Path, tmp_path: Path) -> Any:
    def run(variants: list[dict[str, Any]] | None = None, *, check: bool = False, **more: Any) -> ModuleResult:
        python = {"argv": [sys.executable]}
        given = [{**python, **one} for one in variants or [{"name": "host"}, {"name": "host_again"}]]
        places = {"source": str(source), "work": str(tmp_path / "work"), "samples": str(tmp_path / "samples")}
        parameters = {"plan": COMPLETE, "last_block": 1, **places, **more}
        return run_module(bench_gpu_probe, check=check, variants=given, **parameters)

    return run


def test_every_block_has_every_variant_once_in_an_order_of_its_own(bench: Any) -> None:
    names = [f"variant_{number}" for number in range(6)]
    found = bench([{"name": name} for name in names], last_block=3).ok()
    runs = found["runs"]
    assert [sorted(one["variant"] for one in runs if one["block"] == block) for block in (1, 2, 3)] == [names] * 3
    assert [one["position"] for one in runs] == [1, 2, 3, 4, 5, 6] * 3
    orders = [[one["variant"] for one in runs if one["block"] == block] for block in (1, 2, 3)]
    assert len({tuple(order) for order in orders}) == 3
    assert found["orders"] == {str(block): orders[block - 1] for block in (1, 2, 3)}
    assert found["changed"] is False
    places = [json.loads(Path(one["samples"]["path"]).read_text().splitlines()[0])["place"] for one in runs]
    assert places == [f"{one['block']}.{one['position']}" for one in runs]


def test_check_mode_names_the_orders_and_runs_nothing(bench: Any, tmp_path: Path) -> None:
    planned, done = bench(check=True, last_block=4).ok(), bench(last_block=4).ok()
    assert planned["orders"] == done["orders"]
    assert planned["probe_sha256"] == done["probe_sha256"]
    assert "runs" not in planned.json
    assert not bench(check=True, samples=str(tmp_path / "none")).ok()["changed"]
    assert not (tmp_path / "none").exists()


def test_a_later_look_goes_on_where_the_last_one_ended(bench: Any) -> None:
    whole, part = bench(last_block=3).ok(), bench(first_block=3, last_block=3).ok()
    assert [one["variant"] for one in part["runs"]] == [one["variant"] for one in whole["runs"] if one["block"] == 3]


ENDINGS: list[tuple[dict[str, Any], str, str]] = [
    (COMPLETE, "complete", ""),
    ({"end": {"status": "not_runnable", "reason": "no GPU: device 0 of 0"}}, "not_runnable", "no GPU: device 0 of 0"),
    ({"end": {"status": "error", "reason": "hung: gemm"}, "raises": 3}, "error", "hung: gemm"),
    ({"raises": "out of luck"}, "error", "ended with exit code 1 before it was done: out of luck"),
    ({}, "error", "ended with exit code 0 before it was done: nothing on standard error"),
    ({"sleep": 60}, "error", "not done within 0.5 s; the process was ended, the device was not reset"),
]


@pytest.mark.parametrize(("plan", "status", "reason"), ENDINGS)
def test_how_a_run_ended_is_told_and_the_others_go_on(
    bench: Any, plan: dict[str, Any], status: str, reason: str
) -> None:
    seconds = 0.5 if "sleep" in plan else 60.0
    found = bench([{"name": "host"}, {"name": "case", "plan": plan}], plan={}, run_seconds=seconds, last_block=2).ok()
    cases = [one for one in found["runs"] if one["variant"] == "case"]
    assert [(one["status"], one["reason"]) for one in cases] == [(status, reason)] * 2
    assert len(found["runs"]) == 4


def test_what_a_layer_has_counted_is_read_before_and_after(bench: Any, tmp_path: Path) -> None:
    counted = tmp_path / "calls"
    counter = {"path": str(counted), "pattern": "calls ([0-9]+)"}
    variants = [{"name": "host"}, {"name": "proxy", "counter": counter, "plan": {"counts": str(counted)}}]
    found = bench(variants, last_block=2).ok()
    seen = [one["counter"] for one in found["runs"] if one["variant"] == "proxy"]
    assert seen == [{"before": None, "after": 5.0}, {"before": 5.0, "after": 10.0}]
    assert [one["counter"] for one in found["runs"] if one["variant"] == "host"] == [None, None]


def test_a_pattern_that_catches_nothing_counts_how_often_it_is_there(bench: Any, tmp_path: Path) -> None:
    counted = tmp_path / "calls"
    counter = {"path": str(counted), "pattern": "(?m)^calls"}
    found = bench([{"name": "host"}, {"name": "proxy", "counter": counter, "plan": {"counts": str(counted)}}]).ok()
    [seen] = [one["counter"] for one in found["runs"] if one["variant"] == "proxy"]
    assert seen == {"before": None, "after": 1.0}


# A server that is ready when it says so, and writes down who is asked of it only when it is ended.
SERVER = """
import os, signal, sys
def end(*_):
    print("ended")
    raise SystemExit(0)
signal.signal(signal.SIGTERM, end)
if "child" in sys.argv and os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1], "w").close()
sys.stdout.write("ready\\n") and sys.stdout.flush()
while True:
    signal.pause()
"""


def service(tmp_path: Path, *words: str, program: str = SERVER, **more: Any) -> dict[str, Any]:
    argv = [sys.executable, "-c", program, str(tmp_path / "sign"), *words]
    return {"argv": argv, "log": str(tmp_path / "server.log"), "ready": {"log": "ready"}, **more}


def test_a_service_runs_beside_its_variant_and_beside_no_other(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its child does not end when it is asked to."""
    monkeypatch.setattr(gpu_service, "END_SECONDS", 0.3)
    counter = {"path": str(tmp_path / "server.log"), "pattern": "ended"}
    given = {"name": "proxy", "service": service(tmp_path, "child"), "counter": counter}
    runs = bench([{"name": "host"}, given], last_block=2).ok()["runs"]
    proxied = [one for one in runs if one["variant"] == "proxy"]
    assert [one["service"] for one in runs if one["variant"] == "host"] == [None, None]
    assert [len(one["service"]["pids"]) for one in proxied] == [2, 2]
    assert [one["counter"] for one in proxied] == [{"before": 0.0, "after": 1.0}] * 2, "read again when it had ended"
    assert [gpu_service.session(min(one["service"]["pids"])) for one in proxied] == [[], []]


SERVICES: list[tuple[dict[str, Any], str]] = [
    ({"argv": ["/nowhere/server"]}, "start the service of case: /nowhere/server: No such file or directory"),
    ({"program": "raise SystemExit('no device')"}, "ended with exit code 1; it said: no device"),
    ({"program": "import signal; signal.pause()", "seconds": 0.3}, "was not ready within 0.3 s; it said: nothing"),
    ({"ready": {"file": "/"}}, "/ is there already, so another one runs"),
]


@pytest.mark.parametrize(("more", "says"), SERVICES)
def test_a_service_that_is_not_there_is_an_error_of_its_run_alone(
    bench: Any, tmp_path: Path, more: dict[str, Any], says: str
) -> None:
    runs = bench([{"name": "host"}, {"name": "case", "service": service(tmp_path, **more)}]).ok()["runs"]
    found = {one["variant"]: (one["status"], one["reason"]) for one in runs}
    assert found["host"] == ("complete", "")
    assert found["case"][0] == "error"
    assert says in found["case"][1]


def test_samples_are_named_with_their_checksum(bench: Any) -> None:
    [first, *_] = bench().ok()["runs"]
    path = Path(first["samples"]["path"])
    assert path.name == f"001.01.{first['variant']}.jsonl"
    assert first["samples"]["rows"] == 2
    assert len(first["samples"]["sha256"]) == 64
    assert first["boot_id"] == gpu_probe.boot_id() != ""


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"variants": [{"name": "host"}]}, "1 of them; a comparison needs two"),
    ({"variants": [{"name": "host"}, {"name": "host"}]}, "host is there twice"),
    ({"first_block": 3, "last_block": 2}, "blocks 3 to 2"),
    ({"first_block": 0, "last_block": 2}, "blocks 0 to 2"),
    ({"variants": [{"name": "a"}, {"name": "b", "counter": {"path": "x"}}]}, "a counter has path and pattern"),
    ({"variants": [{"name": "a"}, {"name": "b", "argv": ["/nowhere/python"]}]}, "start /nowhere/python for"),
    ({"source": "/nowhere"}, "there is no __main__.py in it"),
    ({"variants": [{"name": "a"}, {"name": "b", "service": {"argv": ["x"]}}]}, "a service has argv and log, maybe"),
    (
        {"variants": [{"name": "a"}, {"name": "b", "service": {"argv": ["x"], "log": "l"}}]},
        "ready by one of file and log",
    ),
    (
        {
            "variants": [
                {"name": "a"},
                {"name": "b", "service": {"argv": ["x"], "log": "l", "ready": {"log": "r"}, "stop": {"signal": 9}}},
            ]
        },
        "what ends its service has argv and input",
    ),
]


@pytest.mark.parametrize(("given", "says"), REFUSED)
def test_what_cannot_be_run_is_refused(bench: Any, given: dict[str, Any], says: str) -> None:
    assert says in bench(**given).failed().msg


def test_a_run_that_is_stopped_ends_its_process_and_says_how_far_it_came(bench: Any, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "stop").touch()
    found = bench(run_state=str(state)).failed()
    assert (found["stopped"], found["runs"]) == (True, [])
    assert "0 of 2 runs are done" in found.msg


def test_a_deadline_ends_the_run_that_is_going_on(bench: Any) -> None:
    found = bench(plan={"sleep": 60}, deadline_seconds=0.5).failed()
    assert "0 of 2 runs are done" in found.msg


def test_the_same_sources_pack_to_the_same_bytes(source: Path, tmp_path: Path) -> None:
    first = gpu_probe.pack(source)
    (source / "other.py").touch()
    assert gpu_probe.pack(source) == first
    target = tmp_path / "packed.pyz"
    gpu_probe.write_packed(source, target)
    assert zipfile.ZipFile(target).namelist() == ["__main__.py", "probe/other.py"]


def test_orders_favour_nobody() -> None:
    names = ["a", "b", "c", "d"]
    firsts = [gpu_blocks.order(names, 1, block)[0] for block in range(1, 401)]
    assert all(70 < firsts.count(name) < 130 for name in names)
    assert gpu_blocks.order(names, 1, 7) == gpu_blocks.order(list(reversed(names)), 1, 7)
