# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said in two places is said the same: versions, requirements, stages, commands, exit codes."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.contract.tree import MODULES, ROLES, ROOT, files, name_of, read_yaml, role_options, under

LOCKS = ["requirements", "requirements-cluster", "requirements-dev", "requirements-gcp"]
USES = ("roles", "playbooks", "inventories", "library", "plugins", "harness")
LINK = re.compile(r"\]\((?!https?://|#|mailto:)([^)#\s]+)")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_one_version_everywhere() -> None:
    version = tomllib.loads(text_of("pyproject.toml"))["project"]["version"]
    newest = re.search(r"^## (\S+)", text_of("CHANGELOG.md"), re.MULTILINE)
    assert (read_yaml(ROOT / "galaxy.yml")["version"], newest and newest[1]) == (version, version)


@pytest.mark.parametrize("lock", LOCKS)
def test_everything_asked_for_is_locked_with_its_hash(lock: str) -> None:
    asked = [normal(name) for name in re.findall(r"^([A-Za-z][\w.-]*)", text_of(f"{lock}.in"), re.MULTILINE)]
    pinned = dict(re.findall(r"^([\w.-]+)==\S+ (\\)$", text_of(f"{lock}.txt"), re.MULTILINE))
    named = re.findall(r"^([A-Za-z][\w.-]*)", text_of(f"{lock}.txt"), re.MULTILINE)
    assert [name for name in asked if name not in pinned] == []
    assert [name for name in named if name not in pinned] == [], "not pinned, or without a hash"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_index_and_no_machine(lock: str) -> None:
    assert re.findall(r"^(?:-\S+|.*(?:://|/home|/tmp).*)$", text_of(f"{lock}.txt"), re.MULTILINE) == []


def test_the_locks_agree() -> None:
    pins = [dict(re.findall(r"^([\w.-]+)==(\S+)", text_of(f"{lock}.txt"), re.MULTILINE)) for lock in LOCKS]
    runtime = pins[0]
    assert [{name: other.get(name) for name in runtime} for other in pins[1:]] == [runtime] * (len(LOCKS) - 1)


def test_every_link_inside_the_project_leads_somewhere() -> None:
    pages = [path for path in files() if path.suffix == ".md"]
    broken = [
        f"{name_of(path)} → {link}"
        for path in pages
        for link in LINK.findall(path.read_text(encoding="utf-8"))
        if not (path.parent / link).exists()
    ]
    assert broken == []


def test_the_overview_names_every_role_and_every_module() -> None:
    text = text_of("docs/roles_and_modules.md")
    assert [name for name in [*ROLES, *MODULES] if f"`{name}`" not in text] == []


def test_the_changelog_names_every_role() -> None:
    text = text_of("CHANGELOG.md")
    assert [name for name in ROLES if f"`{name}`" not in text] == []


def test_there_is_a_page_for_every_suite_and_the_index_leads_to_every_page() -> None:
    index = text_of("docs/index.md")
    pages = [path.name for path in under("docs", ".md") if path.name != "index.md"]
    assert [name for name in pages if f"({name})" not in index] == []
    suites = [role for role in ROLES if (ROOT / "roles" / role / "files" / "scenarios").is_dir()]
    assert [suite for suite in suites if f"{suite}.md" not in pages] == []


def test_every_metric_is_explained() -> None:
    names = _names(json.loads(text_of("harness/schema/metrics.json")))
    text = "".join(path.read_text(encoding="utf-8") for path in under("docs", ".md"))
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


def _names(metrics: object) -> list[str]:
    if isinstance(metrics, dict):
        inner = metrics.get("metrics", metrics)
        if isinstance(inner, dict):
            return [name for name in inner if re.fullmatch(r"[a-z]+(_[a-z]+)+", name) and name != "schema_version"]
        return [metric["name"] for metric in inner]
    raise AssertionError("metrics.json is no mapping")


@pytest.mark.parametrize("page", [path for path in files() if path.suffix == ".md"], ids=name_of)
def test_every_variable_that_a_page_names_exists(page: Path) -> None:
    options = {name for role in ROLES for name in role_options(role)}
    used = "".join(path.read_text(encoding="utf-8") for folder in USES for path in under(folder, ".yml", ".py"))
    prefixes = "|".join([*ROLES, "nightbench"])
    named = set(re.findall(rf"(?<![\w/.@-])(?:{prefixes})_[a-z0-9_]+\b(?![\w/.*-])", page.read_text(encoding="utf-8")))
    unknown = [name for name in sorted(named - options - set(ROLES)) if not re.search(rf"\b{name}\b", used)]
    assert unknown == []


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_the_exit_codes_of_the_harness_are_explained(page: str) -> None:
    rows = re.findall(r"^\| (\d+) \|", text_of(page), re.MULTILINE)
    assert rows == ["0", "1", "2", "3", "4", "130"]


def test_every_command_of_the_readme_exists_in_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    named = set(re.findall(r"\bmake ([a-z-]+)", text_of("README.md")))
    assert {"nightly", "test", "lint", "bench", "clean", "help"} <= targets
    assert named <= targets


def test_the_cron_line_starts_with_cd() -> None:
    """Cron starts in another folder, where Ansible would not find ansible.cfg."""
    lines = re.findall(r"^(?:\d+|\*) .*nightly.*$", text_of("README.md"), re.MULTILINE)
    assert lines
    assert [line for line in lines if not re.match(r"(?:[\d*]+ ){5}cd \S+ && ", line)] == []


def test_the_packages_of_the_build_machine_stand_in_order() -> None:
    names = [line for line in text_of(".ci/packages.txt").splitlines() if line and not line.startswith("#")]
    assert names == sorted(set(names))


def test_a_skip_that_is_allowed_says_which_and_why() -> None:
    import conftest

    pairs = conftest.allowed_skips(text_of("tests/allowed_skips.txt"))
    assert [pair for pair in pairs if not all(pair)] == []


def test_the_module_folder_of_the_collection_is_the_one_of_the_checkout() -> None:
    assert (ROOT / "plugins" / "modules").readlink() == Path("../library")
