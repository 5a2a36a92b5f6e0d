# SPDX-License-Identifier: GPL-3.0-or-later
"""Every scenario on every subject that can meet it, as Ansible writes it: what is created, and in which shape."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.nightbench import job_plan

ROOT = Path(__file__).resolve().parents[2]
FILES = ROOT / "roles" / "scheduler_scale" / "files"
SCENARIOS = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((FILES / "scenarios").glob("*.yml"))}
NODES = 500
# KAI can meet all of them; of the others what is particular to them.
PAIRS = [
    *((scenario, "kai") for scenario, told in SCENARIOS.items() if "parts" in told),
    *(
        (scenario, "kueue")
        for scenario in ("fill_with_pending", "topology_preferred", "unschedulable_delay", "arrivals_trace")
    ),
    *((scenario, "kube-scheduler") for scenario in ("burst", "concurrent_creation")),
]

ONE_PAIR = """
- name: Read both
  ansible.builtin.include_vars: {file: "{{ item.file }}", name: "{{ item.name }}"}
  loop:
    - {name: __scheduler_scale_scenario, file: "{{ files }}/scenarios/{{ __scheduler_scale_pair[0] }}.yml"}
    - {name: __scheduler_scale_subject, file: "{{ files }}/subjects/{{ __scheduler_scale_pair[1] }}.yml"}
- name: Write the objects
  ansible.builtin.include_role: {name: scheduler_scale, tasks_from: objects, public: true}
- name: Write the parts
  ansible.builtin.include_role: {name: scheduler_scale, tasks_from: parts, public: true}
- name: Keep them
  ansible.builtin.copy:
    dest: "{{ out }}/{{ __scheduler_scale_pair | join('.') }}.json"
    content: "{{ kept | to_json }}"
    mode: "0600"
  check_mode: false
  vars:
    kept:
      parts: "{{ __scheduler_scale_load_parts }}"
      objects: "{{ __scheduler_scale_objects }}"
      observed: "{{ __scheduler_scale_subject['observed'] | default({}, true) }}"
      topology: "{{ __scheduler_scale_topology }}"
      parameters: "{{ __scheduler_scale_part_parameters }}"
"""
PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    scheduler_scale_nodes: {nodes}
    scheduler_scale_run_id: test
    scheduler_scale_results: /nowhere
    scheduler_scale_run_state: /nowhere
    scheduler_scale_kubeconfig: /nowhere
    scheduler_scale_components: {{}}
    __scheduler_scale_search_rate: 100
    role_path: {role}
    files: {files}
    out: {out}
  tasks:
    - name: Write one after the other
      ansible.builtin.include_tasks: pair.yml
      loop: {pairs}
      loop_control: {{loop_var: __scheduler_scale_pair}}
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    """Without a cluster: a check run writes what it would send."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "pair.yml").write_text(ONE_PAIR)
    play = folder / "play.yml"
    play.write_text(PLAY.format(nodes=NODES, role=FILES.parent, files=FILES, out=folder, pairs=json.dumps(PAIRS)))
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "--check", "-i", "localhost,", "-c", "local",
            "-e", f"ansible_python_interpreter={sys.executable}", str(play)]  # fmt: skip
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    ended = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-1000:]
    return {pair: json.loads((folder / f"{'.'.join(pair)}.json").read_text()) for pair in PAIRS}


#: What 500 nodes of 8 GPUs are given: Jobs or pods, pods of each, GPUs of each pod.
WANTED: dict[str, dict[str, tuple[int, int, int]]] = {
    "arrivals_poisson": {"measured": (700, 1, 1)},
    "arrivals_trace": {"measured": (40, 1, 1)},
    "burst": {f"size-{size}": (2, size, 8) for size in (1, 2, 4, 8, 16, 32, 64, 128, 256)},
    "churn_soak": {"measured": (36_000, 1, 1)},
    "concurrent_creation": {"pods": (500, 1, 1), "single": (500, 1, 1), "several": (100, 5, 1)},
    "consolidation": {"victims": (4000, 1, 1), "measured": (41, 10, 6)},
    "fill_with_pending": {"waiting": (400, 1, 1), "measured": (4000, 1, 1)},
    "gangs_distributed": {"measured": (50, 10, 5)},
    "gangs_whole_gpu": {"measured": (500, 8, 1)},
    "highest_rate": {"measured": (1000, 1, 1)},
    "reclaim_all": {"victims": (4000, 1, 1), "measured": (4000, 1, 1)},
    "reclaim_distributed": {"victims": (4000, 1, 1), "measured": (50, 10, 5)},
    "reclaim_elastic": {"victims": (2, 250, 8), "measured": (1, 250, 8)},
    "reclaim_full_nodes": {"victims": (500, 1, 8), "measured": (1, 500, 8)},
    "reclaim_large": {"victims": (4000, 1, 1), "measured": (1, 250, 8)},
    "reclaim_single": {"victims": (4000, 1, 1), "measured": (10, 1, 1)},
    "topology_none": {"measured": (1, 512, 2)},
    "topology_preferred": {"measured": (1, 512, 2)},
    "topology_required": {"measured": (1, 512, 2)},
    "unschedulable_delay": {"victims": (4000, 1, 1), "measured": (10, 10, 8)},
}


def pod_of(part: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = part["template"] if part["form"] == "pods" else part["template"]["spec"]["template"]
    return found


def gpus(part: dict[str, Any]) -> int:
    return int(pod_of(part)["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])


def test_every_scenario_has_the_size_that_is_published(written: dict[tuple[str, str], dict[str, Any]]) -> None:
    seen = {
        scenario: {part["name"]: (part["count"], part["pods_per_job"], gpus(part)) for part in one["parts"]}
        for (scenario, subject), one in written.items()
        if subject == "kai"
    }
    assert seen == WANTED


@pytest.mark.parametrize("pair", PAIRS, ids=".".join)
def test_the_load_takes_every_part(written: dict[tuple[str, str], dict[str, Any]], pair: tuple[str, str]) -> None:
    one = written[pair]
    options = {"queue": None, "min_member": None, "topology": None, "rate": None, "arrivals": "constant", "seed": 0,
               "moments": None, "delete": None}  # fmt: skip
    plan = job_plan.load_plan(
        {"name": "1", "namespace": "load", "parts": [options | part for part in one["parts"]], "observed": None,
         "topology_labels": one["topology"]["labels"], "connections": 16, "release": None, "run_state": None}
    )  # fmt: skip
    assert [part.name for part in plan.parts] == [part["name"] for part in one["parts"]]


def test_kai_gets_a_parent_and_a_queue_with_its_quota(written: dict[tuple[str, str], dict[str, Any]]) -> None:
    queues = {one["metadata"]["name"]: one["spec"] for one in written["unschedulable_delay", "kai"]["objects"]
              if one["kind"] == "Queue"}  # fmt: skip
    assert {name: (spec.get("parentQueue"), spec["resources"]["gpu"]) for name, spec in queues.items()} == {
        "nightbench": (None, {"quota": -1, "limit": -1, "overQuotaWeight": 1}),
        "nightbench-victims": ("nightbench", {"quota": 3921, "limit": -1, "overQuotaWeight": 0}),
        "nightbench-measured": ("nightbench", {"quota": -1, "limit": -1, "overQuotaWeight": 1}),
    }


def test_a_gang_with_a_wish_is_told_to_kai_by_the_job(written: dict[tuple[str, str], dict[str, Any]]) -> None:
    one = written["topology_preferred", "kai"]
    (part,) = one["parts"]
    assert part["template"]["metadata"]["annotations"] == {
        "kai.scheduler/batch-min-member": "512",
        "kai.scheduler/topology": "nightbench",
        "kai.scheduler/topology-preferred-placement": "nightbench.io/pool-rack",
    }
    assert part["template"]["metadata"]["labels"]["kai.scheduler/queue"] == "nightbench-measured"
    assert [level["size"] for level in one["topology"]["pool"]] == [128, 16, 2]
    assert [spec["spec"] for spec in one["objects"] if spec["kind"] == "Topology"] == [
        {"levels": [{"nodeLabel": f"nightbench.io/pool-{level}"} for level in ("zone", "block", "rack")]}
    ]


def test_a_gang_that_can_do_with_fewer_says_so(written: dict[tuple[str, str], dict[str, Any]]) -> None:
    victims, measured = written["reclaim_elastic", "kai"]["parts"]
    told = [one["template"]["metadata"]["annotations"] for one in (victims, measured)]
    assert told == [{"kai.scheduler/batch-min-member": "125"}, {"kai.scheduler/batch-min-member": "250"}]
    assert [one["min_member"] for one in (victims, measured)] == [125, 250]


def test_victims_can_be_evicted_and_who_reclaims_cannot(written: dict[tuple[str, str], dict[str, Any]]) -> None:
    victims, measured = written["reclaim_all", "kai"]["parts"]
    assert pod_of(victims)["spec"]["priorityClassName"] == "nightbench-preemptible"
    assert "priorityClassName" not in pod_of(measured)["spec"]


def test_jobs_of_a_burst_end_by_a_stage_of_their_own(written: dict[tuple[str, str], dict[str, Any]]) -> None:
    one = written["burst", "kube-scheduler"]
    (stage,) = [item for item in one["objects"] if item["kind"] == "Stage"]
    assert stage["spec"]["delay"] == {"durationMilliseconds": 20000, "jitterDurationMilliseconds": 40000}
    assert {pod_of(part)["metadata"]["labels"]["nightbench.io/completes"] for part in one["parts"]} == {"true"}
    assert [part["together"] for part in one["parts"]] == [False, *[True] * 8]
    assert not any("min_member" in part for part in one["parts"])


def test_a_subject_without_queues_is_given_none(written: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert written["concurrent_creation", "kube-scheduler"]["objects"] == []


@pytest.mark.parametrize(
    ("scenario", "expected"),
    [
        ("fill_with_pending", {"no-quota": {"nominalQuota": "0", "borrowingLimit": "0"},
                               "measured": {"nominalQuota": "4000"}}),
        # One GPU less than the gang asks for, and nothing to borrow: it is never admitted.
        ("unschedulable_delay", {"victims": {"nominalQuota": "3921"}, "measured": {"nominalQuota": "79"}}),
    ],
)  # fmt: skip
def test_kueue_borrows_within_its_cohort(
    written: dict[tuple[str, str], dict[str, Any]], scenario: str, expected: dict[str, dict[str, str]]
) -> None:
    objects = written[scenario, "kueue"]["objects"]
    quotas = {one["metadata"]["name"]: one["spec"]["resourceGroups"][0]["flavors"][0]["resources"][0]
              for one in objects if one["kind"] == "ClusterQueue"}  # fmt: skip
    assert quotas == {f"nightbench-{name}": {"name": "nvidia.com/gpu"} | told for name, told in expected.items()}
    assert [one["kind"] for one in objects].count("ResourceFlavor") == 1


def test_what_is_expected_of_a_scenario_goes_with_its_parameters(
    written: dict[tuple[str, str], dict[str, Any]],
) -> None:
    parameters = written["topology_required", "kai"]["parameters"]
    assert parameters["expectations"] == ["gang_atomic", {"one_domain_per_job": "zone"}]
    assert (parameters["nodes"], parameters["pods"]) == (512, 512)
    assert "template" not in parameters["parts"][0]
