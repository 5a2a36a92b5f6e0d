# SPDX-License-Identifier: GPL-3.0-or-later
"""How long what should pass did not, and what should not did, out of the packets of one flow."""

from __future__ import annotations

import pytest
from ansible.module_utils.nightbench.churn_flows import SETTLED_PACKETS, Flow, flows
from ansible.module_utils.nightbench.churn_plan import ChurnPlan
from ansible.module_utils.nightbench.errors import ConfigurationError


def flow(*arrived: int, count: int = 100) -> Flow:
    return Flow([10 + number / 100 for number in range(count)], frozenset(arrived))


JOBS = [
    ("all of it arrived", flow(*range(100)), 0.0),
    ("nothing ever arrived", flow(), None),
    ("the first ones did not", flow(*range(30, 100)), 0.30),
    ("some in the middle did not", flow(*range(20), *range(60, 100)), 0.40),
    ("it was cut off in the end", flow(*range(50)), 0.49),
    ("the last one was on its way", flow(*range(99)), 0.0),
    ("one packet alone", flow(0, count=1), 0.0),
]


@pytest.mark.parametrize(("found", "expected"), [case[1:] for case in JOBS], ids=[case[0] for case in JOBS])
def test_a_false_deny_is_the_longest_time_without_a_packet(found: Flow, expected: float | None) -> None:
    assert found.false_deny() == (None if expected is None else pytest.approx(expected))


STRANGERS = [
    ("never let in", flow(), 0.0),
    ("let in for a while", flow(*range(25)), 0.24),
    ("let in once more", flow(0, 1, 70), 0.70),
    ("never kept out", flow(*range(100)), None),
    ("let in to the end", flow(99), None),
    ("too few packets to say", flow(count=SETTLED_PACKETS - 1), None),
]


@pytest.mark.parametrize(("found", "expected"), [case[1:] for case in STRANGERS], ids=[case[0] for case in STRANGERS])
def test_a_false_allow_ends_with_the_last_packet_that_arrived(found: Flow, expected: float | None) -> None:
    assert found.false_allow() == (None if expected is None else pytest.approx(expected))
    assert found.settled() is (expected is not None)


def test_the_resolution_is_the_longest_time_without_a_look() -> None:
    assert Flow([1.0, 1.02, 1.1], frozenset()).gap == pytest.approx(0.08)
    assert Flow([1.0], frozenset()).gap is None


def test_what_arrived_and_was_never_sent_is_left_out() -> None:
    found = flows({"flows": [{"kind": "job", "job": 1, "pod": 2, "sent": [10**9], "arrived": [0, 1]}]})
    assert found == {("job", 1, 2): Flow([1.0], frozenset({0}))}


TEMPLATE = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "main", "image": "i"}]}}
GIVEN = {"name": "job", "namespace": "load", "template": TEMPLATE, "stranger": "s", "source": "s", "target": "t"}


def plan(**changes: object) -> ChurnPlan:
    return ChurnPlan(**(GIVEN | changes))  # type: ignore[arg-type]


def test_a_gang_is_pods_of_one_job_and_a_policy_for_them_alone() -> None:
    made = plan(gangs=3, pods=2, labels={"own": "yes"})
    pod, (policy,) = made.pod(2, 1), made.policies_of(2)
    labels = {"own": "yes", "nightbench.io/churn": "job", "nightbench.io/job": "job-2"}
    assert (pod["metadata"]["name"], pod["metadata"]["labels"]) == ("job-2-1", {"app": "x"} | labels)
    assert (policy["metadata"]["name"], policy["metadata"]["labels"]) == ("job-2", labels)
    own = {"matchLabels": {"nightbench.io/job": "job-2"}}
    assert policy["spec"] == {
        "podSelector": own, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": own}]}]
    }  # fmt: skip
    assert TEMPLATE["metadata"] == {"labels": {"app": "x"}}
    assert (made.asked, [made.due(gang) for gang in range(3)]) == (6, [0.0, 2.0, 4.0])


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"template": {}}, "it has no spec.containers"),
    ({"gangs": 0}, "0 gangs of 4 pods"),
    ({"pods": 1}, "gangs of 1 pods: at least one, of at least two"),
    ({"per_second": 0.0}, "0 gangs a second"),
    ({"lifetime_seconds": 0.0}, "live 0 s"),
    ({"start_seconds": 0.0}, "may take 0 s to start"),
    ({"interval": 0.001}, "a packet every 0.001 s"),
    ({"quiet_seconds": 1.0}, "fewer than 100: too few"),
]


@pytest.mark.parametrize(("changes", "says"), REFUSED)
def test_what_cannot_be_measured_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        plan(**changes)
