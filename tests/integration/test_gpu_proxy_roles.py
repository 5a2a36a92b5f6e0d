# SPDX-License-Identifier: GPL-3.0-or-later
"""From role gpu_proxy to role gpu_overhead to the evidence: a proxy of the published kind, whose server is a stub."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.model import Observation, SamplesReference
from harness.overhead import evidence, experiment, runs
from tests.fakes import gpu_stand_in
from tests.role import changes, play_role

RUN_ID = "20260101T000000Z-0a1b"
# It says that it is ready, and writes down calls that it makes up, or none.
SERVER = """#!{python}
import signal, sys
print("Ready to process GPU requests...", *{said!r}, sep="\\n", flush=True)
signal.pause()
"""
STAND_IN = {
    "layers": [],
    "arguments": "{{ __gpu_overhead_stand_in_arguments }}",
    "environment": "{{ __gpu_overhead_stand_in_environment }}",
}
SCENARIO = {
    "name": "remote",
    "title": "A remoting proxy",
    "native": "native",
    "again": "native_again",
    "subjects": ["remote"],
    "plan": {
        "measures": ["gemm", "copy"],
        "copy_bytes": [65536],
        "copy_memory": ["pinned"],
        "gemm_sizes": [32],
        "samples": {"least": 8, "most": 12, "warm_up": 12, "seconds": 0.5},
    },
    "metrics": ["gpu_gemm_overhead_ratio"],
}
SUBJECT = {
    "name": "remote",
    "title": "process behind a stub",
    "judged": "remote",
    "needs": ["compiler", "remoting"],
    "variants": [
        {"name": "native", **STAND_IN},
        {"name": "native_again", **STAND_IN},
        {"name": "remote", "layers": ["proxy"], "proxy": "remoting", "evidence": ["tenants_at_once"]},
    ],
}


@pytest.fixture
def measured(tmp_path: Path) -> Any:
    """What the roles have written down of one block behind a server that has said this."""

    def run(said: list[str]) -> list[Observation]:
        for kind, data in (("scenarios", SCENARIO), ("subjects", SUBJECT)):
            (tmp_path / kind).mkdir()
            (tmp_path / kind / "remote.yml").write_text(yaml.safe_dump(data), encoding="utf-8")
        server = tmp_path / "server"
        server.write_text(SERVER.format(python=sys.executable, said=said), encoding="utf-8")
        server.chmod(0o755)
        (tmp_path / "client").mkdir()
        library = gpu_stand_in.build(tmp_path / "client").rename(tmp_path / "client" / "libremote.so")
        (tmp_path / "client" / "libnvidia-ml.so.1").symlink_to(library)
        given = {
            "gpu_proxy_names": ["remoting", "mps"],
            "gpu_proxy_running": False,
            "gpu_proxy_missing": "tell",
            "gpu_proxy_dir": str(tmp_path / "proxies"),
            "gpu_proxy_limit_bytes": 10**8,
            "gpu_proxy_mps_control": "/nowhere/control",
            "gpu_proxy_remoting_server": str(server),
            "gpu_proxy_remoting_library": str(library),
        }
        told = play_role("gpu_proxy", tmp_path, given, fact="gpu_proxy_result")
        assert changes(told) == 1, "its folder"
        given = {
            "gpu_overhead_scenarios": ["remote", "isolation"],
            "gpu_overhead_subjects": ["remote", "mps"],
            "gpu_overhead_scenario_dirs": [str(tmp_path / "scenarios")],
            "gpu_overhead_subject_dirs": [str(tmp_path / "subjects")],
            "gpu_overhead_repeats": 1,
            "gpu_overhead_looks": [1],
            "gpu_overhead_calibration_clock": "virtual",
            "gpu_overhead_python": sys.executable,
            "gpu_overhead_proxies": told.facts["proxies"],
            "gpu_overhead_dir": str(tmp_path / "work"),
            "gpu_overhead_results": str(tmp_path / "results"),
            "gpu_overhead_run_state": str(tmp_path),
            "gpu_overhead_run_id": RUN_ID,
        }
        played = play_role("gpu_overhead", tmp_path, given)
        assert played.rc == 0, played.output
        lines = (tmp_path / "results" / "observations.jsonl").read_text(encoding="utf-8").splitlines()
        return [_observation(json.loads(line)) for line in lines]

    return run


def _observation(line: dict[str, Any]) -> Observation:
    known = {name: value for name, value in line.items() if name in Observation.__dataclass_fields__}
    samples = known.get("samples")
    return Observation(**{**known, "samples": SamplesReference(**samples) if samples else None})


def not_held(folder: Path, seen: list[Observation]) -> dict[str, str]:
    built = experiment.build([runs.read(folder, one) for one in seen if one.kind == "overhead"])
    assert (sorted(built.blocks), built.dropped) == ([1], {})
    return {item.name: str(item.observed) for item in evidence.collect(built, "remote") if not item.holds}


def test_a_stub_is_caught_by_what_it_does_not_do(measured: Any, tmp_path: Path) -> None:
    """It claims a call before the run, is on no device, and gives more than its limit."""
    seen = measured(["[GPU_ALLOC] Zone 2 requests 4096 bytes"])
    found = not_held(tmp_path / "results", seen)
    assert found == {
        "layer_counted": "0 more",
        "service_attested": "in no list",
        "limit_enforced": "given",
        "tenants_at_once": "0 of 0",
    }
    [absent] = [one for one in seen if one.kind == "not_runnable" and one.subject == "mps"]
    assert absent.values["reason"].endswith("no mps: /nowhere/control is not there")
    [run] = [one for one in seen if one.values.get("variant") == "remote"]
    assert len(run.values["service"]["pids"]) == 1
    assert run.parameters["variant"]["layer"] == {"library": "libremote\\.so"}
    assert run.parameters["variant"]["without_evidence"] == ["attested"]
