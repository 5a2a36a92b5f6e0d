# SPDX-License-Identifier: GPL-3.0-or-later
"""Mock-nodes: pods that stream from Typha as a node does, so that fake nodes weigh on Typha too.

Each opens one connection of every syncer and keeps what it is told (calico, test-tools/mocknode/cmd/mocknode/main.go).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .calico_look import page_of, page_of_pod
from .calico_metrics import TyphaState, typha_state
from .errors import ConfigurationError, NotFound
from .kube import Kube

DEPLOYMENTS = "/apis/apps/v1/namespaces/{}/deployments"
LOOK_SECONDS = 0.5


@dataclass(frozen=True)
class Typhas:
    """Where each Typha serves its metrics: addresses, or pods that are asked through the API server's proxy."""

    urls: Sequence[str] = ()
    namespace: str = ""
    label_selector: str = ""
    port: int = 0

    def look(self, kube: Kube) -> list[TyphaState] | None:
        """None where nobody said where any is."""
        if self.urls:
            return [typha_state(page_of(url), url) for url in self.urls]
        return self._of_pods(kube) if self.namespace else None

    def _of_pods(self, kube: Kube) -> list[TyphaState]:
        pods = f"/api/v1/namespaces/{self.namespace}/pods"
        found = []
        for pod in kube.list_pages(pods, label_selector=self.label_selector)[0]:
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]:
                found.append(typha_state(*page_of_pod(kube, self.namespace, pod["metadata"]["name"], self.port)))
        return found


@dataclass(frozen=True)
class MockNodes:
    """A Deployment that is there for a while."""

    kube: Kube
    manifest: Mapping[str, Any]
    check: Callable[[str], None]

    @property
    def asked(self) -> int:
        return replicas(self.manifest)

    def create(self) -> None:
        self.kube.request("POST", self._collection, body=dict(self.manifest))

    def running(self) -> int:
        return int(self.kube.request("GET", self._path).json()["status"].get("readyReplicas") or 0)

    def remove(self) -> None:
        """With its pods: in the foreground the Deployment itself goes last."""
        while True:
            try:
                found = self.kube.request("GET", self._path).json()
                if "deletionTimestamp" not in found["metadata"]:
                    self.kube.request("DELETE", self._path, body={"propagationPolicy": "Foreground"})
            except NotFound:
                return
            self.check(f"waiting until the mock-nodes of {self._path} are gone")
            time.sleep(LOOK_SECONDS)

    @property
    def _collection(self) -> str:
        return DEPLOYMENTS.format(self.manifest["metadata"]["namespace"])

    @property
    def _path(self) -> str:
        return f"{self._collection}/{self.manifest['metadata']['name']}"


def replicas(manifest: Mapping[str, Any]) -> int:
    """Raise ConfigurationError where it is no Deployment with a place and a number."""
    metadata, count = manifest.get("metadata") or {}, (manifest.get("spec") or {}).get("replicas")
    if manifest.get("kind") != "Deployment" or not metadata.get("name") or not metadata.get("namespace"):
        raise ConfigurationError(
            f"mock_nodes: {manifest.get('kind')} {metadata.get('name')!r} is no Deployment with a name and a namespace."
        )
    if not isinstance(count, int) or count < 1:
        raise ConfigurationError(f"mock_nodes: spec.replicas is {count!r}; at least one mock-node is needed.")
    return count
