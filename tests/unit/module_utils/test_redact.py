# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing that looks like a secret reaches the results."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.nightbench import redact

TEXTS = {
    "nothing to hide: 500 nodes": "nothing to hide: 500 nodes",
    "Authorization: Bearer abc.def-123": "Authorization: Bearer ********",
    "password=hunter2, next": "password=********, next",
    '{"token": "s3cret", "name": "x"}': '{"token": ********, "name": "x"}',
    "https://me:pw@registry.example/v2": "https://********@registry.example/v2",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----": "********",
    "key cut short -----BEGIN PRIVATE KEY-----\nMIIE": "key cut short ********",
}


@pytest.mark.parametrize("message", TEXTS)
def test_a_message_loses_its_secrets_and_nothing_else(message: str) -> None:
    assert redact.text(message) == TEXTS[message]


@pytest.mark.parametrize(
    ("argv", "shown", "given"),
    [
        (["ansible-playbook", "a.yml"], "ansible-playbook a.yml", {}),
        (
            ["ansible-playbook", "-e", "kwok_nodes_count=5 x=1", "a.yml"],
            "ansible-playbook -e 'kwok_nodes_count=5 x=1' a.yml",
            {"kwok_nodes_count": "5", "x": "1"},
        ),
        (
            ["ansible-playbook", "-e", "registry_password=hunter2"],
            "ansible-playbook -e 'registry_password=********'",
            {"registry_password": "********"},
        ),
        (
            ["ansible-playbook", '--extra-vars={"a": {"api_token": "s"}, "b": [1]}'],
            """ansible-playbook '--extra-vars={"a": {"api_token": "********"}, "b": [1]}'""",
            {"a": {"api_token": "********"}, "b": [1]},
        ),
        (["ansible-playbook", "-epassword=x"], "ansible-playbook '-epassword=********'", {"password": "********"}),
        (["ansible-playbook", "-e", "@vault.yml"], "ansible-playbook -e @vault.yml", {"@vault.yml": None}),
        (["ansible-playbook", "-e", "{not: [yaml"], "ansible-playbook -e '********'", {}),
    ],
)
def test_a_command_line_shows_names_and_hides_secret_values(argv: list[str], shown: str, given: dict[str, Any]) -> None:
    assert (redact.command(argv), redact.given_variables(argv)) == (shown, given)
