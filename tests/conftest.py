# SPDX-License-Identifier: GPL-3.0-or-later
"""What all tests share: our modules under the names they have at run time, calls of a whole module, a control plane."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import ansible.module_utils
import ansible.module_utils._internal
import ansible.modules
import pytest
from ansible.module_utils.testing import patch_module_args

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

    from tests.compute_api import ComputeApi
    from tests.control_plane import ControlPlane

ROOT = Path(__file__).resolve().parent.parent

ansible.modules.__path__.append(str(ROOT / "library"))
ansible.module_utils.__path__.append(str(ROOT / "plugins" / "module_utils"))


@dataclass(frozen=True)
class ModuleResult:
    """How a module ended: its exit code and the JSON it printed."""

    rc: int
    json: dict[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.json[key]

    @property
    def msg(self) -> str:
        return str(self.json.get("msg", ""))

    def ok(self) -> ModuleResult:
        """Itself, if the module succeeded."""
        assert self.rc == 0, self.msg
        return self

    def failed(self) -> ModuleResult:
        """Itself, if the module failed as modules should: with a message and no traceback."""
        assert self.rc == 1, self.json
        assert self.json["failed"] is True
        assert "Traceback" not in self.msg
        return self


def eventually(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.01)


RunModule = Callable[..., ModuleResult]


@pytest.fixture
def run_module(capsys: pytest.CaptureFixture[str]) -> RunModule:
    """Call the real main() of a module: run_module(bench_process, check=True, diff=True, **parameters)."""

    def run(module: ModuleType, *, check: bool = False, diff: bool = False, **parameters: Any) -> ModuleResult:
        capsys.readouterr()
        return call_module(module, lambda: capsys.readouterr().out, check=check, diff=diff, **parameters)

    return run


def call_module(
    module: ModuleType, printed: Callable[[], str], *, check: bool = False, diff: bool = False, **parameters: Any
) -> ModuleResult:
    """What run_module does, for fixtures that outlive a test; ``printed`` gives what the module has printed."""
    arguments = {**parameters, "_ansible_check_mode": check, "_ansible_diff": diff}
    # As in a process of its own: what another test loads of the controller would take the module's warnings.
    alone = patch.object(ansible.module_utils._internal, "is_controller", False)
    with alone, patch_module_args(arguments), pytest.raises(SystemExit) as ended:
        module.main()
    return ModuleResult(int(ended.value.code or 0), json.loads(printed()))


@pytest.fixture(autouse=True)
def _no_cluster_of_the_caller(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test may reach a cluster that the caller's environment names."""
    for name in [name for name in os.environ if name.startswith("K8S_AUTH_") or name == "KUBECONFIG"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path_factory.getbasetemp() / "no-kubeconfig"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules give up at once where nobody answers."""
    from ansible.module_utils.nightbench import auth, kube

    def client(target: Any, **_: Any) -> Kube:
        return kube.Kube(target, connect_seconds=0.1)

    monkeypatch.setattr(auth, "Kube", client)


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A real control plane, the same for the whole session; it is skipped for where its tools are missing."""
    from tests.control_plane import start_control_plane

    with start_control_plane(tmp_path_factory.mktemp("control_plane")) as started:
        yield started


@pytest.fixture
def kube(control_plane: ControlPlane) -> Iterator[Kube]:
    """A client with all rights."""
    client = control_plane.kube()
    yield client
    client.close()


@pytest.fixture
def namespace(kube: Kube) -> Iterator[str]:
    """A namespace of the test's own, with the service account that pods need; deleted afterwards, not waited for."""
    from tests.control_plane import wait_service_account

    name = f"test-{secrets.token_hex(4)}"
    kube.request("POST", "/api/v1/namespaces", body={"metadata": {"name": name}})
    wait_service_account(kube, name)
    yield name
    kube.request("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture(scope="session")
def compute_api_process() -> Iterator[ComputeApi]:
    from tests.compute_api import compute_api

    with compute_api() as started:
        yield started


@pytest.fixture
def cloud(compute_api_process: ComputeApi) -> Iterator[ComputeApi]:
    """The stand-in of the Compute API, empty; every message of the test has to be what Google's description says."""
    compute_api_process.reset()
    yield compute_api_process
    assert compute_api_process.state["violations"] == []
