# SPDX-License-Identifier: GPL-3.0-or-later
"""Source download against an HTTP server that also misbehaves."""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible.modules import bench_tool

from tests.conftest import ModuleResult, RunModule
from tests.fakes.serving import QuietHandler, serving
from tests.toolchain import row, script, stored

TOOL = script("1.2.3")


@dataclass
class Release:
    """A server of release files: path -> (status, headers, body); a body of None never comes."""

    url: str
    files: dict[str, tuple[int, dict[str, str], bytes | None]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def offer(self, path: str, body: bytes | None = TOOL, status: int = 200, **headers: str) -> str:
        self.files[path] = (status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
        return self.url + path


@pytest.fixture
def release() -> Iterator[Release]:
    offered = Release("")

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            offered.asked.append(self.path)
            status, headers, body = offered.files.get(self.path, (404, {}, b"no such file"))
            if body is None:
                offered.released.wait(30)
                return
            self.answer(status, body, headers)

    with serving(Handler) as server:
        offered.url = server.url
        yield offered
        offered.released.set()


@pytest.fixture
def get(run_module: RunModule, tmp_path: Path) -> Callable[..., ModuleResult]:
    def call(source: dict[str, Any], **arguments: Any) -> ModuleResult:
        table = [row({"source": "download", **source})]
        return run_module(bench_tool, table=table, cache_dir=str(tmp_path / "cache"), timeout_seconds=5, **arguments)

    return call


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar(name: str, content: bytes, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo(name)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


ARCHIVES = {
    "plain": (TOOL, None),
    "tar.gz": (tar("hello-1.2.3/hello", TOOL), "hello-1.2.3/hello"),
    "tar.xz": (tar("hello-1.2.3/hello", TOOL, "w:xz"), "hello-1.2.3/hello"),
    "zip": (zipped("bin/hello", TOOL), "bin/hello"),
}


@pytest.mark.parametrize(("body", "member"), ARCHIVES.values(), ids=ARCHIVES)
def test_a_release_is_fetched_checked_and_unpacked(
    get: Callable[..., ModuleResult], release: Release, body: bytes, member: str | None
) -> None:
    source = {"url": release.offer("/hello", body), "sha256": sha256(body), **({"member": member} if member else {})}
    first, second = get(source).ok(), get(source).ok()
    assert (first["changed"], second["changed"]) == (True, False)
    tool = first["by_name"]["hello"]
    assert Path(tool["path"]).read_bytes() == TOOL
    assert (tool["version"], tool["source"], tool["sha256"]) == ("1.2.3", "download", sha256(TOOL))
    assert tool["detail"] == f"{release.url}/hello"
    assert release.asked == ["/hello"]


@pytest.mark.parametrize(
    "checksums",
    [
        f"{sha256(TOOL)}\n",
        f"{sha256(TOOL)}",
        f"{'0' * 64}  other\n{sha256(TOOL)}  hello\n",
        f"{'0' * 64} *other\n{sha256(TOOL).upper()} *dist/hello\n",
        f"# sums\n{sha256(TOOL)}  hello\n",
    ],
    ids=["bare", "no newline", "list", "binary list in capitals", "comment"],
)
def test_the_publishers_checksum_file_is_read_in_all_its_forms(
    get: Callable[..., ModuleResult], release: Release, checksums: str
) -> None:
    sums = release.offer("/SHA256SUMS", checksums.encode())
    assert get({"url": release.offer("/hello"), "sha256_url": sums}).ok()["changed"] is True


def test_redirects_are_followed(get: Callable[..., ModuleResult], release: Release) -> None:
    release.offer("/real")
    moved = release.offer("/hello", b"", 302, Location="/real")
    assert get({"url": moved, "sha256": sha256(TOOL)}).ok()["by_name"]["hello"]["detail"] == moved
    assert release.asked == ["/hello", "/real"]


def refused_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/hello"


Offer = Callable[[Release], dict[str, Any]]
MISBEHAVIOUR: dict[str, tuple[Offer, str]] = {
    "wrong sha256": (
        lambda r: {"url": r.offer("/hello"), "sha256": "0" * 64},
        f"/hello has sha256 {sha256(TOOL)}, expected {'0' * 64}; the file was thrown away.",
    ),
    "truncated": (
        lambda r: {"url": r.offer("/hello", Content_Length=str(len(TOOL) + 7)), "sha256": sha256(TOOL)},
        f"/hello was cut short: {len(TOOL)} of {len(TOOL) + 7} bytes came.",
    ),
    "not there": (lambda r: {"url": f"{r.url}/hello", "sha256": sha256(TOOL)}, "/hello answered 404 Not Found."),
    "server error": (
        lambda r: {"url": r.offer("/hello", b"", 503), "sha256": sha256(TOOL)},
        "/hello answered 503 Service Unavailable.",
    ),
    "redirect to nowhere": (
        lambda r: {"url": r.offer("/hello", b"", 301, Location="/gone"), "sha256": sha256(TOOL)},
        "/gone answered 404 Not Found.",
    ),
    "redirect in a circle": (
        lambda r: {"url": r.offer("/hello", b"", 302, Location="/hello"), "sha256": sha256(TOOL)},
        "/hello answered 302 The HTTP server returned a redirect error that would lead to an infinite loop.",
    ),
    "nobody listens": (lambda _: {"url": refused_port(), "sha256": sha256(TOOL)}, "the host refuses the connection"),
    "no such host": (
        lambda _: {"url": "http://nightbench.invalid/hello", "sha256": sha256(TOOL)},
        "the host's name cannot be resolved",
    ),
    "no such member": (
        lambda r: {"url": r.offer("/a.tgz", tar("x/y", TOOL)), "sha256": sha256(tar("x/y", TOOL)), "member": "x/z"},
        "/a.tgz has no x/z in it; it has x/y.",
    ),
    "not an archive": (
        lambda r: {"url": r.offer("/a.tgz"), "sha256": sha256(TOOL), "member": "x"},
        "/a.tgz cannot be unpacked: file could not be opened successfully",
    ),
    "checksum file without the name": (
        lambda r: {"url": r.offer("/hello"), "sha256_url": r.offer("/SUMS", f"{'0' * 64}  other\n".encode())},
        "/SUMS has no sha256 for hello: ",
    ),
    "checksum file that is a page": (
        lambda r: {"url": r.offer("/hello"), "sha256_url": r.offer("/SUMS", b"<html>sign in</html>")},
        "/SUMS has no sha256 for hello: '<html>sign in</html>'",
    ),
    "checksum file missing": (
        lambda r: {"url": r.offer("/hello"), "sha256_url": f"{r.url}/SUMS"},
        "/SUMS answered 404 Not Found.",
    ),
    "the wrong program": (
        lambda r: {"url": r.offer("/hello", script("1.2.4")), "sha256": sha256(script("1.2.4"))},
        "is version 1.2.4, 1.2.3 is asked for.",
    ),
}


@pytest.mark.parametrize(("offer", "text"), MISBEHAVIOUR.values(), ids=MISBEHAVIOUR)
def test_each_misbehaviour_has_its_own_text_and_leaves_nothing_in_the_cache(
    get: Callable[..., ModuleResult], release: Release, tmp_path: Path, offer: Offer, text: str
) -> None:
    result = get(offer(release)).failed()
    (attempt,) = result["failed_tools"][0]["attempts"]
    assert text in attempt["answer"].replace("\n", " ")
    assert text.split("\n")[0] in result.msg.replace("\n", " ")
    assert stored(tmp_path / "cache") == []


def test_a_server_that_hangs_is_given_up_after_the_timeout_and_asked_only_once(
    run_module: RunModule, release: Release, tmp_path: Path
) -> None:
    source = {"source": "download", "url": release.offer("/hello", None), "sha256": "0" * 64}
    table = [row(source), row(source, name="other")]
    result = run_module(bench_tool, table=table, cache_dir=str(tmp_path / "cache"), timeout_seconds=0.2).failed()
    answers = [tool["attempts"][0]["answer"] for tool in result["failed_tools"]]
    host = release.url.removeprefix("http://")
    assert answers == [
        f"{release.url}/hello: no answer within 0.2 s.",
        f"{host} is not asked again: no answer within 0.2 s.",
    ]
    assert release.asked == ["/hello"]


@pytest.mark.parametrize(("deadline", "stop"), [(0.3, False), (60, True)], ids=["deadline", "stop file"])
def test_a_hanging_download_ends_when_the_run_ends(
    get: Callable[..., ModuleResult], release: Release, tmp_path: Path, deadline: float, stop: bool
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    url = release.offer("/hello", None)
    if stop:
        threading.Timer(0.3, (state / "stop").touch).start()
    result = get({"url": url, "sha256": "0" * 64}, run_state=str(state), deadline_seconds=deadline).failed()
    assert ("stopped on request" if stop else "not done within 0.3 s") in result.msg
    assert stored(tmp_path / "cache") == []
    assert list((state / "modules").iterdir()) == []
