# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the named steps, each under a heading, and ends with one line: N passed, N failed.

    python tests/run.py lint unit contract          steps
    python tests/run.py unit -k lease               what follows the steps goes to pytest

A step that fails does not stop the next one, so one run shows everything that is wrong. The integration tests wait
more than they compute, so they run beside the others. What failed is run once more, alone: what passes then is told
as unsteady and does not fail the run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
OUTPUT = ROOT / ".cache" / "tests"  # reports, logs, and what failed last
PYTHON_TREES = ("harness", "library", "plugins", "tests", "conftest.py")

LINT = {
    "syntax": ["python", "-m", "compileall", "-q", *PYTHON_TREES],
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "yamllint": ["yamllint", "--strict", "."],
    "ansible-lint": ["ansible-lint", "-q"],
}
# The role toolchain fills the cache once; the tests after it take every binary from there.
TOOLCHAIN = ["ansible", "localhost", "-m", "ansible.builtin.include_role", "-a", "name=toolchain"]
TOOLS = {
    "for the control plane": TOOLCHAIN,
    "for the Helm form": [*TOOLCHAIN, "-e", '{"toolchain_tools": ["helm"]}'],
}
PYTEST = {
    "unit": ["tests/unit", "-m", "not long"],
    "contract": ["tests/contract"],
    "integration": ["tests/integration", "tests/playbooks", "tests/browser", "-m", "not long"],
    "long": ["tests", "-m", "long"],
    "bench": ["tests/benchmarks", "-m", "benchmark", "-s"],
}
NAMED, LINE = 40, 240  # failures in the summary, characters of each
AGAIN_MOST = 5  # failures of one step; more of them are no accident
STEPS = ("lint", "tools", *PYTEST, "molecule")
#: Side by side, after everything else that is asked for; the steps of a lane one after the other.
LANES = (("integration",), ("unit", "contract", "molecule"))
#: How a failure looks in the output of a command that is no pytest.
TOLD = re.compile(r"fatal: |FAILED!|\[ERROR\]|\bERROR\b|CRITICAL|\berror:|failed=[1-9]|Idempotence test failed")
DECORATION = re.compile(r"\x1b\[[0-9;]*m|[│┌└─]")


@dataclass(frozen=True)
class Outcome:
    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    failures: tuple[str, ...] = ()
    #: Runs what failed once more.
    again: Callable[[], Outcome] | None = field(default=None, compare=False)
    unsteady: tuple[str, ...] = ()


def main(arguments: list[str]) -> int:
    steps = [word for word in arguments if word in STEPS]
    rest = arguments[len(steps) :]
    if not steps or arguments[: len(steps)] != steps:
        print(f"usage: run.py STEP… [pytest arguments]; the steps are {', '.join(STEPS)}", file=sys.stderr)
        return 2
    OUTPUT.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    outcomes = [once_more(outcome) for outcome in run_steps(steps, rest)]
    return summary(outcomes, time.monotonic() - began)


def run_steps(steps: Sequence[str], rest: list[str]) -> list[Outcome]:
    lanes = [lane for names in LANES if (lane := [step for step in steps if step in names])]
    if len(lanes) < 2:
        return [outcome for step in steps for outcome in run_step(step, rest)]
    first = [step for step in steps if not any(step in lane for lane in lanes)]
    outcomes = [outcome for step in first for outcome in run_step(step, rest)]
    with ThreadPoolExecutor(len(lanes)) as pool:
        beside = pool.map(lambda lane: [one for step in lane for one in run_step(step, rest, beside=True)], lanes)
        return outcomes + [outcome for lane in beside for outcome in lane]


def run_step(step: str, rest: list[str], beside: bool = False) -> Iterator[Outcome]:
    """The outcomes of one step; lint, tools and molecule have several."""
    if step == "lint":
        yield from (command(f"lint: {name}", argv, beside) for name, argv in LINT.items())
    elif step == "tools":
        yield from (command(f"tools: {name}", argv, beside) for name, argv in TOOLS.items())
    elif step == "molecule":
        yield from (command(f"molecule: {name}", ["molecule", "test", "-s", name], beside) for name in scenarios())
    else:
        yield pytest(step, [*PYTEST[step], *rest], beside)


def scenarios() -> list[str]:
    """Every Molecule scenario but default, which only makes and destroys what the others share."""
    folders = sorted(path.parent.name for path in (ROOT / "extensions" / "molecule").glob("*/molecule.yml"))
    return [name for name in folders if name != "default"]


def command(name: str, argv: list[str], beside: bool = False) -> Outcome:
    """One command is one test: it passes when it returns 0."""
    code, seconds, log = execute(name, argv, beside)
    # The end of it: a scenario may provoke failures on its way.
    told = () if code == 0 else (f"{name}: {told_in(log)[-2 * LINE :] or f'ended with {code}'}",)
    return Outcome(name, int(code == 0), int(code != 0), 0, seconds, told, lambda: command(name, argv))


def told_in(log: Path) -> str:
    """The lines of a log that tell of a failure, joined."""
    text = DECORATION.sub("", log.read_text(encoding="utf-8", errors="replace"))
    return " | ".join(line.strip() for line in text.splitlines() if TOLD.search(line))


def pytest(step: str, arguments: list[str], beside: bool = False, only_failed: bool = False) -> Outcome:
    report = OUTPUT / f"{step}.xml"
    report.unlink(missing_ok=True)
    present = [argument for argument in arguments if not argument.startswith("tests/") or (ROOT / argument).exists()]
    options = ["-o", f"cache_dir={OUTPUT / step}", f"--junit-xml={report}"]
    options += ["--last-failed", "--last-failed-no-failures=none"] if only_failed else []
    code, seconds, _ = execute(step, ["python", "-m", "pytest", *present, *options], beside)
    passed, failed, skipped = counts(report)
    # No test at all (5), a broken collection or a killed pytest is a failure even where every test that ran passed.
    failed = failed or int(code != 0)
    told = tuple(failures(report))
    again = (lambda: pytest(step, arguments, only_failed=True)) if told else None
    return Outcome(step, passed, failed, skipped, seconds, told, again)


def once_more(outcome: Outcome) -> Outcome:
    """The outcome after what failed has been run again with nothing beside it."""
    if not outcome.failures or outcome.again is None or len(outcome.failures) > AGAIN_MOST:
        return outcome
    second = outcome.again()
    if second.passed + second.failed != outcome.failed:
        return outcome
    still = {name_in(line) for line in second.failures}
    return Outcome(
        outcome.name,
        outcome.passed + second.passed,
        second.failed,
        outcome.skipped,
        outcome.seconds + second.seconds,
        second.failures,
        unsteady=tuple(line for line in outcome.failures if name_in(line) not in still),
    )


def name_in(failure: str) -> str:
    return failure.partition(": ")[0]


def counts(report: Path) -> tuple[int, int, int]:
    """(passed, failed, skipped) of a JUnit file; nothing where pytest did not get to write it."""
    if not report.exists():
        return 0, 0, 0
    suite = next(ET.parse(report).iter("testsuite"))
    failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
    skipped = int(suite.get("skipped", 0))
    return int(suite.get("tests", 0)) - failed - skipped, failed, skipped


def failures(report: Path) -> Iterator[str]:
    """Each test of a JUnit file that failed, with the first line of why."""
    if not report.exists():
        return
    for case in ET.parse(report).iter("testcase"):
        for kind in ("failure", "error"):
            if (found := case.find(kind)) is not None:
                why = " ".join((found.get("message") or "").split())
                yield f"{case.get('classname')}::{case.get('name')}: {why}"[:LINE]


def execute(name: str, argv: list[str], beside: bool = False) -> tuple[int, float, Path]:
    """(exit code, seconds, log); what runs beside something else is shown only when it is through."""
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    }
    log = OUTPUT / f"{name.replace(': ', '-').replace(' ', '-')}.log"
    heading = f"\n──── {name} ────\n$ {' '.join(argv)}"
    print(f"──── {name} has begun" if beside else heading, flush=True)
    started = time.monotonic()
    with (
        log.open("wb") as stream,
        subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process,
    ):
        assert process.stdout is not None
        while chunk := process.stdout.read1():
            stream.write(chunk)
            if not beside:
                show(chunk)
    seconds = time.monotonic() - started
    if beside:
        show(f"{heading}\n".encode() + log.read_bytes())
    verdict = "passed" if process.returncode == 0 else f"FAILED with {process.returncode}"
    print(f"──── {name}: {verdict} in {seconds:.1f} s", flush=True)
    return process.returncode, seconds, log


def show(output: bytes) -> None:
    sys.stdout.buffer.write(output)
    sys.stdout.buffer.flush()


def summary(outcomes: list[Outcome], seconds: float) -> int:
    print(f"\n{'step':<34}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for outcome in outcomes:
        print(f"{outcome.name:<34}{outcome.passed:>8}{outcome.failed:>8}{outcome.skipped:>9}{outcome.seconds:>9.1f}")
    # Last, for whoever sees only the end of a long output.
    for line in [f"unsteady, passed alone: {line}" for outcome in outcomes for line in outcome.unsteady][:NAMED]:
        print(line)
    for line in [line for outcome in outcomes for line in outcome.failures][:NAMED]:
        print(line)
    passed, failed, skipped = (
        sum(getattr(outcome, field) for outcome in outcomes) for field in ("passed", "failed", "skipped")
    )
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped in {seconds:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
