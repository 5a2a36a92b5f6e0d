# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the named steps in order, each under a heading, and ends with one line: N passed, N failed.

    python tests/run.py lint unit contract          steps
    python tests/run.py unit -k lease               what follows the steps goes to pytest

A step that fails does not stop the next one, so one run shows everything that is wrong.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
JUNIT = ROOT / ".cache" / "tests"
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
NAMED, LINE = 40, 240  # failed tests in the summary, characters of each
STEPS = ("lint", "tools", *PYTEST, "molecule")


@dataclass(frozen=True)
class Outcome:
    name: str
    passed: int
    failed: int
    skipped: int
    seconds: float
    failures: tuple[str, ...] = ()


def main(arguments: list[str]) -> int:
    steps = [word for word in arguments if word in STEPS]
    rest = arguments[len(steps) :]
    if not steps or arguments[: len(steps)] != steps:
        print(f"usage: run.py STEP… [pytest arguments]; the steps are {', '.join(STEPS)}", file=sys.stderr)
        return 2
    JUNIT.mkdir(parents=True, exist_ok=True)
    outcomes = [outcome for step in steps for outcome in run_step(step, rest)]
    return summary(outcomes)


def run_step(step: str, rest: list[str]) -> Iterator[Outcome]:
    """The outcomes of one step; lint and molecule have several."""
    if step == "lint":
        yield from (command(f"lint: {name}", argv) for name, argv in LINT.items())
    elif step == "tools":
        yield from (command(f"tools: {name}", argv) for name, argv in TOOLS.items())
    elif step == "molecule":
        yield from (molecule(name) for name in molecule_scenarios())
    else:
        yield pytest(step, [*PYTEST[step], *rest])


def molecule_scenarios() -> list[str]:
    """Every Molecule scenario but default, which only makes and destroys what the others share."""
    folders = sorted(path.parent.name for path in (ROOT / "extensions" / "molecule").glob("*/molecule.yml"))
    return [name for name in folders if name != "default"]


def molecule(scenario: str) -> Outcome:
    return command(f"molecule: {scenario}", ["molecule", "test", "-s", scenario])


def command(name: str, argv: list[str]) -> Outcome:
    """One command is one test: it passes when it returns 0."""
    code, seconds = execute(name, argv)
    return Outcome(name, int(code == 0), int(code != 0), 0, seconds)


def pytest(step: str, arguments: list[str]) -> Outcome:
    report = JUNIT / f"{step}.xml"
    report.unlink(missing_ok=True)
    present = [argument for argument in arguments if not argument.startswith("tests/") or (ROOT / argument).exists()]
    code, seconds = execute(step, ["python", "-m", "pytest", *present, f"--junit-xml={report}"])
    passed, failed, skipped = counts(report)
    # No test at all (5), a broken collection or a killed pytest is a failure even where every test that ran passed.
    return Outcome(step, passed, failed or int(code != 0), skipped, seconds, tuple(failures(report)))


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


def execute(name: str, argv: list[str]) -> tuple[int, float]:
    print(f"\n──── {name} ────\n$ {' '.join(argv)}", flush=True)
    environment = os.environ | {
        "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}",
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    }
    started = time.monotonic()
    code = subprocess.run(argv, cwd=ROOT, env=environment, check=False).returncode
    seconds = time.monotonic() - started
    print(f"──── {name}: {'passed' if code == 0 else f'FAILED with {code}'} in {seconds:.1f} s", flush=True)
    return code, seconds


def summary(outcomes: list[Outcome]) -> int:
    print(f"\n{'step':<34}{'passed':>8}{'failed':>8}{'skipped':>9}{'seconds':>9}")
    for outcome in outcomes:
        print(f"{outcome.name:<34}{outcome.passed:>8}{outcome.failed:>8}{outcome.skipped:>9}{outcome.seconds:>9.1f}")
    # Last, for whoever sees only the end of a long output.
    for line in [line for outcome in outcomes for line in outcome.failures][:NAMED]:
        print(line)
    passed, failed, skipped = (
        sum(getattr(outcome, field) for outcome in outcomes) for field in ("passed", "failed", "skipped")
    )
    seconds = sum(outcome.seconds for outcome in outcomes)
    print(f"\n{passed} passed, {failed} failed, {skipped} skipped in {seconds:.1f} s", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
