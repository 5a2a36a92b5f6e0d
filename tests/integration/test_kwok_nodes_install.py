# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster without kwok: what role kwok_nodes installs there is enough for a real kwok, and is removed again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import load_target
from ansible.modules import bench_kwok_cluster, bench_process

from tests.conftest import ROOT, RunModule
from tests.control_plane import find_tool

pytestmark = pytest.mark.integration

BIN = Path(sys.executable).parent
RUN_ID = "tests-kwok-install"
INSTALLED = {
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": "stages.kwok.x-k8s.io",
    "/api/v1/namespaces": "nightbench-kwok",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": "nightbench-kwok",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": "nightbench-kwok",
}
#: What the role installs, without its wait for a pod that no node of this cluster could run.
INSTALL = [{"ansible.builtin.include_role": {"name": "kwok_nodes", "tasks_from": "kwok"}}]
ROLE = [{"ansible.builtin.include_role": {"name": "kwok_nodes"}}]


@pytest.fixture
def kubeconfig(tmp_path: Path, run_module: RunModule) -> Iterator[str]:
    """A control plane without kwok and without a scheduler."""
    directory = str(tmp_path / "control_plane")
    ports = run_module(bench_kwok_cluster, state="info", directory=directory).ok()["ports"]
    options = {
        "runtime": "binary",
        "bindAddress": "127.0.0.1",
        "disable": ["kube-scheduler", "kwok-controller"],
        "etcdBinary": find_tool("etcd"),
        "kubeApiserverBinary": find_tool("kube-apiserver"),
        "kubeControllerManagerBinary": find_tool("kube-controller-manager"),
        "etcdPort": ports["etcd"],
        "etcdPeerPort": ports["etcd_peer"],
        "kubeApiserverPort": ports["kube_apiserver"],
        "kubeControllerManagerPort": ports["kube_controller_manager"],
    }
    kind = {"apiVersion": "config.kwok.x-k8s.io/v1alpha1", "kind": "KwokctlConfiguration"}
    try:
        made = run_module(
            bench_kwok_cluster,
            directory=directory,
            run_id=RUN_ID,
            kwokctl=find_tool("kwokctl"),
            kubectl=str(ROOT / "roles" / "control_plane" / "files" / "kubectl"),
            files={"kwokctl.yaml": yaml.safe_dump({**kind, "options": options})},
            ports=ports,
            components={"kube-apiserver": f"https://127.0.0.1:{ports['kube_apiserver']}/readyz"},
        ).ok()
        yield made["kubeconfig"]
    finally:
        run_module(bench_kwok_cluster, state="absent", directory=directory)


@pytest.fixture
def cluster(kubeconfig: str) -> Iterator[Kube]:
    client = Kube(load_target(kubeconfig=kubeconfig))
    yield client
    client.close()


def play(directory: Path, kubeconfig: str, tasks: list[dict[str, Any]], **variables: Any) -> int:
    """Run the tasks; returns how many changed something."""
    done = run_playbook(directory, kubeconfig, tasks, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    changed = re.search(r"localhost +: .*changed=(\d+) ", done.stdout)
    assert changed is not None, done.stdout
    return int(changed[1])


def run_playbook(
    directory: Path, kubeconfig: str, tasks: list[dict[str, Any]], **variables: Any
) -> subprocess.CompletedProcess[str]:
    playbook = directory / "play.yml"
    shared = {"ansible_python_interpreter": sys.executable, "kwok_nodes_kubeconfig": kubeconfig, "kwok_nodes_count": 5}
    document = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    playbook.write_text(yaml.safe_dump([{**document, "vars": {**shared, **variables}}]))
    return subprocess.run(
        [BIN / "ansible-playbook", "-i", "localhost,", playbook],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_kwok_works_with_what_the_role_gives_it_and_leaves_nothing(
    tmp_path: Path, kubeconfig: str, cluster: Kube, run_module: RunModule
) -> None:
    assert play(tmp_path, kubeconfig, INSTALL) == 1
    assert play(tmp_path, kubeconfig, INSTALL) == 0

    deployment = cluster.request("GET", "/apis/apps/v1/namespaces/nightbench-kwok/deployments/kwok-controller").json()
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "registry.k8s.io/kwok/kwok:v0.8.0"

    kwok = _kwok_as_in_the_pod(tmp_path, cluster, container["args"])
    call = {"run_state": str(tmp_path / "state"), "run_id": RUN_ID}
    run_module(bench_process, processes=[kwok], **call).ok()
    try:
        assert play(tmp_path, kubeconfig, ROLE, kwok_nodes_install="never") == 2
        assert play(tmp_path, kubeconfig, ROLE, kwok_nodes_install="never") == 0
        nodes = cluster.list_pages("/api/v1/nodes")[0]
        assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in nodes} == {"kwok-v0.8.0"}
        assert len(nodes) == 5
        play(tmp_path, kubeconfig, ROLE, kwok_nodes_state="absent")
    finally:
        run_module(bench_process, state="stopped", **call).ok()
    assert cluster.list_pages("/api/v1/nodes")[0] == []
    left = _left(cluster)
    assert [path for path, name in INSTALLED.items() if name in left[path]] == []
    assert play(tmp_path, kubeconfig, ROLE, kwok_nodes_state="absent") == 0


def test_what_a_killed_run_left_is_removed_by_its_label(tmp_path: Path, kubeconfig: str, cluster: Kube) -> None:
    others = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "of-somebody-else"}}
    cluster.request("POST", "/api/v1/namespaces", body=others)
    before = _left(cluster)
    run_id = "20260101T000000Z-0a1b"
    assert play(tmp_path, kubeconfig, INSTALL, kwok_nodes_run_id=run_id) == 1
    assert {path: len(names) - len(before[path]) for path, names in _left(cluster).items()} == dict.fromkeys(before, 1)
    forget = {"ansible.builtin.include_role": {"name": "run_results", "tasks_from": "forget"}}
    dead = {"run_id": run_id, "kubeconfig": kubeconfig}
    assert play(tmp_path, kubeconfig, [forget], __run_results_dead=dead) > 0
    assert _left(cluster) == before


def test_nodes_of_another_run_are_not_taken_over(tmp_path: Path, kubeconfig: str, cluster: Kube) -> None:
    labels = {"nightbench.io/role": "kwok_nodes", "nightbench.io/run-id": "another"}
    cluster.request("POST", "/api/v1/nodes", body={"kind": "Node", "metadata": {"name": "fake-0", "labels": labels}})
    done = run_playbook(tmp_path, kubeconfig, ROLE, kwok_nodes_install="never", kwok_nodes_run_id=RUN_ID)
    assert done.returncode == 2
    assert "Fake nodes of another run (label nightbench.io/run-id) are in this cluster." in done.stdout
    play(tmp_path, kubeconfig, ROLE, kwok_nodes_state="absent", kwok_nodes_run_id=RUN_ID)
    found = cluster.request("GET", "/api/v1/nodes/fake-0").json()
    assert found["metadata"]["labels"]["nightbench.io/run-id"] == "another"


def _left(cluster: Kube) -> dict[str, list[str]]:
    return {path: [item["metadata"]["name"] for item in cluster.list_pages(path)[0]] for path in INSTALLED}


def _kwok_as_in_the_pod(directory: Path, kube: Kube, arguments: list[str]) -> dict[str, Any]:
    """A process that is to the API server what the pod would be: its ServiceAccount, its arguments, its files."""
    namespace = "/api/v1/namespaces/nightbench-kwok"
    token = kube.request("POST", f"{namespace}/serviceaccounts/kwok-controller/token", body={"spec": {}}).json()
    configuration = kube.request("GET", f"{namespace}/configmaps/kwok").json()["data"]["kwok.yaml"]
    assert json.loads(configuration)["kind"] == "KwokConfiguration"
    (directory / "kwok.yaml").write_text(configuration)
    cluster = {"server": f"https://{kube.target.host}:{kube.target.port}", "insecure-skip-tls-verify": True}
    login = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "pod",
        "contexts": [{"name": "pod", "context": {"cluster": "pod", "user": "pod"}}],
        "clusters": [{"name": "pod", "cluster": cluster}],
        "users": [{"name": "pod", "user": {"token": token["status"]["token"]}}],
    }
    (directory / "pod.kubeconfig").write_text(json.dumps(login))
    given = [
        argument.replace("/etc/kwok/", f"{directory}/").replace("0.0.0.0:10247", "127.0.0.1:0")
        for argument in arguments
    ]
    argv = [find_tool("kwok"), f"--kubeconfig={directory}/pod.kubeconfig", *given]
    return {"name": "kwok", "argv": argv, "log": str(directory / "kwok.log")}
