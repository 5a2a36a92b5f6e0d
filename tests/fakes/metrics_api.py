# SPDX-License-Identifier: GPL-3.0-or-later
"""The API metrics.k8s.io as an aggregated API of a test's control plane: every container uses the same little cpu."""

from __future__ import annotations

import contextlib
import ssl
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.nightbench.kube import Kube

from tests.fakes.serving import QuietHandler, Server, running

GROUP, VERSION = "metrics.k8s.io", "v1beta1"
ROOT = f"/apis/{GROUP}/{VERSION}"
SERVICE = "metrics-stand-in"


@contextlib.contextmanager
def metrics_api(kube: Kube, certificate: Path, key: Path, cpu: str) -> Iterator[None]:
    """While it lasts, every container of every pod uses this much cpu."""

    class Handler(QuietHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            answer = _answer(kube, url.path, urllib.parse.parse_qs(url.query), cpu)
            failure = {"kind": "Status", "status": "Failure", "code": 404}
            self.answer_json(200 if answer else 404, answer or failure, {"Content-Type": "application/json"})

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server), _registered(kube, server.server_port):
        yield


@contextlib.contextmanager
def _registered(kube: Kube, port: int) -> Iterator[None]:
    services, apis = "/api/v1/namespaces/kube-system/services", "/apis/apiregistration.k8s.io/v1/apiservices"
    name = f"{VERSION}.{GROUP}"
    # An ExternalName is the one kind of Service that leads to this machine without a network of pods.
    spec: dict[str, Any] = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    kube.request("POST", services, body={"metadata": {"name": SERVICE}, "spec": spec})
    spec = {
        "service": {"namespace": "kube-system", "name": SERVICE, "port": port},
        "group": GROUP,
        "version": VERSION,
        "insecureSkipTLSVerify": True,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
    }
    try:
        kube.request("POST", apis, body={"metadata": {"name": name}, "spec": spec})
        try:
            yield
        finally:
            kube.request("DELETE", f"{apis}/{name}")
    finally:
        kube.request("DELETE", f"{services}/{SERVICE}")


def _answer(kube: Kube, path: str, query: dict[str, list[str]], cpu: str) -> dict[str, Any] | None:
    if path == ROOT:
        resources = [{"name": "pods", "kind": "PodMetrics", "namespaced": True, "verbs": ["get", "list"]}]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}"} | {
            "resources": resources
        }
    if not path.startswith(f"{ROOT}/namespaces/") or not path.endswith("/pods"):
        return None
    namespace = path.split("/")[-2]
    pods, _ = kube.list_pages(
        f"/api/v1/namespaces/{namespace}/pods", label_selector=query.get("labelSelector", [""])[0]
    )
    items = [
        {
            "metadata": {key: pod["metadata"].get(key) for key in ("name", "namespace", "labels")},
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "window": "1s",
            "containers": [
                {"name": container["name"], "usage": {"cpu": cpu, "memory": "16Mi"}}
                for container in pod["spec"]["containers"]
            ],
        }
        for pod in pods
    ]
    return {"kind": "PodMetricsList", "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}
