# SPDX-License-Identifier: GPL-3.0-or-later
"""Real nodes beside the tests' control plane: their tools, two images, and the module's parameters as fixtures."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import process, real_nodes, real_nodes_end
from ansible.module_utils.nightbench.errors import NightbenchError
from ansible.module_utils.nightbench.image import build
from ansible.module_utils.nightbench.image_content import image_of
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.node_config import PLUGINS
from ansible.modules import bench_real_node

from tests.conftest import ROOT, call_module, eventually
from tests.control_plane import ControlPlane, find_tool

PROBE = ROOT / "tests" / "fakes" / "pod_probe.py"
TOLERATION = {"key": "nightbench.io/node", "operator": "Exists"}
TAINT = {"key": "nightbench.io/node", "value": "real", "effect": "NoSchedule"}
ITEM = {
    "programs": [],
    "python": None,
    "files": [],
    "directories": ["/tmp"],
    "waiting_program": False,
    "command": [],
    "environment": {},
}
Declare = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, Path]]:
    """Name and archive: `pause` and `probe`."""
    folder = tmp_path_factory.mktemp("images")
    items = {
        "pause": {"waiting_program": True, "directories": [], "command": ["/pause"]},
        "probe": {
            "python": {"interpreter": None, "scripts": [str(PROBE)], "modules": ["hashlib", "shutil"]},
            "files": [{"source": str(PROBE), "path": "/probe.py", "mode": "0644"}],
            "command": ["/usr/bin/python3", "/probe.py"],
        },
    }
    written = {}
    for name, item in items.items():
        archive = build(image_of({**ITEM, "name": f"nightbench.local/{name}", **item}))
        path = folder / f"{name}.tar"
        path.write_bytes(archive.data)
        written[name] = (archive.name, path)
    return written


@pytest.fixture(scope="module")
def tools() -> dict[str, str]:
    found = {name: find_tool(name) for name in real_nodes.PROGRAMS}
    for tool, plugin in PLUGINS.items():
        installed = Path("/usr/lib/cni", plugin)
        found[tool] = str(installed) if installed.exists() else find_tool(plugin)
    return found


@dataclass(frozen=True)
class Maker:
    """Makes real nodes below a folder, for a control plane."""

    folder: Path
    control_plane: ControlPlane
    images: dict[str, tuple[str, Path]]
    tools: dict[str, str]

    def parameters(self, name: str = "nodes", **more: Any) -> dict[str, Any]:
        """Of bench_real_node."""
        return {
            "directory": str(self.folder / name),
            "run_id": "tests-real-nodes",
            "kubeconfig": self.control_plane.kubeconfig,
            "program": str(ROOT / "roles" / "real_nodes" / "files" / "node.py"),
            "tools": self.tools,
            "prefix": f"{self.folder.name.replace('_', '-').lower()}-",
            "count": 1,
            "labels": {"type": "real"},
            "taints": [TAINT],
            "pause_image": str(self.images["pause"][1]),
            "images": [str(self.images["probe"][1])],
            **more,
        }

    def remove(self, *names: str) -> None:
        for name in names:
            real_nodes_end.remove(self.folder / name, process.Records(self.folder / name))
        with contextlib.closing(self.control_plane.kube()) as kube:
            for node in kube.list_pages("/api/v1/nodes", label_selector="type=real")[0]:
                kube.request("DELETE", f"/api/v1/nodes/{node['metadata']['name']}")

    @contextlib.contextmanager
    def running(self, **more: Any) -> Iterator[list[dict[str, Any]]]:
        """The nodes as the module says them, for as long as the context lasts."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                made = call_module(bench_real_node, said.getvalue, **self.parameters(**more)).ok()
            yield made["nodes"]
        finally:
            self.remove("nodes")


@pytest.fixture
def declare(
    tmp_path: Path, control_plane: ControlPlane, images: dict[str, tuple[str, Path]], tools: dict[str, str]
) -> Iterator[Declare]:
    """The module's parameters for nodes below tmp_path, which are gone after the test."""
    maker, names = Maker(tmp_path, control_plane, images, tools), []

    def parameters(name: str = "nodes", **more: Any) -> dict[str, Any]:
        names.append(name)
        return maker.parameters(name, **more)

    yield parameters
    maker.remove(*names)


def pod(image: str, node: str = "", **spec: Any) -> dict[str, Any]:
    return {
        "metadata": {"generateName": "pod-", "labels": {"app": "probe"}},
        "spec": {
            **({"nodeName": node} if node else {}),
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "main", "image": image, "imagePullPolicy": "Never"}],
            **spec,
        },
    }


def create(kube: Kube, namespace: str, body: dict[str, Any]) -> str:
    made = kube.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=body).json()
    return str(made["metadata"]["name"])


def read(kube: Kube, namespace: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = kube.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}").json()
    return found


def runs(kube: Kube, namespace: str, name: str) -> bool:
    return bool(read(kube, namespace, name)["status"].get("phase") == "Running")


def ask(kube: Kube, namespace: str, name: str, path: str, **query: str) -> dict[str, Any]:
    """What the pod's program answers, over the API server."""
    where = f"/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/{path}"

    def answered() -> Any:
        try:
            return kube.request("GET", where, query=query)
        except NightbenchError:
            return None  # the program has not come up

    eventually(answered)
    result: dict[str, Any] = kube.request("GET", where, query=query).json()
    return result
