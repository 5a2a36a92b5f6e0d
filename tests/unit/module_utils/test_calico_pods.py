# SPDX-License-Identifier: GPL-3.0-or-later
"""One program a node runs every tool in a pod of calico-node; what each of them said is told apart again."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from ansible.module_utils.nightbench.calico_pods import TOOLS, answers, script
from ansible.module_utils.nightbench.errors import ProcessError

TOKEN = "0123456789abcdef"


@pytest.fixture
def said(tmp_path: Path) -> str:
    """What the real shell prints where the tools are these: nft, and iptables that knows no backends apart."""
    for name, text in {
        "nft": 'echo "{\\"nftables\\": []}"; echo lost >&2',
        "iptables-save": "printf '*filter\\nCOMMIT'",
        "ip6tables-save": "true",
        "iptables-legacy-save": "exit 1",
        "bpftool": "exit 255",
        "cat": "exit 1",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    command = ["/bin/sh", "-c", script(TOKEN)]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_each_tools_words_are_its_own_and_one_that_is_not_there_says_nothing(said: str) -> None:
    expected: dict[str, str | None] = dict.fromkeys(TOOLS)
    expected |= {"nft": '{"nftables": []}\n', "iptables": "*filter\nCOMMIT", "ip6tables": ""}
    assert answers(said, TOKEN, "node-1") == expected


def test_a_tool_that_fails_is_told_with_its_node(said: str) -> None:
    failed = said.replace(f"{TOKEN} nft 0", f"{TOKEN} nft 1")
    with pytest.raises(ProcessError, match="nft -j -t list ruleset on node node-1 ended with 1"):
        answers(failed, TOKEN, "node-1")


@pytest.mark.parametrize(("cut", "lost"), [(0, "nft, bpftool, ip_vs"), (40, "iptables, ip6tables")])
def test_an_answer_that_is_cut_off_is_no_answer(said: str, cut: int, lost: str) -> None:
    with pytest.raises(ProcessError, match=f"did not tell of .*{lost}"):
        answers(said[: len(said) - cut if cut else 0], TOKEN, "node-1")


def test_what_a_tool_prints_cannot_end_another_ones_words(said: str) -> None:
    planted = said.replace('{"nftables": []}', "other iptables 0")
    found = answers(planted, TOKEN, "node-1")
    assert (found["nft"], found["iptables"]) == ("other iptables 0\n", "*filter\nCOMMIT")
