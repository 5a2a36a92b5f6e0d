# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible.module_utils.nightbench.errors import ConfigurationError
from ansible.module_utils.nightbench.readiness import Ready, check_ready, probe, split_address

from tests.fakes.serving import QuietHandler, serving


class Answers(QuietHandler):
    """GET /503 answers 503."""

    def do_GET(self) -> None:
        self.answer(int(self.path.rpartition("/")[2]), b"[-]etcd failed\n")


@pytest.fixture
def server() -> Iterator[str]:
    with serving(Answers) as listening:
        yield f"127.0.0.1:{listening.server_port}"


@pytest.mark.parametrize(
    ("path", "reason"),
    [("200", None), ("503", "it answered 503 [-]etcd failed"), ("404", "it answered 404 [-]etcd failed")],
)
def test_a_url_is_ready_when_it_answers_200(server: str, path: str, reason: str | None) -> None:
    assert probe(Ready(url=f"http://{server}/{path}")) == reason


def test_a_tcp_address_is_ready_when_it_accepts(server: str) -> None:
    assert probe(Ready(tcp=server)) is None


def test_a_file_is_ready_when_it_exists(tmp_path: Path) -> None:
    assert probe(Ready(file=str(tmp_path / "up"))) == f"{tmp_path}/up does not exist"
    (tmp_path / "up").touch()
    assert probe(Ready(file=str(tmp_path / "up"))) is None


@pytest.mark.parametrize(
    ("ready", "reason"),
    [
        (Ready(tcp="127.0.0.1:1"), "Connection refused"),
        (Ready(url="http://127.0.0.1:1/"), "Connection refused"),
        (Ready(url="https://127.0.0.1:1/", ca_cert="/no/ca.crt"), "No such file"),  # the process may write it yet
        (Ready(url="https://127.0.0.1:1/", client_cert="/no/a.crt", client_key="/no/a.key"), "No such file"),
    ],
)
def test_what_is_not_there_yet_is_a_reason_and_no_error(ready: Ready, reason: str) -> None:
    assert reason in str(probe(ready))


def test_a_server_that_speaks_no_tls_is_a_reason(server: str) -> None:
    assert "SSL" in str(probe(Ready(url=f"https://{server}/200")))


@pytest.mark.parametrize(
    "ready",
    [Ready(url="ftp://host/"), Ready(url="127.0.0.1:80"), Ready(url="https:///x"), Ready(tcp="host"), Ready(tcp="h:x")],
)
def test_what_could_never_be_asked_is_refused(ready: Ready) -> None:
    with pytest.raises(ConfigurationError, match=r"ready: '.*' is not "):
        check_ready(ready)


@pytest.mark.parametrize(("address", "host", "port"), [("h:1", "h", 1), (":2", "127.0.0.1", 2), ("[::1]:3", "::1", 3)])
def test_addresses(address: str, host: str, port: int) -> None:
    assert split_address(address) == (host, port)
