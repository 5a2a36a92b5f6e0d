# SPDX-License-Identifier: GPL-3.0-or-later
"""What programs say of themselves, twice: CPU that was used between, memory and storage before and after."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from ansible.module_utils.nightbench import process_pages
from ansible.module_utils.nightbench.errors import Unreachable
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


def test_programs_and_storage_are_read_from_their_pages(server: str) -> None:
    seen = process_pages.look(api(server), {"real-0": f"{server}/felix", "real-1": f"{server}/silent"})
    assert seen == {
        "storage_bytes": 4096,
        "programs": {"real-0": {"cpu": 12.5, "bytes": 7e7}, "real-1": {"cpu": None, "bytes": None}},
    }


def test_a_page_that_may_not_be_seen_tells_nothing_and_a_program_that_is_gone_is_named(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(PAGES, "/metrics")
    assert process_pages.look(api(server), {}) == {"storage_bytes": None, "programs": {}}
    with pytest.raises(Unreachable, match="/gone"):
        process_pages.look(api(server), {"real-0": f"{server}/gone"})


def test_two_looks_give_what_was_used_between() -> None:
    def seen(cpu: float | None, size: float | None, storage: float | None) -> dict[str, Any]:
        return {"storage_bytes": storage, "programs": {"real-0": {"cpu": cpu, "bytes": size}}}

    assert process_pages.between(seen(1.5, 10.0, 4096.0), seen(4.0, 20.0, 8192.0)) == {
        "programs": {"real-0": {"cpu_seconds": 2.5, "first_bytes": 10.0, "last_bytes": 20.0}},
        "storage": {"first_bytes": 4096.0, "last_bytes": 8192.0},
    }
    assert process_pages.between(seen(None, None, None), seen(4.0, 20.0, None)) == {
        "programs": {"real-0": {"cpu_seconds": None, "first_bytes": None, "last_bytes": 20.0}},
        "storage": {"first_bytes": None, "last_bytes": None},
    }
