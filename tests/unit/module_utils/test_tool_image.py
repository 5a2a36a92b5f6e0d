# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import tarfile

import pytest
from ansible.module_utils.nightbench import tool_image
from ansible.module_utils.nightbench.tool_source import SourceError

TYPES = {"f": tarfile.REGTYPE, "d": tarfile.DIRTYPE, "l": tarfile.SYMTYPE, "h": tarfile.LNKTYPE}


def layer(*entries: str) -> list[tarfile.TarInfo]:
    """`f bin/x`, `d bin`, `l bin -> usr/bin`, `h a -> b` as entries of a tar."""
    members = []
    for entry in entries:
        kind, _, rest = entry.partition(" ")
        name, _, target = rest.partition(" -> ")
        info = tarfile.TarInfo(name)
        info.type, info.linkname = TYPES[kind], target
        members.append(info)
    return members


@pytest.mark.parametrize(
    ("layers", "member", "found"),
    [
        ([["f bin/x"]], "/bin/x", (0, "bin/x")),
        ([["f ./bin/x"]], "bin/x", (0, "./bin/x")),
        ([["f bin/x"], ["f bin/x"]], "/bin/x", (1, "bin/x")),
        ([["f bin/x"], ["f bin/.wh.x"], ["f bin/x"]], "/bin/x", (2, "bin/x")),
        ([["f bin/x"], ["f bin/x", "f bin/.wh..wh..opq"]], "/bin/x", (1, "bin/x")),
        ([["f usr/bin/x", "l bin -> usr/bin"]], "/bin/x", (0, "usr/bin/x")),
        ([["f usr/bin/x", "l bin -> /usr/bin"]], "/bin/x", (0, "usr/bin/x")),
        ([["f usr/bin/x", "l usr/bin/y -> x"]], "/usr/bin/y", (0, "usr/bin/x")),
        ([["f opt/x", "l usr/bin/x -> ../../opt/x"]], "/usr/bin/x", (0, "opt/x")),
        ([["f opt/x", "l a -> ../../../opt/x"]], "/a", (0, "opt/x")),
        ([["f opt/x", "h bin/x -> opt/x"]], "/bin/x", (0, "opt/x")),
        ([["f opt/x"], ["h bin/x -> opt/x"]], "/bin/x", (0, "opt/x")),
        ([["f opt/x"], ["l bin -> opt"]], "/bin/x", (0, "opt/x")),
    ],
)
def test_the_file_is_what_a_container_would_see(layers: list[list[str]], member: str, found: tuple[int, str]) -> None:
    entry = tool_image.resolve(tool_image.merge([layer(*entries) for entries in layers]), member)
    assert (entry.layer, entry.info.name) == found


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([["f bin/y"]], "the image has no file /bin/x."),
        ([["f usr/local/bin/x"]], "the image has no file /bin/x; it has /usr/local/bin/x."),
        ([["f bin/x"], ["f bin/.wh.x"]], "the image has no file /bin/x."),
        ([["f bin/x"], ["f .wh.bin"]], "the image has no file /bin/x."),
        ([["f bin/x"], ["f bin/.wh..wh..opq"]], "the image has no file /bin/x."),
        ([["d bin", "f bin/x"], ["f bin"]], "the image has no file /bin/x."),
        ([["f bin/x"], ["f bin"]], "the image has no file /bin/x; it has /bin/x."),
        ([["d bin", "d bin/x"]], "the image has no file /bin/x; it has /bin/x."),
        ([["l bin/x -> y", "l bin/y -> x"]], "the image has no file /bin/x; it has /bin/x."),
        ([["l bin/x -> gone"]], "the image has no file /bin/x; it has /bin/x."),
    ],
)
def test_a_file_that_a_container_would_not_see_is_not_found(layers: list[list[str]], text: str) -> None:
    with pytest.raises(SourceError) as missed:
        tool_image.resolve(tool_image.merge([layer(*entries) for entries in layers]), "/bin/x")
    assert str(missed.value) == text


D = "@sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("image", "registry", "reference"),
    [
        (f"registry.k8s.io/kwok/kwok{D}", "", f"registry.k8s.io/kwok/kwok{D}"),
        (f"registry.k8s.io/kwok/kwok:v0.8.0{D}", "", f"registry.k8s.io/kwok/kwok{D}"),
        (f"registry.k8s.io/kwok/kwok{D}", "mirror.example:5000/all/", f"mirror.example:5000/all/kwok/kwok{D}"),
        (f"127.0.0.1:5000/x:1{D}", "", f"127.0.0.1:5000/x{D}"),
        (f"localhost/x{D}", "mirror.example", f"mirror.example/x{D}"),
        (f"calico/node{D}", "", f"docker.io/calico/node{D}"),
        (f"calico/node{D}", "mirror.example", f"mirror.example/calico/node{D}"),
        (f"busybox:1{D}", "", f"docker.io/library/busybox{D}"),
    ],
)
def test_a_mirror_takes_the_place_of_the_registry(image: str, registry: str, reference: str) -> None:
    assert tool_image.mirrored(image, registry) == reference
