# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of a cluster are looked at in their pods, through a real API server and a real kubelet."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench.image import build
from ansible.module_utils.nightbench.image_content import image_of
from ansible.modules import bench_dataplane

from tests.conftest import RunModule, eventually
from tests.fakes.calico_pages import FELIX, IPTABLES, page
from tests.fakes.pod_network import need_namespaces
from tests.real_nodes import ITEM, Maker, create, pod, runs

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

LABELS = {"k8s-app": "calico-node"}
CALICO = "add table ip calico; add chain ip calico filter-FORWARD; add rule ip calico filter-FORWARD accept"
PORT = 9091


@pytest.fixture
def node(
    control_plane: ControlPlane, images: dict[str, tuple[str, Path]], tools: dict[str, str], tmp_path: Path
) -> Iterator[dict[str, Any]]:
    """With an image that has a shell and nft, as that of calico-node has."""
    need_namespaces("nft")
    programs = [found for name in ("sh", "nft", "cat") if (found := shutil.which(name))]
    item = {"waiting_program": True, "command": ["/pause"], "programs": programs}
    archive = build(image_of({**ITEM, "name": "nightbench.local/look", **item}))
    path = tmp_path / "look.tar"
    path.write_bytes(archive.data)
    with Maker(tmp_path, control_plane, images, tools).running(images=[str(path)]) as (made,):
        yield made | {"image": archive.name}


@contextlib.contextmanager
def felix(node: dict[str, Any], folder: Path, text: str) -> Iterator[None]:
    """Its page at the address of the node, served by a process in the node's network."""
    (folder / "metrics").write_text(text)
    server = [sys.executable, "-m", "http.server", str(PORT), "--bind", node["address"], "--directory", str(folder)]
    enter = ["nsenter", f"--net=/proc/{node['pid']}/ns/net", "--"]
    running = subprocess.Popen([*enter, *server], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        running.kill()
        running.wait()


def test_a_node_is_seen_in_its_pod_by_its_kernel_and_by_its_felix(
    control_plane: ControlPlane, kube: Kube, namespace: str, node: dict[str, Any], run_module: RunModule, tmp_path: Path
) -> None:
    def look(**changes: Any) -> Any:
        pods = {"namespace": namespace, "label_selector": "k8s-app=calico-node", "container": "main", "port": PORT}
        given = {"kubeconfig": control_plane.kubeconfig, "asked": "nftables", "node_selector": "type=real"}
        return run_module(bench_dataplane, pods=pods | changes, **given)

    eventually(lambda: look().ok()["nodes"])  # the kubelet registers it
    nobody = look().ok()
    assert (nobody["holds"], [one["observed"] for one in nobody["nodes"]]) == (False, ["unknown"])
    assert "no pod with k8s-app=calico-node runs there" in nobody["nodes"][0]["because"]

    context = {"securityContext": {"capabilities": {"add": ["NET_ADMIN", "NET_RAW"]}}}
    body = pod(node["image"], node["name"], hostNetwork=True)
    body["metadata"]["labels"] = LABELS
    body["spec"]["containers"][0] |= context
    name = create(kube, namespace, body)
    eventually(lambda: runs(kube, namespace, name), 60)
    subprocess.run(["nsenter", f"--net=/proc/{node['pid']}/ns/net", "--", "nft", CALICO], check=True)

    seen = look(port=0).ok()
    assert (seen["observed"], seen["holds"], seen["nodes"][0]["felix"]) == ("nftables", True, None)
    assert (seen["nodes"][0]["node"], seen["nodes"][0]["kernel"]) == (node["name"], os.uname().release)

    with felix(node, tmp_path, page(FELIX)):
        eventually(lambda: look().rc == 0)
        assert look().ok()["nodes"][0]["felix"]["active_policies"] == 4
        assert look().ok()["holds"]
        (tmp_path / "metrics").write_text(page(FELIX, **IPTABLES))
        other = look().ok()
    assert (other["holds"], other["nodes"][0]["observed"]) == (False, "contradictory")


def test_a_pod_without_a_shell_is_told_with_its_name(
    control_plane: ControlPlane, kube: Kube, namespace: str, node: dict[str, Any], images: dict[str, tuple[str, Path]],
    run_module: RunModule,
) -> None:  # fmt: skip
    body = pod(images["pause"][0], node["name"])
    body["metadata"]["labels"] = LABELS
    name = create(kube, namespace, body)
    eventually(lambda: runs(kube, namespace, name), 60)
    pods = {"namespace": namespace, "label_selector": "k8s-app=calico-node", "container": "main", "port": 0}
    given = {"kubeconfig": control_plane.kubeconfig, "node_selector": "type=real"}
    assert f"pod {name}" in run_module(bench_dataplane, pods=pods, **given).failed().msg
