# SPDX-License-Identifier: GPL-3.0-or-later
"""Where Jobs lie is recomputed from the samples: a split one is found although the load calls it whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness import judge
from tests.fakes.job_run_builder import JobShape, build, row, say, together
from tests.fakes.run_builder import Edit

TOPOLOGY = JobShape(
    metrics=("reclaim_all_seconds",),
    victims=False,
    level="zone",
    expectations=("gang_atomic", {"one_domain_per_job": "zone"}),
)

FAULTS: list[tuple[str, JobShape, Edit, dict[str, str]]] = [
    (
        "a gang split over two domains",
        TOPOLOGY,
        together(
            row("measured-3-5", domains={"zone": "zone-1"}),
            say(domains={"zone": {"jobs": 10, "jobs_in_one": 9, "worst": 2, "required": 10, "required_hits": 9}}),
        ),
        {"one_domain_per_job": "repeat 2: 9 of 10 Jobs in one zone, at worst in 2"},
    ),
    (
        "a gang split over two domains that the load calls whole",
        TOPOLOGY,
        row("measured-3-5", domains={"zone": "zone-1"}),
        {"one_domain_per_job": "repeat 2: 9 of 10 Jobs in one zone, at worst in 2; by the watch 10 of 10"},
    ),
    (
        "a pod on a node that lies in no domain",
        TOPOLOGY,
        row("measured-3-5", domains={"zone": None}),
        {"one_domain_per_job": "repeat 2: 9 of 10 Jobs in one zone, at worst in 2; by the watch 10 of 10"},
    ),
    (
        "a gang that is whole in the samples and split for the load",
        TOPOLOGY,
        say(domains={"zone": {"jobs": 10, "jobs_in_one": 9, "worst": 2, "required": 10, "required_hits": 9}}),
        {"one_domain_per_job": "repeat 2: 10 of 10 Jobs in one zone, at worst in 1; by the watch 9 of 10"},
    ),
    (
        "a gang whose domains nobody counted",
        TOPOLOGY,
        say(domains={"zone": {"jobs": 9, "jobs_in_one": 9, "worst": 1, "required": 9, "required_hits": 9}}),
        {"one_domain_per_job": "repeat 2: 10 of 10 Jobs in one zone, at worst in 1; by the watch 9 of 9"},
    ),
    (
        "domains never looked at",
        TOPOLOGY,
        say(domains={}),
        {"one_domain_per_job": "repeat 2: 10 of 10 Jobs in one zone, at worst in 1; by the watch not observed"},
    ),
    *(
        (
            f"samples without domains ({text})",
            TOPOLOGY,
            row("measured-3-5", domains=domains),
            {"one_domain_per_job": "repeat 2: zone: not observed in the samples"},
        )
        for text, domains in (("none", None), ("of another level", {"rack": "rack-1"}))
    ),
    (
        "a level that only the scenario asks for",
        replace(TOPOLOGY, expectations=({"one_domain_per_job": "rack"},)),
        lambda run: None,
        {"one_domain_per_job": "10 of 10 Jobs in one zone, at worst in 1; rack: not observed in the samples"},
    ),
    (
        "a gang that is not all there",
        TOPOLOGY,
        row("measured-3-5", evicted=9.0, deleted=9.0),
        {
            "gangs_atomic": "repeat 2: 10 gangs; 1 partly bound: measured-3 (7 of at least 8)",
            "one_domain_per_job": "repeat 2: 9 of 10 Jobs in one zone, at worst in 1; by the watch 10 of 10",
        },
    ),
]


@pytest.mark.parametrize(
    ("shape", "edit", "expected"), [fault[1:] for fault in FAULTS], ids=[fault[0] for fault in FAULTS]
)
def test_a_job_that_does_not_lie_in_one_domain_makes_the_record_invalid(
    tmp_path: Path, shape: JobShape, edit: Edit, expected: dict[str, str]
) -> None:
    (found,) = judge.records(judge.gather(build(tmp_path, shape, edits=[edit])), {})
    assert {item.name: item.observed for item in found.evidence if not item.holds} == expected
    assert (found.verdict, found.value) == ("invalid", None)


@pytest.mark.parametrize("gangs", [1, 10])
def test_jobs_that_lie_in_one_domain_each_show_it(tmp_path: Path, gangs: int) -> None:
    (found,) = judge.records(judge.gather(build(tmp_path, replace(TOPOLOGY, gangs=gangs))), {})
    assert [(item.expected, item.observed, item.holds) for item in found.evidence if "domain" in item.name] == [
        ("every Job in one zone", f"{gangs} of {gangs} Jobs in one zone, at worst in 1", True)
    ]
    assert found.verdict == "measured"
