# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_access against a real API server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import load_target
from ansible.modules import bench_access

from tests.conftest import ModuleResult, RunModule
from tests.control_plane import ControlPlane, free_ports
from tests.fakes.fault_proxy import Fault, fault_proxy

pytestmark = pytest.mark.integration


class Bench:
    """The module with a kubeconfig."""

    def __init__(self, run_module: RunModule, kubeconfig: str) -> None:
        self.run_module = run_module
        self.kubeconfig = kubeconfig

    def __call__(self, *rules: dict[str, str], **parameters: Any) -> ModuleResult:
        return self.run_module(bench_access, rules=list(rules), **{"kubeconfig": self.kubeconfig, **parameters})


@pytest.fixture
def bench(run_module: RunModule, control_plane: ControlPlane) -> Bench:
    return Bench(run_module, control_plane.kubeconfig)


RULES = (
    {"verb": "create", "resource": "pods", "namespace": "load"},
    {"verb": "create", "resource": "pods/binding", "namespace": "load"},
    {"verb": "patch", "group": "kwok.x-k8s.io", "resource": "stages"},
    {"verb": "get", "resource": "nodes", "name": "node-1"},
)


@pytest.mark.parametrize("check", [False, True])
def test_the_administrator_may_do_everything(bench: Bench, check: bool) -> None:
    result = bench(*RULES, check=check).ok()
    assert (result["changed"], result["denied"], result["asked"]) == (False, [], 4)


@pytest.mark.parametrize("check", [False, True])
def test_every_missing_right_is_named(
    run_module: RunModule, control_plane: ControlPlane, namespace: str, check: bool
) -> None:
    bench = Bench(run_module, control_plane.service_account(namespace))
    allowed = {"verb": "create", "group": "authorization.k8s.io", "resource": "selfsubjectaccessreviews"}
    result = bench(allowed, *RULES, check=check).failed()
    words = [
        "create pods in namespace load",
        "create pods/binding in namespace load",
        "patch stages.kwok.x-k8s.io",
        "get nodes node-1",
    ]
    assert [one["rule"] for one in result["denied"]] == words
    assert (result["asked"], result["exit_code"]) == (5, 2)
    assert f"user system:serviceaccount:{namespace}:default) may not: create pods in namespace load" in result.msg


def test_a_right_in_one_namespace_is_none_in_another(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube, namespace: str
) -> None:
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}]
    kube.request("POST", f"{rbac}/roles", body={"metadata": {"name": "maker"}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "maker"}
    binding = {"metadata": {"name": "maker"}, "subjects": [subject], "roleRef": reference}
    kube.request("POST", f"{rbac}/rolebindings", body=binding)

    bench = Bench(run_module, control_plane.service_account(namespace))
    rule = {"verb": "create", "resource": "pods"}
    bench({**rule, "namespace": namespace}).ok()
    result = bench({**rule, "namespace": namespace}, {**rule, "namespace": "default"}, rule).failed()
    assert [one["rule"] for one in result["denied"]] == ["create pods in namespace default", "create pods"]


def test_no_rules_need_no_answer(bench: Bench) -> None:
    assert bench().ok()["asked"] == 0


def test_faults_are_passed_over(bench: Bench, control_plane: ControlPlane) -> None:
    target = load_target(kubeconfig=control_plane.kubeconfig)
    faults = [Fault("status", code=429, times=2, retry_after=0), Fault("status", code=503), Fault("reset")]
    with fault_proxy(target.host, target.port, target.context, *faults) as proxy:
        assert bench(*RULES, kubeconfig=None, host=proxy.url).ok()["denied"] == []
    assert len(proxy.carried_out) == 4


def test_an_expired_certificate_is_named_as_such(run_module: RunModule, control_plane: ControlPlane) -> None:
    result = Bench(run_module, control_plane.expired_kubeconfig())(*RULES).failed()
    assert "The client certificate expired at 2001-01-02T00:00:00+00:00: renew the kubeconfig." in result.msg
    assert result["exit_code"] == 2


def test_several_kubeconfigs_are_one_as_in_kubectl(
    run_module: RunModule, control_plane: ControlPlane, tmp_path: Path
) -> None:
    several = f"{tmp_path / 'missing'}:{control_plane.kubeconfig}"
    assert Bench(run_module, several)(*RULES).ok()["denied"] == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("predict", [False, True])
@pytest.mark.parametrize("check", [False, True])
def test_a_cluster_that_is_not_there(bench: Bench, tmp_path: Path, predict: bool, check: bool) -> None:
    places = (
        ({"kubeconfig": str(tmp_path / "kubeconfig")}, "does not exist", 2),
        ({"kubeconfig": None, "host": f"https://127.0.0.1:{free_ports(1)[0]}"}, "no answer", 3),
    )
    for place, message, code in places:
        result = bench(*RULES, check=check, predict_cluster=predict, **place)
        if predict and check:
            assert result.ok()["asked"] == 0
        else:
            assert message in result.failed().msg
            assert result["exit_code"] == code


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("users: [", "is not YAML, line 1. Is it a whole kubeconfig, and no other file?"),
        ("\x00", "is not YAML. Is it a whole kubeconfig, and no other file?"),
        ("", "has no context. Is it a whole kubeconfig?"),
        ("just words", "is no kubeconfig: a mapping was expected, it holds a str."),
        ("contexts: [{name: home}]", "names no current context of: home. Choose one by K8S_AUTH_CONTEXT=NAME or "),
        (
            "{contexts: [{name: home}], current-context: hoem}",
            ": There is no context 'hoem'; the nearest is 'home'. Choose one by ",
        ),
        ("{contexts: [{name: home}], current-context: home}", "cannot be used: "),
    ],
)
def test_a_file_that_is_no_kubeconfig(run_module: RunModule, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    result = Bench(run_module, str(path))(*RULES).failed()
    assert f"kubeconfig {path}{'' if message.startswith(':') else ' '}{message}" in result.msg
    assert result["exit_code"] == 2
