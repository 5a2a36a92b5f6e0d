# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
from ansible.module_utils.nightbench import lint_main

from harness import cli
from harness.commands import clean, lint, resume
from harness.commands import run as run_command
from harness.errors import UsageError
from harness.options import add_ansible_arguments, ansible_options, extra_var
from harness.processes import Process, this_process
from harness.stages import AnsibleOptions, Stage
from harness.state import RunState, load_state, new_run_id


def options(*argv: str, more: tuple[str, ...] = ()) -> AnsibleOptions:
    parser = argparse.ArgumentParser()
    add_ansible_arguments(parser)
    args = parser.parse_args(argv)
    args.more = more
    return ansible_options(args)


@pytest.mark.parametrize(
    ("argv", "code", "says"),
    [
        (["runn"], 2, "there is no command 'runn'; did you mean 'run'?"),
        (["reprot"], 2, "did you mean 'report'?"),
        (["zzz"], 2, "there is no command 'zzz'; one of: run, resume,"),
        (["--tags", "x"], 2, "the command comes first"),
        (["run", "nightl"], 2, "did you mean 'nightly'?"),
        (["run", "no/such.yml"], 2, "there is no playbook no/such.yml"),
        (
            ["run", "nightly", "-i", "inventories/locl"],
            2,
            "there is no inventory inventories/locl\n  the project has: ",
        ),
        (["run", "nightly", "-e", "@nosuch.yml"], 2, "nosuch.yml does not exist"),
        (["run", "nightly", "-e", '{"a": 1'], 2, "-e {…: not JSON: expected ',' or '}'"),
        (["run", "nightly", "-e", "[1]"], 2, "-e […: a list is no variables"),
        (["run", "nightly", "--", "-K"], 2, "-K asks a question"),
        (["run", "nightly", "--vault-id", "dev@prompt"], 2, "--vault-id …@prompt asks a question"),
        (["run", "nightly", "--forks", "0"], 2, "--forks 0: at least 1"),
        (["resume", "latest", "--results-dir", "/no/such"], 2, "there is no run under /no/such"),
        (["resume", "x", "--results-dir", "/no/such"], 2, "there is no run 'x'"),
        (["clean", "x", "--results-dir", "/no/such"], 2, "there is no run 'x'"),
    ],
)
def test_one_clear_message_and_the_exit_code(capsys, argv, code, says):
    assert cli.main(argv) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv", [["run"], ["run", "nightly", "--tagz", "x"], ["doctor", "--", "x"], ["run", "nightly", "x"]]
)
def test_wrong_options_end_with_two(capsys, argv):
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    assert ended.value.code == 2


def test_a_defect_is_no_regression(capsys, monkeypatch):
    def broken(args: argparse.Namespace) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(run_command, "run", broken)
    assert cli.main(["run", "nightly"]) == 3
    assert "this is a defect of the harness" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["run", "resume", "doctor", "clean"])
def test_every_command_explains_itself(capsys, name):
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert "examples:" in capsys.readouterr().out


def test_what_follows_two_dashes_goes_to_ansible(monkeypatch):
    seen = []
    monkeypatch.setattr(run_command, "run", lambda args: seen.append(ansible_options(args)) or 0)
    assert cli.main(["run", "nightly", "-e", "a=1", "-vv", "--check", "--", "--become", "-e", "b"]) == 0
    assert seen == [AnsibleOptions(extra_vars=("a=1",), verbosity=2, check=True, more=("--become", "-e", "b"))]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ((), None),
        (("a=1",), "1"),
        (("a=1", "b=2 a=3"), "3"),
        (('{"a": 4}', "a=5"), "5"),
        (("@missing",), None),
        (("{broken",), None),
        (("just words",), None),
    ],
)
def test_the_last_value_given_for_a_variable_wins(values, found):
    assert extra_var(values, "a") == found


def test_variables_in_a_file_are_seen(tmp_path):
    path = tmp_path / "vars.yml"
    path.write_text("a: 7\n")
    assert extra_var([f"@{path}"], "a") == "7"


def test_run_ids_sort_by_time_and_differ():
    ids = {new_run_id() for _ in range(20)}
    assert len(ids) > 15
    assert all(len(one) == 21 for one in ids)


def state(tmp_path: Path, *extra_vars: str) -> RunState:
    given = AnsibleOptions(inventories=("inv",), extra_vars=extra_vars, tags=("a",), check=True)
    return RunState("R", "n.yml", "/", given, Process(1, 2), "/state", {"start": "finished"})


def test_a_state_is_read_as_it_was_written_but_for_secrets(tmp_path):
    written = state(tmp_path, "a=1", "db_password=hush")
    written.save(tmp_path)
    assert "hush" not in (tmp_path / "state.json").read_text()
    read, hidden = load_state(tmp_path)
    assert hidden == ["db_password"]
    assert read == RunState(
        *("R", "n.yml", "/"),
        AnsibleOptions(inventories=("inv",), extra_vars=("a=1", "db_password=********"), tags=("a",), check=True),
        *(Process(1, 2), "/state", {"start": "finished"}),
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"run_id": "R"}', json.dumps({"run_id": 1, "owner": {}})])
def test_a_half_written_state_is_said(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(UsageError, match=r"state\.json is damaged .* cannot be resumed"):
        load_state(tmp_path)


def test_secrets_have_to_be_given_again():
    before = AnsibleOptions(extra_vars=("p=********",))
    with pytest.raises(UsageError, match="secrets that are not kept: db_password\n  give them again: -e db_password="):
        resume.merged(before, AnsibleOptions(), ["db_password"])
    again = resume.merged(before, AnsibleOptions(extra_vars=("db_password=x",)), ["db_password"])
    assert again.extra_vars == ("p=********", "db_password=x")


STAGES = [
    Stage(number, name, Path(f"{name}.yml"))
    for number, name in enumerate(["start", "environment", "one", "two", "report", "teardown", "verdict"], 1)
]


@pytest.mark.parametrize(
    ("well", "states", "kept"),
    [
        ([], {}, set()),
        (["start", "environment"], {"environment": "finished"}, set()),
        (["environment", "one"], {"environment": "finished", "one": "finished", "two": "running"}, {"one"}),
        (["environment", "one", "two"], {"one": "finished", "two": "finished"}, {"one", "two"}),
        (
            ["environment", "one", "two", "report"],
            {"environment": "finished", "one": "kept", "two": "finished", "report": "finished"},
            {"environment", "one", "two"},
        ),
        (
            ["environment", "one"],
            {"environment": "finished", "one": "finished", "two": "skipped"},
            {"environment", "one"},
        ),
        (["one"], {"one": "failed"}, set()),
        (["one"], {"one": "interrupted"}, set()),
    ],
)
def test_what_a_resumed_run_does_not_redo(tmp_path, well, states, kept):
    for stage in STAGES:
        folder = tmp_path / "stages" / stage.folder
        folder.mkdir(parents=True)
        if stage.name in well:
            (folder / "rc").write_text("0\n")
    assert resume.finished_stages(tmp_path, STAGES, states) == kept


def test_a_stage_with_a_failure_is_redone(tmp_path):
    folder = tmp_path / "stages" / "03__one"
    folder.mkdir(parents=True)
    (folder / "rc").write_text("0\n")
    (folder / "FAILURE").write_text("{}")
    assert resume.finished_stages(tmp_path, STAGES, {"one": "finished"}) == set()


def resumable(tmp_path: Path, owner: Process) -> Path:
    run_dir = tmp_path / "20260101T000000Z-0a1b"
    run_dir.mkdir()
    RunState(run_dir.name, "/n.yml", "/", AnsibleOptions(), owner).save(run_dir)
    return run_dir


def test_a_run_that_is_alive_is_not_resumed(tmp_path, capsys):
    resumable(tmp_path, this_process())
    assert cli.main(["resume", "latest", "--results-dir", str(tmp_path)]) == 3
    assert "is still running as process" in capsys.readouterr().err


@pytest.mark.parametrize("code", ["0", "1"])
def test_a_finished_run_has_nothing_to_resume(tmp_path, capsys, code):
    run_dir = tmp_path / "20260101T000000Z-0a1b"
    run_dir.mkdir()
    (run_dir / "exit_code").write_text(code)
    assert cli.main(["resume", "latest", "--results-dir", str(tmp_path)]) == int(code)
    assert f"is finished (exit code {code}); nothing to resume" in capsys.readouterr().out


def test_a_run_that_had_not_begun_cannot_be_resumed(tmp_path, capsys):
    (tmp_path / "20260101T000000Z-0a1b").mkdir()
    assert cli.main(["resume", "latest", "--results-dir", str(tmp_path)]) == 2
    assert "killed before it had begun" in capsys.readouterr().err


RUNS = [
    {
        "run_id": "R",
        "processes": [{"pid": 7, "command": "etcd --x"}],
        "removed": ["/state/R"],
        "lease_freed": True,
        "kubeconfig": None,
    }
]


@pytest.mark.parametrize(
    ("check", "words"), [(False, ("ended", "removed", "freed")), (True, ("would end", "would remove", "would free"))]
)
def test_clean_tells_what_it_did(check, words):
    end, remove, free = words
    assert clean.told(RUNS, ["/tmp/x"], check=check) == [
        f"R: {end} process 7: etcd --x",
        f"R: {remove} /state/R",
        f"R: {free} the machine",
        f"{remove} /tmp/x",
    ]


def test_clean_says_when_there_was_nothing():
    assert clean.told([], [], check=False) == ["nothing was left behind"]


def test_lint_takes_the_options_of_the_linter_and_passes_them_on() -> None:
    ours, linter = argparse.ArgumentParser(), lint_main.parser("lint")
    lint.add_arguments(ours)

    def taken(parser: argparse.ArgumentParser) -> dict[str, tuple[str | None, int | str | None]]:
        return {action.dest: (action.metavar, action.nargs) for action in parser._actions if action.dest != "format"}

    assert taken(ours) == taken(linter)
    words = ["--format=json", "--strict", "--only=job-gang", "--only=image-tag", "--namespace=a", "x.yml", "-"]
    given = linter.parse_args(lint.arguments(ours.parse_args(words)))
    assert vars(given) == vars(linter.parse_args(words))
