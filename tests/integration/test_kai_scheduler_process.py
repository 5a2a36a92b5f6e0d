# SPDX-License-Identifier: GPL-3.0-or-later
"""The form process of role kai_scheduler where something is wrong; Molecule runs it where nothing is."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible.module_utils.nightbench import process

from tests.conftest import eventually
from tests.control_plane import free_ports
from tests.fakes.kai_stand_in.install import install
from tests.role import Played, play_role

if TYPE_CHECKING:
    from tests.control_plane import ControlPlane

pytestmark = pytest.mark.integration

RUN_ID = "tests-kai-process"


class Role:
    """The role with stand-ins for KAI's binaries."""

    def __init__(self, directory: Path, kubeconfig: str) -> None:
        self.directory = directory
        self.bin_dir = install(directory / "bin")
        self.variables = {
            "kai_scheduler_kubeconfig": kubeconfig,
            "kai_scheduler_bin_dir": str(self.bin_dir),
            "kai_scheduler_dir": str(directory / "kai"),
            "kai_scheduler_run_id": RUN_ID,
        }

    def play(self, **variables: Any) -> Played:
        given = self.variables | variables
        return play_role("kai_scheduler", self.directory, given, fact="kai_scheduler_session")

    def state(self, version: str) -> None:
        """Have the scheduler say a version when it starts, as KAI's does."""
        self.begin("scheduler", f"print('gitVersion: {version}', flush=True)")

    def elsewhere(self) -> str:
        """A kubeconfig that names the API server by another name."""
        path = self.directory / "elsewhere.yaml"
        text = Path(self.variables["kai_scheduler_kubeconfig"]).read_text(encoding="utf-8")
        path.write_text(text.replace("https://127.0.0.1:", "https://localhost:"), encoding="utf-8")
        return str(path)

    def begin(self, component: str, code: str) -> None:
        """Have a component do something before all else."""
        path = self.bin_dir / component
        python, _, rest = path.read_text(encoding="utf-8").partition("\n")
        path.write_text(f"{python}\n{code}\n{rest}", encoding="utf-8")


@pytest.fixture
def role(tmp_path: Path, control_plane: ControlPlane) -> Iterator[Role]:
    made = Role(tmp_path, control_plane.kubeconfig)
    yield made
    ended = made.play(kai_scheduler_state="absent")
    assert ended.rc == 0, ended.output


def told(played: Played) -> str:
    assert played.rc == 2, played.output
    assert "Traceback" not in played.output
    return " ".join(played.output.split())


def test_a_component_that_refuses_its_arguments_is_named_and_none_stays(role: Role) -> None:
    said = told(role.play(kai_scheduler_extra_arguments={"binder": {"max-reconciles": "3"}}))
    assert "binder" in said
    assert "unknown flag: --max-reconciles" in said
    assert list(process.find_run(RUN_ID)) == []


#: A program that takes any flag, and whose help is of no use.
CARELESS = """
import sys
if "--help" in sys.argv:
    sys.exit("no kubeconfig")
sys.argv = [word for word in sys.argv if not word.startswith("--log-levle")]
"""


@pytest.mark.parametrize(("version", "found"), [("v0.17.0", True), ("", False)], ids=["a known version", "another one"])
def test_a_flag_that_nobody_knows_is_found_without_the_programs_help(role: Role, version: str, found: bool) -> None:
    role.begin("queuecontroller", CARELESS)
    played = role.play(
        kai_scheduler_version=version,
        kai_scheduler_processes=["queuecontroller"],
        kai_scheduler_extra_arguments={"queuecontroller": {"log-levle": "3"}},
    )
    assert played.rc == 0, played.output
    broken = {check["key"]: check["reason"] for check in played.facts["configuration"]["kai"] if not check["holds"]}
    assert set(broken) == ({"log-levle"} if found else set())
    assert all(reason.startswith("there is no flag log-levle, so it is") for reason in broken.values())


#: As podgroupcontroller v0.17.0: it goes to one port of every address, whatever it is told.
STUBBORN = """
import sys
sys.argv = ["--metrics-bind-address=:{port}" if "--metrics-bind" in word else word for word in sys.argv]
"""


def listening(port: int) -> list[str]:
    """Local addresses of this machine at which somebody listens on the port."""
    shown = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    return [line.split()[3] for line in shown.splitlines()]


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of one's own needs root")
def test_a_component_that_listens_everywhere_does_so_in_a_network_of_its_own(role: Role) -> None:
    (port,) = free_ports(1)
    role.begin("podgroupcontroller", STUBBORN.format(port=port))
    played = role.play(kai_scheduler_processes=["podgroupcontroller"])
    assert played.rc == 0, played.output
    assert [check for check in played.facts["configuration"]["kai"] if not check["holds"]] == []
    component = played.facts["components"]["podgroupcontroller"]
    inside = subprocess.run(["nsenter", "-t", str(component["pid"]), "-n", "ss", "-Hltn", f"sport = :{port}"],
                            capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert (listening(port), f":{port}" in inside) == ([], True)
    again = role.play(kai_scheduler_processes=["podgroupcontroller"])
    assert (again.rc, again.changed) == (0, 0), again.output
    with contextlib.suppress(ProcessLookupError):
        os.kill(component["pid"], signal.SIGKILL)
    eventually(lambda: list(process.find_run(RUN_ID)) == [])


def test_where_none_can_be_made_the_play_says_who_listens_where(role: Role) -> None:
    played = role.play(kai_scheduler_processes=["podgroupcontroller"], kai_scheduler_kubeconfig=role.elsewhere())
    said = " ".join(played.output.split())
    assert "podgroupcontroller could not be given a network of its own (the API server is at https://localhost:" in said
    assert played.rc == 0, played.output
    assert "enclose.py" not in played.facts["components"]["podgroupcontroller"]["command"]


def test_another_version_than_the_one_asked_for_is_told(role: Role) -> None:
    role.state("v0.16.2")
    said = told(role.play(kai_scheduler_processes=["scheduler"]))
    assert "bin/scheduler states version v0.16.2, and kai_scheduler_version asks for v0.17.0" in said


def test_a_folder_that_lacks_something_is_told_before_anything_starts(role: Role) -> None:
    (role.bin_dir / "podgrouper").unlink()
    (role.bin_dir / "binder").chmod(0o644)
    said = told(role.play())
    assert f"Not there: {role.bin_dir}/podgrouper, {role.bin_dir}/binder. Give the folder" in said
    assert list(process.find_run(RUN_ID)) == []
