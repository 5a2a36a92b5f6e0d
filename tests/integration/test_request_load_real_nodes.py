# SPDX-License-Identifier: GPL-3.0-or-later
"""A serving pattern on real nodes, by the role: requests leave a pod when due, others answer, records come of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.nightbench.image import build
from ansible.module_utils.nightbench.image_content import image_of
from ansible.module_utils.nightbench.kube import Kube
from ansible.modules import bench_real_node

from harness.model import Record
from harness.report import report
from harness.results import RunFolder
from tests.conftest import ROOT, RunModule
from tests.contract.tree import read_yaml
from tests.control_plane import ControlPlane
from tests.real_nodes import ITEM, TOLERATION, Declare
from tests.role import play_role

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(os.geteuid() != 0, reason="real nodes need root"),
]

RUN_ID = "20261123T090000Z-1a2b"
SUITE, SCENARIO, SUBJECT = "workload_patterns", "low_latency_inference", "real_nodes"
METRICS = (
    "request_latency_seconds",
    "request_added_seconds",
    "request_goodput_per_second",
    "request_failure_ratio",
    "request_swap_added_seconds",
    "request_loaded_added_seconds",
    "request_loaded_ratio",
)
INVENTORY = ROOT / "inventories" / "local" / "group_vars" / "all" / "real_nodes.yml"


@pytest.fixture
def python_image(tmp_path: Path) -> tuple[str, Path]:
    """The Python of the local environment: what the programs import has to be in it."""
    modules = read_yaml(INVENTORY)["__real_nodes_tools_image"]["python"]["modules"]
    python = {"interpreter": None, "scripts": [], "modules": modules}
    archive = build(image_of({**ITEM, "name": "nightbench.local/python", "python": python}))
    path = tmp_path / "python.tar"
    path.write_bytes(archive.data)
    return archive.name, path


MODEL = ["--batch", 4, "--step-seconds", 0.005, "--input-seconds", 0.0001, "--slots", 1, "--load-seconds", 0.05]
REQUESTS = {
    "answer_seconds": 5,
    "pods": [
        {"name": "chat", "programs": [{"file": "model_server.py", "arguments": MODEL, "port": 8000}]},
        {
            "name": "queue",
            "programs": [
                {"file": "queue_server.py", "port": 8001},
                {"file": "queue_worker.py", "arguments": ["--queue", "$(POD_IP):8001"]},
            ],
        },
        {"name": "tracking", "programs": [{"file": "tracking_store.py", "port": 8002}]},
    ],
    "services": [
        {
            "name": "chat",
            "label_selector": "app=chat",
            "arrivals": {"kind": "gamma", "cv": 1.5, "rate": 40, "seconds": 4, "seed": 3},
            "sizes": {"input": {"median": 20, "sigma": 0.5}, "output": {"median": 4}},
            "request": {"path": "/generate?model=chat&input={input}&output={output}&stream=1"},
            "objectives": {"latency_seconds": 1.0},
        },
        {
            "name": "code",
            "label_selector": "app=chat",
            "arrivals": {"kind": "constant", "rate": 3, "seconds": 4},
            "sizes": {"output": {"median": 4}},
            "request": {"path": "/generate?model=code&output={output}&stream=1"},
        },
        {
            "name": "events",
            "label_selector": "app=queue",
            "port": 8001,
            "arrivals": {"kind": "constant", "rate": 5, "seconds": 4},
            "request": {"method": "POST", "path": "/put?wait=1"},
        },
        {
            "name": "metrics",
            "label_selector": "app=tracking",
            "port": 8002,
            "arrivals": {"kind": "poisson", "rate": 20, "seconds": 4, "seed": 5},
            "sizes": {"input": {"median": 200}},
            "request": {"method": "POST", "path": "/runs/one/metrics", "body": "input"},
        },
    ],
}


def test_requests_of_real_pods_become_records(
    declare: Declare,
    run_module: RunModule,
    control_plane: ControlPlane,
    python_image: tuple[str, Path],
    kube: Kube,
    tmp_path: Path,
) -> None:
    image, archive = python_image
    run_module(bench_real_node, **declare(images=[str(archive)])).ok()
    own = tmp_path / "scenarios"
    own.mkdir()
    (own / f"{SCENARIO}.yml").write_text(yaml.safe_dump({"name": SCENARIO, "requests": REQUESTS}))
    results = tmp_path / RUN_ID
    variables = {
        "workload_patterns_scenarios": [SCENARIO],
        "workload_patterns_scenario_dirs": [str(own)],
        "workload_patterns_subjects": [SUBJECT],
        "workload_patterns_repeats": 1,
        "workload_patterns_image": image,
        "workload_patterns_python": "/usr/bin/python3",
        "workload_patterns_request_node_selector": {"type": "real"},
        "workload_patterns_request_tolerations": [TOLERATION],
        "workload_patterns_request_capabilities": ["SYS_NICE"],
        "workload_patterns_kubeconfig": control_plane.kubeconfig,
        "workload_patterns_run_id": RUN_ID,
        "workload_patterns_results": str(results),
        "workload_patterns_run_state": str(tmp_path / "state"),
    }
    played = play_role("workload_patterns", tmp_path, variables)
    assert played.rc == 0, played.output
    (seen,) = (json.loads(line) for line in (results / "observations.jsonl").read_text().splitlines())
    assert (seen["kind"], seen["subject"], seen["repeat"]) == ("request_load", SUBJECT, 1), seen
    told = seen["values"]
    assert told["asked"] == told["answered"] > 150, told["services"]
    rows = [json.loads(line) for line in (results / seen["samples"]["path"]).read_text().splitlines()]
    assert {row["items"] for row in rows if row["service"] == "chat"} == {4}
    assert min(row["latency_seconds"] for row in rows if row["service"] == "events") >= 0.05
    assert [one["metadata"]["name"] for one in kube.list_pages("/api/v1/namespaces")[0] if "requests" in str(one)] == []
    print(told["generators"])
    records = judged(results)
    # A machine that others load may make the generator late: then that is what the records say.
    late = {"load_generator_in_time", "arrivals_sent_as_planned", "cpu_not_stolen"}
    assert {item.name for record in records.values() for item in record.evidence if not item.holds} <= late
    assert records["request_latency_seconds"].n == len(rows)
    swapped = [row for row in rows if row["model_loaded"] is False]
    assert len(swapped) == records["request_swap_added_seconds"].n >= 10
    assert {row["service"] for row in swapped} == {"chat", "code"}
    assert records["request_added_seconds"].n == sum(1 for row in rows if row["service"] != "metrics")


def judged(results: Path) -> dict[str, Record]:
    """What the harness makes of the run."""
    planned = {"suite": SUITE, "scenario": SCENARIO, "subject": SUBJECT, "repeats": 1}
    base = {"schema_version": 1, "run_id": RUN_ID}
    plan = {**base, "created_at": "2026-11-23T09:00:00Z", "stages": [], "parameters": {},
            "records": [{**planned, "metric": metric} for metric in METRICS]}  # fmt: skip
    (results / "plan.json").write_text(json.dumps(plan))
    (results / "run.json").write_text(json.dumps({**base, "started_at": "2026-11-23T09:00:00Z"}))
    found = {record.metric: record for record in report(RunFolder(results)).records}
    for record in found.values():
        print(record.metric, record.verdict, record.value, record.quantiles, record.bound_by, record.reason)
    return found
