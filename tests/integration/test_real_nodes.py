# SPDX-License-Identifier: GPL-3.0-or-later
"""Real nodes beside fake ones: what pods can reach, what lands where, and that nothing is left whatever is killed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench import host_changes, node_network, process, real_nodes, real_nodes_end, reap
from ansible.module_utils.nightbench.kube import Kube
from ansible.modules import bench_fetch, bench_real_node

from tests.conftest import ROOT, RunModule, eventually
from tests.control_plane import ControlPlane
from tests.real_nodes import TOLERATION, Declare, ask, create, pod, read, runs

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="real nodes need root"),
]

BOOT = """
import sys
sys.path.insert(0, sys.argv[1])
import tests.conftest
from ansible.module_utils.testing import patch_module_args
from ansible.modules import bench_real_node
import json
with patch_module_args(json.loads(sys.argv[2])):
    bench_real_node.main()
"""


def left(folder: Path) -> list[str]:
    """Everything of the nodes that this machine still shows."""
    interface, cgroup = real_nodes.host_interface(folder), real_nodes.cgroup(folder)
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    routes = subprocess.run(["ip", "route", "show", "table", "all"], capture_output=True, text=True, check=True).stdout
    return [
        *(f"process {found.pid}" for found in process.all_processes() if _belongs(found, folder, cgroup)),
        *(line for line in mounts if str(folder) in line),
        *(line for line in routes.splitlines() if interface in line),
        *(name for name in os.listdir("/sys/class/net") if name == interface),
        *(str(path) for path in host_changes.cgroup_folders(cgroup)),
        *([str(folder)] if folder.exists() else []),
    ]


def _belongs(found: process.Status, folder: Path, cgroup: str) -> bool:
    try:
        groups = Path(f"/proc/{found.pid}/cgroup").read_text()
        words = Path(f"/proc/{found.pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return found.running and (cgroup in groups or str(folder) in words)


def inside(folder: Path, *names: str) -> list[int]:
    """Pids of the programs of that name in the nodes of the folder, as the machine sees them."""
    namespaces = {os.readlink(f"/proc/{who.pid}/ns/pid") for who in real_nodes_end.processes(folder)}
    own = os.readlink("/proc/self/ns/pid")
    found = []
    for one in process.all_processes():
        try:
            program = Path(os.readlink(f"/proc/{one.pid}/exe")).name
            namespace = os.readlink(f"/proc/{one.pid}/ns/pid")
        except OSError:
            continue
        if program in names and namespace in namespaces and namespace != own:
            found.append(one.pid)
    return found


def test_pods_meet_on_every_interface_and_reach_nothing_else(
    declare: Declare, run_module: RunModule, images: dict[str, tuple[str, Path]], kube: Kube, namespace: str
) -> None:
    wanted = declare(count=2, interfaces=[{"form": "ptp"}, {"form": "bridge", "mtu": 9000}])
    made = run_module(bench_real_node, **wanted).ok()
    nodes = [node["name"] for node in made["nodes"]]
    names = [create(kube, namespace, pod(images["probe"][0], node)) for node in (*nodes, nodes[0])]
    eventually(lambda: all(runs(kube, namespace, name) for name in names), 60)
    addresses = [ask(kube, namespace, name, "addresses") for name in names]
    here, there, beside = addresses
    assert [sorted(one) for one in addresses] == [["eth0", "eth1", "lo"]] * 3
    for number, interface in enumerate(("eth0", "eth1")):
        ranges = [node_network.parse(node["pod_ranges"][number]) for node in (*made["nodes"], made["nodes"][0])]
        assert all(
            node_network.parse(f"{one[interface]}/32").subnet_of(space)
            for one, space in zip(addresses, ranges, strict=True)
        )
        for other in (there, beside):
            reached = ask(kube, namespace, names[0], "reach", address=other[interface])
            assert reached == {"error": "", "local": here[interface]}
    for outside in ("192.0.2.1", "198.51.100.1", "8.8.8.8"):
        assert ask(kube, namespace, names[0], "reach", address=outside) == {"error": "Network is unreachable"}
    again = run_module(bench_real_node, **wanted).ok()
    assert (again["changed"], [node["changed"] for node in again["nodes"]]) == (False, [False, False])
    gone = run_module(bench_real_node, state="absent", directory=wanted["directory"]).ok()
    assert gone["changed"]
    assert left(Path(wanted["directory"])) == []
    assert run_module(bench_real_node, state="absent", directory=wanted["directory"]).ok()["changed"] is False


#: What a suite does in a pod, in short.
WRITES = """
import os, time
os.makedirs("/tmp/results/samples")
open("/tmp/results/samples/x.bin", "wb").write(bytes(range(256)) * 4096)
open("/tmp/results/observations.jsonl", "w").write("{}\\n")
time.sleep(600)
"""


def test_files_of_a_pod_are_brought_by_the_api_server_with_their_checksums(
    declare: Declare,
    run_module: RunModule,
    images: dict[str, tuple[str, Path]],
    kube: Kube,
    namespace: str,
    control_plane: ControlPlane,
    tmp_path: Path,
) -> None:
    (node,) = run_module(bench_real_node, **declare()).ok()["nodes"]
    body = pod(images["probe"][0], node["name"])
    body["spec"]["containers"][0]["command"] = ["/usr/bin/python3", "-c", WRITES]
    name = create(kube, namespace, body)
    eventually(lambda: runs(kube, namespace, name), 60)
    given = {
        "kubeconfig": control_plane.kubeconfig,
        "pod": {"namespace": namespace, "name": name},
        "source": "/tmp/results",
        "dest": str(tmp_path / "here"),
    }
    result = run_module(bench_fetch, **given).ok()
    assert (result["complete"], result["brought"]) == (True, ["observations.jsonl", "samples/x.bin"])
    assert (tmp_path / "here" / "samples" / "x.bin").read_bytes() == bytes(range(256)) * 4096
    assert run_module(bench_fetch, **given).ok()["changed"] is False


def test_real_and_fake_nodes_keep_apart(
    declare: Declare, run_module: RunModule, images: dict[str, tuple[str, Path]], kube: Kube, namespace: str
) -> None:
    capacity = {"cpu": "8", "memory": "8Gi", "pods": "10"}
    fake = {
        "metadata": {
            "name": "beside-real",
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"type": "kwok-beside"},
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"capacity": capacity, "allocatable": capacity},
    }
    kube.request("POST", "/api/v1/nodes", body=fake)
    made = run_module(bench_real_node, **declare()).ok()
    real_name = made["nodes"][0]["name"]
    image = images["probe"][0]
    real = create(kube, namespace, pod(image, nodeSelector={"type": "real"}, tolerations=[TOLERATION]))
    faked = create(
        kube,
        namespace,
        pod(
            image,
            nodeSelector={"type": "kwok-beside"},
            tolerations=[{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
        ),
    )
    intolerant = create(kube, namespace, pod(image, nodeSelector={"type": "real"}))
    eventually(lambda: all(runs(kube, namespace, name) for name in (real, faked)), 60)
    assert ask(kube, namespace, real, "addresses").keys() == {"eth0", "eth1", "lo"}
    places = [read(kube, namespace, name)["spec"].get("nodeName") for name in (real, faked, intolerant)]
    assert places == [real_name, "beside-real", None]
    writers = {
        entry["manager"]
        for path in (f"/api/v1/nodes/{real_name}", f"/api/v1/namespaces/{namespace}/pods/{real}")
        for entry in kube.request("GET", path).json()["metadata"]["managedFields"]
    }
    assert not [writer for writer in writers if "kwok" in writer]
    for name in (faked, intolerant):
        kube.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", body={"gracePeriodSeconds": 0})
    kube.request("DELETE", "/api/v1/nodes/beside-real")


@pytest.mark.parametrize(
    "victims",
    [
        ("kubelet",),
        ("containerd",),
        ("containerd-shim-runc-v2",),
        ("node",),
        ("init",),
        ("network",),
        ("kubelet", "containerd", "node", "network"),
    ],
    ids="+".join,
)
def test_whatever_is_killed_nothing_is_left(
    declare: Declare,
    run_module: RunModule,
    images: dict[str, tuple[str, Path]],
    kube: Kube,
    namespace: str,
    victims: tuple[str, ...],
) -> None:
    wanted = declare()
    made = run_module(bench_real_node, **wanted).ok()
    folder = Path(wanted["directory"])
    node = made["nodes"][0]
    name = create(kube, namespace, pod(images["probe"][0], node["name"]))
    eventually(lambda: runs(kube, namespace, name), 60)
    records = process.Records(folder)
    for victim in victims:
        record = {"node": records.get(node["name"]), "network": records.get(real_nodes.NETWORK)}.get(victim)
        pids = [record.pid] if record else [node["pid"]] if victim == "init" else inside(folder, victim)
        assert pids
        for pid in pids:
            with_pid_gone(pid)
    run_module(bench_real_node, state="absent", directory=str(folder)).ok()
    assert left(folder) == []


def with_pid_gone(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it has gone with another one


@pytest.mark.parametrize("seconds", [0.6, 1.0, 1.5, 2.5])
def test_a_module_that_is_killed_on_its_way_leaves_nothing(
    declare: Declare, run_module: RunModule, seconds: float
) -> None:
    wanted = declare(count=2)
    folder = Path(wanted["directory"])
    arguments = json.dumps({**wanted, "_ansible_check_mode": False, "_ansible_diff": False})
    module = subprocess.Popen([sys.executable, "-c", BOOT, str(ROOT), arguments], stdout=subprocess.DEVNULL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        module.wait(seconds)
    module.kill()
    module.wait()
    run_module(bench_real_node, state="absent", directory=str(folder)).ok()
    assert left(folder) == []


def test_what_has_died_comes_back(declare: Declare, run_module: RunModule) -> None:
    wanted = declare(count=2)
    first = run_module(bench_real_node, **wanted).ok()
    folder = Path(wanted["directory"])
    old = inside(folder, "containerd", "kubelet")
    for pid in old:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: len(inside(folder, "containerd", "kubelet")) == 4)
    records = process.Records(folder)
    record = records.get(first["nodes"][1]["name"])
    assert record
    os.kill(record.pid, signal.SIGKILL)
    eventually(lambda: not process.is_running(record.identity))
    second = run_module(bench_real_node, **wanted).ok()
    assert [node["changed"] for node in second["nodes"]] == [False, True]
    fewer = run_module(bench_real_node, **{**wanted, "count": 1}).ok()
    assert (fewer["changed"], fewer["ended"]) == (True, [first["nodes"][1]["name"]])
    assert not (folder / first["nodes"][1]["name"]).exists()


def test_two_runs_take_two_ranges(declare: Declare, run_module: RunModule, monkeypatch: pytest.MonkeyPatch) -> None:
    first = run_module(bench_real_node, **declare("first", prefix="first-")).ok()
    # What the other has taken is not seen, as between the look and the start.
    monkeypatch.setattr(bench_real_node, "in_use", list)
    second = run_module(bench_real_node, **declare("second", prefix="second-")).ok()
    ranges = [node_network.parse(one["network"]["range"]) for one in (first, second)]
    assert not ranges[0].overlaps(ranges[1])
    assert first["network"]["interface"] != second["network"]["interface"]


def test_a_killed_run_is_reaped(declare: Declare, run_module: RunModule, tmp_path: Path) -> None:
    state = tmp_path / "runs" / "tests-real-nodes"
    setting = Path(real_nodes.NEIGHBOUR_SETTINGS[0])
    before = setting.read_text()
    wanted = declare("runs/tests-real-nodes/real_nodes", run_state=str(state), neighbours=int(before) + 1000)
    made = run_module(bench_real_node, **wanted).ok()
    assert int(setting.read_text()) == int(before) + 1000
    (state / "session.json").write_text(json.dumps({"run_id": "tests-real-nodes", "state": str(state)}))
    done = reap.reap(tmp_path, "tests-real-nodes")
    assert str(state) in done.removed
    assert setting.read_text() == before
    folder = Path(wanted["directory"])
    eventually(lambda: made["network"]["interface"] not in os.listdir("/sys/class/net"))
    assert left(folder) == []


def test_check_mode_says_it_and_does_nothing(declare: Declare, run_module: RunModule) -> None:
    wanted = declare(count=2)
    predicted = run_module(bench_real_node, check=True, diff=True, **wanted).ok()
    names = [f"{wanted['prefix']}{index}" for index in range(2)]
    assert predicted["diff"] == {"before": {"ends": []}, "after": {"starts": [real_nodes.NETWORK, *names]}}
    assert left(Path(wanted["directory"])) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"cidr": "10.0.0.0/8"}, "not inside 198.18.0.0/15"),
        ({"cidr": "198.18.0.0/33"}, "no range of IPv4"),
        ({"count": 9}, "addresses for 8 nodes"),
        ({"count": 0}, "one node at least"),
        ({"max_pods": 126}, "addresses for 125 pods"),
        ({"interfaces": []}, "one interface at least"),
        ({"interfaces": [{"mtu": 100}]}, "MTU of 100"),
        ({"tools": {}}, "real nodes need containerd"),
        ({"pause_image": "/dev/null"}, "no archive of one image"),
        ({"kubeconfig": "/dev/null"}, "kubeconfig"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(
    declare: Declare, run_module: RunModule, changes: dict[str, Any], said: str
) -> None:
    wanted = declare(**changes)
    assert said in run_module(bench_real_node, **wanted).failed().msg
    assert left(Path(wanted["directory"])) == []


def test_a_node_that_cannot_start_is_explained(declare: Declare, run_module: RunModule, tools: dict[str, str]) -> None:
    wanted = declare(tools={**tools, "containerd": shutil.which("false") or "false"}, timeout_seconds=3)
    failed = run_module(bench_real_node, **wanted).failed()
    assert "its containerd does not answer" in failed.msg
    logs = run_module(bench_real_node, state="info", directory=wanted["directory"]).ok()["logs"]
    assert ["containerd has ended" in end for path, end in logs.items() if path.endswith("0/node.log")] == [True]


def test_a_folder_of_somebody_else_is_left_alone(run_module: RunModule, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("precious")
    failed = run_module(bench_real_node, state="absent", directory=str(tmp_path)).failed()
    assert "no folder of real nodes" in failed.msg
    assert (tmp_path / "theirs").read_text() == "precious"


def test_who_is_not_root_hears_it(run_module: RunModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    said = run_module(bench_real_node, state="info", directory=str(tmp_path)).ok()
    assert (said["changed"], "need root" in said["reason"]) == (False, True)
