# SPDX-License-Identifier: GPL-3.0-or-later
"""Several processes that begin at once: how long each takes to its first kernel while the others do the same."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from . import control
from .driver import Driver, start
from .sampling import Sampler

GO, END = b"go\n", b"end\n"


def measure(sampler: Sampler, counts: list[int], command: list[str], seconds: float) -> None:
    """`command` starts one tenant: the same program in its other form."""
    for count in counts:
        sampler.watch.step(f"tenants {count}")
        processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(count)]
        try:
            _run(sampler, count, processes, seconds)
        finally:
            for process in processes:
                process.kill()
                process.communicate()


def _run(sampler: Sampler, count: int, processes: list[subprocess.Popen[bytes]], seconds: float) -> None:
    for process in processes:
        _line(process)  # its interpreter is up: only the device is measured from here
    for process in processes:
        _tell(process, GO)
    answers = []
    for number, process in enumerate(processes):
        sampler.watch.step(f"tenant {number + 1} of {count}")
        answers.append(_line(process))
    on_device, of_mps = sampler.management.processes(), sampler.management.mps_clients()
    listed = None if on_device is None else {*on_device, *(of_mps or [])}
    for process, answer in zip(processes, answers):
        seen = {"host_seconds": answer.get("start_to_first_kernel"), "submit_seconds": None, "device_seconds": None}
        sampler.writer.line(
            "sample",
            metric="start",
            parameters={"tenants": count},
            calls=1,
            discarded=answer.get("error"),
            number=len(answers),
            pid=process.pid,
            listed=None if listed is None else process.pid in listed,
            **seen,
            **sampler.management.look(),
        )
        sampler.counts["samples"] += 1
    for process in processes:
        _tell(process, END)
        process.wait(timeout=seconds)


def _tell(process: subprocess.Popen[bytes], word: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(word)
        process.stdin.flush()
    except BrokenPipeError:
        pass  # it has ended: its answer, or that there is none, says why


def _line(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    text = process.stdout.readline()
    try:
        found = json.loads(text)
    except ValueError:
        return {"error": "the tenant ended without a word"}
    return found if isinstance(found, dict) else {}


def tenant(driver: Driver, ordinal: int) -> int:
    """One tenant: says that it is there, begins when told to, and holds its context until told to end."""
    _say({"ready": True})
    sys.stdin.readline()
    begin = time.monotonic()
    device, _ = start(driver, ordinal)
    _, seconds, _ = control.first_steps(driver, device)
    _say(dict(seconds, until_known=time.monotonic() - begin))
    sys.stdin.readline()
    driver.cuDevicePrimaryCtxRelease(device)
    return 0


def _say(values: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
