# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_calico_node on a node that is namespaces and nothing else: what it writes, and that all of it goes again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench import real_nodes
from ansible.modules import bench_calico_node

from tests.conftest import RunModule
from tests.fakes.calico_stand_in.felix import IPTABLES, NFTABLES

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root"),
]

NETWORK = {
    "cniVersion": "1.0.0",
    "name": "eth0",
    "plugins": [{"type": "ptp", "mtu": 1500, "ipam": {"type": "host-local"}}],
}
OTHERS = "*filter\n:OTHERS - [0:0]\n-A FORWARD -j OTHERS\nCOMMIT\n"
#: A node has these folders for itself, in memory.
INIT = """
ip link add eth0 type veth peer name switch && ip link set switch up && ip link set eth0 up
for folder in /run /var/lib /var/log; do mount -t tmpfs none $folder; done
echo up
exec sleep 600
"""


@pytest.fixture
def node(tmp_path: Path) -> Iterator[dict[str, Any]]:
    process = subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", INIT],
        stdout=subprocess.PIPE,
        env={**os.environ, real_nodes.MARK: str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        conflist = tmp_path / "10-eth0.conflist"
        conflist.write_text(json.dumps(NETWORK, indent=2, sort_keys=True) + "\n")
        (tmp_path / "cni").mkdir()
        plugin_dir = str(tmp_path / "cni")
        yield {"name": "real-0", "pid": process.pid, "conflists": [str(conflist)], "plugin_dir": plugin_dir}
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture
def given(node: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """The module's parameters: a plugin, a folder of programs, and the kubeconfig of an administrator."""
    plugin = tmp_path / "calico"
    plugin.touch()
    (tmp_path / "bpf").mkdir()
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=a"]
    subprocess.run(["openssl", *new, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "clusters": [
            {"name": "c", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority": str(certificate)}}
        ],
        "users": [{"name": "c", "user": {"client-certificate": str(certificate), "client-key": str(key)}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(kubeconfig))
    return {"nodes": [node], "kubeconfig": str(tmp_path / "kubeconfig"), "plugin": str(plugin)}


def inside(node: dict[str, Any], *argv: str, told: str = "") -> str:
    target = ["nsenter", f"--target={node['pid']}", "--net", "--mount", "--"]
    return subprocess.run([*target, *argv], input=told, capture_output=True, text=True, check=True).stdout


def mounts(node: dict[str, Any]) -> str:
    return Path(f"/proc/{node['pid']}/mountinfo").read_text(encoding="utf-8")


def test_a_node_has_what_calico_needs_and_none_of_it_afterwards(
    node: dict[str, Any], given: dict[str, Any], run_module: RunModule, tmp_path: Path
) -> None:
    conflist = Path(node["conflists"][0])
    before = conflist.read_text()
    wanted = {**given, "bpf_dir": str(tmp_path / "bpf")}
    foretold = run_module(bench_calico_node, check=True, diff=True, **wanted).ok()
    assert (conflist.read_text(), Path(f"/proc/{node['pid']}/root/var/lib/calico").exists()) == (before, False)
    made = run_module(bench_calico_node, diff=True, **wanted).ok()
    assert foretold == made
    assert made["changed"]

    assert inside(node, "cat", "/var/lib/calico/nodename") == "real-0"
    served = json.loads(inside(node, "cat", "/var/lib/calico/kubeconfig"))["clusters"][0]["cluster"]["server"]
    assert served == "https://127.0.0.1:1"
    assert inside(node, "readlink", "/var/lib/calico/usr_lib/calico/bpf").strip() == str(tmp_path / "bpf")
    assert " - bpf nightbench " in mounts(node)
    assert inside(node, "ip", "route").strip() == "169.254.1.1 dev eth0 scope link metric 4096"
    assert json.loads(conflist.read_text())["plugins"][0]["type"] == "calico"
    assert os.readlink(tmp_path / "cni" / "calico") == given["plugin"]
    assert run_module(bench_calico_node, **wanted).ok()["changed"] is False

    gone = run_module(bench_calico_node, state="absent", nodes=[node]).ok()
    assert gone["changed"]
    assert (conflist.read_text(), list((tmp_path / "cni").iterdir())) == (before, [])
    assert "calico" not in inside(node, "ls", "/var/lib", "/run", "/var/log")
    assert " - bpf nightbench " not in mounts(node)
    assert inside(node, "ip", "route") == ""
    assert run_module(bench_calico_node, state="absent", nodes=[node]).ok()["changed"] is False


def test_the_route_of_a_felix_for_ebpf_is_not_taken_for_ours(
    node: dict[str, Any], given: dict[str, Any], run_module: RunModule
) -> None:
    """Felix writes it with replace, which takes the place of a route of the same metric."""
    felix = "169.254.1.1 dev lo scope link"
    assert run_module(bench_calico_node, **given).ok()["changed"]
    inside(node, "ip", "link", "set", "lo", "up")
    inside(node, "ip", "route", "replace", "169.254.1.1/32", "dev", "lo")
    assert run_module(bench_calico_node, **given).ok()["changed"] is False
    assert inside(node, "ip", "route").splitlines()[0].strip() == felix
    assert run_module(bench_calico_node, state="absent", nodes=[node]).ok()["changed"]
    assert inside(node, "ip", "route").strip() == felix


def test_what_felix_has_left_goes_and_what_is_of_others_stays(node: dict[str, Any], run_module: RunModule) -> None:
    missing = [tool for tool in ("nft", "iptables-restore", "ipset") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    inside(node, "nft", f"{NFTABLES}; add table ip other")
    inside(node, "iptables-restore", "--noflush", told=IPTABLES)
    inside(node, "iptables-restore", "--noflush", told=OTHERS)
    for name in ("cali40s", "others"):
        inside(node, "ipset", "create", name, "hash:ip")
    foretold = run_module(bench_calico_node, check=True, state="absent", nodes=[node]).ok()
    assert [words for words in foretold["changes"]["real-0"] if "rules of" not in words] == [
        "nft table ip calico on real-0",
        "ipset cali40s on real-0",
    ]
    assert run_module(bench_calico_node, state="absent", nodes=[node]).ok() == foretold
    saved = inside(node, "iptables-save")
    assert ("cali" in saved, "-A FORWARD -j OTHERS" in saved) == (False, True)
    assert "table ip other" in inside(node, "nft", "list", "tables")
    assert inside(node, "ipset", "list", "-n").split() == ["others"]
    assert run_module(bench_calico_node, state="absent", nodes=[node]).ok()["changed"] is False


@pytest.mark.parametrize(
    ("dataplane", "gone", "stays"),
    [("iptables", "nft table ip calico", "cali-FORWARD"), ("nftables", "rules of", "table ip calico")],
)
def test_only_what_another_dataplane_has_left_goes(
    node: dict[str, Any], run_module: RunModule, dataplane: str, gone: str, stays: str
) -> None:
    inside(node, "nft", NFTABLES)
    inside(node, "iptables-nft-restore", "--noflush", told=IPTABLES)
    cleaned = run_module(bench_calico_node, state="cleaned", nodes=[node], dataplane=dataplane).ok()
    assert [words.startswith(gone) for words in cleaned["changes"]["real-0"]] == [True]
    assert stays in inside(node, "nft", "list", "ruleset")
    assert run_module(bench_calico_node, state="cleaned", nodes=[node], dataplane=dataplane).ok()["changed"] is False


def test_a_table_of_iptables_that_held_calico_alone_goes_with_it(node: dict[str, Any], run_module: RunModule) -> None:
    if shutil.which("iptables-nft-restore") is None:
        pytest.skip("iptables-nft-restore is not installed")
    inside(node, "iptables-nft-restore", "--noflush", told=IPTABLES)
    assert run_module(bench_calico_node, state="absent", nodes=[node]).ok()["changed"]
    assert inside(node, "nft", "list", "ruleset") == ""


def test_a_node_does_not_see_what_lies_where_it_has_folders_of_its_own(
    given: dict[str, Any], run_module: RunModule
) -> None:
    for program in ("/var/lib/dpkg/status", "/nowhere/calico-felix"):
        refused = run_module(bench_calico_node, **given, programs=[program]).failed().msg
        assert refused.startswith(f"real-0 does not see {program}: it has folders of its own")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"pid": 1}, "real-0 does not run."),
        ({"pid": None}, "real-0 does not run."),
        ({"conflists": ["/dev/null"]}, "/dev/null"),
    ],
)
def test_a_node_that_is_none_is_refused(
    node: dict[str, Any], given: dict[str, Any], run_module: RunModule, change: dict[str, Any], said: str
) -> None:
    refused = run_module(bench_calico_node, **{**given, "nodes": [{**node, **change}]}).failed().msg
    assert said in refused
    assert not Path(f"/proc/{node['pid']}/root/var/lib/calico").exists()


def test_in_check_mode_nodes_that_are_not_there_yet_would_get_everything(
    node: dict[str, Any], given: dict[str, Any], run_module: RunModule
) -> None:
    later = {**given, "nodes": [{**node, "pid": None}], "kubeconfig": "/nowhere"}
    assert run_module(bench_calico_node, check=True, **later).ok()["changes"] == {"real-0": ["everything"]}
