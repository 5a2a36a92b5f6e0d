# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest around each run of its variant: from the role's data to samples, over stand-ins for the tools of a host."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.role import play_role

TOOLS = ROOT / "tests" / "fakes" / "guest_tools.py"
PROGRAM = ROOT / "roles" / "gpu_overhead" / "files" / "guest" / "guest_run.py"
STAND_IN = {
    "layers": [],
    "arguments": "{{ __gpu_overhead_stand_in_arguments }}",
    "environment": "{{ __gpu_overhead_stand_in_environment }}",
}
SUBJECTS = {
    "guests": {
        "needs": ["compiler"],
        "variants": [{"name": "native", **STAND_IN}, {"name": "native_again", **STAND_IN}],
    },
    "kvm": {
        "needs": ["compiler", "kvm"],
        "variants": [{"name": "kvm", **STAND_IN, "argv": "{{ __gpu_overhead_guest_words['kvm'] }}"}],
    },
    "kata": {
        "needs": ["compiler", "kata"],
        "variants": [{"name": "kata", **STAND_IN, "argv": "{{ __gpu_overhead_guest_words['kata'] }}"}],
    },
}
SCENARIO = {
    "name": "guests",
    "title": "Guests",
    "native": "native",
    "again": "native_again",
    "native_subjects": ["guests"],
    "subjects": ["kvm", "kata"],
    "plan": {"measures": ["gemm"], "gemm_sizes": [32], "samples": {"least": 8, "most": 12, "seconds": 0.5}},
    "metrics": ["gpu_gemm_overhead_ratio"],
}
VIRSH = "virsh --connect qemu:///system"
KUBECTL = "kubectl --kubeconfig /etc/admin.conf --namespace default"


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What was asked of them is in the file `asked` of this folder."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("virsh", "ssh", "driverctl", "kubectl"):
        program = folder / name
        program.write_text(f"#!{sys.executable}\n{TOOLS.read_text(encoding='utf-8')}", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("GUEST_TOOLS_STATE", str(folder))
    return folder


def asked(tools: Path) -> list[str]:
    """Without the words for the guest itself."""
    lines = (tools / "asked").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.startswith("ssh ") and " exec " not in line]


def test_the_device_goes_to_a_guest_for_its_run_and_comes_back(tools: Path, tmp_path: Path) -> None:
    for name, subject in SUBJECTS.items():
        path = tmp_path / "subjects" / f"{name}.yml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump({"name": name, "title": name, "judged": name, **subject}), encoding="utf-8")
    (tmp_path / "guests.yml").write_text(yaml.safe_dump(SCENARIO), encoding="utf-8")
    pod = {"device": "0000:01:00.0", "manifest": "gpu.yml", "pod": "gpu", "namespace": "default"}
    given: dict[str, Any] = {
        "gpu_overhead_scenarios": ["guests"],
        "gpu_overhead_subjects": ["kvm", "kata"],
        "gpu_overhead_scenario_dirs": [str(tmp_path)],
        "gpu_overhead_subject_dirs": [str(tmp_path / "subjects")],
        "gpu_overhead_libvirt": {"kvm": {"domain": "gpu", "ssh": ["ssh", "root@guest"]}},
        "gpu_overhead_kata_pod": {**pod, "kubeconfig": "/etc/admin.conf"},
        "gpu_overhead_repeats": 1,
        "gpu_overhead_looks": [1],
        "gpu_overhead_calibration_clock": "virtual",
        "gpu_overhead_python": sys.executable,
        "gpu_overhead_dir": str(tmp_path / "work"),
        "gpu_overhead_results": str(tmp_path / "results"),
        "gpu_overhead_run_state": str(tmp_path),
        "gpu_overhead_run_id": "20260101T000000Z-0a1b",
    }
    played = play_role("gpu_overhead", tmp_path, given)
    assert played.rc == 0, played.output
    seen = [json.loads(line) for line in (tmp_path / "results" / "observations.jsonl").read_text().splitlines()]
    assert {
        one["values"]["variant"]: (one["values"]["status"], one["values"]["reason"]) for one in seen
    } == dict.fromkeys(("native", "native_again", "kvm", "kata"), ("complete", ""))
    of_guests = [one["samples"]["path"] for one in seen if one["values"]["variant"] in ("kvm", "kata")]
    assert sorted(path.name for path in (tmp_path / "of_the_guest").rglob("*.jsonl")) == sorted(
        Path(path).name for path in of_guests
    ), "they were written in the guest and brought here"
    of_kvm = [f"{VIRSH} {verb} gpu" for verb in ("domstate", "start", "shutdown", "domstate")]
    of_kata = [
        "driverctl --nosave set-override 0000:01:00.0 vfio-pci",
        f"{KUBECTL} create --filename gpu.yml",
        f"{KUBECTL} delete --filename gpu.yml --ignore-not-found",
        f"{KUBECTL} get pod gpu --ignore-not-found --output=name",
        "driverctl --nosave unset-override 0000:01:00.0",
    ]
    lines = asked(tools)
    assert [line for line in lines if line.startswith("virsh")] == [f"{VIRSH} dumpxml --inactive gpu", *of_kvm]
    assert [line for line in lines if not line.startswith("virsh")] == of_kata


FORM = {
    "expect": [
        {"argv": ["virsh", "-c", "u", "dumpxml"], "says": "managed='yes'", "otherwise": "no managed device"},
        {"argv": ["virsh", "-c", "u", "domstate"], "says": "^shut off", "otherwise": "it runs already"},
    ],
    "start": [["virsh", "-c", "u", "start"]],
    "ready": ["ssh", "true"],
    "run": ["ssh"],
    "shell": True,
    "stop": [["virsh", "-c", "u", "shutdown"]],
    "gone": {"argv": ["virsh", "-c", "u", "domstate"], "says": "^shut off"},
    "force": [["virsh", "-c", "u", "destroy"]],
    "give_back": [["driverctl", "unset-override"]],
    "seconds": 0.1,
}
BAD = [
    # fault, the program in the guest, exit code, what is said, the last that was asked
    ("unmanaged", "pass", 125, "virsh -c u dumpxml: no managed device", "virsh -c u dumpxml"),
    ("runs", "pass", 125, "virsh -c u domstate: it runs already", "virsh -c u domstate"),
    ("deaf", "pass", 125, "it said: ssh true ended with 255; it said: no route to host", "driverctl unset-override"),
    ("stubborn", "open(sys.argv[2], 'w')", 0, "virsh -c u domstate: not so within 0.1 s; it said: running", None),
    ("", "open(sys.argv[2], 'w'); sys.exit(3)", 3, "", "driverctl unset-override"),
    ("", "pass", 125, "of_the_guest", "driverctl unset-override"),
]


@pytest.mark.parametrize(("fault", "program", "code", "says", "last"), BAD)
def test_a_guest_that_is_not_what_was_asked_for_gives_the_device_back_and_says_why(
    tools: Path, tmp_path: Path, fault: str, program: str, code: int, says: str, last: str | None
) -> None:
    probe, output = tmp_path / "gpu_probe.pyz", tmp_path / "results" / "samples" / "out.jsonl"
    output.parent.mkdir(parents=True)
    probe.write_text(f"import sys\n{program}\n", encoding="utf-8")
    command = [sys.executable, str(probe), "--output", str(output)]
    answer = subprocess.run(
        [sys.executable, str(PROGRAM), "--form", json.dumps(FORM), "--", *command],
        env={**os.environ, "GUEST_TOOLS_FAULT": fault},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, "Traceback" in answer.stderr) == (code, False), answer.stderr
    assert says in answer.stderr
    lines = asked(tools)
    if last is None:
        assert lines[-2:] == ["virsh -c u destroy", "driverctl unset-override"]
    else:
        assert lines[-1] == last
    assert not (tools / "up").exists(), "the device is the host's again"
