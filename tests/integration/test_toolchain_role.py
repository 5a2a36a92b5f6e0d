# SPDX-License-Identifier: GPL-3.0-or-later
"""The role by ansible-playbook, as a user has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.toolchain import put_script, row

PLAY = [{"hosts": "localhost", "gather_facts": False, "roles": ["toolchain"]}]

pytestmark = pytest.mark.integration


def play(tmp_path: Path, *options: str, **variables: Any) -> tuple[int, str]:
    """Exit code and output of a play with this role alone."""
    playbook = tmp_path / "play.yml"
    playbook.write_text(json.dumps(PLAY))
    given = {"toolchain_cache_dir": str(tmp_path / "cache"), **variables}
    argv = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", str(ROOT / "inventories" / "local")]
    finished = subprocess.run(
        [*argv, str(playbook), "-e", json.dumps(given), *options],
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "NO_COLOR": "1", "ANSIBLE_NOCOLOR": "1"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    return finished.returncode, finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("variables", "texts"),
    [
        ({"toolchain_tools": ["ectd"]}, ["there is no tool 'ectd'. Did you mean etcd?"]),
        ({"toolchain_sources": ["docker"]}, ["toolchain_sources", "docker"]),
        ({"toolchain_etcd_version": "newest", "toolchain_tools": ["etcd"]}, ["'newest' is not a version"]),
        ({"toolchain_timeout_seconds": 0}, ["toolchain_timeout_seconds (0)", "greater than 0"]),
        ({"toolchain_state": "gone"}, ["toolchain_state", "present, absent"]),
        (
            {"toolchain_tools": ["etcd", "kwok"], "toolchain_sources": ["path"], "toolchain_etcd_version": "0.0.1"},
            [
                "etcd 0.0.1:",
                "go_module: go build go.etcd.io/etcd/server/v3 in tools/go/etcd: not tried, toolchain_sources leaves",
                "To go on, put what is missing on PATH or into one of toolchain_path_directories",
            ],
        ),
    ],
    ids=["unknown tool", "unknown source", "no version", "no time", "unknown state", "no source answers"],
)
def test_bad_input_is_one_clear_message_and_nothing_is_made(
    tmp_path: Path, variables: dict[str, Any], texts: list[str]
) -> None:
    returncode, output = play(tmp_path, **variables)
    assert returncode == 2
    assert [text for text in texts if text not in " ".join(output.split())] == []
    assert "Traceback" not in output
    assert not (tmp_path / "cache" / "etcd").exists()


def test_a_tool_in_a_folder_of_the_users_is_taken_and_the_second_run_changes_nothing(tmp_path: Path) -> None:
    put_script(tmp_path / "bin", "1.2.3")
    rows = [row({"source": "path", "directories": [str(tmp_path / "bin")]})]
    for _ in range(2):
        returncode, output = play(tmp_path, toolchain_tools=["hello"], toolchain_extra_tools=rows)
        assert returncode == 0, output
        assert "changed=0" in output


def test_every_row_of_the_table_is_sound(tmp_path: Path) -> None:
    """In check mode with an empty cache every tool has a source that could give it."""
    names = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"]
    names += ["kwok", "kwokctl", "prometheus", "helm", "skopeo"]
    sources = ["package", "download", "go_module"]
    returncode, output = play(tmp_path, "--check", "--diff", toolchain_tools=names, toolchain_sources=sources)
    assert returncode == 0, output
    assert [name for name in names if f"\n+{name} " not in output] == []
    assert "{version}" not in output
    assert not (tmp_path / "cache").exists()


KAI = ["kai-scheduler", "kai-binder", "kai-podgrouper", "kai-podgroupcontroller", "kai-queuecontroller"]
DIGEST = "sha256:" + "0" * 64


def test_kai_is_taken_from_its_folder_and_never_started_for_its_version(tmp_path: Path) -> None:
    """Asked for its version the scheduler would begin to schedule, on whatever cluster it finds."""
    for name in KAI:
        binary = tmp_path / "kai" / name.removeprefix("kai-")
        binary.parent.mkdir(exist_ok=True)
        binary.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
        binary.chmod(0o755)
    given = {"toolchain_tools": KAI, "toolchain_kai_scheduler_dir": str(tmp_path / "kai")}
    returncode, output = play(tmp_path, "--diff", **given)
    assert returncode == 0, output
    assert not (tmp_path / "started").exists()


def test_where_kai_is_looked_for_is_told(tmp_path: Path) -> None:
    image = f"registry.example.org/kai/binder@{DIGEST}"
    returncode, output = play(
        tmp_path,
        toolchain_tools=["kai-scheduler", "kai-binder"],
        toolchain_kai_scheduler_dir="/nowhere",
        toolchain_kai_scheduler_images={"binder": image},
        toolchain_sources=["path"],
    )
    assert returncode == 2
    told = " ".join(output.split())
    assert "path: /nowhere/scheduler: no executable /nowhere/scheduler there." in told
    assert f"image: workspace/app of image {image}: not tried" in told
    assert "no executable /nowhere/scheduler there. kai-binder" in told, "without a digest there is no image to try"
