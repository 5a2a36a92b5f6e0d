# SPDX-License-Identifier: GPL-3.0-or-later
"""The stages one after another: what fails is recorded, the rest goes on, and nothing is left but the results."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.playbooks.conftest import Nightly, read_lines

BOTH = ["first", "second"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def process_of(nightly: Nightly) -> int:
    (record,) = nightly.state.glob("runs/*/processes/stand_in.json")
    return int(json.loads(record.read_text())["pid"])


def test_a_good_night_builds_tears_down_in_reverse_and_leaves_results(nightly: Nightly) -> None:
    ended = nightly.run("nightly", "--tags", "environment", roles=BOTH)
    assert ended.rc == 0, ended.text
    assert nightly.log == ["first present", "second present", "second absent", "first absent"]
    assert nightly.left() == ["machine.lock"]
    run = nightly.run_dir()
    assert {"plan.json", "run.json", "records.jsonl", "report.html", "summary.md", "junit.xml", "exit_code"} <= {
        path.name for path in run.iterdir()
    }
    assert str(run / "report.html") in ended.message
    document = json.loads((run / "run.json").read_text())
    assert (document["ended_at"] is not None, document["environment_roles"]) == (True, BOTH)
    # By name: further suites move the numbers of what comes after them.
    stages = [path.name.partition("__")[2] for path in sorted((run / "stages").iterdir())]
    assert stages == ["start", "environment", "report", "teardown", "verdict"]
    assert not list(run.glob("stages/*/FAILURE"))


def test_a_broken_environment_makes_its_suites_not_runnable_and_still_tears_down(nightly: Nightly) -> None:
    ended = nightly.run("nightly", "-e", "stand_in_fails='second present'", roles=BOTH)
    run = nightly.run_dir()
    assert (ended.rc, (run / "exit_code").read_text()) == (2, "3\n"), ended.text
    failure = json.loads((run / "stages" / "02__environment" / "FAILURE").read_text())
    assert (failure["reason"], failure["task"]) == (
        "etcd did not start, its token=******** was refused",
        "Fail when told to",
    )
    planned = json.loads((run / "plan.json").read_text())["records"]
    observations = read_lines(run / "observations.jsonl")
    assert [(one["scenario"], one["kind"], one["values"]["reason"]) for one in observations] == [
        (name, "not_runnable", f"environment failed: {failure['reason']}")
        for name, _ in dict.fromkeys((record["scenario"], record["subject"]) for record in planned)
    ]
    records = read_lines(run / "records.jsonl")
    assert len(records) == len(planned) > 0
    assert {record["verdict"] for record in records} == {"not_runnable"}
    assert (run / "failure.tar.gz").exists()
    assert nightly.log[-2:] == ["second absent", "first absent"]
    assert nightly.left() == ["machine.lock"]


def test_a_role_that_cannot_be_removed_does_not_keep_the_others(nightly: Nightly) -> None:
    ended = nightly.run("nightly", "--tags", "environment", "-e", "stand_in_fails='second absent'", roles=BOTH)
    run = nightly.run_dir()
    assert (ended.rc, (run / "exit_code").read_text()) == (2, "3\n"), ended.text
    assert nightly.log == ["first present", "second present", "second absent", "first absent"]
    assert len(list(run.glob("stages/*__teardown/FAILURE"))) == 1
    assert nightly.left() == ["machine.lock"]


def test_a_role_is_chosen_by_its_tag_out_of_the_environment(nightly: Nightly) -> None:
    """kwok_nodes is the tag of a role that is not in this environment, so none is brought up."""
    assert nightly.run("nightly", "--tags", "kwok_nodes", roles=BOTH).rc == 0
    assert nightly.log == ["second absent", "first absent"]


def test_check_mode_writes_nothing(nightly: Nightly) -> None:
    ended = nightly.run("nightly", "--check", "--diff", "--tags", "environment", roles=["second"])
    assert ended.rc == 0, ended.text
    assert (nightly.log, nightly.results.exists(), nightly.state.exists()) == ([], False, False)


@pytest.mark.parametrize(
    "arguments", [["--skip-tags", "teardown"], ["-e", "nightbench_keep=always"]], ids=["tag", "keep"]
)
def test_an_environment_that_is_kept_is_removed_by_its_run_id(nightly: Nightly, arguments: list[str]) -> None:
    assert nightly.run("nightly", "--tags", "environment", *arguments, roles=BOTH).rc == 0
    pid = process_of(nightly)
    assert (alive(pid), "first absent" in nightly.log) == (True, False)
    ended = nightly.run("teardown", "-e", f"nightbench_run_id={nightly.run_dir().name}", roles=BOTH)
    assert (ended.rc, alive(pid), nightly.left()) == (0, False, ["machine.lock"]), ended.text


def test_stages_that_are_run_alone_make_a_whole_run(nightly: Nightly) -> None:
    """As the harness does: one ansible-playbook a stage, all of them its own."""
    nightly.environment["NIGHTBENCH_OWNER_PID"] = str(os.getpid())
    assert nightly.run("start", roles=BOTH).rc == 0
    run_id = nightly.run_dir().name
    stages = ["environment", "report", "teardown", "report", "verdict"]
    ended = [nightly.run(stage, "-e", f"nightbench_run_id={run_id}", roles=BOTH) for stage in stages]
    # Every record of the suite was planned and is absent.
    assert [one.rc for one in ended] == [0, 0, 0, 0, 2], ended[-1].text
    assert (nightly.run_dir() / "exit_code").read_text() == "4\n"
    planned = json.loads((nightly.run_dir() / "plan.json").read_text())["records"]
    assert f"{len(planned)} invalid report: {nightly.run_dir()}/report.html" in ended[-1].message.replace("\\n", " ")
    assert nightly.log == ["first present", "second present", "second absent", "first absent"]
    assert nightly.left() == ["machine.lock"]


def test_a_second_nightly_is_told_and_the_first_is_not_disturbed(nightly: Nightly) -> None:
    first = nightly.start("nightly", "--tags", "environment", "-e", "stand_in_waits=true", roles=["first"])
    eventually(lambda: nightly.log, seconds=60)
    second = nightly.run("nightly", "--tags", "environment", roles=["second"])
    assert (second.rc, f"(pid {first.pid}) has had it since" in second.message) == (2, True), second.text
    assert (nightly.log, len(list(nightly.results.iterdir()))) == (["first present"], 1)
    (nightly.here / "go").write_text("")
    ended = nightly.wait(first)
    assert (ended.rc, nightly.log) == (0, ["first present", "first absent"]), ended.text


def test_what_a_killed_nightly_left_is_ended_by_the_next_start(nightly: Nightly) -> None:
    first = nightly.start("nightly", "--tags", "environment", "-e", "stand_in_waits=true", roles=["first"])
    eventually(lambda: list(nightly.state.glob("runs/*/processes/stand_in.json")), seconds=60)
    pid = process_of(nightly)
    first.send_signal(signal.SIGKILL)
    nightly.wait(first)
    assert alive(pid)
    killed = nightly.run_dir().name
    ended = nightly.run("start")
    assert (ended.rc, f"ended what these runs had left behind: {killed}" in ended.message) == (0, True), ended.text
    assert (alive(pid), (nightly.results / killed / "run.json").exists()) == (False, True)


def test_reap_ends_what_a_killed_nightly_left(nightly: Nightly) -> None:
    nightly.run("start", roles=["first"])
    run_id = nightly.run_dir().name
    assert nightly.run("environment", "-e", f"nightbench_run_id={run_id}", roles=["first"]).rc == 0
    pid = process_of(nightly)
    listed = nightly.run("reap", "--check")
    assert (listed.rc, str(pid) in listed.text, alive(pid)) == (0, True, True), listed.text
    reaped = nightly.run("reap")
    assert (reaped.rc, alive(pid), nightly.left()) == (0, False, ["machine.lock"]), reaped.text
    again = nightly.run("reap")
    assert (again.rc, "nothing was left behind" in again.text, "changed=0" in again.text) == (0, True, True)


def test_a_killed_run_is_gone_on_with_under_its_own_id(nightly: Nightly) -> None:
    nightly.run("start", roles=["first"])
    run_id = nightly.run_dir().name
    arguments = ["-e", f"nightbench_run_id={run_id}", "-e", "nightbench_resume=true", "--tags", "environment"]
    ended = nightly.run("nightly", *arguments, roles=["first"])
    assert nightly.log == ["first present", "first absent"], ended.text
    assert (nightly.run_dir().name, nightly.left()) == (run_id, ["machine.lock"])
