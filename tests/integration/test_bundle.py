# SPDX-License-Identifier: GPL-3.0-or-later
"""bench_bundle asks real components of a control plane: metrics, profiles and objects."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.nightbench.kube import Kube
from ansible.modules import bench_bundle

from tests.conftest import RunModule
from tests.control_plane import ControlPlane
from tests.profiles import sample_types

pytestmark = pytest.mark.integration


COMPONENT = "components/kube-apiserver"


def test_a_real_api_server_leaves_its_metrics_and_profiles(
    run_module: RunModule, control_plane: ControlPlane, kube: Kube, namespace: str, tmp_path: Path
) -> None:
    container = {"name": "a", "image": "none.invalid/none", "env": [{"name": "PASSWORD", "value": "only-here"}]}
    body = {"metadata": {"name": "one"}, "spec": {"containers": [container]}}
    kube.request("POST", f"/api/v1/namespaces/{namespace}/pods", body=body)
    base = f"https://127.0.0.1:{kube.target.port}"
    url = f"{base}/metrics"
    certificates = {
        "client_cert": str(control_plane.pki / "admin.crt"),
        "client_key": str(control_plane.pki / "admin.key"),
        "ca_cert": str(control_plane.pki / "ca.crt"),
    }
    path, state = tmp_path / "failure.tar.gz", tmp_path / "state"
    state.mkdir()
    result = run_module(
        bench_bundle,
        state_dir=str(state),
        path=str(path),
        kubeconfig=control_plane.kubeconfig,
        components={"kube-apiserver": {"metrics_url": url, "pprof_url": f"{base}/debug/pprof"}},
        scrapes=[{"name": "kube-apiserver", "url": url, **certificates}],
        profile_seconds=1,
    ).ok()
    with tarfile.open(path) as archive:
        found: dict[str, Any] = {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]
    # The metrics of an API server that has served many tests are cut, and notes.txt says so.
    assert {name for name in result["files"] if name.startswith("components/")} - {f"{COMPONENT}/notes.txt"} == {
        f"{COMPONENT}/heap.pprof",
        f"{COMPONENT}/metrics.txt",
        f"{COMPONENT}/profile.pprof",
    }
    assert b"\napiserver_request_total{" in found["components/kube-apiserver/metrics.txt"]
    assert sample_types(found[f"{COMPONENT}/heap.pprof"])[-1] == "inuse_space"
    assert sample_types(found[f"{COMPONENT}/profile.pprof"]) == ["samples", "cpu"]
    assert "one" in {pod["metadata"]["name"] for pod in json.loads(found["objects/pods.json"])["items"]}
    assert b"only-here" not in b"".join(found.values())
