# SPDX-License-Identifier: GPL-3.0-or-later
"""Source `image`: a file out of a container image named by its digest; skopeo fetches, no container runtime is needed.

skopeo checks every blob against the digest, so the digest in the table decides the bytes.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from .tool_job import run
from .tool_source import Obtained, SourceError, Surroundings
from .tool_table import Source, Tool

WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
MAX_LINKS = 40
CHUNK = 1 << 20


def obtain(tool: Tool, source: Source, work: Path, around: Surroundings) -> Obtained:
    if not shutil.which("skopeo"):
        raise SourceError("there is no skopeo on PATH (Debian: apt-get install skopeo).")
    reference = mirrored(source.text("image"), around.registry)
    layout = work / "image"
    argv = [
        "skopeo",
        "--insecure-policy",  # signatures are not looked at: the digest already decides the content
        "copy",
        f"--src-tls-verify={str(around.registry_verify_tls).lower()}",
        f"docker://{reference}",
        f"oci:{layout}:tool",
    ]
    platform = ["--override-os", "linux", "--override-arch", around.arch]
    around.job.progress(0, 1, "images copied")
    copied = run([*argv[:2], *platform, *argv[2:]], around.job, env={"TMPDIR": str(work)})
    if copied.returncode:
        raise SourceError(f"{copied.command}: exit code {copied.returncode}: {copied.tail}")
    extract(layout, source.text("member"), work / tool.file)
    return Obtained(work / tool.file, f"{source.text('member')} of image {reference}")


def tried(tool: Tool, source: Source) -> str:
    return f"{source.text('member')} of image {source.text('image')}"


def mirrored(image: str, registry: str) -> str:
    """The reference to copy from: a mirror takes the place of the registry's host, and a tag beside a digest goes."""
    name, _, digest = image.partition("@")
    first, slash, rest = name.partition("/")
    if not slash or not ("." in first or ":" in first or first == "localhost"):
        first, rest = "docker.io", name if slash else f"library/{name}"
    path, _, last = rest.rpartition("/")
    bare = "/".join(filter(None, [registry.rstrip("/") or first, path, last.partition(":")[0]]))
    return f"{bare}@{digest}"


def extract(layout: Path, member: str, file: Path) -> None:
    """Write what the image has at `member` to `file`: the top layer that has it wins, links are followed."""
    layers = _layers(layout)
    tree = merge([_members(layer) for layer in layers])
    entry = resolve(tree, member)
    with tarfile.open(layers[entry.layer]) as archive:
        inner = archive.extractfile(entry.info)
        if inner is None:
            raise SourceError(f"{member} is not a file in the image.")
        with inner, open(file, "wb") as out:
            shutil.copyfileobj(inner, out, CHUNK)


@dataclass(frozen=True)
class Member:
    """A path of the merged image: which layer has it, and its entry there."""

    layer: int
    info: tarfile.TarInfo


Tree = dict[str, Member]


def merge(layers: list[list[tarfile.TarInfo]]) -> Tree:
    """The file system that the layers make together, lowest first."""
    tree: Tree = {}
    for number, members in enumerate(layers):
        # Whiteouts hide what lower layers have, wherever in the layer they stand.
        for info in members:
            path = PurePosixPath(_normal(info.name))
            if path.name == OPAQUE:
                _drop_below(tree, str(path.parent))
            elif path.name.startswith(WHITEOUT):
                hidden = str(path.with_name(path.name.removeprefix(WHITEOUT)))
                tree.pop(hidden, None)
                _drop_below(tree, hidden)
        for info in members:
            name = _normal(info.name)
            if PurePosixPath(name).name.startswith(WHITEOUT):
                continue
            if name in tree and tree[name].info.isdir() and not info.isdir():
                _drop_below(tree, name)
            tree[name] = Member(number, info)
    return tree


def resolve(tree: Tree, member: str) -> Member:
    """The regular file that `member` leads to, through symbolic links of any part of the path and hard links."""
    wanted = _normal(member)
    rest, done = wanted.split("/"), ""
    for _ in range(MAX_LINKS * 8):
        if not rest:
            break
        part = rest.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done.rpartition("/")[0]
            continue
        step = f"{done}/{part}".lstrip("/")
        entry = tree.get(step)
        if entry and entry.info.issym():
            target = entry.info.linkname
            done = "" if target.startswith("/") else done
            rest = target.split("/") + rest
        elif entry and entry.info.islnk():
            done, rest = "", _normal(entry.info.linkname).split("/") + rest
        elif entry and rest and not entry.info.isdir():
            break  # a file where the path needs a folder
        else:
            done = step
    found = tree.get(done)
    if rest or not found or not found.info.isfile():
        raise SourceError(f"the image has no file {member}{_nearest(tree, wanted)}.")
    return found


def _nearest(tree: Tree, wanted: str) -> str:
    name = PurePosixPath(wanted).name
    same = [path for path in tree if PurePosixPath(path).name == name]
    return f"; it has /{', /'.join(same[:5])}" if same else ""


def _drop_below(tree: Tree, folder: str) -> None:
    prefix = "" if folder in ("", ".") else f"{folder}/"
    for path in [path for path in tree if path.startswith(prefix)]:
        del tree[path]


def _normal(name: str) -> str:
    return str(PurePosixPath("/", name)).lstrip("/")


def _members(layer: Path) -> list[tarfile.TarInfo]:
    try:
        with tarfile.open(layer) as archive:
            return archive.getmembers()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise SourceError(f"layer {layer.name[:12]} cannot be read (tar, gzip, bzip2 and xz can): {error}") from error


def _layers(layout: Path) -> list[Path]:
    """The layers' files of the one image in an OCI layout, lowest first."""
    index = _json(layout / "index.json")
    manifest = _json(_blob(layout, index["manifests"][0]["digest"]))
    if "layers" not in manifest:
        raise SourceError("the image is an index of images; none of them is for this architecture.")
    return [_blob(layout, layer["digest"]) for layer in manifest["layers"]]


def _blob(layout: Path, digest: str) -> Path:
    algorithm, _, value = digest.partition(":")
    return layout / "blobs" / algorithm / value


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
