# SPDX-License-Identifier: GPL-3.0-or-later
"""What this machine lacks, for which suite, and the command that mends it: one table of checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from harness.machine import Machine

MIB, GIB = 1024**2, 1024**3
# Every suite of the local nightly needs these; they are named after it.
NIGHTLY = "nightly"
# Existing clusters, by inventories/cluster.
CLUSTER = "cluster"
GOOD_CLOCKS = ("tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "xen", "riscv_clocksource")
PACKAGE_MANAGERS = ("apt-get", "dnf", "yum", "zypper", "apk", "pacman")
PYTHON_PACKAGES = ("ansible-runner", "kubernetes", "jsonschema", "jinja2", "duckdb", "plotly", "scipy", "jmespath")
MEND_PYTHON = "make venv"


@dataclass(frozen=True)
class Finding:
    """What a check saw. No problem: all is well; `needed` False: there is nothing to check."""

    seen: str
    problem: str = ""
    mend: str = ""
    needed: bool = True


@dataclass(frozen=True)
class Check:
    """`required`: without it the suite cannot run; else it runs with less, or slower."""

    name: str
    suite: str
    required: bool
    probe: Callable[[Machine], Finding]


@dataclass(frozen=True)
class Diagnosis:
    """One check, done."""

    check: Check
    finding: Finding

    @property
    def ok(self) -> bool:
        return not self.finding.problem


def diagnose(machine: Machine, checks: Iterable[Check]) -> list[Diagnosis]:
    return [Diagnosis(check, check.probe(machine)) for check in checks]


def exit_code(diagnoses: Iterable[Diagnosis]) -> int:
    """0 nothing lacks, 1 something optional or a suite lacks something, 2 the local nightly cannot run."""
    failed = [diagnosis.check for diagnosis in diagnoses if not diagnosis.ok]
    if any(check.required and check.suite == NIGHTLY for check in failed):
        return 2
    return 1 if failed else 0


def _python(machine: Machine) -> Finding:
    version = machine.python_version()
    seen = f"Python {dotted(version)}"
    return Finding(seen) if version >= (3, 11) else Finding(seen, f"{seen} is too old: 3.11 is needed", MEND_PYTHON)


def _ansible(machine: Machine) -> Finding:
    version = machine.package_version("ansible-core")
    if version is None:
        return Finding("no ansible-core", "ansible-core is not in this Python environment", MEND_PYTHON)
    seen = f"ansible-core {dotted(version)}"
    return Finding(seen) if version >= (2, 18) else Finding(seen, f"{seen} is too old: 2.18 is needed", MEND_PYTHON)


def _packages(machine: Machine) -> Finding:
    missing = [name for name in PYTHON_PACKAGES if machine.package_version(name) is None]
    if missing:
        return Finding(
            f"missing {', '.join(missing)}", f"Python packages are missing: {', '.join(missing)}", MEND_PYTHON
        )
    return Finding("all there")


def _git(machine: Machine) -> Finding:
    if machine.program("git"):
        return Finding("git")
    return Finding("no git", "run.json cannot name the revision that was measured", install(machine, "git"))


def _tools(machine: Machine) -> Finding:
    missing = missing_tools(machine)
    if not missing:
        return Finding(f"all {len(machine.tools())} tools are there")
    if has_go(machine):
        return Finding(f"the first run gets {', '.join(missing)} (a download, or up to 10 minutes of building)")
    go = dotted(machine.go_wanted()[:2])
    return Finding(
        f"not there: {', '.join(missing)}",
        f"{', '.join(missing)}: neither cached nor in PATH, and without Go {go} only a download can bring them",
        f"install Go {go} or newer from https://go.dev/dl/",
    )


def _go(machine: Machine) -> Finding:
    if not missing_tools(machine):
        return Finding("not needed: every tool is there", needed=False)
    version, wanted = go_version(machine), machine.go_wanted()
    if version is None:
        seen = "no Go"
    elif version < wanted:
        seen = f"Go {dotted(version)}"
    else:
        return Finding(f"Go {dotted(version)}")
    problem = f"{seen}: {dotted(wanted[:2])} is needed to build what cannot be downloaded"
    return Finding(seen, problem, f"install Go {dotted(wanted[:2])} or newer from https://go.dev/dl/")


def _root(machine: Machine) -> Finding:
    if machine.is_root():
        return Finding("root")
    if "prometheus" not in missing_tools(machine):
        return Finding("not root; no package has to be installed")
    return Finding(
        "not root",
        "without root no package can be installed, and prometheus is not there",
        install(machine, "prometheus"),
    )


def _real_nodes(machine: Machine) -> Finding:
    if not machine.is_root():
        problem = "without root there are no real nodes: every record of the mesh is not_runnable"
        return Finding("not root", problem, "run the nightly as root")
    lacking = [name for name in ("ip", "nsenter") if not machine.program(name)]
    if not lacking:
        return Finding("root, ip, nsenter")
    package = {"ip": "iproute2", "nsenter": "util-linux"}[lacking[0]]
    missing = " and ".join(lacking)
    return Finding(f"no {missing}", f"real nodes cannot be made without {missing}", install(machine, package))


def _package_manager(machine: Machine) -> Finding:
    found = machine.program(*PACKAGE_MANAGERS)
    if found or not missing_tools(machine):
        return Finding(found or "none; not needed", needed=bool(found))
    return Finding("none", "no package manager is known here: tools that come as packages must be in PATH", "")


def _cores(machine: Machine) -> Finding:
    seen = f"{machine.cpus()} cores"
    if machine.cpus() >= 2:
        return Finding(seen)
    return Finding(seen, "with one core the control plane and the load share it: most records will be bound by it", "")


def _memory(machine: Machine) -> Finding:
    seen = f"{machine.memory_bytes() / GIB:.1f} GiB can be had"
    if machine.memory_bytes() >= 3 * GIB:
        return Finding(seen)
    return Finding(seen, f"500 nodes and 4,000 pods take about 3 GiB; {seen}", "NODE_COUNT=100 make nightly")


def _disk(place: Callable[[Machine], Path], least: int, name: str) -> Callable[[Machine], Finding]:
    def probe(machine: Machine) -> Finding:
        path, needed = place(machine), least
        if name == "tools" and not missing_tools(machine):
            needed = 0
        free = machine.free_bytes(path)
        if free is None:
            return Finding(f"{path}: not writable", f"{path} cannot be written to", f"sudo chown $USER {path}")
        seen = f"{path}: {free / GIB:.1f} GiB free"
        if free >= needed:
            return Finding(seen)
        return Finding(seen, f"{seen}, {needed / GIB:.2g} GiB are needed for {name}", f"free some room: du -xh {path}")

    return probe


def _pressure(machine: Machine) -> Finding:
    missing = [name for name in ("cpu", "io", "memory") if "some" not in machine.text(f"/proc/pressure/{name}")]
    if not missing:
        return Finding("/proc/pressure")
    return Finding(
        "no /proc/pressure",
        "other load on the machine is seen less well: the kernel does not report pressure",
        "boot the kernel with psi=1",
    )


def _lease(machine: Machine) -> Finding:
    held = machine.lease()
    if held is None or not held[2]:
        return Finding("free")
    run_id, pid, _ = held
    return Finding(
        f"taken by {run_id}",
        f"run {run_id} (process {pid}) has the machine; a second one is refused",
        f"kill -INT {pid}",
    )


def _leftovers(machine: Machine) -> Finding:
    held = machine.lease()
    living = held[0] if held is not None and held[2] else None
    left = sorted({*machine.left_runs(), *([held[0]] if held is not None else [])} - {living})
    if not left:
        return Finding("none")
    seen = f"left by {', '.join(left)}"
    return Finding(seen, f"runs that ended early left state or processes: {', '.join(left)}", "python -m harness clean")


def _ports(machine: Machine) -> Finding:
    if machine.can_listen("127.0.0.1"):
        return Finding("loopback")
    return Finding("no loopback", "no port can be opened on 127.0.0.1", "ip link set lo up")


def _clock(machine: Machine) -> Finding:
    path = "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    clock = machine.text(path).strip()
    if not clock or clock in GOOD_CLOCKS:
        return Finding(clock or "unknown", needed=bool(clock))
    return Finding(clock, f"the clock source {clock} is slow to read: stamps are coarser", f"echo tsc > {path}")


def _skopeo(machine: Machine) -> Finding:
    if not missing_tools(machine):
        return Finding("not needed: every tool is there", needed=False)
    if machine.program("skopeo"):
        return Finding("skopeo")
    return Finding("no skopeo", "tools cannot be taken out of container images", install(machine, "skopeo"))


def _helm(machine: Machine) -> Finding:
    if machine.kubeconfig() is None:
        return Finding("not needed: no kubeconfig is given", needed=False)
    if machine.program("helm") or machine.cached("helm", ""):
        return Finding("helm")
    return Finding("no helm", "charts cannot be installed in a cluster", "see https://helm.sh/docs/intro/install/")


def _collection(machine: Machine) -> Finding:
    if machine.kubeconfig() is None:
        return Finding("not needed: no kubeconfig is given", needed=False)
    if machine.collection("kubernetes", "core"):
        return Finding("kubernetes.core")
    return Finding(
        "no kubernetes.core",
        "the collection kubernetes.core is missing: charts cannot be installed in a cluster",
        "pip install -r requirements-cluster.txt",
    )


def _kubeconfig(machine: Machine) -> Finding:
    path = machine.kubeconfig()
    if path is None:
        return Finding("none given", needed=False)
    if not path.is_file():
        return Finding(f"{path} is missing", f"KUBECONFIG names {path}, which does not exist", "unset KUBECONFIG")
    server = machine.api_server(path)
    url = urlsplit(server or "")
    if not url.hostname:
        return Finding(
            f"{path} names no server", f"the current context of {path} leads to no server", "kubectl config view"
        )
    why = machine.connects(url.hostname, url.port or 443)
    if why:
        return Finding(
            f"{server} does not answer", f"{server} (from {path}) does not answer: {why}", "kubectl cluster-info"
        )
    return Finding(f"{server} answers")


CHECKS = (
    Check("python", NIGHTLY, True, _python),
    Check("ansible-core", NIGHTLY, True, _ansible),
    Check("python packages", NIGHTLY, True, _packages),
    Check("machine lease", NIGHTLY, True, _lease),
    Check("loopback ports", NIGHTLY, True, _ports),
    Check("room for results", NIGHTLY, True, _disk(lambda machine: machine.results, 256 * MIB, "results")),
    Check("room for state", NIGHTLY, True, _disk(lambda machine: machine.state, GIB, "state")),
    Check("room for tools", NIGHTLY, False, _disk(lambda machine: machine.cache, 4 * GIB, "tools")),
    Check("memory", "scheduler_scale", False, _memory),
    Check("cores", NIGHTLY, False, _cores),
    Check("tools", "scheduler_scale", False, _tools),
    Check("real nodes", "traffic_mesh", False, _real_nodes),
    Check("go", NIGHTLY, False, _go),
    Check("root", NIGHTLY, False, _root),
    Check("package manager", NIGHTLY, False, _package_manager),
    Check("skopeo", NIGHTLY, False, _skopeo),
    Check("git", NIGHTLY, False, _git),
    Check("pressure", NIGHTLY, False, _pressure),
    Check("clock", NIGHTLY, False, _clock),
    Check("leftovers", NIGHTLY, False, _leftovers),
    Check("kubeconfig", CLUSTER, True, _kubeconfig),
    Check("kubernetes.core", CLUSTER, False, _collection),
    Check("helm", CLUSTER, False, _helm),
)


def missing_tools(machine: Machine) -> list[str]:
    """Tools that are neither cached in their version nor, as far as can be told, in PATH in it."""
    return [
        name
        for name, version in machine.tools().items()
        if not machine.cached(name, version) and not _in_path(machine, name, version)
    ]


def has_go(machine: Machine) -> bool:
    version = go_version(machine)
    return version is not None and version >= machine.go_wanted()


def go_version(machine: Machine) -> tuple[int, ...] | None:
    """`go version go1.26.1 linux/amd64` as (1, 26, 1)."""
    if not machine.program("go"):
        return None
    words = machine.answer("go", "env", "GOVERSION").split()
    return (
        tuple(int(part) for part in words[-1].removeprefix("go").split("-")[0].split(".") if part.isdigit())
        if words
        else None
    )


def install(machine: Machine, package: str) -> str:
    """The command that installs a package here."""
    manager = machine.program(*PACKAGE_MANAGERS)
    sudo = "" if machine.is_root() else "sudo "
    verb = {"apk": "add", "pacman": "-S"}.get(manager or "", "install")
    return f"{sudo}{manager} {verb} {package}" if manager else f"install {package}"


def dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _in_path(machine: Machine, name: str, version: str) -> bool:
    return bool(machine.program(name)) and (not version or version in machine.answer(name, "--version"))
