# SPDX-License-Identifier: GPL-3.0-or-later
"""Source image: a real registry on loopback and skopeo."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.modules import bench_tool

from tests.conftest import ModuleResult, RunModule
from tests.toolchain import row, script, stored

REGISTRY = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "127.0.0.1:{port}"}}
log: {{level: error}}
"""
NEEDED = ("skopeo", "docker-registry")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not all(map(shutil.which, NEEDED)), reason=f"the packages {' and '.join(NEEDED)} are not installed"
    ),
]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of an empty registry."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configuration = folder / "config.yml"
    configuration.write_text(REGISTRY.format(folder=folder / "data", port=port))
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", configuration], stdout=log, stderr=log)
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def layer(**files: bytes | str) -> bytes:
    """A layer: bytes are a file, a string is where a symbolic link leads; __ stands for / and DOT for a dot."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("DOT", "."))
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def write_image(layout: Path, *layers: bytes) -> None:
    """An OCI layout with one image."""

    def blob(content: bytes, media_type: str) -> dict[str, Any]:
        digest = hashlib.sha256(content).hexdigest()
        path = layout / "blobs" / "sha256" / digest
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    prefix = "application/vnd.oci.image"
    configuration = {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(x).hexdigest()}" for x in layers]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{prefix}.manifest.v1+json",
        "config": blob(json.dumps(configuration).encode(), f"{prefix}.config.v1+json"),
        "layers": [blob(content, f"{prefix}.layer.v1.tar+gzip") for content in layers],
    }
    entry = blob(json.dumps(manifest).encode(), f"{prefix}.manifest.v1+json")
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


@pytest.fixture
def push(registry: str, tmp_path: Path) -> Callable[..., str]:
    """Push an image of these layers; its name with the digest."""

    def call(*layers: bytes, name: str = "tools/hello") -> str:
        layout, digest = tmp_path / "layout", tmp_path / "digest"
        write_image(layout, *layers)
        argv = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false", "--digestfile", digest]
        subprocess.run([*argv, f"oci:{layout}", f"docker://{registry}/{name}:1"], check=True)
        return f"{registry}/{name}@{digest.read_text().strip()}"

    return call


@pytest.fixture
def get(run_module: RunModule, tmp_path: Path) -> Callable[..., ModuleResult]:
    def call(image: str, member: str = "/usr/bin/hello", **arguments: Any) -> ModuleResult:
        table = [row({"source": "image", "image": image, "member": member})]
        fixed = {"cache_dir": str(tmp_path / "cache"), "registry_verify_tls": False}
        return run_module(bench_tool, table=table, **{**fixed, **arguments})

    return call


def test_a_file_comes_out_of_the_layers_as_a_container_would_see_it(
    push: Callable[..., str], get: Callable[..., ModuleResult], tmp_path: Path
) -> None:
    image = push(
        layer(opt__old=script("0.0.1"), opt__hello=script("0.0.2")),
        layer(usr__bin__hello="/opt/hello", optDOTtxt=b"x"),
        layer(opt__DOTwhDOTold=b"", opt__hello=script("1.2.3")),
    )
    first, second = get(image).ok(), get(image).ok()
    assert (first["changed"], second["changed"]) == (True, False)
    tool = first["by_name"]["hello"]
    assert Path(tool["path"]).read_bytes() == script("1.2.3")
    assert (tool["version"], tool["source"], tool["detail"]) == ("1.2.3", "image", f"/usr/bin/hello of image {image}")
    assert len(stored(tmp_path / "cache")) == 2
    answer = get(image, "/opt/old").failed()["failed_tools"][0]["attempts"][0]["answer"]
    assert answer == "the image has no file /opt/old."


def test_a_mirror_is_asked_instead_and_the_cache_does_not_care_which_one_it_was(
    push: Callable[..., str], get: Callable[..., ModuleResult], registry: str
) -> None:
    pushed = push(layer(usr__bin__hello=script("1.2.3")), name="mirror/tools/hello")
    image = f"registry.example.com/tools/hello:v1.2.3@{pushed.partition('@')[2]}"
    tool = get(image, registry=f"{registry}/mirror").ok()["by_name"]["hello"]
    assert tool["detail"] == f"/usr/bin/hello of image {pushed}"
    assert get(image, registry="another.example.com").ok()["changed"] is False


@pytest.mark.parametrize(
    ("image", "verify", "texts"),
    [
        ("{registry}/tools/hello@sha256:" + "0" * 64, False, ["skopeo", "exit code 1", "manifest unknown"]),
        ("{registry}/tools/absent@sha256:" + "0" * 64, False, ["exit code 1", "manifest unknown"]),
        ("{registry}/tools/hello@sha256:" + "0" * 64, True, ["server gave HTTP response to HTTPS client"]),
        ("127.0.0.1:1/tools/hello@sha256:" + "0" * 64, False, ["connection refused"]),
    ],
    ids=["no such digest", "no such image", "no TLS", "nobody listens"],
)
def test_an_image_that_cannot_be_had_is_told_in_skopeos_words(
    get: Callable[..., ModuleResult], registry: str, tmp_path: Path, image: str, verify: bool, texts: list[str]
) -> None:
    result = get(image.format(registry=registry), registry_verify_tls=verify).failed()
    answer = result["failed_tools"][0]["attempts"][0]["answer"]
    assert [text for text in texts if text not in answer] == []
    assert stored(tmp_path / "cache") == []


def test_without_skopeo_the_source_says_what_to_install(
    get: Callable[..., ModuleResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = get("example.com/x@sha256:" + "0" * 64).failed()["failed_tools"][0]["attempts"][0]["answer"]
    assert answer == "there is no skopeo on PATH (Debian: apt-get install skopeo)."
