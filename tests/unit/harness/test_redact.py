# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from harness import redact

ROOT = Path(__file__).resolve().parents[3]
CASES = [
    ("kwok_nodes_count=100", "kwok_nodes_count=100"),
    ("registry_password=abc", "registry_password=********"),
    ("a=1 api_token='x y' b=2", "a=1 api_token=******** b=2"),
    ("TOKEN=", "TOKEN="),
    ("@secrets.yml", "@secrets.yml"),
    ("note='two words'", "note='two words'"),
    ('{"a": 1, "db": {"password": "p", "host": "h"}}', '{"a": 1, "db": {"password": "********", "host": "h"}}'),
    ("{client_secret: s, list: [{ssh_key: k}]}", '{"client_secret": "********", "list": [{"ssh_key": "********"}]}'),
    ('{"use_token": true, "token": null}', '{"use_token": true, "token": null}'),
    ('{"broken password": ', "********"),
    ("mirror=https://me:pw@host/x", "mirror=https://********@host/x"),
    ('{"mirror": "oci://me:pw@host/x"}', '{"mirror": "oci://********@host/x"}'),
    ("unclosed='x password=y", "unclosed='x password=********"),
]


def callback() -> ModuleType:
    spec = importlib.util.spec_from_file_location("events", ROOT / "plugins" / "callback" / "nightbench_events.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# The callback plugin cannot import the harness; both hide the same.
@pytest.mark.parametrize("rules", [redact, callback()], ids=["harness", "callback"])
@pytest.mark.parametrize(("value", "shown"), CASES)
def test_secrets_in_variables_are_hidden(rules, value, shown):
    assert rules.redact_extra_vars(value) == shown


@pytest.mark.parametrize("rules", [redact, callback()], ids=["harness", "callback"])
def test_every_spelling_of_extra_vars_is_seen(rules):
    argv = ["ansible-playbook", "-e", "key=1", "--extra-vars", "key=2", "--extra-vars=key=3", "-ekey=4", "-i", "key=5"]
    assert rules.redact_argv(argv) == [
        "ansible-playbook",
        *("-e", "key=********", "--extra-vars", "key=********", "--extra-vars=key=********", "-ekey=********"),
        *("-i", "key=5"),
    ]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a=1 password=x", ["password"]),
        ('{"a": 1, "nested": {"token": "t"}}', ["nested"]),
        ("@file", []),
        ("a=1", []),
        ("{[", []),
    ],
)
def test_what_was_hidden_can_be_asked_for_again(value, names):
    assert redact.hidden_names(value) == names
