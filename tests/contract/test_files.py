# SPDX-License-Identifier: GPL-3.0-or-later
"""Every file can be held in the head, says under which licence it stands, and speaks of the project alone."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.contract.tree import files, name_of, under

LICENCE = "SPDX-License-Identifier: GPL-3.0-or-later"
LONGEST = {".py": 400, ".yml": 400, ".sh": 200}
LONGEST_TEST = 500  # tables of cases
SOURCE = (".py", ".yml", ".yaml", ".cfg", ".toml", ".j2", ".sh")
TEXT = (*SOURCE, ".md", ".json", ".txt", ".in", ".html", ".css", ".js", "")

# Paths of one person's machine. (A container's own paths are data and stand in fixtures.)
MACHINE_PATH = re.compile(r"(?<![\w./$}-])/(?:work|root|home/(?!me/)\w+|Users/\w+)/|/tmp/(?:venv|tools|nb)\b")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError")
OTHER_REGISTRY = re.compile(r"https?://[^\s/]*(?:artifactory|nexus|proxy|mirror)[^\s/]*/")

# One word for one thing: what is not said, and what is said instead.
WORDS = {
    r"molecule scenario": "Molecule scenario (a scenario alone is a measured case)",
    r"[Kk]wok stages?\b": "KWOK Stage",
    r"(?i)\bSLOs?\b": "objective",
    r"(?i)\bbottlenecks?\b": "bound_by",
    r"(?i)\bwork-?load generators?\b": "load generator",
    r"(?i)\bload testers?\b": "load generator",
    r"(?i)\btest ?beds?\b": "environment",
    r"(?i)\bbaseline runs?\b": "baseline",
    r"(?i)\bdata points?\b": "sample",
    r"(?i)\btest ?suites\b(?!>|\.|\")": "suite",
    r"\brun ID\b|\brunid\b|\brunId\b": "run-id",
    r"(?i)\b(?:master|slave) nodes?\b": "control plane, node",
    r"(?i)\bblack-?list|\bwhite-?list": "deny, allow",
    r"(?i)\bflaky\b": "say what differs from run to run",
}


def text_files() -> list[Path]:
    """What people write: not the locks, the licence, or what other tools print into the tree."""
    generated = re.compile(r"(^|/)(LICENSE|go\.sum|requirements[\w-]*\.txt)$|\.svg$|^tests/contract/test_files\.py$")
    return [path for path in files() if path.suffix in TEXT and not generated.search(name_of(path))]


def hits(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{name_of(path)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def test_every_source_file_names_its_licence_at_the_top() -> None:
    without = [
        name_of(path)
        for path in files()
        if path.suffix in SOURCE and path.stat().st_size and LICENCE not in path.read_text(encoding="utf-8")[:400]
    ]
    assert without == []


def test_every_module_of_python_defers_its_annotations() -> None:
    without = [
        name_of(path)
        for path in files()
        if path.suffix == ".py"
        and "\n\n" in (text := path.read_text(encoding="utf-8"))
        and "import annotations" not in text
    ]
    assert [name for name in without if not name.endswith("__init__.py")] == []


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {path: length(path) for path in files() if path.suffix in LONGEST}
    assert {name_of(path): length for path, length in lengths.items() if length > longest(path)} == {}


def longest(path: Path) -> int:
    return LONGEST_TEST if name_of(path).startswith("tests/") else LONGEST[path.suffix]


def length(path: Path) -> int:
    """Lines; the documentation inside a module is a page of its own."""
    text = path.read_text(encoding="utf-8")
    if path.parent.name == "library":
        text = re.sub(r'^(DOCUMENTATION|EXAMPLES|RETURN) = r?""".*?"""$', "", text, flags=re.MULTILINE | re.DOTALL)
    return len(text.splitlines())


def test_no_file_names_a_path_of_one_machine() -> None:
    assert hits(MACHINE_PATH, text_files()) == []


def test_no_file_names_a_package_mirror_of_one_machine() -> None:
    assert hits(OTHER_REGISTRY, [path for path in text_files() if not name_of(path).startswith("tests/")]) == []


def test_nothing_is_left_for_later() -> None:
    assert hits(UNFINISHED, text_files()) == []


def test_nothing_speaks_of_how_the_project_was_planned() -> None:
    assert hits(re.compile(r"(?i)\bissue #?[1-9]\b|\bdesign\.md\b|\bcontract\.md\b"), text_files()) == []


@pytest.mark.parametrize("word", WORDS)
def test_one_thing_has_one_name(word: str) -> None:
    assert hits(re.compile(word), text_files()) == [], f"say: {WORDS[word]}"


def test_a_test_does_not_sleep_for_longer_than_a_second() -> None:
    """A process that a test starts and ends may."""
    tests = [path for path in under("tests", ".py") if path.name.startswith(("test_", "conftest"))]
    assert [f"{name_of(path)}:{line}" for path in tests for line in long_sleeps(path)] == []


def long_sleeps(path: Path) -> list[int]:
    calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    return [
        node.lineno
        for node in calls
        if ast.unparse(node.func).split(".")[-1] == "sleep"
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value > 1
    ]


SEEN = [
    (MACHINE_PATH, "cache: /root/.cache/x", True),
    (MACHINE_PATH, "path = '/home/anna/results'", True),
    (MACHINE_PATH, "{{ cache }}/root/file", False),
    (MACHINE_PATH, "roles/work/", False),
    (UNFINISHED, "# TODO later", True),
    (OTHER_REGISTRY, "https://proxy.here.example/simple", True),
    (OTHER_REGISTRY, "https://dl.k8s.io/release", False),
]


@pytest.mark.parametrize(("pattern", "line", "seen"), SEEN)
def test_the_patterns_see_what_they_are_for(pattern: re.Pattern[str], line: str, seen: bool) -> None:
    assert bool(pattern.search(line)) is seen
