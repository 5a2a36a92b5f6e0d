# SPDX-License-Identifier: GPL-3.0-or-later
"""What makes a comparison unfair stands above its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness import fairness
from harness.cli import main
from harness.report import report
from tests.fakes.run_builder import OFF, Edit, Run, Shape, build

SMALL = Shape(pods=80, nodes=10, scenarios=(OFF,))
ONE = {
    "clients": {"kube-scheduler": {"component": "kube-scheduler", "qps": 5000.0, "burst": 10000, "requests": []}},
    "replicas": {"kube-scheduler": 1},
    "cpu": {"kube-scheduler": "no limit"},
    "memory": {"kube-scheduler": "no limit"},
    "webhooks": 0,
    "period": "0s",
    "capabilities": [],
}
OTHER = {
    "clients": {"scheduler": {"qps": 50, "burst": 300}, "binder": {"qps": 20, "burst": 100}},
    "replicas": {"scheduler": 1, "binder": 1},
    "cpu": {"scheduler": "5", "binder": "400m"},
    "memory": {},
    "webhooks": 0,
    "period": "1s",
    "capabilities": ["gangs"],
}


def told(**subjects: dict[str, Any]) -> Edit:
    def edit(run: Run) -> None:
        base = run.loads()[0] | {"kind": "fairness", "repeat": None, "samples": None, "parameters": {}}
        for name, values in subjects.items():
            run.observations.append(base | {"subject": name.replace("_", "-"), "values": values})

    return edit


BETWEEN = [
    ({}, []),
    ({"a": ONE}, []),
    ({"a": ONE, "b": ONE | {"capabilities": ["queues"]}}, []),
    ({"a": ONE, "b": ONE | {"webhooks": 3}}, ["webhooks: a 0; b 3"]),
    ({"a": ONE, "b": ONE | {"period": None}}, ["period: a 0s; b not told"]),
    (
        {"a": ONE, "b": OTHER},
        [
            "clients: a kube-scheduler 5000/s burst 10000; b scheduler 50/s burst 300, binder 20/s burst 100",
            "replicas: a kube-scheduler 1; b 1 for each of scheduler, binder",
            "cpu: a kube-scheduler no limit; b scheduler 5, binder 400m",
            "memory: a kube-scheduler no limit; b none",
            "period: a 0s; b 1s",
        ],
    ),
]


@pytest.mark.parametrize(("found", "lines"), BETWEEN)
def test_subjects_of_one_run_are_set_side_by_side(found: dict[str, dict[str, Any]], lines: list[str]) -> None:
    assert fairness.between_subjects(found) == lines


FASTER = ONE | {"clients": {"kube-scheduler": ONE["clients"]["kube-scheduler"] | {"qps": 50.0}}}  # type: ignore[index]
RUNS: list[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = [
    ({}, {}, []),
    ({"a": ONE}, {"a": ONE}, []),
    ({"a": ONE}, {"a": FASTER}, [{"subject": "a", "name": "clients.kube-scheduler.qps", "a": 5000.0, "b": 50.0}]),
    ({"a": ONE}, {"a": ONE | {"webhooks": 2}}, [{"subject": "a", "name": "webhooks", "a": 0, "b": 2}]),
    ({"a": ONE}, {}, [{"subject": "a", "name": "fairness manifest", "a": "told", "b": None}]),
]


@pytest.mark.parametrize(("a", "b", "differences"), RUNS)
def test_a_subject_of_two_runs_is_compared_setting_by_setting(
    a: dict[str, Any], b: dict[str, Any], differences: list[dict[str, Any]]
) -> None:
    assert fairness.between_runs(a, b) == differences


def test_compare_prints_a_difference_above_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("20261121T183000Z-aaaa", "20261122T183000Z-bbbb")
    for name, manifest in zip(names, (ONE, FASTER), strict=True):
        report(build(tmp_path, SMALL, edits=[told(kube_scheduler=manifest)], run_id=name))
    assert main(["compare", *names, "--results-dir", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    line = "Not under equal conditions:\n  kube-scheduler clients.kube-scheduler.qps: 5000.0 in A, 50.0 in B\n"
    assert line in out
    assert out.index(line) < out.index("bind_all_seconds")
    assert main(["compare", names[0], names[0], "--results-dir", str(tmp_path), "--query", "fairness"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_every_report_prints_a_difference_above_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = build(tmp_path, SMALL, edits=[told(kube_scheduler=ONE, kai=OTHER)])
    assert main(["report", run.run_id, "--results-dir", str(tmp_path)]) == 0
    assert main(["show", run.run_id, "--results-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    texts = [printed, (run.path / "summary.md").read_text(), (run.path / "report.html").read_text()]
    for text in texts:
        place = text.index("Subjects not under equal conditions")
        assert "period: kube-scheduler 0s; kai 1s" in text
        assert place < text.index("Time to bind all pods" if text is not printed else "bind_all_seconds")
    assert printed.count("Subjects not under equal conditions") == 2


def test_nothing_is_said_of_equal_subjects(tmp_path: Path) -> None:
    run = build(tmp_path, SMALL, edits=[told(kube_scheduler=ONE)])
    report(run)
    assert "equal conditions" not in (run.path / "summary.md").read_text()
