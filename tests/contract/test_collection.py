# SPDX-License-Identifier: GPL-3.0-or-later
"""The second face: built, installed and used as nightbench.infra from somebody else's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.contract.tree import COLLECTION, MODULES, PLAYBOOKS, ROLES, ROOT

BIN = Path(sys.executable).parent
OUTSIDE = (
    "harness",
    "tests",
    "inventories",
    "extensions",
    "docs",
    "Makefile",
    "ansible.cfg",
    ".ci",
    ".venv",
    "results",
)
Answer = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The collection as ansible-galaxy builds it from the checkout."""
    folder = tmp_path_factory.mktemp("built")
    answer = ansible("ansible-galaxy", "collection", "build", "--output-path", str(folder), cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    return next(folder.glob("nightbench-infra-*.tar.gz"))


@pytest.fixture(scope="module")
def consumer(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a user's own with the collection installed and an inventory of one line."""
    folder = tmp_path_factory.mktemp("consumer")
    answer = ansible(
        "ansible-galaxy", "collection", "install", "--no-deps", "-p", "collections", str(archive), cwd=folder
    )
    assert answer.returncode == 0, answer.stderr
    (folder / "ansible.cfg").write_text(
        "[defaults]\ncollections_path = collections\ninventory = hosts\n", encoding="utf-8"
    )
    line = f"localhost ansible_connection=local ansible_python_interpreter={sys.executable}\n"
    (folder / "hosts").write_text(line, encoding="utf-8")
    return folder


@pytest.fixture
def play(consumer: Path, tmp_path: Path) -> Callable[..., Answer]:
    """Runs one play of the consumer's, given as what follows its hosts."""

    def run(body: dict[str, object], *arguments: str) -> Answer:
        path = tmp_path / "site.yml"
        path.write_text(yaml.safe_dump([{"hosts": "localhost", "gather_facts": False, **body}]), encoding="utf-8")
        state = {"XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return ansible("ansible-playbook", str(path), *arguments, cwd=consumer, **state)

    return run


def ansible(program: str, *arguments: str, cwd: Path, **environment: str) -> Answer:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "K8S_AUTH_"))}
    return subprocess.run(
        [str(BIN / program), *arguments],
        cwd=cwd,
        env=kept | {"PATH": f"{BIN}:{kept['PATH']}", "ANSIBLE_NOCOLOR": "1"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_collection_holds_what_is_used_and_nothing_that_judges_or_tests(archive: Path) -> None:
    with tarfile.open(archive) as content:
        names = content.getnames()
    assert [name for name in names if name.split("/")[0] in OUTSIDE or "__pycache__" in name] == []
    wanted = [
        *("LICENSE", "README.md", "CHANGELOG.md", "meta/runtime.yml", "plugins/module_utils/nightbench/kube.py"),
        *(f"library/{name}.py" for name in MODULES),
        *(f"roles/{role}/meta/argument_specs.yml" for role in ROLES),
        *(f"playbooks/{path.name}" for path in PLAYBOOKS),
    ]
    assert [name for name in wanted if name not in names] == []


def test_ansible_doc_shows_every_module_and_every_role(consumer: Path) -> None:
    modules = ansible("ansible-doc", "--json", *(COLLECTION + name for name in MODULES), cwd=consumer)
    assert sorted(json.loads(modules.stdout)) == [COLLECTION + name for name in MODULES], modules.stderr
    roles = ansible("ansible-doc", "--json", "-t", "role", *(COLLECTION + role for role in ROLES), cwd=consumer)
    assert sorted(json.loads(roles.stdout)) == [COLLECTION + role for role in ROLES], roles.stderr


def test_a_module_finds_its_logic_under_its_full_name(play: Callable[..., Answer], tmp_path: Path) -> None:
    options = {"state": "info", "run_state": str(tmp_path), "run_id": "20260101T000000Z-0a1b", "processes": []}
    answer = play({"tasks": [{"nightbench.infra.bench_process": options}]})
    assert (answer.returncode, "changed=0" in answer.stdout) == (0, True), answer.stdout + answer.stderr


def test_the_action_group_gives_every_module_for_clusters_its_kubeconfig(play: Callable[..., Answer]) -> None:
    defaults = {"group/nightbench.infra.bench": {"kubeconfig": "/nowhere/kubeconfig"}}
    task = {"nightbench.infra.bench_objects": {"objects": []}}
    answer = play({"module_defaults": defaults, "tasks": [task]})
    assert (answer.returncode, "/nowhere/kubeconfig" in answer.stdout) == (2, True), answer.stdout + answer.stderr


def test_a_role_runs_under_its_full_name_and_finds_its_modules(play: Callable[..., Answer]) -> None:
    """`toolchain` of nothing: argument check, tasks and our own modules by their short names, without a download."""
    role = {"role": "nightbench.infra.toolchain", "toolchain_tools": []}
    answer = play({"roles": [role]}, "--check")
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("role", ROLES)
def test_a_role_refuses_a_wrong_state_by_its_argument_spec(play: Callable[..., Answer], role: str) -> None:
    answer = play({"roles": [{"role": COLLECTION + role, f"{role}_state": "sideways"}]}, "--check")
    specs = yaml.safe_load((ROOT / "roles" / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))
    if f"{role}_state" in specs["argument_specs"]["main"]["options"]:
        assert (answer.returncode, "sideways" in answer.stdout) == (2, True), answer.stdout + answer.stderr


@pytest.mark.parametrize("playbook", [path.stem for path in PLAYBOOKS])
def test_a_playbook_goes_by_its_full_name(consumer: Path, playbook: str) -> None:
    answer = ansible("ansible-playbook", COLLECTION + playbook, "--syntax-check", cwd=consumer)
    assert answer.returncode == 0, answer.stdout + answer.stderr
