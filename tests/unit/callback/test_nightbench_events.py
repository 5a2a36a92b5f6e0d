# SPDX-License-Identifier: GPL-3.0-or-later
"""The callback plugin in a real ansible-playbook, without the rest of the project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]


def play(tmp_path: Path, tasks: list[dict[str, Any]], *argv: str, **environ: str) -> subprocess.CompletedProcess[str]:
    plays = [{"name": "P", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]
    (tmp_path / "play.yml").write_text(json.dumps(plays))
    (tmp_path / "ansible.cfg").write_text(
        f"[defaults]\ncallback_plugins = {ROOT}/plugins/callback\ncallbacks_enabled = nightbench_events\n"
        "localhost_warning = false\n[inventory]\ninventory_unparsed_warning = false\n"
    )
    return subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "play.yml", *argv],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE", "NIGHTBENCH"))}
        | {"ANSIBLE_CONFIG": "ansible.cfg", **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def events(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def load(stage_dir: Path) -> dict[str, Any]:
    facts = {"nightbench_session": {"run_id": "R", "stage_dir": str(stage_dir)}}
    return {"name": "Load", "ansible.builtin.set_fact": facts}


@pytest.fixture
def stage_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "results" / "R" / "stages" / "03__suite"
    folder.mkdir(parents=True)
    return folder


def test_events_before_the_session_is_known_are_not_lost(tmp_path, stage_dir):
    done = play(
        tmp_path, [{"name": "Early", "ansible.builtin.debug": {"msg": "x"}}, load(stage_dir)], "-e", "token=hush"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [(event["event"], event.get("task")) for event in events(stage_dir)] == [
        ("playbook_start", None),
        ("play_start", None),
        ("task_start", "Early"),
        ("task_ok", "Early"),
        ("task_start", "Load"),
        ("task_ok", "Load"),
        ("stats", None),
    ]
    assert (stage_dir / "command.txt").read_text() == (
        "ansible-playbook -e 'token=********' -e nightbench_run_id=R play.yml\n"
    )
    assert (done.stderr, "WARNING" in done.stdout) == ("", False)


def test_the_harnesss_command_line_is_left_alone(tmp_path, stage_dir):
    (stage_dir / "command.txt").write_text("the exact line\n")
    play(tmp_path, [load(stage_dir)])
    assert (stage_dir / "command.txt").read_text() == "the exact line\n"


def test_arguments_and_hidden_results_are_never_written(tmp_path, stage_dir):
    tasks = [
        {"name": "Say", "ansible.builtin.debug": {"msg": "hush-1"}},
        {"name": "Fail quietly", "ansible.builtin.fail": {"msg": "hush-2"}, "no_log": True, "ignore_errors": True},
        {"name": "Fail", "ansible.builtin.fail": {"msg": "all may read this"}},
    ]
    done = play(tmp_path, [load(stage_dir), *tasks])
    assert done.returncode == 2
    failed = [event for event in events(stage_dir) if event["event"] == "task_failed"]
    assert [(event["task"], event["ignored"], event["message"]) for event in failed] == [
        ("Fail quietly", True, "hidden by no_log"),
        ("Fail", False, "all may read this"),
    ]
    assert "hush" not in (stage_dir / "events.jsonl").read_text()


def test_without_a_stage_nothing_is_written(tmp_path):
    done = play(tmp_path, [{"name": "Say", "ansible.builtin.debug": {"msg": "x"}}])
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in tmp_path.iterdir()} == {"play.yml", "ansible.cfg"}


def test_the_folder_of_a_run_is_never_made(tmp_path):
    missing = tmp_path / "results" / "R" / "stages" / "01__start"
    play(tmp_path, [load(missing)], NIGHTBENCH_STAGE_DIR=str(missing))
    assert not (tmp_path / "results").exists()


def test_a_folder_that_cannot_be_written_to_warns_and_the_play_goes_on(tmp_path, stage_dir):
    (stage_dir / "events.jsonl").mkdir()
    done = play(tmp_path, [load(stage_dir), {"name": "Go on", "ansible.builtin.debug": {"msg": "went on"}}])
    assert (done.returncode, "went on" in done.stdout) == (0, True)
    assert (done.stdout + done.stderr).count("nightbench_events: cannot write into") == 1


@pytest.mark.parametrize(("seconds", "printed"), [("0.1", True), ("0", False)])
def test_progress_is_printed_while_a_module_works(tmp_path, stage_dir, seconds, printed):
    path = stage_dir / "progress.jsonl"
    path.write_text("")
    line = json.dumps({"done": 1200, "asked": 4000, "unit": "pods bound", "at": 1, "task": "fill 1/3"})
    program = f"import time; time.sleep(0.5); open({str(path)!r}, 'a').write({line!r} + chr(10)); time.sleep(0.5)"
    work = {"name": "Work", "ansible.builtin.command": {"argv": [sys.executable, "-c", program]}}
    done = play(tmp_path, [load(stage_dir), work], NIGHTBENCH_PROGRESS_SECONDS=seconds)
    assert ("nightbench: fill 1/3: 1,200 of 4,000 pods bound" in done.stdout) == printed, done.stdout
