# SPDX-License-Identifier: GPL-3.0-or-later
"""A small HTTP front in the API server's place that knows two things, the list of pods and the pod proxy."""

from __future__ import annotations

import http.client
import json
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from tests.fakes.serving import QuietHandler


class Pods(Protocol):
    #: Method and path of everything that was asked.
    requests: list[str]

    def listed(self, selector: str) -> list[dict[str, Any]]:
        """The objects of the pods with these labels."""

    def address(self, name: str, port: str) -> tuple[str, int] | None:
        """Where this port of the pod is listened on; None where there is no such pod."""


def relayed(address: tuple[str, int], method: str, path: str, body: bytes, token: str) -> tuple[int, bytes]:
    """One request to a pod, as the API server would make it."""
    connection = http.client.HTTPConnection(*address, timeout=20)
    try:
        connection.request(method, path, body=body or None, headers={"X-Nightbench-Token": token})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 503, json.dumps({"kind": "Status", "message": f"error trying to reach service: {error}"}).encode()
    finally:
        connection.close()


class PodProxy(QuietHandler):
    protocol_version = "HTTP/1.1"
    namespace: str
    pods: Pods

    def handle_any(self) -> None:
        url, body = urlsplit(self.path), self.body()
        base = f"/api/v1/namespaces/{self.namespace}/pods"
        self.pods.requests.append(f"{self.command} {url.path}")
        if url.path == base:
            items = self.pods.listed(parse_qs(url.query).get("labelSelector", [""])[0])
            return self.answer_json(200, {"kind": "PodList", "metadata": {}, "items": items})
        pod, _, rest = url.path.removeprefix(base + "/").partition("/proxy")
        name, _, port = pod.partition(":")
        address = self.pods.address(name, port)
        if address is None:
            return self.answer_json(404, {"kind": "Status", "message": f'pods "{name}" not found'})
        token = self.headers.get("X-Nightbench-Token") or ""
        return self.answer(*relayed(address, self.command, f"{rest}?{url.query}", body, token))

    do_GET = do_PUT = do_DELETE = handle_any
