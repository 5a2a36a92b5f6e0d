# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench import tool_table
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.tool_table import Source, Tool

from tests.toolchain import row

DIGEST = "sha256:" + "a" * 64
DOWNLOAD = {"source": "download", "url": "https://example.com/{version}/{arch}", "sha256": "b" * 64}
IMAGE = {"source": "image", "image": f"example.com/hello@{DIGEST}", "member": "/hello"}
GO = {"source": "go_module", "directory": "hello", "package": "./", "ldflags": ["-X main.version={version}"]}


def select_one(table_row: dict[str, Any], **arguments: Any) -> Tool:
    return tool_table.select([table_row], [table_row.get("name", "")], **arguments)[0]


def test_a_row_becomes_a_tool_with_version_and_architecture_filled_in() -> None:
    assert select_one(row(DOWNLOAD, GO), arch="arm64") == Tool(
        name="hello",
        version="1.2.3",
        file="hello",
        version_regex=r"hello version (\S+)",
        sources=(
            Source("download", "1.2.3", {"url": "https://example.com/1.2.3/arm64", "sha256": "b" * 64}),
            Source("go_module", "1.2.3", {"directory": "hello", "package": "./", "ldflags": ["-X main.version=1.2.3"]}),
        ),
    )


@pytest.mark.parametrize(
    ("order", "kinds", "left_out"),
    [
        (["download", "go_module"], ["download", "go_module"], []),
        (["go_module", "download"], ["go_module", "download"], []),
        (["go_module"], ["go_module"], ["download"]),
        (["path", "image"], [], ["go_module", "download"]),
    ],
)
def test_sources_come_in_the_order_asked_for_whatever_the_row_says(
    order: list[str], kinds: list[str], left_out: list[str]
) -> None:
    tool = select_one(row(GO, DOWNLOAD), order=order)
    assert ([s.kind for s in tool.sources], [s.kind for s in tool.left_out]) == (kinds, left_out)


def test_the_first_row_of_a_name_wins_and_a_name_asked_for_twice_comes_once() -> None:
    table = [row(GO, version="2.0.0"), row(GO), row(GO, name="other")]
    tools = tool_table.select(table, ["other", "hello", "other"])
    assert [(tool.name, tool.version) for tool in tools] == [("other", "1.2.3"), ("hello", "2.0.0")]


@pytest.mark.parametrize(("required", "meant"), [(True, True), (False, False), ("yes", True), ("no", False)])
def test_required_may_be_a_templated_string(required: Any, meant: bool) -> None:
    assert select_one(row(GO, required=required)).required is meant


@pytest.mark.parametrize(
    ("table_row", "text"),
    [
        (row(GO, version="latest"), "'latest' is not a version"),
        (row(GO, versoin="1"), "there is no field 'versoin'. Did you mean version?"),
        ({"name": "hello", "version": "1"}, "sources is missing"),
        ({"name": "hello", "sources": [GO]}, "version is missing"),
        (row({"source": "downlaod"}), "there is no source 'downlaod'. Did you mean download?"),
        (row({**GO, "ldflag": []}), "there is no field 'ldflag'. Did you mean ldflags?"),
        (row({**GO, "ldflags": "-s -w"}), "ldflags has to be a list"),
        (row({**GO, "package": ""}), "package is missing"),
        (row(GO, version=">=1,<2"), "needs one version, and the tool's version leaves a choice"),
        (row({**DOWNLOAD, "url": "ftp://example.com/x"}), "is not an http or https address"),
        (row({**DOWNLOAD, "sha256": ""}), "has no sha256, and what cannot be checked is not downloaded"),
        (row({**DOWNLOAD, "sha256": "abc"}), "sha256 'abc' is not 64 hexadecimal digits"),
        (row({**IMAGE, "image": "example.com/hello:1.2.3"}), "is not named by its digest"),
        (row({**IMAGE, "image": "example.com/hello@sha256:12"}), "is not named by its digest"),
    ],
)
def test_a_row_that_cannot_be_used_is_refused_with_the_reason(table_row: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        select_one(table_row)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    ("names", "order", "text"),
    [
        (["helo"], ["path"], "the table of tools: there is no tool 'helo'. Did you mean hello?"),
        (["zzz"], ["path"], "there is no tool 'zzz'. Known: hello."),
        (["hello"], ["go-module"], "toolchain_sources: there is no source 'go-module'. Did you mean go_module?"),
    ],
)
def test_unknown_names_are_refused_and_the_nearest_is_named(names: list[str], order: list[str], text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        tool_table.select([row(GO)], names, order)
    assert text in str(refused.value)


def test_whatever_decides_the_bytes_changes_the_recipe_and_nothing_else_does() -> None:
    def recipe(table_row: dict[str, Any], arch: str = "amd64", **inputs: str) -> str:
        tool = select_one(table_row, arch=arch)
        return tool_table.recipe(tool, tool.sources[0], arch, inputs)

    base = recipe(row(GO))
    others = [
        recipe(row(GO, version="1.2.4")),
        recipe(row({**GO, "tags": ["netgo"]})),
        recipe(row(GO, file="hello2")),
        recipe(row(GO), arch="arm64"),
        recipe(row(GO), **{"go.sum": "changed"}),
        recipe(row(DOWNLOAD)),
    ]
    assert len({base, *others}) == 1 + len(others)
    assert recipe(row(GO, required=False, version_arguments=["-v"])) == base
