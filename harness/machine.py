# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be read off this machine without changing it. The doctor asks one of these; tests give it another."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from harness import processes

ASK_SECONDS = 10


@dataclass
class Machine:
    """Every fact is a method, so that a test can replace just the one it is about."""

    project: Path
    results: Path
    state: Path = field(default_factory=lambda: _home("NIGHTBENCH_STATE_DIR", "XDG_STATE_HOME", ".local/state", ""))
    cache: Path = field(default_factory=lambda: _home("", "XDG_CACHE_HOME", ".cache", "tools"))
    environ: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    def python_version(self) -> tuple[int, ...]:
        return tuple(sys.version_info[:3])

    def package_version(self, name: str) -> tuple[int, ...] | None:
        """Of a Python package in this environment."""
        try:
            return numbers(metadata.version(name))
        except metadata.PackageNotFoundError:
            return None

    def program(self, *names: str) -> str | None:
        """The first of these programs that is in PATH."""
        return next((name for name in names if shutil.which(name)), None)

    def answer(self, *argv: str) -> str:
        """What a program prints; empty when it cannot be run."""
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, timeout=ASK_SECONDS, check=False, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return done.stdout + done.stderr

    def is_root(self) -> bool:
        return os.geteuid() == 0

    def cpus(self) -> int:
        return len(os.sched_getaffinity(0))

    def memory_bytes(self) -> int:
        """What can be had now, not what is built in."""
        for line in self.text("/proc/meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")

    def free_bytes(self, path: Path) -> int | None:
        """Room for this user where the folder is or would be made; None when it may not be written to."""
        there = path
        while not there.exists():
            there = there.parent
        return shutil.disk_usage(there).free if os.access(there, os.W_OK | os.X_OK) else None

    def text(self, path: str) -> str:
        try:
            return Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def can_listen(self, address: str) -> bool:
        try:
            with socket.create_server((address, 0)):
                return True
        except OSError:
            return False

    def connects(self, host: str, port: int) -> str:
        """Empty when somebody answers there, else why not."""
        try:
            with socket.create_connection((host, port), timeout=ASK_SECONDS / 2):
                return ""
        except OSError as error:
            return str(error)

    def tools(self) -> dict[str, str]:
        """The tools of the local environment and the version asked for; those with a range have ''."""
        defaults = _yaml(self.project / "roles" / "toolchain" / "defaults" / "main.yml")
        versions = {
            name.removeprefix("toolchain_").removesuffix("_version"): str(value)
            for name, value in defaults.items()
            if name.endswith("_version")
        }
        return {name: _exact(_version_of(name, versions)) for name in defaults.get("toolchain_tools", [])}

    def cached(self, tool: str, version: str) -> bool:
        return any(self.cache.glob(f"{tool}/{version or '*'}-*/metadata.json"))

    def go_wanted(self) -> tuple[int, ...]:
        """The newest Go that a tool built from source asks for."""
        asked = [
            numbers(line.split()[1])
            for path in sorted((self.project / "tools" / "go").glob("*/go.mod"))
            for line in self.text(str(path)).splitlines()
            if line.startswith("go ")
        ]
        return max(asked, default=())

    def lease(self) -> tuple[str, int, bool] | None:
        """run-id, pid and whether it lives, of the run that has the machine."""
        try:
            held: Any = json.loads((self.state / "machine.json").read_text(encoding="utf-8"))
            owner = processes.Process(int(held["owner"]["pid"]), int(held["owner"]["start_time"]))
            return str(held["run_id"]), owner.pid, owner.alive
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def left_runs(self) -> list[str]:
        """Runs whose state is still there."""
        return sorted(path.name for path in (self.state / "runs").glob("*") if path.is_dir())

    def collection(self, namespace: str, name: str) -> bool:
        """Whether Ansible would find a collection."""
        roots = [
            *map(Path, filter(None, self.environ.get("ANSIBLE_COLLECTIONS_PATH", "").split(":"))),
            Path.home() / ".ansible" / "collections",
            Path("/usr/share/ansible/collections"),
            *(Path(entry) for entry in sys.path if entry.endswith("site-packages")),
        ]
        return any((root / "ansible_collections" / namespace / name).is_dir() for root in roots)

    def kubeconfig(self) -> Path | None:
        """The one that the cluster inventory would use, when one is named."""
        named = self.environ.get("K8S_AUTH_KUBECONFIG") or self.environ.get("KUBECONFIG", "").split(":")[0]
        return Path(named).expanduser() if named else None

    def api_server(self, kubeconfig: Path) -> str | None:
        """The URL that its current context points to."""
        document = _yaml(kubeconfig)
        contexts = {entry["name"]: entry["context"] for entry in document.get("contexts") or []}
        clusters = {entry["name"]: entry["cluster"] for entry in document.get("clusters") or []}
        context = contexts.get(document.get("current-context"), {})
        server = clusters.get(context.get("cluster"), {}).get("server")
        return str(server) if server else None


def numbers(version: str) -> tuple[int, ...]:
    """2.19.14 as (2, 19, 14); what follows the last number is left out."""
    found: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        found.append(int(digits))
    return tuple(found)


def _home(own: str, xdg: str, default: str, below: str) -> Path:
    if own and os.environ.get(own):
        return Path(os.environ[own])
    return Path(os.environ.get(xdg) or Path.home() / default) / "nightbench" / below


def _yaml(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError):
        return {}
    return document if isinstance(document, dict) else {}


def _version_of(tool: str, versions: dict[str, str]) -> str:
    if tool in versions:
        return versions[tool]
    if tool.startswith("kube"):
        return versions.get("kubernetes", "")
    return versions.get("kwok", "") if tool.startswith("kwok") else ""


def _exact(version: str) -> str:
    return version if version[:1].isdigit() else ""
