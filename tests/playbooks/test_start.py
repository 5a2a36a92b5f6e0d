# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad input ends in one clear message, before anything is started, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.playbooks.conftest import Nightly

BAD: dict[str, tuple[list[str], dict[str, str], list[str]]] = {
    "tags": (
        ["--tags", "enviroment", "--skip-tags", "tear_down"],
        {},
        ["There is no tag 'enviroment'; the nearest is 'environment'.", "the nearest is 'teardown'."],
    ),
    "variables": (
        ["-e", "kwok_nodes_cuont=5 kwok_node_count=5 nightbench_kep=always"],
        {},
        [
            "There is no variable 'kwok_nodes_cuont'; the nearest is 'kwok_nodes_count'.",
            "There is no variable 'kwok_node_count'; the nearest is 'kwok_nodes_count'.",
            "There is no variable 'nightbench_kep'; the nearest is 'nightbench_keep'.",
        ],
    ),
    "names": (
        ["-e", "scheduler_scale_scenarios=fill_scheduler_of scheduler_scale_subjects=kube_scheduler"],
        {},
        ["the nearest is 'fill_scheduler_off'.", "the nearest is 'kube-scheduler'."],
    ),
    "types": (
        ["-e", "control_plane_scheduler_qps=abc kwok_nodes_taints=[]"],
        {},
        [
            "control_plane_scheduler_qps is the text 'abc'; it has to be a number.",
            "kwok_nodes_taints is the text '[]'; it has to be a list. Give it as JSON: -e '{",
        ],
    ),
    "a suite": (["-e", "nightbench_suites=scheduler_scal"], {}, ["There is no suite 'scheduler_scal'; the nearest is"]),
    "a size": ([], {"NODE_COUNT": "abc"}, ["kwok_nodes_count (NODE_COUNT) is 'abc'; it has to be a whole number"]),
    "a run-id, a place, when to keep": (
        ["-e", "nightbench_run_id=tonight nightbench_results_dir=/proc/1/x nightbench_keep=alway"],
        {},
        [
            "nightbench_run_id is 'tonight'",
            "/proc/1/x cannot be written to",
            "nightbench_keep is 'alway'; it is one of",
        ],
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_ends_the_night_at_once(nightly: Nightly, what: str) -> None:
    arguments, environment, told = BAD[what]
    nightly.environment |= environment
    ended = nightly.run("nightly", *arguments)
    assert (ended.rc, [one for one in told if one not in ended.message]) == (2, []), ended.text
    assert ended.text.count("fatal: ") == 1
    assert "PLAY [Build the environment]" not in ended.text
    assert (nightly.results.exists(), nightly.state.exists()) == (False, False)


@pytest.fixture
def small_disk(nightly: Nightly) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    place = nightly.here / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_told_with_its_path_and_sizes(nightly: Nightly, small_disk: Path) -> None:
    ended = nightly.run(
        "nightly", "-e", f"nightbench_results_dir={small_disk}/results", "-e", "nightbench_results_min_bytes=2097152"
    )
    assert ended.rc == 2
    assert f"{small_disk}/results has too little room: needed 2.0 MiB, free 1.0 MiB." in ended.message
    assert (list(small_disk.iterdir()), nightly.state.exists()) == ([], False)


def test_a_disk_that_fills_up_while_it_begins_leaves_nothing(nightly: Nightly, small_disk: Path) -> None:
    (small_disk / "full").write_bytes(b"x" * (2**20 - 8192))
    ended = nightly.run("start", "-e", f"nightbench_results_dir={small_disk}/results")
    assert (ended.rc, "No space left on device" in ended.message) == (2, True), ended.text
    assert not list((small_disk / "results").glob("*")) + nightly.left()[1:]


def test_a_half_written_results_folder_is_told_and_left_alone(nightly: Nightly) -> None:
    folder = nightly.results / "20260101T000000Z-0a1b"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text('{"run_id": ')
    ended = nightly.run("start")
    assert (ended.rc, f"{folder} is half-written and not used" in ended.message) == (0, True), ended.text
    assert (folder / "run.json").read_text() == '{"run_id": '


def test_a_stage_alone_without_a_run_says_what_to_do(nightly: Nightly) -> None:
    ended = nightly.run("environment")
    assert (ended.rc, "Run playbooks/start.yml first, or give -e nightbench_run_id=" in ended.message) == (2, True)
    assert (nightly.results.exists(), nightly.state.exists()) == (False, False)
