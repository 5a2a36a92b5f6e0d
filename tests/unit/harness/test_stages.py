# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.stages import AnsibleOptions, Stage, read_stages, selected, stage_argv, with_localhost

NIGHTLY = """
- ansible.builtin.import_playbook: start.yml
  tags: [start, always]
- import_playbook: environment.yml
  tags: environment,kwok_nodes
- name: the suite
  ansible.builtin.import_playbook: scheduler_scale.yml
- ansible.builtin.import_playbook: mesh.yml
- ansible.builtin.import_playbook: report.yml
- ansible.builtin.import_playbook: teardown.yml
- ansible.builtin.import_playbook: verdict.yml
"""


@pytest.fixture
def stages(tmp_path: Path) -> list[Stage]:
    path = tmp_path / "nightly.yml"
    path.write_text(NIGHTLY)
    return read_stages(path)


def test_stages_are_what_the_nightly_imports(stages, tmp_path):
    assert [(stage.folder, stage.tags) for stage in stages] == [
        ("01__start", {"start", "always"}),
        ("02__environment", {"environment", "kwok_nodes"}),
        ("03__scheduler_scale", set()),
        ("04__mesh", set()),
        ("05__report", set()),
        ("06__teardown", set()),
        ("07__verdict", set()),
    ]
    assert stages[3].playbook == tmp_path / "mesh.yml"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- hosts: all\n", "entry 1 imports no playbook"),
        ("- import_playbook: [a]\n", "entry 1 imports no playbook"),
        ("import_playbook: a.yml\n", "is not a list"),
        ("", "is not a list"),
        ("- [", "is not YAML"),
        (None, "cannot read"),
    ],
)
def test_a_nightly_that_is_no_list_of_imports_is_refused(tmp_path, text, says):
    path = tmp_path / "nightly.yml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=says):
        read_stages(path)


ALL = ["start", "environment", "scheduler_scale", "mesh", "report", "teardown", "verdict"]


@pytest.mark.parametrize(
    ("tags", "skip", "left_out"),
    [
        ((), (), []),
        (("all",), (), []),
        (("environment", "scheduler_scale"), (), ["mesh"]),
        (("environment,mesh",), (), ["scheduler_scale"]),
        (("kwok_nodes",), (), ["scheduler_scale", "mesh"]),
        (("some_task_tag",), (), []),
        (("mesh", "some_task_tag"), (), []),
        (("report",), (), ["environment", "scheduler_scale", "mesh"]),
        ((), ("teardown",), ["teardown"]),
        ((), ("mesh, environment",), ["environment", "mesh"]),
        (("mesh",), ("mesh",), ["environment", "scheduler_scale", "mesh"]),
        ((), ("some_task_tag",), []),
    ],
)
def test_only_stages_that_the_tags_exclude_for_sure_are_left_out(stages, tags, skip, left_out):
    options = AnsibleOptions(tags=tags, skip_tags=skip)
    assert [stage.name for stage in stages if not selected(stage, stages, options)] == left_out


OPTIONS = [
    (AnsibleOptions(), []),
    (AnsibleOptions(inventories=("a", "b c")), ["-i", "a", "-i", "b c"]),
    (AnsibleOptions(extra_vars=("x=1", "@f.yml", '{"a": 1}')), ["-e", "x=1", "-e", "@f.yml", "-e", '{"a": 1}']),
    (AnsibleOptions(limit="gpu"), ["--limit", "gpu,localhost"]),
    (AnsibleOptions(tags=("a", "b,c")), ["--tags", "a,b,c"]),
    (AnsibleOptions(skip_tags=("a", "b")), ["--skip-tags", "a,b"]),
    (AnsibleOptions(check=True, diff=True), ["--check", "--diff"]),
    (AnsibleOptions(verbosity=3, forks=5), ["-vvv", "--forks", "5"]),
    (
        AnsibleOptions(vault_ids=("a@f",), vault_password_files=("p",)),
        ["--vault-id", "a@f", "--vault-password-file", "p"],
    ),
    (AnsibleOptions(more=("--become", "--flush-cache")), ["--become", "--flush-cache"]),
]


@pytest.mark.parametrize(("options", "expected"), OPTIONS)
def test_every_option_is_passed_on(options, expected):
    stage = Stage(2, "environment", Path("playbooks/environment.yml"))
    own = ["-e", "nightbench_run_id=R", "playbooks/environment.yml"]
    assert stage_argv(stage, options, {"nightbench_run_id": "R"}) == ["ansible-playbook", *expected, *own]


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ("gpu_hosts", "gpu_hosts,localhost"),
        ("all:!broken", "all:!broken,localhost"),
        ("localhost", "localhost"),
        ("a:localhost", "a:localhost"),
        ("localhost2", "localhost2,localhost"),
        ("@retry", "@retry,localhost"),
    ],
)
def test_a_limit_always_has_localhost(limit, expected):
    assert with_localhost(limit) == expected
