# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies of a gang let in its own job alone, however many they are; those in the background are of no pod at all."""

from __future__ import annotations

from ansible.module_utils.nightbench.churn_plan import JOB_LABEL, ChurnPlan

TEMPLATE = {"spec": {"containers": [{"name": "main", "image": "i"}]}}


def plan(**more: int) -> ChurnPlan:
    return ChurnPlan("job", "load", TEMPLATE, "s", "s", "t", gangs=3, **more)


def test_every_policy_of_a_gang_means_the_same_and_selects_its_pods() -> None:
    made = plan(policies=3)
    found = made.policies_of(2)
    assert [one["metadata"]["name"] for one in found] == made.policy_names(2) == ["job-2", "job-2-1", "job-2-2"]
    own = {"matchLabels": {JOB_LABEL: made.pod(2, 0)["metadata"]["labels"][JOB_LABEL]}}
    for one in found:
        assert one["spec"] == {
            "podSelector": own, "policyTypes": ["Ingress"], "ingress": [{"from": [{"podSelector": own}]}]
        }  # fmt: skip


def test_names_of_policies_are_told_apart_over_all_gangs_and_the_background() -> None:
    made = plan(policies=12, background_policies=5)
    names = [name for gang in range(3) for name in made.policy_names(gang)]
    names += [one["metadata"]["name"] for one in made.background()]
    assert len(set(names)) == len(names) == 41


def test_no_pod_is_of_the_background() -> None:
    made = plan(background_policies=2)
    (job,) = {one["spec"]["podSelector"]["matchLabels"][JOB_LABEL] for one in made.background()}
    assert job not in {made.pod(gang, 0)["metadata"]["labels"][JOB_LABEL] for gang in range(3)}


def test_without_policies_a_gang_has_none() -> None:
    assert (plan(policies=0).policies_of(0), plan(policies=0).background()) == ([], [])
