# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs say of themselves, and etcd or the API server of the storage."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from ansible.module_utils.nightbench import process_pages
from ansible.module_utils.nightbench.errors import ConfigurationError, Unreachable
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import Target

PAGES = {
    "/felix": "process_cpu_seconds_total 12.5\nprocess_resident_memory_bytes 7.0e+07\n",
    "/silent": "felix_active_local_policies 3\n",
    "/metrics": 'apiserver_storage_size_bytes{storage_cluster_id="etcd-0"} 4096\nother_total 7\nno metric\n',
}


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            text = PAGES.get(self.path)
            self.send_response(404 if text is None else 200)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_: object) -> None:
            """Nothing to say."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}"
        made.shutdown()


def api(server: str) -> Kube:
    return Kube(Target("http", "127.0.0.1", int(server.rpartition(":")[2]), "", server))


EVERYTHING = {"cpu": 12.5, "bytes": 7e7, "policies": None, "endpoints": None}
NOTHING = {"cpu": None, "bytes": None, "policies": 3.0, "endpoints": None}


def test_a_program_tells_what_its_page_has(server: str) -> None:
    assert process_pages.program(f"{server}/felix") == EVERYTHING
    assert process_pages.program(f"{server}/silent") == NOTHING
    with pytest.raises(Unreachable, match="/gone"):
        process_pages.program(f"{server}/gone")


def test_etcd_knows_what_of_its_storage_is_in_use_and_the_api_server_does_not(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kube = api(server)
    assert process_pages.storage(kube, None) == {"total": 4096.0, "in_use": None}
    monkeypatch.setitem(
        PAGES, "/metrics", "etcd_mvcc_db_total_size_in_bytes 8192\netcd_mvcc_db_total_size_in_use_in_bytes 4096\n"
    )
    etcd = process_pages.etcd_of(kube, f"{server}/metrics")
    assert process_pages.storage(kube, etcd) == {"total": 8192.0, "in_use": 4096.0}


def test_a_page_that_may_not_be_seen_tells_nothing(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(PAGES, "/metrics")
    assert process_pages.storage(api(server), None) == {"total": None, "in_use": None}


def test_a_token_for_the_api_server_is_never_shown_to_etcd(server: str) -> None:
    kube = api(server)
    kube.target = replace(kube.target, _headers={"Authorization": "Bearer secret"}, _headers_until=float("inf"))
    assert "Authorization" in kube.target.headers()
    assert "Authorization" not in process_pages.etcd_of(kube, server).target.headers()


@pytest.mark.parametrize("url", ["etcd", "ftp://127.0.0.1/metrics", ""])
def test_what_is_no_url_of_etcd_is_refused(server: str, url: str) -> None:
    with pytest.raises(ConfigurationError, match="no URL of etcd"):
        process_pages.etcd_of(api(server), url)
