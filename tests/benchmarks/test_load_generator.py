# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load generator holds on one core: 2,000 requests a second, 99 of 100 within 5 ms of when they are due."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import arrivals_plan

from tests.fakes.request_services import PODS

pytestmark = pytest.mark.benchmark

RATE, SECONDS = 2000, 10.0
DELAY_MOST = 5e-3
#: A server that does nothing, for the generator to be what is looked at.
SERVER = """
import asyncio
class Answer(asyncio.Protocol):
    def connection_made(self, transport): self.transport = transport
    def data_received(self, data): self.transport.write(b"HTTP/1.1 200 OK\\r\\nContent-Length: 3\\r\\n\\r\\nok\\n")
async def main():
    server = await asyncio.get_running_loop().create_server(Answer, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def on_core(number: int, argv: list[str], **more: Any) -> subprocess.Popen[str]:
    """A process that has one core and no other."""
    cores = sorted(os.sched_getaffinity(0))
    core = {cores[number % len(cores)]}
    process = subprocess.Popen(argv, text=True, **more)
    os.sched_setaffinity(process.pid, core)
    return process


@pytest.mark.parametrize("kind", ["poisson", "gamma"])
def test_one_core_holds_2000_requests_a_second(tmp_path: Path, kind: str) -> None:
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("the server needs a core of its own")
    made = arrivals_plan.planned({"kind": kind, "cv": 2.0, "rate": RATE, "seconds": SECONDS, "seed": 1})
    server = on_core(1, [sys.executable, "-c", SERVER], stdout=subprocess.PIPE)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    count = len(made.arrivals)
    plan = {
        "start": time.time() + 1.5,
        "at": [round(one.at * 1e6) for one in made.arrivals],
        "service": [0] * count,
        "input": [1] * count,
        "output": [1] * count,
        "answer_seconds": 5,
        "services": [
            {"addresses": ["127.0.0.1"], "port": port, "host": "x", "method": "GET", "path": "/", "body": "none"}
        ],
    }
    paths = [tmp_path / name for name in ("plan", "result", "progress")]
    paths[0].write_text(json.dumps(plan))
    paths[2].write_bytes(bytes(struct.calcsize("=QQ")))
    try:
        argv = [sys.executable, "-S", "-B", str(PODS / "load_generator.py"), *map(str, paths)]
        assert on_core(0, argv).wait(timeout=SECONDS * 6) == 0
    finally:
        server.kill()
        server.communicate()
    result = json.loads(paths[1].read_text())
    delays = sorted(result["columns"]["delay"])
    p99 = delays[count * 99 // 100] / 1e6
    cores = result["cpu_seconds"] / result["ended"]
    achieved = result["sent"] / result["ended"] / (count / SECONDS)
    print(
        f"\n{kind}: {result['sent'] / result['ended']:.0f} of {count / SECONDS:.0f} requests/s (ratio {achieved:.3f}); "
        f"schedule delay p50 {delays[count // 2] / 1e3:.2f} ms, p99 {p99 * 1e3:.2f} ms ({p99 / DELAY_MOST:.3f} of the "
        f"bound), longest {delays[-1] / 1e3:.1f} ms; {cores:.1%} of a core, "
        f"scheduling {result['scheduling']}, {result['connections']} connections"
    )
    assert result["sent"] == count and set(result["columns"]["status"]) == {200}
    assert achieved >= 0.95
    assert p99 <= DELAY_MOST
