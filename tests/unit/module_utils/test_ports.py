# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from ansible.module_utils.nightbench import ports
from ansible.module_utils.nightbench.ports import Holder
from ansible.module_utils.nightbench.process import command_of


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[int]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as listening:
        try:
            listening.bind((request.param, 0))
        except OSError as error:
            pytest.skip(f"no {request.param} on this machine: {error}")
        listening.listen()
        yield listening.getsockname()[1]


def test_the_holder_of_a_port_is_named(listener: int) -> None:
    holder = Holder(listener, os.getpid(), command_of(os.getpid()))
    assert ports.holders([listener, 1]) == [holder]
    assert str(holder).startswith(f"port {listener} is taken by pid {os.getpid()} (")


def test_a_port_that_is_only_bound_or_connected_to_is_free(listener: int) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        assert ports.holders([bound.getsockname()[1]]) == []


def test_a_listener_of_another_user_is_taken_without_a_name(listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_owners", lambda _inodes: {})
    assert ports.holders([listener]) == [Holder(listener, 0, "")]
    assert str(Holder(80, 0, "")) == "port 80 is taken by a process that this user cannot see"


def test_no_ports_no_holders() -> None:
    assert ports.holders([]) == []
