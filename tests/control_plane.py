# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane for integration tests: etcd, API server, controller manager, scheduler and kwok on loopback."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.nightbench import process
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import load_target

NAME = "tests"
RUN_PREFIX = "tests-"
#: kwokctl's option for the binary, and the tool's name in the cache.
BINARIES = {
    "etcdBinary": "etcd",
    "kubeApiserverBinary": "kube-apiserver",
    "kubeControllerManagerBinary": "kube-controller-manager",
    "kubeSchedulerBinary": "kube-scheduler",
    "kwokControllerBinary": "kwok",
}
PORTS = ("etcdPort", "etcdPeerPort", "kubeApiserverPort", "kubeControllerManagerPort", "kubeSchedulerPort",
         "kwokControllerPort")  # fmt: skip
START_SECONDS = 60
#: What a pod's life and a scheduler's objects need, and nothing else.
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "verbs": ["create", "update", "patch", "delete"], "resources": [
            {"group": "", "resources": ["pods", "pods/binding", "pods/status"]}, {"group": "test.nightbench.io"}]},
        {"level": "None"},
    ],
}  # fmt: skip


@dataclass(frozen=True)
class ControlPlane:
    """Where it is, and how to reach it as the administrator."""

    directory: Path
    kubeconfig: str
    run_id: str

    @property
    def audit_log(self) -> Path:
        return self.directory / "clusters" / NAME / "logs" / "audit.log"

    @property
    def pki(self) -> Path:
        return self.directory / "clusters" / NAME / "pki"

    def kube(self) -> Kube:
        return Kube(load_target(kubeconfig=self.kubeconfig))

    def service_account(self, namespace: str, name: str = "default") -> str:
        """A kubeconfig of a service account, which may do next to nothing."""
        with contextlib.closing(self.kube()) as kube:
            path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
            answer = kube.request("POST", path, body={"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1"})
        return self._kubeconfig_of(f"{namespace}-{name}", {"token": answer.json()["status"]["token"]})

    def expired_kubeconfig(self) -> str:
        """A kubeconfig whose client certificate ended on 2001-01-02."""
        key, request, certificate = (self.directory / f"expired.{ending}" for ending in ("key", "csr", "crt"))
        database = self.directory / "expired.index"
        database.write_text("")  # each call signs the same subject anew
        configuration = self.directory / "expired.cnf"
        lines = (
            f"[ca]\ndefault_ca=a\n[a]\ndatabase={database}\nnew_certs_dir={self.directory}\nrand_serial=yes\npolicy=p\n"
        )
        configuration.write_text(f"{lines}default_md=sha256\n[p]\norganizationName=optional\ncommonName=supplied\n")
        new = ["req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/O=system:masters/CN=old"]
        sign = ["ca", "-batch", "-config", str(configuration), "-notext", "-in", str(request), "-out", str(certificate)]
        dates = ["-startdate", "20010101000000Z", "-enddate", "20010102000000Z"]
        authority = ["-cert", str(self.pki / "ca.crt"), "-keyfile", str(self.pki / "ca.key")]
        for arguments in ([*new, "-keyout", str(key), "-out", str(request)], [*sign, *dates, *authority]):
            subprocess.run(["openssl", *arguments], check=True, capture_output=True)
        return self._kubeconfig_of("expired", {"client-certificate": str(certificate), "client-key": str(key)})

    def _kubeconfig_of(self, name: str, user: dict[str, str]) -> str:
        """A copy of the administrator's with another user."""
        document = yaml.safe_load(Path(self.kubeconfig).read_text())
        document["users"] = [{"name": one["name"], "user": user} for one in document["users"]]
        path = self.directory / f"kubeconfig-{name}"
        path.write_text(yaml.safe_dump(document))
        return str(path)


def find_tool(name: str) -> str:
    """Path of a tool: NIGHTBENCH_TOOLS_DIR, the newest in the tool cache, or PATH; without it the test is skipped."""
    given = os.environ.get("NIGHTBENCH_TOOLS_DIR")
    if given and os.access(Path(given) / name, os.X_OK):
        return str(Path(given) / name)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightbench" / "tools"
    cached = [path for path in cache.glob(f"*/*/{name}") if os.access(path, os.X_OK)]
    if cached:
        return str(max(cached, key=lambda path: path.stat().st_mtime))
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is neither in {cache} nor in PATH: run the role toolchain first")
    return found


@contextlib.contextmanager
def start_control_plane(directory: Path) -> Iterator[ControlPlane]:
    """Start one under `directory`; afterwards no process of it is left."""
    end_orphans()
    tools = {option: find_tool(name) for option, name in BINARIES.items()}
    kwokctl = find_tool("kwokctl")
    me = process.own_identity()
    run_id = f"{RUN_PREFIX}{me.pid}-{me.start_time}"
    configuration = directory / "kwok.yml"
    policy = directory / "audit-policy.yml"
    policy.write_text(yaml.safe_dump(AUDIT_POLICY))
    options = {**tools, "kubeAuditPolicy": str(policy)}
    configuration.write_text(yaml.safe_dump_all(_configuration(options, directory / "clusters" / NAME / "pki")))
    environment = {
        **os.environ,
        "KWOK_WORKDIR": str(directory),
        "KUBECONFIG": str(directory / "kubeconfig"),
        process.RUN_VARIABLE: run_id,
    }

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [kwokctl, "--name", NAME, "--config", str(configuration), *arguments],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS + 30,
            check=False,
        )
        if done.returncode:
            logs = [process.log_tail(path) for path in sorted(directory.glob("clusters/*/logs/*.log"))]
            pytest.fail(
                f"kwokctl {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}\n" + "\n".join(logs)
            )

    try:
        run("create", "cluster", "--kubeconfig", str(directory / "kubeconfig"), "--wait", f"{START_SECONDS}s")
        started = ControlPlane(directory, str(directory / "kubeconfig"), run_id)
        with contextlib.closing(started.kube()) as kube:
            wait_service_account(kube, "default")
        yield started
    finally:
        with contextlib.suppress(BaseException):
            run("delete", "cluster", "--kubeconfig", str(directory / "kubeconfig"))
        _kill(run_id)


def wait_service_account(kube: Kube, namespace: str) -> None:
    """Pods are refused until the controller manager has made their service account."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    deadline = time.monotonic() + START_SECONDS
    while not kube.list_pages(path, field_selector="metadata.name=default")[0]:
        assert time.monotonic() < deadline, f"the controller manager made no service account in namespace {namespace}"
        time.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def end_orphans() -> None:
    """Control planes of test runs that were killed before they could clean up."""
    runs = {
        variable.decode().partition("=")[2]
        for found in process.all_processes()
        for variable in process.environment_of(found.pid)
        if variable.startswith(f"{process.RUN_VARIABLE}={RUN_PREFIX}".encode())
    }
    for run_id in runs:
        pid, _, start_time = run_id.removeprefix(RUN_PREFIX).partition("-")
        if (
            pid.isdigit()
            and start_time.isdigit()
            and not process.is_running(process.Identity(int(pid), int(start_time)))
        ):
            _kill(run_id)


def _configuration(options: dict[str, str], pki: Path) -> list[dict[str, object]]:
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    fake_nodes_only = {"manage-all-nodes": "false", "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake"}
    # As role control_plane has it: real ones ask for a certificate, and their names resolve nowhere.
    to_kubelets = {
        "kubelet-client-certificate": str(pki / "admin.crt"),
        "kubelet-client-key": str(pki / "admin.key"),
        "kubelet-preferred-address-types": "InternalIP",
    }
    return [
        {
            "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
            "kind": "KwokctlConfiguration",
            "options": {"runtime": "binary", "bindAddress": "127.0.0.1", "disableQPSLimits": True, **options, **ports},
            "componentsPatches": [
                {"name": name, "extraArgs": [{"key": key, "value": value} for key, value in more.items()]}
                for name, more in {"kwok-controller": fake_nodes_only, "kube-apiserver": to_kubelets}.items()
            ],
        }
    ]


def _kill(run_id: str) -> None:
    for who in process.find_run(run_id):
        process.send_signal(who, signal.SIGKILL)
