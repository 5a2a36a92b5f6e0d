# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from harness.commands import doctor as command
from harness.doctor import CHECKS, CLUSTER, GIB, NIGHTLY, diagnose, exit_code
from harness.errors import UsageError
from harness.machine import Machine, numbers


class FakeMachine(Machine):
    """A machine that lacks nothing, but for what a test replaces."""

    def __init__(self, **facts: object) -> None:
        super().__init__(Path("/project"), Path("/results"), Path("/state"), Path("/cache"), {})
        given = GOOD | facts
        for name, value in given.items():
            setattr(self, name, value if callable(value) else lambda *_, value=value: value)


GOOD = {
    "python_version": (3, 11, 7),
    "package_version": (2, 19, 14),
    "program": lambda *names: names[0],
    "answer": "go1.26.8",
    "is_root": True,
    "cpus": 2,
    "memory_bytes": 16 * GIB,
    "free_bytes": 100 * GIB,
    "text": lambda path: "tsc" if "clocksource" in path else "some avg10=0.00",
    "can_listen": True,
    "connects": "",
    "tools": {"etcd": "3.6.16", "prometheus": ""},
    "cached": True,
    "go_wanted": (1, 26, 0),
    "lease": None,
    "left_runs": [],
    "collection": True,
    "kubeconfig": None,
    "api_server": "https://10.0.0.1:6443",
}


def without(*missing: str):
    return lambda *names: next((name for name in names if name not in missing), None)


def failures(machine: Machine) -> dict[str, tuple[str, str]]:
    return {
        diagnosis.check.name: (diagnosis.finding.problem, diagnosis.finding.mend)
        for diagnosis in diagnose(machine, CHECKS)
        if not diagnosis.ok
    }


def test_a_good_machine_lacks_nothing():
    machine = FakeMachine()
    assert failures(machine) == {}
    assert exit_code(diagnose(machine, CHECKS)) == 0


GO = "install Go 1.26 or newer from https://go.dev/dl/"
NOT_CACHED = {"cached": False, "program": without("etcd", "prometheus")}
LACKS = [
    ({"python_version": (3, 9, 2)}, 2, "python", "Python 3.9.2 is too old: 3.11 is needed", "make venv"),
    (
        {"package_version": lambda name: None if name == "ansible-core" else (9,)},
        *(2, "ansible-core", "ansible-core is not in this Python environment", "make venv"),
    ),
    (
        {"package_version": lambda name: (2, 16) if name == "ansible-core" else (9,)},
        *(2, "ansible-core", "ansible-core 2.16 is too old: 2.18 is needed", "make venv"),
    ),
    (
        {"package_version": lambda name: None if name == "scipy" else (9,)},
        *(2, "python packages", "Python packages are missing: scipy", "make venv"),
    ),
    (
        {"lease": ("R", 42, True)},
        *(2, "machine lease", "run R (process 42) has the machine; a second one is refused", "kill -INT 42"),
    ),
    ({"can_listen": False}, 2, "loopback ports", "no port can be opened on 127.0.0.1", "ip link set lo up"),
    (
        {"free_bytes": lambda path: None if path == Path("/results") else 100 * GIB},
        *(2, "room for results", "/results cannot be written to", "sudo chown $USER /results"),
    ),
    (
        {"free_bytes": lambda path: GIB // 2 if path == Path("/state") else 100 * GIB},
        *(2, "room for state", "/state: 0.5 GiB free, 1 GiB are needed for state", "free some room: du -xh /state"),
    ),
    (
        {"lease": ("R", 42, False)},
        1,
        "leftovers",
        "runs that ended early left state or processes: R",
        "python -m harness clean",
    ),
    (
        {"left_runs": ["A"]},
        1,
        "leftovers",
        "runs that ended early left state or processes: A",
        "python -m harness clean",
    ),
    (
        {"memory_bytes": GIB},
        *(1, "memory", "500 nodes and 4,000 pods take about 3 GiB; 1.0 GiB can be had", "NODE_COUNT=100 make nightly"),
    ),
    (
        {"cpus": 1},
        *(1, "cores", "with one core the control plane and the load share it: most records will be bound by it", ""),
    ),
    (
        {"program": without("git")},
        *(1, "git", "run.json cannot name the revision that was measured", "apt-get install git"),
    ),
    (
        {"is_root": False},
        *(1, "real nodes", "without root there are no real nodes: every record of the mesh is not_runnable"),
        "run the nightly as root",
    ),
    (
        {"program": without("nsenter")},
        *(1, "real nodes", "real nodes cannot be made without nsenter", "apt-get install util-linux"),
    ),
    (
        {"program": without("ip")},
        *(1, "real nodes", "real nodes cannot be made without ip", "apt-get install iproute2"),
    ),
    (
        {"program": without("git", "apt-get", "dnf", "yum", "zypper")},
        *(1, "git", "run.json cannot name the revision that was measured", "apk add git"),
    ),
    (
        {"text": lambda path: "hpet" if "clocksource" in path else "some"},
        *(1, "clock", "the clock source hpet is slow to read: stamps are coarser"),
        "echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource",
    ),
    (
        {"text": ""},
        *(1, "pressure", "other load on the machine is seen less well: the kernel does not report pressure"),
        "boot the kernel with psi=1",
    ),
    (
        {"kubeconfig": Path("/no/such/config")},
        *(1, "kubeconfig", "KUBECONFIG names /no/such/config, which does not exist", "unset KUBECONFIG"),
    ),
    (
        {"kubeconfig": Path(__file__), "connects": "refused"},
        *(1, "kubeconfig", f"https://10.0.0.1:6443 (from {__file__}) does not answer: refused", "kubectl cluster-info"),
    ),
    (
        {"kubeconfig": Path(__file__), "api_server": None},
        *(1, "kubeconfig", f"the current context of {__file__} leads to no server", "kubectl config view"),
    ),
    (
        {"kubeconfig": Path(__file__), "collection": False},
        *(1, "kubernetes.core", "the collection kubernetes.core is missing: charts cannot be installed in a cluster"),
        "pip install -r requirements-cluster.txt",
    ),
    (
        {"kubeconfig": Path(__file__), "cached": lambda tool, version: tool != "helm", "program": without("helm")},
        *(1, "helm", "charts cannot be installed in a cluster", "see https://helm.sh/docs/intro/install/"),
    ),
]


@pytest.mark.parametrize(("facts", "code", "check", "problem", "mend"), LACKS)
def test_what_is_lacking_is_named_with_the_command_that_mends_it(facts, code, check, problem, mend):
    machine = FakeMachine(**facts)
    assert failures(machine) == {check: (problem, mend)}
    assert exit_code(diagnose(machine, CHECKS)) == code


def test_who_is_not_root_is_told_to_use_sudo():
    machine = FakeMachine(program=without("git"), is_root=False)
    problem = "run.json cannot name the revision that was measured"
    assert failures(machine)["git"] == (problem, "sudo apt-get install git")


def test_tools_that_are_not_there_can_be_built_by_go():
    assert failures(FakeMachine(**NOT_CACHED)) == {}


def test_without_go_and_tools_only_a_download_is_left():
    machine = FakeMachine(cached=False, program=without("etcd", "prometheus", "go"))
    problem = "etcd, prometheus: neither cached nor in PATH, and without Go 1.26 only a download can bring them"
    assert failures(machine) == {
        "tools": (problem, GO),
        "go": ("no Go: 1.26 is needed to build what cannot be downloaded", GO),
    }


def test_an_old_go_is_named():
    machine = FakeMachine(**NOT_CACHED, answer="go1.22.1")
    assert failures(machine)["go"] == ("Go 1.22.1: 1.26 is needed to build what cannot be downloaded", GO)


def test_tools_in_path_count_when_their_version_is_right():
    assert failures(FakeMachine(cached=False, answer=lambda *argv: "go1.26" if argv[0] == "go" else "3.6.16")) == {}


def test_json_has_a_failure_for_each_that_lacks(capsys, monkeypatch):
    monkeypatch.setattr(command, "Machine", lambda *_: FakeMachine(cpus=1))
    given = {"json": True, "suite": None, "results_dir": Path("results"), "pending": None}
    code = command.run(Namespace(**given, kubeconfig=None, context=None))
    document = json.loads(capsys.readouterr().out)
    assert (code, document["ok"], [entry["check"] for entry in document["checks"]]) == (
        *(1, False),
        [check.name for check in CHECKS],
    )
    assert document["failures"] == [
        {
            "check": "cores",
            "suite": "nightly",
            "problem": "with one core the control plane and the load share it: most records will be bound by it",
            "mend": "",
        }
    ]


def test_text_says_what_is_wrong_below_the_check():
    text = command.as_text(diagnose(FakeMachine(python_version=(3, 9)), [CHECKS[0]]), colour=False)
    assert text.splitlines() == [
        "FAILED  python  Python 3.9",
        "                Python 3.9 is too old: 3.11 is needed (nightly)",
        "                mend: make venv",
        "",
        "The local nightly cannot run.",
    ]


def test_a_suite_has_its_own_checks_and_those_of_the_nightly():
    assert {check.suite for check in command.checks_for("scheduler_scale")} == {NIGHTLY, "scheduler_scale"}
    assert {check.suite for check in command.checks_for(CLUSTER)} == {NIGHTLY, CLUSTER}


def test_a_suite_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match="there is no suite 'schedular_scale'\n  did you mean 'scheduler_scale'"):
        command.checks_for("schedular_scale")


@pytest.mark.parametrize(
    ("text", "version"), [("2.19.14", (2, 19, 14)), ("2.19.0b1", (2, 19, 0)), ("v1", ()), ("1.26rc1.2", (1, 26, 2))]
)
def test_versions_are_numbers(text, version):
    assert numbers(text) == version


def test_the_machine_knows_the_tools_of_the_checkout():
    tools = Machine(Path(__file__).resolve().parents[3], Path("results")).tools()
    assert {"etcd", "kube-apiserver", "kwok", "kwokctl"} <= set(tools)
    assert tools["kube-apiserver"] == tools["kube-scheduler"] != ""


def test_this_machine_can_be_looked_at(tmp_path):
    machine = Machine(Path(__file__).resolve().parents[3], tmp_path, tmp_path / "state", tmp_path / "cache", {})
    assert [diagnosis.check for diagnosis in diagnose(machine, CHECKS)] == list(CHECKS)
