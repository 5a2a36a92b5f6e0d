# SPDX-License-Identifier: GPL-3.0-or-later
"""The command of a mesh pod: serves iperf3, plays its part of a plan at common moments, keeps the results until asked.

Nobody has to stay connected: the plan and every finished step lie in files, so the control machine may go and come
back, and so may this container. A step is one round of one slice; step k begins at start + k * period, whatever else
happened. Only processes that were started here are ever signalled, and each of them has an end.

Python 3.9 and nothing but its standard library: this file travels into the pods.
"""

from __future__ import annotations

import argparse
import contextlib
import hmac
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import interfaces
import vf_counters
from iperf3_process import Client, Servers, end, iperf3_version

SIGNALS = (signal.SIGCHLD, signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)
LONGEST_BODY = 8 * 1024 * 1024


class Ended(Exception):
    """The container is asked to end."""


class Store:
    """What survives a restart of the container: the plan, the steps that are done, what was handed over."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        os.makedirs(os.path.join(folder, "steps"), exist_ok=True)

    def read(self, name: str) -> Any:
        try:
            with open(os.path.join(self.folder, name)) as stream:
                return json.load(stream)
        except (OSError, ValueError):
            return None

    def write(self, name: str, value: Any) -> None:
        path = os.path.join(self.folder, name)
        with open(path + ".new", "w") as stream:
            json.dump(value, stream, separators=(",", ":"))
        os.replace(path + ".new", path)

    def steps(self) -> list[int]:
        return sorted(int(name) for name in os.listdir(os.path.join(self.folder, "steps")) if name.isdigit())

    def step(self, number: int) -> str:
        with open(os.path.join(self.folder, "steps", str(number))) as stream:
            return stream.read()

    def forget(self, keep: int = 0) -> None:
        """All steps but the last ``keep``; without any, the plan as well."""
        numbers = self.steps()
        for number in numbers[: len(numbers) - keep] if keep else numbers:
            os.unlink(os.path.join(self.folder, "steps", str(number)))
        if not keep:
            for name in ("plan", "finished", "gaps"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(self.folder, name))


class Agent:
    """The state of this pod; HTTP threads hand over wishes, the main thread alone acts on them."""

    def __init__(self, folder: str, pod: str) -> None:
        self.store = Store(folder)
        self.pod = pod
        self.lock = threading.Lock()
        self.servers = Servers({**os.environ, "TMPDIR": folder})
        self.clients: list[Client] = []
        self.version = iperf3_version()
        self.born = time.time()
        self.plan: dict[str, Any] | None = self.store.read("plan")
        self.finished: dict[str, Any] | None = self.store.read("finished")
        self.stop_asked = False

    # What is asked for, by any thread.

    def take(self, plan: dict[str, Any]) -> None:
        """A plan that is known already goes on as it does; any other takes its place."""
        with self.lock:
            if self.plan is not None and self.plan["id"] == plan["id"]:
                return
            self.store.forget()
            self.store.write("plan", plan)
            self.plan, self.finished, self.stop_asked = plan, None, False
        os.kill(os.getpid(), signal.SIGUSR1)

    def begin(self, identity: str, start: float) -> bool:
        """Set the moment of the first step; whoever asks again is told the moment that holds."""
        with self.lock:
            if self.plan is None or self.plan["id"] != identity:
                return False
            if self.plan.get("start") is None:
                self.plan = {**self.plan, "start": start}
                self.store.write("plan", self.plan)
        os.kill(os.getpid(), signal.SIGUSR1)
        return True

    def stop(self, identity: str) -> bool:
        """No step begins any more."""
        if self.plan is None or self.plan["id"] != identity:
            return False
        self.stop_asked = True
        os.kill(os.getpid(), signal.SIGUSR1)
        return True

    def hand_over(self, identity: str) -> bool:
        """The results have arrived: they are given up. Asked again, the answer is the same."""
        with self.lock:
            if self.plan is not None and self.plan["id"] == identity:
                self.store.write("handed_over", identity)
                self.store.forget()
                self.plan, self.finished = None, None
        os.kill(os.getpid(), signal.SIGUSR1)
        return bool(self.store.read("handed_over") == identity)

    # What is told, by any thread.

    def progress(self) -> dict[str, Any]:
        plan = self.plan
        return {
            "time": time.time(),
            "plan": plan and plan["id"],
            "start": plan and plan.get("start"),
            "steps_done": len(self.store.steps()),
            "finished": self.finished is not None,
            "listening": self.servers.listening() if plan and plan.get("start") is None else None,
        }

    def state(self) -> dict[str, Any]:
        return {
            **self.progress(),
            "pod": self.pod,
            "born": self.born,
            "iperf3_version": self.version,
            "interfaces": interfaces.interfaces(),
            "neighbour_limit": interfaces.neighbour_limit(),
            "boot_id": interfaces.boot_id(),
            "handed_over": self.store.read("handed_over"),
        }

    def result(self, identity: str) -> str | None:
        """JSON, put together from the files as they are."""
        with self.lock:
            if self.plan is None or self.plan["id"] != identity:
                return None
            head = {
                "id": identity,
                "start": self.plan.get("start"),
                "finished": self.finished,
                "gaps": self.store.read("gaps") or [],
                "server_restarts": self.servers.restarts,
            }
            steps = ",".join(self.store.step(number) for number in self.store.steps())
        return json.dumps(head)[:-1] + f',"steps":[{steps}]}}'

    # What is done, by the main thread.

    def work(self) -> None:
        try:
            while True:
                plan = self.plan
                self.servers.want(plan if self.finished is None else None)
                if plan is None or plan.get("start") is None or self.finished is not None:
                    self.wait(time.monotonic() + 3600, lambda plan=plan: self.plan is not plan)
                    continue
                self.play(plan)
        except Ended:
            pass
        finally:
            for client in self.clients:
                end(client.process)
            self.servers.want(None)

    def play(self, plan: dict[str, Any]) -> None:
        """Every step from now on; what began while this container was away is told as a gap."""
        zero = time.monotonic() + plan["start"] - time.time()
        period, last = plan["period"], plan["steps"]
        first = max(0, math.ceil((time.monotonic() - zero - plan["late_seconds"]) / period))
        gone = [number for number in range(min(first, last or first)) if number not in set(self.store.steps())]
        if gone:
            told = f"the agent was not at work: it came (again) at {self.born:.3f}"
            self.store.write("gaps", [*(self.store.read("gaps") or []), [gone[0], gone[-1], told]])
        step = first
        self.wait(zero + step * period - plan["guard_seconds"] / 2, lambda: self.changed(plan))
        before = counters(plan)
        while (last is None or step < last) and time.time() < plan["until"]:
            due = zero + step * period
            self.wait(due, lambda: self.changed(plan))
            if self.changed(plan):
                break
            cells = self.play_step(plan, step, due)
            if self.plan is not plan:
                return
            after = counters(plan)
            written = {"step": step, "before": before, "after": after, "cells": cells}
            self.store.write(os.path.join("steps", str(step)), written)
            before = after
            if last is None and step % 16 == 0:
                self.store.forget(plan["keep_steps"])
            self.servers.free()
            step += 1
        if self.plan is plan:
            why = "stopped" if self.stop_asked else "done" if last is not None and step >= last else "out of time"
            self.finished = {"step": step, "why": why}
            self.store.write("finished", self.finished)
            self.servers.want(None)

    def changed(self, plan: dict[str, Any]) -> bool:
        return self.plan is not plan or self.stop_asked

    def play_step(self, plan: dict[str, Any], step: int, due: float) -> list[dict[str, Any]]:
        """Start the clients of a step together and give each what is left of the period."""
        wanted = [cell for cell in plan["cells"] if cell[0] == step % plan["rounds"]]
        late = time.monotonic() - due
        if late > plan["late_seconds"]:
            return [failed(cell, f"the agent began the round {late:.2f} s late") for cell in wanted]
        self.clients = [Client(plan, cell, self.store.folder, number) for number, cell in enumerate(wanted)]
        finish = due + plan["period"] - plan["guard_seconds"]
        # A sum looks at every client, so that each that is over has its moment taken.
        self.wait(finish, lambda: sum(not client.over() for client in self.clients) == 0 or self.plan is not plan)
        hanging = {client for client in self.clients if not client.over()}
        for client in hanging:
            end(client.process)
        # Bytes that are still on their way belong to this step's counters.
        self.wait(finish, lambda: self.plan is not plan)
        own = {address for _, address, _ in interfaces.addresses()}
        cells = [client.cell(own, client in hanging) for client in self.clients]
        self.clients = []
        return cells

    def wait(self, moment: float, over: Callable[[], bool]) -> None:
        """Until the moment or until it is over; the kernel wakes us for a child, a wish or the end, nothing polls."""
        while not over():
            left = moment - time.monotonic()
            if left <= 0:
                return
            heard = signal.sigtimedwait(SIGNALS, left)
            if heard is not None and heard.si_signo in (signal.SIGTERM, signal.SIGINT):
                raise Ended
            if heard is not None and heard.si_signo == signal.SIGCHLD:
                self.servers.attend()


def counters(plan: dict[str, Any]) -> dict[str, list[int]]:
    """Of a virtual function the NIC's own count takes the place of the kernel's; that or none."""
    found = interfaces.counters()
    exporter = plan["vf_exporter"]
    if exporter:
        kept = {name: moved for name, moved in found.items() if name not in exporter["devices"]}
        found = kept | vf_counters.counters(exporter["url"], exporter["devices"])
    return found


def failed(cell: list[Any], error: str) -> dict[str, Any]:
    now = time.time()
    return {"target": cell[1], "interface": cell[2], "error": error, "started": now, "ended": now, "flows": {}}


class Handler(BaseHTTPRequestHandler):
    """What the control machine asks, through the API server's pod proxy."""

    protocol_version = "HTTP/1.1"
    timeout = 120
    agent: Agent
    token: str

    def do_GET(self) -> None:
        path, query = self._asked()
        if path == "/result":
            found = self.agent.result(query)
            self._answer(200 if found else 410, found or {"error": f"no results of plan {query} are here"})
        elif path is not None:
            known = {"/state": self.agent.state, "/progress": self.agent.progress}.get(path)
            self._answer(200 if known else 404, known() if known else {"error": f"there is no {path}"})

    def do_PUT(self) -> None:
        path, _ = self._asked()
        length = int(self.headers.get("Content-Length") or 0)
        if path is None or length > LONGEST_BODY:
            self.close_connection = True
            return
        try:
            body = json.loads(self.rfile.read(length))
            if path == "/plan":
                self.agent.take(body)
                good = True
            else:
                good = self.agent.begin(body["id"], float(body["start"])) if path == "/start" else False
                good = self.agent.stop(body["id"]) if path == "/stop" else good
        except (ValueError, KeyError, TypeError) as error:
            self._answer(400, {"error": f"{type(error).__name__}: {error}"})
            return
        self._answer(200 if good else 409, self.agent.progress())

    def do_DELETE(self) -> None:
        path, query = self._asked()
        if path is not None:
            good = path == "/result" and self.agent.hand_over(query)
            self._answer(200 if good else 409, {"handed_over": good})

    def _asked(self) -> tuple[str | None, str]:
        """Path and plan; None after answering whoever lacks the token."""
        if not hmac.compare_digest(self.headers.get("X-Nightbench-Token") or "", self.token):
            self.close_connection = True
            self._answer(401, {"error": "the token of the run is missing"})
            return None, ""
        parts = urlsplit(self.path)
        return parts.path, parse_qs(parts.query).get("id", [""])[0]

    def _answer(self, status: int, value: Any) -> None:
        data = (value if isinstance(value, str) else json.dumps(value)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Nobody reads it."""


def main() -> None:
    known = argparse.ArgumentParser()
    known.add_argument("--folder", default="/var/lib/nightbench", help="what survives a restart of the container")
    known.add_argument("--address", default=os.environ.get("POD_IP", ""))
    known.add_argument("--port", type=int, default=8790)
    given = known.parse_args()
    token = os.environ["NIGHTBENCH_TOKEN"]
    # Before any thread: they inherit it, so that signals wait for the main thread alone.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    agent = Agent(given.folder, os.environ.get("POD_NAME", ""))
    handler = type("AgentHandler", (Handler,), {"agent": agent, "token": token})
    server = ThreadingHTTPServer((given.address, given.port), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(3600,), daemon=True).start()
    agent.work()


if __name__ == "__main__":
    main()
