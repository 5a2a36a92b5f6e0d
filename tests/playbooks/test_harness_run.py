# SPDX-License-Identifier: GPL-3.0-or-later
"""The harness sequences a stand-in project: small playbooks that do to the files of a run what the real ones do."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.processes import Process, recorded, with_variables

ROOT = Path(__file__).resolve().parents[2]
NIGHTLY = ROOT / "tests" / "fixtures" / "project" / "playbooks" / "nightly.yml"
ALL = ["start", "environment", "suite_one", "suite_two", "report", "teardown", "verdict"]
FINAL = ["report", "teardown", "verdict"]
OBSERVED = [(suite, repeat) for suite in ("suite_one", "suite_two") for repeat in (1, 2)]
PATIENCE_SECONDS = 60


def callers_environment() -> dict[str, str]:
    """What the tests were started with, without the configuration of another project (make exports its own)."""
    return {name: value for name, value in os.environ.items() if name != "ANSIBLE_CONFIG"}


class Night:
    """A folder in which the harness is called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.tmp = root / "tmp"
        self.tmp.mkdir()

    def start(self, *argv: str, **behave: Any) -> subprocess.Popen[str]:
        given = ["-e", f"stand_in_root={self.root}", "-e", json.dumps({"stand_in_behave": behave})]
        return subprocess.Popen(
            [sys.executable, "-m", "harness", *argv, *given],
            cwd=self.root,
            env=callers_environment() | {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.tmp), "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def run(self, *options: str, **behave: Any) -> tuple[int, str]:
        return finish(self.start("run", str(NIGHTLY), *options, **behave))

    def resume(self, *options: str, **behave: Any) -> tuple[int, str]:
        return finish(self.start("resume", "latest", *options, **behave))

    @property
    def results(self) -> Path:
        (run,) = (self.root / "results").iterdir()
        return run

    @property
    def state(self) -> Path:
        return self.root / "state" / "runs" / self.results.name

    def order(self) -> list[str]:
        return (self.results / "order").read_text().splitlines()

    def observations(self) -> list[tuple[str, int]]:
        lines = (self.results / "observations.jsonl").read_text().splitlines()
        return [(entry["suite"], entry["repeat"]) for entry in map(json.loads, lines)]

    def stage(self, name: str) -> Path:
        return self.results / "stages" / f"{ALL.index(name) + 1:02d}__{name}"

    def failure(self, name: str) -> str:
        return str(json.loads((self.stage(name) / "FAILURE").read_text())["reason"])

    def wait_for_progress(self, name: str) -> None:
        wait(lambda: any(self.root.glob(f"results/*/stages/*__{name}/progress.jsonl")))

    def alive(self) -> list[Process]:
        """Everything of the run that still runs: daemons, modules, ansible."""
        return with_variables([f"NIGHTBENCH_RUN_ID={self.results.name}"])


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    output, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, output


def wait(condition: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until, "what was waited for did not come"
        time.sleep(0.05)


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    night = Night(tmp_path)
    yield night
    with contextlib.suppress(ValueError, FileNotFoundError):
        for process in night.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)


def test_a_night_runs_every_stage_and_leaves_nothing_but_results(night):
    code, output = night.run("-e", "registry_password=hush")
    assert (code, night.order()) == (0, ALL), output
    assert night.observations() == OBSERVED
    assert night.alive() == []
    assert list(night.tmp.iterdir()) == []
    assert sorted(path.name for path in night.results.iterdir()) == [
        *("exit_code", "observations.jsonl", "order", "report.html", "stages"),
    ]
    for name in ALL:
        assert {"command.txt", "stdout", "rc", "events.jsonl"} <= {path.name for path in night.stage(name).iterdir()}
    given = f"-e stand_in_root={night.root} -e nightbench_run_id={night.results.name} {NIGHTLY.parent}/suite_one.yml\n"
    command = (night.stage("suite_one") / "command.txt").read_text()
    assert command.startswith("ansible-playbook -e 'registry_password=********'")
    assert all(word in command for word in given.split())
    assert not any(b"hush" in path.read_bytes() for path in night.root.rglob("*") if path.is_file())
    lines = (night.stage("suite_one") / "events.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["playbook_start", "play_start", "task_start", "task_ok", "task_start", "task_ok", "stats"]


def test_ansible_playbook_alone_leaves_the_same_files_but_two(night):
    night.run()
    with_harness = {str(path.relative_to(night.results)) for path in night.results.rglob("*") if path.is_file()}
    alone = Path(tempfile.mkdtemp(dir=night.root))
    done = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "ansible-playbook"), str(NIGHTLY)),
            *("-e", f"stand_in_root={alone}", "-e", "nightbench_run_id=R", "-e", "registry_password=hush"),
        ],
        env=callers_environment()
        | {
            "ANSIBLE_CONFIG": str(NIGHTLY.parents[1] / "ansible.cfg"),
            "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "plugins" / "callback"),
            "NIGHTBENCH_RUN_ID": night.results.name,
        },
        cwd=alone,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    run = alone / "results" / "R"
    assert {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()} == {
        path for path in with_harness if not path.endswith(("/stdout", "/rc"))
    }
    command = (run / "stages" / "03__suite_one" / "command.txt").read_text()
    assert command == (
        f"ansible-playbook -e stand_in_root={alone} -e nightbench_run_id=R -e 'registry_password=********' "
        f"{NIGHTLY.parent}/suite_one.yml\n"
    )
    events = (run / "stages" / "04__suite_two" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in events] == ["play_start", *["task_start", "task_ok"] * 2]


def test_a_start_that_refuses_leaves_nothing_and_says_why_once(night):
    code, output = night.run(refuse="there is no tag 'sched'; did you mean 'scheduler_scale'?", exit_code=2)
    assert code == 2
    assert output.count("did you mean 'scheduler_scale'?") == 1
    assert not (night.root / "results").exists()
    assert not (night.root / "state").exists()
    assert list(night.tmp.iterdir()) == []


def test_an_unknown_host_pattern_or_broken_variable_is_the_callers_mistake(night):
    code, output = finish(night.start("run", str(NIGHTLY), "-e", "[broken"))
    assert (code, "-e […: not JSON" in output) == (2, True), output
    assert not (night.root / "results").exists()


def test_a_suite_that_breaks_lets_the_next_one_run(night):
    code, output = night.run(suite_one={"fail": "boom"}, verdict=3)
    assert (code, night.order()) == (3, ALL), output
    assert "suite_one failed: boom" in output
    assert night.observations() == OBSERVED[2:]
    assert night.alive() == []


def test_tags_leave_out_stages_without_starting_ansible(night):
    code, output = night.run("--tags", "environment,suite_two")
    assert (code, night.order()) == (0, ["start", "environment", "suite_two", *FINAL]), output
    assert "suite_one: skipped: not selected by the tags" in output
    assert not night.stage("suite_one").exists()


def test_the_verdicts_exit_code_is_the_harnesss(night):
    code, output = night.run(verdict=1)
    assert (code, night.order()) == (1, ALL), output
    assert "exit code 1: regression or failed objective" in output
    assert not (night.results / "state.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_stops_the_module_then_reports_and_tears_down(night, number):
    process = night.start("run", str(NIGHTLY), suite_one={"steps": 500})
    night.wait_for_progress("suite_one")
    process.send_signal(number)
    code, output = finish(process)
    assert (code, night.order()) == (130, ["start", "environment", "suite_one", *FINAL]), output
    assert (night.results / "exit_code").read_text() == "130\n"
    assert night.failure("suite_one") == "stopped"
    assert night.alive() == []
    assert not (night.state / "stop").exists()
    if number == signal.SIGINT:
        code, output = night.resume()
        assert (code, night.observations()) == (0, OBSERVED), output


def test_a_second_signal_in_teardown_is_explained_and_a_third_forces(night):
    process = night.start("run", str(NIGHTLY), teardown={"steps": 500})
    night.wait_for_progress("teardown")
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.8)  # faster ones count as one
    code, output = finish(process)
    assert code == 130
    assert "SIGINT: the run is being torn down already" in output
    assert "Once more forces that" in output
    assert "SIGINT: forced. 'python -m harness clean' ends what is left behind" in output
    assert not any(module.alive for module in recorded(night.state / "modules"))


def test_a_killed_ansible_playbook_breaks_its_stage_only_and_resume_redoes_it(night):
    code, output = night.run(suite_one={"kill": "ansible-playbook", "steps": 500}, verdict=3)
    assert (code, night.order()) == (3, ALL), output
    assert night.failure("suite_one") == "ansible-playbook was killed in 'Do what the stage is for'"
    assert night.alive() == []
    code, output = night.resume()
    assert (code, night.order()[len(ALL) :]) == (0, ["start resumed", "environment", "suite_one", *FINAL]), output
    assert sorted(night.observations()) == OBSERVED
    assert not (night.results / "state.json").exists()


def test_a_killed_module_breaks_its_stage_only(night):
    process = night.start("run", str(NIGHTLY), suite_one={"steps": 500})
    night.wait_for_progress("suite_one")
    wait(lambda: recorded(night.state / "modules"))
    for module in recorded(night.state / "modules"):
        os.kill(module.pid, signal.SIGKILL)
    code, output = finish(process)
    assert (code, night.order()) == (3, ALL), output
    assert "suite_one failed" in output
    assert night.observations() == OBSERVED[2:]
    assert night.alive() == []


@pytest.mark.parametrize("stage", ["environment", "suite_two", "teardown"])
def test_a_killed_harness_loses_nothing_that_was_finished(night, stage):
    process = night.start("run", str(NIGHTLY), **{stage: {"steps": 500}})
    night.wait_for_progress(stage)
    process.kill()
    process.communicate()
    before = night.order()
    assert before == ALL[: ALL.index(stage) + 1]
    code, output = night.resume()
    redone = {
        "environment": ["environment", "suite_one", "suite_two"],
        "suite_two": ["environment", "suite_two"],
        "teardown": [],
    }[stage]
    assert (code, night.order()[len(before) :]) == (0, ["start resumed", *redone, *FINAL]), output
    assert night.observations() == OBSERVED
    assert night.alive() == []
    # A module that is killed in the wrong moment may leave Ansible's copy of it, never anything of ours.
    assert list(night.tmp.glob("nightbench*")) == []


def test_a_full_disk_still_tears_down(night):
    """The results folder cannot be written to from some moment on: here, its stages become a file."""
    process = night.start("run", str(NIGHTLY), environment={"steps": 20})
    night.wait_for_progress("environment")
    stages = night.results / "stages"
    stages.rename(night.results / "moved")
    stages.write_text("")
    code, output = finish(process)
    assert code == 3, output
    assert "the run cannot write its results and is torn down" in output
    assert night.order()[-3:] == FINAL
