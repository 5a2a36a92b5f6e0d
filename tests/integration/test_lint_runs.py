# SPDX-License-Identifier: GPL-3.0-or-later
"""What the linter says a run shows is shown by a run, and not by the same manifests mended."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator

import pytest
from ansible.module_utils.nightbench.lint import RULES

from tests.conftest import eventually
from tests.control_plane import ControlPlane, wait_service_account
from tests.fakes.lint_examples import EXAMPLES
from tests.fakes.lint_runs import EXPERIMENTS, Lab
from tests.fakes.metrics_api import metrics_api

pytestmark = pytest.mark.integration

#: Only a kubelet starts, probes and kills containers: test_lint_real_nodes.py.
BY_A_KUBELET = {"liveness-startup", "readiness-probe"}
#: An autoscaler looks every 15 s (kube-controller-manager, horizontal-pod-autoscaler-sync-period).
SECONDS = 90

Labs = dict[tuple[str, str], Lab]


def test_every_rule_that_only_a_run_shows_has_one() -> None:
    assert set(EXPERIMENTS) | BY_A_KUBELET == {rule.name for rule in RULES if rule.shown}


@pytest.fixture(scope="module")
def labs(control_plane: ControlPlane) -> Iterator[Labs]:
    """All experiments at once, as most of their time is spent waiting for an autoscaler."""
    pki = control_plane.pki
    with contextlib.closing(control_plane.kube()) as kube, contextlib.ExitStack() as stack:
        stack.enter_context(metrics_api(kube, pki / "admin.crt", pki / "admin.key", cpu="20m"))
        found: Labs = {}
        for rule, experiment in EXPERIMENTS.items():
            for which in ("fails", "passes"):
                name = f"lint-{secrets.token_hex(4)}"
                kube.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
                stack.callback(kube.request, "DELETE", f"/api/v1/namespaces/{name}")
                wait_service_account(kube, name)
                found[rule, which] = lab = Lab(kube, name, experiment.gpus)
                stack.callback(lab.remove)
                lab.start(getattr(EXAMPLES[rule], which))
        yield found


@pytest.mark.parametrize("rule", sorted(EXPERIMENTS))
def test_a_run_shows_it_and_not_of_what_is_mended(labs: Labs, rule: str) -> None:
    seen = EXPERIMENTS[rule].seen
    mended = []

    def shown() -> bool:
        mended.append(seen(labs[rule, "passes"]))
        return seen(labs[rule, "fails"])

    eventually(shown, SECONDS)
    assert not any(mended)
