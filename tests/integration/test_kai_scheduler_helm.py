# SPDX-License-Identifier: GPL-3.0-or-later
"""The form helm of role kai_scheduler: a real helm, a real API server, a chart that renders its values."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.control_plane import find_tool
from tests.fakes.kai_stand_in.install import install, published_crds
from tests.role import CHARTS, Played, changes, golden, need_helm_collection, play_role

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

NAMESPACE = "kai-scheduler"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CLUSTER_SCOPED = {
    "/api/v1/namespaces": {NAMESPACE, "kai-resource-reservation", "kai-scale-adjust"},
    "/apis/scheduling.k8s.io/v1/priorityclasses": {"train", "build-preemptible", "build", "inference"},
    CRDS: {"queues.scheduling.run.ai", "podgroups.scheduling.run.ai", "configs.kai.scheduler"},
}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The stand-in chart with KAI's own kinds where they lie beside the project, else with small ones."""
    need_helm_collection()
    folder = tmp_path_factory.mktemp("chart")
    kinds = install(folder / "bin", published_crds()) / "crds"
    shutil.copytree(CHARTS / "kai-scheduler", folder / "kai-scheduler")
    shutil.copytree(kinds, folder / "kai-scheduler" / "crds")
    return str(folder / "kai-scheduler")


class Role:
    """The role with what all its plays here share."""

    def __init__(self, directory: Path, kubeconfig: str, chart: str) -> None:
        self.directory = directory
        self.variables = {
            "kai_scheduler_form": "helm",
            "kai_scheduler_helm_binary": find_tool("helm"),
            "kai_scheduler_kubeconfig": kubeconfig,
            "kai_scheduler_chart_ref": chart,
            "kai_scheduler_registry": "registry.example.org/mirror",
        }

    def play(self, *arguments: str, **variables: Any) -> Played:
        given = self.variables | variables
        return play_role("kai_scheduler", self.directory, given, *arguments, fact="kai_scheduler_session")


@pytest.fixture
def role(tmp_path: Path, control_plane: ControlPlane, chart: str) -> Iterator[Role]:
    made = Role(tmp_path, control_plane.kubeconfig, chart)
    yield made
    made.play(kai_scheduler_state="absent")


def names(kube: Kube, path: str) -> set[str]:
    return {item["metadata"]["name"] for item in kube.list_pages(path)[0]}


def spec(kube: Kube, path: str) -> Any:
    return kube.request("GET", path).json()["spec"]


def test_the_chart_is_installed_tuned_and_removed_again_with_its_kinds(role: Role, kube: Kube) -> None:
    assert changes(role.play("--check")) > 0
    assert names(kube, CRDS) & CLUSTER_SCOPED[CRDS] == set()

    made = role.play(
        kai_scheduler_queues=[{"name": "all"}, {"name": "team", "parent": "all", "gpu": {"quota": 8, "limit": 16}}],
        kai_scheduler_topology={"racks": ["example.org/rack"]},
    )
    assert changes(made) > 0
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps/rendered"
    rendered = yaml.safe_load(kube.request("GET", path).json()["data"]["values.yaml"])
    assert rendered == golden("kai_scheduler_values.yml")
    assert {
        "config": spec(kube, "/apis/kai.scheduler/v1/configs/kai-config"),
        "shard": spec(kube, "/apis/kai.scheduler/v1/schedulingshards/default"),
        "queue": spec(kube, "/apis/scheduling.run.ai/v2/queues/team"),
        "topology": spec(kube, "/apis/kai.scheduler/v1alpha1/topologies/racks"),
    } == golden("kai_scheduler_objects.yml")
    assert {
        path: wanted - names(kube, path) for path, wanted in CLUSTER_SCOPED.items() if wanted - names(kube, path)
    } == {}
    assert [check for check in made.facts["configuration"]["kai"] if not check["holds"]] == []
    assert made.facts["components"]["binder"] == {
        "asked_version": "v0.17.0",
        "deployment": {"namespace": NAMESPACE, "name": "binder"},
        "limits": {"qps": 5000, "burst": 10000, "max_concurrent_reconciles": 100},
        "version": "v0.17.0",
        "runs_with": {
            "arguments": {"qps": "5000", "burst": "10000", "max-concurrent-reconciles": "100"},
            "replicas": 0,
            "requests": {},
            "limits": {"memory": "8Gi"},
        },
    }
    assert made.facts["components"]["podgroupcontroller"]["limits"] == {"max_concurrent_reconciles": 50}

    again = {
        "kai_scheduler_queues": [{"name": "all"}, {"name": "team", "parent": "all", "gpu": {"quota": 8, "limit": 16}}]
    }
    assert changes(role.play(**again, kai_scheduler_topology={"racks": ["example.org/rack"]})) == 0

    assert changes(role.play(kai_scheduler_state="absent")) > 0
    assert {
        path: wanted & names(kube, path) for path, wanted in CLUSTER_SCOPED.items() if wanted & names(kube, path)
    } == {}
    assert changes(role.play(kai_scheduler_state="absent")) == 0


def test_what_the_operator_ignores_is_named(role: Role) -> None:
    made = role.play(
        kai_scheduler_components={"binder": {"qps": 20}, "queuecontroller": {"qps": 700}},
        kai_scheduler_extra_arguments={"scheduler": {"max-number-consolidation-preemptees": "4000"}},
        kai_scheduler_values={"operator": {"arguments": {"podgroup-controller": ["--max-reconciles=50"]}}},
    )
    assert changes(made) > 0
    broken = {
        (check["component"], check["key"].rpartition(".")[2].lstrip("-"))
        for check in made.facts["configuration"]["kai"]
        if not check["holds"]
    }
    assert broken >= {
        ("binder", "qps"),
        ("queuecontroller", "qps"),
        ("podgroupcontroller", "max-concurrent-reconciles"),
        ("podgroupcontroller", "max-reconciles"),
        ("scheduling shard", "max-number-consolidation-preemptees"),
    }


def test_kinds_of_somebody_else_stay(role: Role, kube: Kube) -> None:
    folder = Path(role.variables["kai_scheduler_chart_ref"]) / "crds"
    theirs = [document for path in sorted(folder.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]
    for document in filter(None, theirs):
        kube.request("POST", CRDS, body=document)
    try:
        assert changes(role.play()) > 0
        assert changes(role.play(kai_scheduler_state="absent")) > 0
        assert names(kube, CRDS) >= CLUSTER_SCOPED[CRDS]
    finally:
        for document in filter(None, theirs):
            kube.request("DELETE", f"{CRDS}/{document['metadata']['name']}")


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"kai_scheduler_extra_arguments": {"binder": {"v": "3"}}}, "only the scheduler takes arguments"),
        ({"kai_scheduler_components": {"bindr": {"qps": 1}}}, "know scheduler, binder, podgrouper"),
        (
            {"kai_scheduler_components": {"queuecontroller": {"max_concurrent_reconciles": 2}}},
            "queuecontroller.max_conc",
        ),
        ({"kai_scheduler_qps": 0}, "kai_scheduler_qps 0"),
        ({"kai_scheduler_queues": [{"name": "one"}, {"name": "one"}]}, "Every queue needs a name of its own"),
        ({"kai_scheduler_topology": {"racks": []}}, "every topology at least one node label"),
        ({"kai_scheduler_form": "process", "kai_scheduler_bin_dir": "/nowhere"}, "Not there: /nowhere/scheduler"),
        ({"kai_scheduler_form": "process", "kai_scheduler_ports": {"binder": 1}}, "kai_scheduler_ports knows"),
    ],
    ids=["argument", "component", "reconciles", "limit", "queues", "topology", "binaries", "ports"],
)
def test_what_cannot_be_is_refused_before_anything_is_made(
    tmp_path: Path, variables: dict[str, Any], told: str
) -> None:
    played = play_role("kai_scheduler", tmp_path, {"kai_scheduler_form": "helm", **variables})
    assert (played.rc, played.changed) == (2, 0)
    assert told in " ".join(played.output.split())
