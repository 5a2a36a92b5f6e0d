# SPDX-License-Identifier: GPL-3.0-or-later
"""Role gpu_runtime: its files as they are known to be right, read by who has to read them, and packages for real."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench.errors import NotFound
from ansible.module_utils.nightbench.kube import Call, Kube

from tests.conftest import eventually
from tests.control_plane import ControlPlane
from tests.fakes import apt_repository
from tests.role import GOLDEN, changes, play_role

FILES = {
    "etc/apt/sources.list.d/nightbench-driver.sources": "driver.sources",
    "etc/apt/sources.list.d/nightbench-container_toolkit.sources": "container_toolkit.sources",
    "etc/apt/sources.list.d/nightbench-kubernetes.sources": "kubernetes.sources",
    "etc/nvidia-container-runtime/config.toml": "toolkit.toml",
    "etc/containerd/conf.d/nightbench.toml": "containerd.toml",
    "etc/containerd/config.toml": "containerd_imports.toml",
    "etc/cni/net.d/10-nightbench.conflist": "network.conflist",
    "etc/kubernetes/nightbench.yml": "kubeadm.yml",
    "etc/modules-load.d/nightbench.conf": "modules.conf",
    "etc/sysctl.d/90-nightbench.conf": "sysctl.conf",
}
PARTS = ["driver", "container_toolkit", "kubernetes"]


@pytest.fixture
def host(tmp_path: Path) -> Path:
    folder = tmp_path / "host"
    folder.mkdir()
    return folder


def given(host: Path, **more: Any) -> dict[str, Any]:
    return {"gpu_runtime_root": str(host), "gpu_runtime_parts": PARTS, "gpu_runtime_devices": 0, **more}


def files_of(host: Path) -> list[str]:
    return sorted(str(path.relative_to(host)) for path in host.rglob("*") if path.is_file())


def test_the_files_of_a_host_are_those_that_are_known(host: Path, tmp_path: Path) -> None:
    """Check mode, a second run and taking them back: the Molecule scenario."""
    assert changes(play_role("gpu_runtime", tmp_path, given(host))) > 0
    assert files_of(host) == sorted(FILES)
    for path, name in FILES.items():
        written = (host / path).read_text(encoding="utf-8").replace(str(host), "")
        assert written == (GOLDEN / "gpu_runtime" / name).read_text(encoding="utf-8"), path


def test_containerd_reads_both_runtimes_from_them(tmp_path: Path) -> None:
    """The golden files, as the one before says that the role writes them."""
    if shutil.which("containerd") is None:
        pytest.skip("no containerd")
    drop_ins = tmp_path / "conf.d"
    drop_ins.mkdir()
    shutil.copy(GOLDEN / "gpu_runtime" / "containerd.toml", drop_ins / "nightbench.toml")
    imports = (GOLDEN / "gpu_runtime" / "containerd_imports.toml").read_text(encoding="utf-8")
    (tmp_path / "config.toml").write_text(imports.replace("/etc/containerd", str(tmp_path)), encoding="utf-8")
    command = ["containerd", "--config", str(tmp_path / "config.toml"), "config", "dump"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    runtimes = tomllib.loads(answer.stdout)["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    assert {name: one["options"].get("SystemdCgroup") for name, one in runtimes.items()} == {
        "runc": True,
        "nvidia": True,
    }
    assert runtimes["nvidia"]["options"]["BinaryName"] == "/usr/bin/nvidia-container-runtime"


def test_the_other_files_can_be_read_too() -> None:
    folder = GOLDEN / "gpu_runtime"
    assert tomllib.loads((folder / "toolkit.toml").read_text())["nvidia-container-runtime"]["mode"] == "auto"
    assert [one["type"] for one in json.loads((folder / "network.conflist").read_text())["plugins"]] == [
        "bridge",
        "portmap",
    ]
    kinds = [one["kind"] for one in yaml.safe_load_all((folder / "kubeadm.yml").read_text())]
    assert kinds == ["InitConfiguration", "ClusterConfiguration", "KubeletConfiguration"]


def smi(folder: Path) -> Path:
    """A program that answers as the driver's does."""
    program = folder / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'Tesla T4, 580.95.05'\n", encoding="utf-8")
    program.chmod(0o755)
    return program


def test_the_objects_of_a_cluster_are_shown_before_there_is_one(host: Path, tmp_path: Path) -> None:
    """Check mode, where the API server is still to come."""
    variables = {
        "gpu_runtime_parts": ["device_plugin", "pods"],
        "gpu_runtime_devices": 1,
        "gpu_runtime_smi": str(smi(tmp_path)),
        "gpu_runtime_time_slices": 2,
        "gpu_runtime_kubeconfig": str(tmp_path / "none.yaml"),
        "gpu_runtime_pods": [{"name": "gpu"}, {"name": "gpu-kata", "runtime_class": "kata"}],
    }
    played = play_role("gpu_runtime", tmp_path, given(host, **variables), "--check", "--diff")
    assert changes(played) == 2
    shown = ["Namespace nightbench-gpu", "RuntimeClass nvidia", "ConfigMap nightbench-gpu/device-plugin"]
    shown += ["DaemonSet nightbench-gpu/device-plugin", "Pod nightbench-gpu/gpu", "Pod nightbench-gpu/gpu-kata"]
    assert [name for name in shown if f"+++ after: {name}\n" not in played.output] == []
    assert "replicas: 2" in played.output and "runtimeClassName: kata" in played.output


def test_what_others_have_containerd_read_is_not_replaced(host: Path, tmp_path: Path) -> None:
    own = host / "etc" / "containerd" / "config.toml"
    own.parent.mkdir(parents=True)
    own.write_text('imports = ["/etc/mine/*.toml"]\n', encoding="utf-8")
    played = play_role("gpu_runtime", tmp_path, given(host, gpu_runtime_parts=["container_toolkit"]))
    assert played.rc != 0
    assert "imports of its own; add /etc/containerd/conf.d/*.toml" in re.sub(r"\s+", " ", played.output)
    assert own.read_text(encoding="utf-8") == 'imports = ["/etc/mine/*.toml"]\n'


@pytest.fixture
def readable() -> Iterator[Path]:
    """A folder that apt's own user can read too."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_packages_come_from_the_repository_that_is_named_and_go_again(readable: Path, tmp_path: Path) -> None:
    if os.geteuid() != 0 or shutil.which("dpkg-deb") is None:
        pytest.skip("installing packages needs root and dpkg")
    name = "nightbench-stand-in-driver"
    repository = apt_repository.make(readable, name)
    there = Path("/usr/share", name, "there")
    variables = {
        "gpu_runtime_parts": ["driver"],
        "gpu_runtime_devices": 0,
        "gpu_runtime_repositories": {"driver": {"uris": f"file:{repository}", "suites": "./"}},
        "gpu_runtime_packages": {"driver": [name]},
        "gpu_runtime_purge": True,
    }
    absent = {**variables, "gpu_runtime_state": "absent"}
    try:
        assert changes(play_role("gpu_runtime", tmp_path, variables)) > 0
        assert there.read_text() == "there\n"
        assert changes(play_role("gpu_runtime", tmp_path, variables)) == 0
    finally:
        removed = play_role("gpu_runtime", tmp_path, absent)
    assert changes(removed) > 0
    assert not there.exists()
    assert not Path("/etc/apt/sources.list.d/nightbench-driver.sources").exists()


#: Its own name: kwok runs no pod on a node that comes again before its lease has ended.
NODE = "gpu-runtime-0"
NAMESPACE = "/api/v1/namespaces/nightbench-gpu"
RUNTIME_CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"
DAEMON_SET = "/apis/apps/v1/namespaces/nightbench-gpu/daemonsets/device-plugin"


@pytest.fixture
def offered(kube: Kube) -> Iterator[Kube]:
    """A fake node that offers what the device plugin would on a device, and the RuntimeClass that Kata brings."""
    capacity = {"cpu": "32", "memory": "256Gi", "pods": "110", "nvidia.com/gpu": "2"}
    metadata = {"name": NODE, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    status = {"capacity": capacity, "allocatable": capacity}
    kube.request("POST", "/api/v1/nodes", body={"metadata": metadata, "status": status})
    kube.request("POST", RUNTIME_CLASSES, body={"metadata": {"name": "kata"}, "handler": "kata"})
    yield kube
    kube.map([Call("DELETE", f"/api/v1/nodes/{NODE}"), Call("DELETE", f"{RUNTIME_CLASSES}/kata")])


def test_a_real_api_server_has_its_objects_keeps_them_and_is_rid_of_them(
    offered: Kube, control_plane: ControlPlane, host: Path, tmp_path: Path
) -> None:
    """kwok in the kubelet's place: the objects are real, and no plugin runs."""

    def read(path: str) -> dict[str, Any]:
        found: dict[str, Any] = offered.request("GET", path).json()
        return found

    variables = given(
        host,
        gpu_runtime_parts=["device_plugin", "pods"],
        gpu_runtime_devices=1,
        gpu_runtime_smi=str(smi(tmp_path)),
        gpu_runtime_time_slices=2,
        gpu_runtime_kubeconfig=control_plane.kubeconfig,
        gpu_runtime_pods=[{"name": "gpu"}, {"name": "gpu-kata", "runtime_class": "kata"}],
        gpu_runtime_pod_folders=["/var/tmp/nightbench"],
        gpu_runtime_run_id=control_plane.run_id,
    )
    played = play_role("gpu_runtime", tmp_path, variables, fact="gpu_runtime_result")
    assert changes(played) == 2, "the plugin's objects and the pods"
    assert [played.facts["pod_argv"][name][-3:] for name in ("gpu", "gpu-kata")] == [
        ["gpu", "--", "python3"],
        ["gpu-kata", "--", "python3"],
    ]

    assert read(f"{RUNTIME_CLASSES}/nvidia")["handler"] == "nvidia"
    settings = yaml.safe_load(read(f"{NAMESPACE}/configmaps/device-plugin")["data"]["config.yaml"])
    # What the toolkit's file, which is known, takes from pods without privileges.
    assert settings["flags"]["plugin"]["deviceListStrategy"] == "volume-mounts"
    assert settings["sharing"]["timeSlicing"]["resources"] == [{"name": "nvidia.com/gpu", "replicas": 2}]
    template = read(DAEMON_SET)["spec"]["template"]
    assert template["spec"]["runtimeClassName"] == "nvidia"
    assert template["spec"]["containers"][0]["securityContext"] == {"privileged": True}
    pods = {name: read(f"{NAMESPACE}/pods/{name}") for name in ("gpu", "gpu-kata")}
    assert {name: (one["spec"]["runtimeClassName"], one["status"]["phase"]) for name, one in pods.items()} == {
        "gpu": ("nvidia", "Running"),
        "gpu-kata": ("kata", "Running"),
    }
    assert pods["gpu"]["spec"]["containers"][0]["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    labels = read(NAMESPACE)["metadata"]["labels"]
    assert labels["nightbench.io/run-id"] == control_plane.run_id

    before = {path: read(path)["metadata"]["generation"] for path in (DAEMON_SET, f"{NAMESPACE}/pods/gpu")}
    assert changes(play_role("gpu_runtime", tmp_path, variables)) == 0
    assert {path: read(path)["metadata"]["generation"] for path in before} == before

    assert changes(play_role("gpu_runtime", tmp_path, {**variables, "gpu_runtime_state": "absent"})) == 2
    for path in (NAMESPACE, f"{RUNTIME_CLASSES}/nvidia"):
        eventually(lambda path=path: gone(offered, path))
    assert read(f"{RUNTIME_CLASSES}/kata")["handler"] == "kata", "not its own"


def gone(kube: Kube, path: str) -> bool:
    try:
        kube.request("GET", path)
    except NotFound:
        return True
    return False


#: What role and cluster both need: kubeadm's program, which writes the cluster's kubeconfig and takes it away again.
KUBEADM = """#!/bin/sh
echo "$(basename $0) $*" >> {asked}
case "$(basename $0) $1" in
  "kubeadm init") cp {kubeconfig} /etc/kubernetes/admin.conf;;
  "kubeadm reset") rm -f /etc/kubernetes/admin.conf;;
esac
"""
ADMIN = Path("/etc/kubernetes/admin.conf")
OF_KUBERNETES = [
    f"/{path}" for path in FILES if path.startswith(("etc/kubernetes", "etc/cni", "etc/modules", "etc/sysctl"))
]


@pytest.fixture
def host_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control_plane: ControlPlane) -> Iterator[Path]:
    """This machine, with stand-ins for what would change its kernel or start a cluster; what they were asked for."""
    if os.geteuid() != 0:
        pytest.skip("the files of a host are root's")
    if any(Path(path).exists() for path in [*OF_KUBERNETES, str(ADMIN)]):
        pytest.skip("this machine is a node already")
    asked, programs = tmp_path / "asked", tmp_path / "bin"
    programs.mkdir()
    for name in ("kubeadm", "modprobe", "sysctl"):
        program = programs / name
        program.write_text(KUBEADM.format(asked=asked, kubeconfig=control_plane.kubeconfig), encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    folders = [folder for path in OF_KUBERNETES for folder in reversed(Path(path).parents) if not folder.exists()]
    yield asked
    for path in [*OF_KUBERNETES, str(ADMIN)]:
        Path(path).unlink(missing_ok=True)
    for folder in reversed(list(dict.fromkeys(folders))):
        folder.rmdir()


def test_a_host_becomes_one_node_by_kubeadm_and_is_none_again(host_itself: Path, offered: Kube, tmp_path: Path) -> None:
    """The words are kubeadm's own; what it would start, the test's cluster stands in for."""
    variables = {
        "gpu_runtime_parts": ["kubernetes"],
        "gpu_runtime_devices": 0,
        "gpu_runtime_packages": {"kubernetes": []},
    }
    assert changes(play_role("gpu_runtime", tmp_path, variables, "--check")) > 0
    assert not host_itself.exists() and not ADMIN.exists(), "check mode asks nobody"

    assert changes(play_role("gpu_runtime", tmp_path, variables)) > 0
    assert host_itself.read_text(encoding="utf-8").splitlines() == [
        "modprobe --all br_netfilter overlay",
        "sysctl --load /etc/sysctl.d/90-nightbench.conf",
        "kubeadm init --config /etc/kubernetes/nightbench.yml",
    ]
    host_itself.unlink()
    assert changes(play_role("gpu_runtime", tmp_path, variables)) == 0
    assert "kubeadm" not in host_itself.read_text(encoding="utf-8"), "a host that is a node stays one"

    assert changes(play_role("gpu_runtime", tmp_path, {**variables, "gpu_runtime_state": "absent"})) > 0
    assert host_itself.read_text(encoding="utf-8").splitlines()[-1] == "kubeadm reset --force"
    assert [path for path in [*OF_KUBERNETES, str(ADMIN)] if Path(path).exists()] == []
