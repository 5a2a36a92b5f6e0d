# SPDX-License-Identifier: GPL-3.0-or-later
"""The gate itself: steps, counts, skips and the making of .venv."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.contract.tree import ROOT

JUNIT = '<testsuites><testsuite errors="{e}" failures="{f}" skipped="{s}" tests="{t}"/></testsuites>'


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"gate_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


run = load(ROOT / "tests" / "run.py")


@pytest.mark.parametrize(
    ("report", "expected"),
    [
        (JUNIT.format(t=5, f=1, e=1, s=2), (1, 2, 2)),
        (JUNIT.format(t=3, f=0, e=0, s=0), (3, 0, 0)),
        (None, (0, 0, 0)),
    ],
)
def test_counts_come_from_the_report(tmp_path: Path, report: str | None, expected: tuple[int, int, int]) -> None:
    path = tmp_path / "report.xml"
    if report is not None:
        path.write_text(report, encoding="utf-8")
    assert run.counts(path) == expected


@pytest.mark.parametrize(
    ("outcomes", "code", "line"),
    [
        ([("unit", 3, 0, 0)], 0, "3 passed, 0 failed, 0 skipped in 1.0 s"),
        ([("unit", 3, 0, 0), ("lint", 0, 1, 2)], 1, "3 passed, 1 failed, 2 skipped in 2.0 s"),
    ],
)
def test_the_last_line_counts_everything(
    outcomes: list[tuple[str, int, int, int]], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.summary([run.Outcome(*outcome, 1.0) for outcome in outcomes], float(len(outcomes))) == code
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_what_failed_is_named_at_the_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(
        "import pytest\n\n"
        "@pytest.fixture\ndef broken():\n    raise OSError('no\\n room')\n\n"
        "def test_good(): pass\n\ndef test_bad(): assert 1 == 2\n\ndef test_set_up(broken): pass\n",
        encoding="utf-8",
    )
    report = tmp_path / "report.xml"
    asked = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", str(test)]
    subprocess.run(asked, cwd=tmp_path, capture_output=True, check=False)
    run.summary([run.Outcome("unit", 1, 2, 0, 1.0, tuple(run.failures(report)))], 1.0)
    told = capsys.readouterr().out.splitlines()[-4:-2]
    assert told == ["test_it::test_bad: assert 1 == 2", 'test_it::test_set_up: failed on setup with "OSError: no room"']


def failed(*tests: str, passed: int = 0, again: Any = None) -> Any:
    """The outcome of a step in which these tests failed."""
    return run.Outcome("unit", passed, len(tests), 1, 2.0, tuple(f"{test}: why" for test in tests), again)


@pytest.mark.parametrize(
    ("first", "second", "counts", "still", "unsteady"),
    [
        pytest.param(["a"], failed(passed=1), (8, 0), [], ["a"], id="an accident"),
        pytest.param(["a", "b"], failed("b", passed=1), (8, 1), ["b"], ["a"], id="one of two"),
        pytest.param(["a"], failed("a"), (7, 1), ["a"], [], id="a fault"),
        pytest.param(["a"], failed(), (7, 1), ["a"], [], id="a second run that ran nothing"),
        pytest.param(list("abcdef"), failed(passed=6), (7, 6), list("abcdef"), [], id="too many"),
    ],
)
def test_what_failed_is_run_once_more_and_told(
    first: list[str], second: Any, counts: tuple[int, int], still: list[str], unsteady: list[str]
) -> None:
    outcome = run.once_more(failed(*first, passed=7, again=lambda: second))
    assert (outcome.passed, outcome.failed, outcome.skipped) == (*counts, 1)
    assert outcome.failures == tuple(f"{test}: why" for test in still)
    assert outcome.unsteady == tuple(f"{test}: why" for test in unsteady)


def test_a_pytest_that_broke_is_not_run_again() -> None:
    assert run.once_more(run.Outcome("unit", 3, 1, 0, 1.0)) == run.Outcome("unit", 3, 1, 0, 1.0)


def test_only_the_tests_that_failed_are_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tests, of which one fails the first time only."""
    (tmp_path / "test_it.py").write_text(
        "from pathlib import Path\n\ndef test_good(): Path('good').open('a').write('x')\n\n"
        "def test_late():\n    seen = Path('seen').exists()\n    Path('seen').touch()\n    assert seen\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr(run, "OUTPUT", tmp_path / "output")
    monkeypatch.setitem(run.PYTEST, "unit", ["test_it.py"])
    (tmp_path / "output").mkdir()
    outcome = run.once_more(run.pytest("unit", ["test_it.py"], beside=True))
    assert (outcome.passed, outcome.failed, outcome.failures) == (2, 0, ())
    assert [line.split(":")[0] for line in outcome.unsteady] == ["test_it"]
    assert (tmp_path / "good").read_text() == "x"


def test_a_command_that_failed_is_told_with_its_own_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "OUTPUT", tmp_path)
    said = "print('\\x1b[2m│\\x1b[0m fatal: [localhost]: FAILED! => no room'); print('ok'); raise SystemExit(3)"
    outcome = run.command("molecule: x", [sys.executable, "-c", said])
    assert (outcome.failed, outcome.failures) == (1, ("molecule: x: fatal: [localhost]: FAILED! => no room",))
    assert run.command("lint: y", [sys.executable, "-c", "raise SystemExit(4)"]).failures == ("lint: y: ended with 4",)


def test_lanes_run_side_by_side_after_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    meeting, order = threading.Barrier(2, timeout=30), []

    def step(name: str, rest: list[str], beside: bool = False) -> list[Any]:
        if name in ("integration", "contract"):
            meeting.wait()
        order.append((name, beside))
        return [run.Outcome(name, 1, 0, 0, 1.0)]

    monkeypatch.setattr(run, "run_step", step)
    outcomes = run.run_steps(["lint", "contract", "integration", "molecule"], [])
    assert [outcome.name for outcome in outcomes] == ["lint", "integration", "contract", "molecule"]
    assert (order[0], {beside for _, beside in order[1:]}) == (("lint", False), {True})
    order.clear()
    run.run_steps(["unit", "molecule"], [])
    assert order == [("unit", False), ("molecule", False)], "one lane alone has nothing beside it"


@pytest.mark.parametrize("arguments", [[], ["nothing"], ["-k", "unit"], ["unit", "-k", "x", "lint"]])
def test_words_that_are_no_steps_are_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run.main(arguments) == 2
    assert "the steps are lint, tools, unit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "allowed", "code", "said"),
    [
        ("pytest.skip('no root')", "", 1, "does not allow it: no root"),
        ("pytest.skip('no root')", "*::test_it: no *", 0, "1 skipped"),
        ("pytest.skip('no root')", "*::test_it: no network", 1, "does not allow it: no root"),
        ("pytest.xfail('known')", "", 0, "1 xfailed"),
        ("pass", "", 0, "1 passed"),
    ],
)
def test_a_skip_fails_unless_it_is_allowed(tmp_path: Path, body: str, allowed: str, code: int, said: str) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "conftest.py").write_bytes((ROOT / "conftest.py").read_bytes())
    (tmp_path / "tests" / "allowed_skips.txt").write_text(f"# comment\n\n{allowed}\n", encoding="utf-8")
    (tmp_path / "tests" / "test_x.py").write_text(f"import pytest\n\ndef test_it():\n    {body}\n", encoding="utf-8")
    answer = pytest_in(tmp_path, "--fail-on-skip")
    assert (answer.returncode, said in answer.stdout) == (code, True), answer.stdout
    assert pytest_in(tmp_path).returncode == 0, "without the option a skip is a skip"


def test_a_file_skipped_as_a_whole_fails_too(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "conftest.py").write_bytes((ROOT / "conftest.py").read_bytes())
    (tmp_path / "tests" / "test_x.py").write_text("import pytest\npytest.importorskip('not_there')\n", encoding="utf-8")
    answer = pytest_in(tmp_path, "--fail-on-skip")
    assert (answer.returncode, "whole file skipped" in answer.stdout) == (2, True), answer.stdout


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-ra", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def venv_script(tmp_path: Path) -> Path:
    """tools/venv in a folder of its own, with a lock that names nothing."""
    (tmp_path / "tools").mkdir()
    script = tmp_path / "tools" / "venv"
    script.write_bytes((ROOT / "tools" / "venv").read_bytes())
    script.chmod(0o755)
    (tmp_path / "requirements.txt").write_text("", encoding="utf-8")
    return script


def venv(script: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(script), "requirements.txt"], env=os.environ | environment, capture_output=True, text=True, check=False
    )


def test_without_a_new_enough_python_the_package_is_named(venv_script: Path) -> None:
    answer = venv(venv_script, PYTHON_FOR_VENV="python2.7 nothing-here")
    assert (answer.returncode, "apt-get install python3 python3-venv" in answer.stderr) == (2, True)
    assert not (venv_script.parent.parent / ".venv").exists()


def test_a_folder_of_somebody_elses_is_left_alone(venv_script: Path) -> None:
    mine = venv_script.parent.parent / ".venv" / "notes"
    mine.parent.mkdir()
    mine.write_text("keep", encoding="utf-8")
    answer = venv(venv_script, PYTHON_FOR_VENV=sys.executable)
    assert (answer.returncode, mine.read_text(encoding="utf-8")) == (2, "keep")
    assert "move it away" in answer.stderr


def test_a_venv_is_made_once_and_again_when_the_lock_changes(venv_script: Path) -> None:
    folder = venv_script.parent.parent
    first = venv(venv_script, PYTHON_FOR_VENV=sys.executable)
    second = venv(venv_script, PYTHON_FOR_VENV="nothing-here")
    (folder / "requirements.txt").write_text("# changed\n", encoding="utf-8")
    third = venv(venv_script, PYTHON_FOR_VENV=sys.executable)
    made = [(answer.returncode, "making .venv" in answer.stderr) for answer in (first, second, third)]
    assert made == [(0, True), (0, False), (0, True)], first.stderr + second.stderr + third.stderr


def test_a_lock_without_hashes_is_refused(venv_script: Path) -> None:
    (venv_script.parent.parent / "requirements.txt").write_text("not-a-package==1\n", encoding="utf-8")
    answer = venv(venv_script, PYTHON_FOR_VENV=sys.executable)
    assert answer.returncode != 0
    assert not (venv_script.parent.parent / ".venv" / "requirements.installed").exists()
