# SPDX-License-Identifier: GPL-3.0-or-later
"""The server: `python -m tests.fakes.compute_api [PORT] [--forever]` prints its address and serves until its standard
input is closed, or until it is ended.

Below /control a test scripts faults and looks at what is there; everything else is the Compute API.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import urllib.parse
from email.utils import formatdate
from typing import Any

from tests.fakes.compute_api import discovery, faults, handlers
from tests.fakes.compute_api.cloud import ApiError, Body, Cloud
from tests.fakes.serving import QuietHandler, Server

#: What the real API says with a status, where a script does not.
REASONS = {400: "invalid", 401: "authError", 403: "forbidden", 404: "notFound", 429: "rateLimitExceeded"}


class World:
    """The cloud, its faults, every request that came, and what was wrong with messages."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.reset({})

    def reset(self, settings: Body) -> Body:
        self.cloud = Cloud(**settings)
        self.faults = faults.Faults()
        self.requests: list[Body] = []
        self.violations: list[str] = []
        return {}

    def control(self, name: str, body: Body) -> Body:
        return {
            "reset": lambda: self.reset(body),
            "faults": lambda: self.faults.load(body["script"]) or {},
            "set": lambda: self.cloud.__dict__.update(body) or {},
            "put": lambda: self.cloud.put(**body) or {},
            "relabel": lambda: self.cloud.instances[body["zone"], body["name"]].update(labels=body["labels"]) or {},
            "preempt": lambda: self.cloud.preempt(body["zone"], body["name"]) or {},
            "unstick": lambda: self.cloud.unstick() or {},
            "settle": lambda: self.cloud.settle() or self.state(),
            "state": self.state,
            "now": lambda: {"now": self.cloud.now()},
        }[name]()

    def state(self) -> Body:
        return {
            "left": self.cloud.left(),
            "instances": list(self.cloud.instances.values()),
            "disks": list(self.cloud.disks.values()),
            "operations": [work.body for work in self.cloud.works.values()],
            "requests": self.requests,
            "violations": self.violations,
            "faults": self.faults.carried_out,
        }

    def answer(self, verb: str, path: str, headers: Any, body: Body | None) -> tuple[Body, Body]:
        """The answer and the fault that goes with it; raises ApiError."""
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query, keep_blank_values=True))
        found = discovery.find(verb, url.path)
        if found is None or found[0].id not in handlers.HANDLERS:
            self.violations.append(f"{verb} {url.path}: the stand-in has no such method")
            raise ApiError(404, "notFound", f"{verb} {url.path}")
        method, given = found
        given |= query
        self.requests.append({"method": method.id, **given, "body": body})
        bad = method.bad_parameters(given)
        if method.request:
            bad += discovery.problems(method.request, body, asked=True)
        if bad:
            self.violations += bad
            raise ApiError(400, "invalid", "; ".join(bad))
        self.cloud.obey_limits()
        model = ((body or {}).get("scheduling") or {}).get("provisioningModel", "")
        machine_type = (body or {}).get("machineType", "").rpartition("/")[2]
        fault = self.faults.find(method.id, given.get("zone", ""), model, machine_type)
        if faults.kill(fault, "before") or fault["do"] == "reset":
            raise ConnectionAbortedError
        if fault["do"] == "status":
            reason = fault.get("reason", REASONS.get(fault["code"], "backendError"))
            message = fault.get("message", "scripted")
            raise ApiError(fault["code"], reason, message, retry_after=fault.get("retry_after"))
        if fault["do"] == "appear":
            self.cloud.put("instance", given["zone"], fault["name"], fault["labels"])
        _check_token(headers.get("Authorization", ""))
        handlers.check_project(given)
        answer = handlers.HANDLERS[method.id](self.cloud, given, body or {})
        if answer.get("kind") == "compute#operation" and answer["name"] in self.cloud.works:
            faults.twist(self.cloud, fault, self.cloud.works[answer["name"]])
        if method.response:
            self.violations += discovery.problems(method.response, answer)
        return json.loads(json.dumps(answer)), fault


def _check_token(header: str) -> None:
    if header.removeprefix("Bearer ") in ("expired", ""):
        raise ApiError(401, "authError", "Request had invalid authentication credentials.")


class Handler(QuietHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    world: World

    def handle_any(self) -> None:
        text = self.body()
        body = json.loads(text) if text else None
        if self.path.startswith("/control/"):
            with self.world.lock:
                self._send(200, self.world.control(self.path.removeprefix("/control/"), body or {}))
            return
        if self.path == "/token":
            # What the token endpoint says of credentials that were taken back.
            self._send(400, {"error": "invalid_grant", "error_description": "Invalid JWT Signature."})
            return
        fault: Body = {"do": ""}
        try:
            with self.world.lock:
                answer, fault = self.world.answer(self.command, self.path, self.headers, body)
            code, headers = 200, {}
        except ConnectionAbortedError:
            self.close_connection = True
            return
        except ApiError as error:
            first = {"message": error.message, "domain": "global", "reason": error.reason}
            code, answer = error.code, {"error": {"code": error.code, "message": error.message, "errors": [first]}}
            headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
        if fault["do"] == "slow":
            time.sleep(fault["seconds"])
        if faults.kill(fault, "after") or fault["do"] == "lost":
            self.close_connection = True
            return
        self._send(code, answer, headers)

    do_GET = do_POST = do_DELETE = handle_any

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(self.world.cloud.now(), usegmt=True)

    def _send(self, code: int, body: Body, headers: dict[str, str] | None = None) -> None:
        self.answer_json(code, body, {"Content-Type": "application/json", **(headers or {})})


def main() -> None:
    Handler.world = World()
    discovery.methods()
    server = Server(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    print(server.url, flush=True)
    if "--forever" in sys.argv:
        threading.Event().wait()
    sys.stdin.read()


if __name__ == "__main__":
    main()
