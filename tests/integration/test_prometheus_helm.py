# SPDX-License-Identifier: GPL-3.0-or-later
"""The form helm of role prometheus: a real helm, a real API server and a chart that renders the values it was given."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.control_plane import find_tool

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

GOLDEN = ROOT / "tests" / "fixtures" / "golden" / "prometheus_values.yml"
NAMESPACE = "prometheus-helm"
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module", autouse=True)
def _collection() -> None:
    """kubernetes.core comes with requirements-dev.txt and requirements-cluster.txt."""
    known = subprocess.run([BIN / "ansible-doc", "--list", "kubernetes.core"], capture_output=True, check=False)
    if b"kubernetes.core.helm " not in known.stdout:
        pytest.skip("the collection kubernetes.core is not installed: pip install -r requirements-cluster.txt")


def run_role(directory: Path, control_plane: ControlPlane, *arguments: str, **variables: Any) -> dict[str, int]:
    """Run the role; returns how many tasks were ok, changed and failed."""
    playbook = directory / "role.yml"
    playbook.write_text(
        yaml.safe_dump(
            [
                {
                    "hosts": "localhost",
                    "connection": "local",
                    "gather_facts": False,
                    "roles": ["prometheus"],
                    "vars": {
                        "ansible_python_interpreter": sys.executable,
                        "prometheus_form": "helm",
                        "prometheus_helm_binary": find_tool("helm"),
                        "prometheus_kubeconfig": control_plane.kubeconfig,
                        "prometheus_namespace": NAMESPACE,
                        "prometheus_chart_ref": str(ROOT / "tests" / "fixtures" / "charts" / "kube-prometheus-stack"),
                        "prometheus_registry": "registry.example.org/mirror",
                        "prometheus_service_monitors": [
                            {
                                "name": "kube-scheduler",
                                "namespace": "kube-system",
                                "match_labels": {"component": "kube-scheduler"},
                                "port": "https-metrics",
                            },
                            {
                                "name": "felix",
                                "namespace": "calico-system",
                                "match_labels": {"k8s-app": "calico-node"},
                                "port": "metrics",
                                "path": "/felix",
                            },
                        ],
                        "prometheus_values": {"prometheus": {"prometheusSpec": {"retention": "6h"}}},
                        **variables,
                    },
                }
            ]
        )
    )
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "NO_COLOR": "1",
        "HOME": str(directory),
    }
    environment.pop("KUBECONFIG", None)
    done = subprocess.run(
        [BIN / "ansible-playbook", "-i", "localhost,", playbook, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    recap = re.search(r"localhost +: .*changed=(\d+) .*failed=(\d+)", done.stdout)
    assert recap is not None, done.stdout
    return {"changed": int(recap[1]), "failures": int(recap[2])}


def test_the_chart_is_installed_with_the_values_of_the_role_and_removed_again(
    tmp_path: Path, control_plane: ControlPlane, kube: Kube
) -> None:
    assert run_role(tmp_path, control_plane) == {"changed": 2, "failures": 0}
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/nightbench-prometheus-rendered"
    rendered = yaml.safe_load(kube.request("GET", path).json()["data"]["values.yaml"])
    assert rendered == yaml.safe_load(GOLDEN.read_text(encoding="utf-8"))

    assert run_role(tmp_path, control_plane) == {"changed": 0, "failures": 0}
    assert run_role(tmp_path, control_plane, "--check", prometheus_scrape_interval_seconds=9)["changed"] == 1

    assert run_role(tmp_path, control_plane, prometheus_state="absent") == {"changed": 2, "failures": 0}
    names = [item["metadata"]["name"] for item in kube.list_pages("/api/v1/namespaces")[0]]
    assert NAMESPACE not in names
    assert run_role(tmp_path, control_plane, prometheus_state="absent") == {"changed": 0, "failures": 0}
