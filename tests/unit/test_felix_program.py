# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that holds a Felix: a changed configuration starts it again, any other end is to be seen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PROGRAM = ROOT / "roles" / "calico" / "files" / "felix.py"
#: What enters namespaces needs root; this one says how it was called, and does the rest.
NSENTER = '#!/bin/sh\necho "$1 $2 $3 $4" >>"$0.log"\nshift 5\nexec "$@"\n'


@pytest.fixture
def nsenter(tmp_path: Path) -> Path:
    path = tmp_path / "nsenter"
    path.write_text(NSENTER)
    path.chmod(0o755)
    return path


def run(nsenter: Path, *felix: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, PROGRAM, "4711", *felix],
        env={**os.environ, "PATH": f"{nsenter.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_a_felix_that_wants_another_configuration_is_started_again(nsenter: Path, tmp_path: Path) -> None:
    ends = f"echo x >>{tmp_path}/starts; test $(wc -l <{tmp_path}/starts) -lt 3 && exit 129; exit 7"
    ended = run(nsenter, "sh", "-c", ends)
    assert (ended.returncode, ended.stdout.count("Felix is started again")) == (7, 2)
    assert Path(f"{nsenter}.log").read_text() == "--target=4711 --net --mount --pid\n" * 3


@pytest.mark.parametrize(("end", "code"), [("exit 0", 0), ("exit 1", 1), ("kill -9 $$", 137)])
def test_any_other_end_of_felix_is_the_end_of_its_process(nsenter: Path, end: str, code: int) -> None:
    assert run(nsenter, "sh", "-c", end).returncode == code
