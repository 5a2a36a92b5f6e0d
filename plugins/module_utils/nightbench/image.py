# SPDX-License-Identifier: GPL-3.0-or-later
"""An OCI image layout as one tar file, written without a container engine: the same content makes the same bytes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .errors import ConfigurationError

# github.com/opencontainers/image-spec, media-types.md and annotations.md; containerd takes the name from its own.
LAYER = "application/vnd.oci.image.layer.v1.tar"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
NAMES = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
TAG_LENGTH = 12


@dataclass(frozen=True)
class Entry:
    """A file, a folder (content None) or a link (target) at an absolute path of the image."""

    content: bytes | None = None
    mode: int = 0o644
    target: str = ""


@dataclass(frozen=True)
class Image:
    """What an image holds and how it is started."""

    repository: str
    entries: Mapping[str, Entry]
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    architecture: str = "amd64"


@dataclass(frozen=True)
class Archive:
    """The archive of an image. The tag is the beginning of the manifest's digest: a name means one content."""

    name: str
    digest: str
    data: bytes


def build(image: Image) -> Archive:
    check_repository(image.repository)
    layer = _layer(image.entries)
    config = _json(
        {
            "architecture": image.architecture,
            "os": "linux",
            "config": {
                "Env": [f"{name}={value}" for name, value in sorted(image.environment.items())],
                "Cmd": list(image.command),
            },
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": _descriptor(CONFIG, config),
            "layers": [_descriptor(LAYER, layer)],
        }
    )
    digest = _digest(manifest)
    name = f"{image.repository}:{digest.partition(':')[2][:TAG_LENGTH]}"
    platform = {"architecture": image.architecture, "os": "linux"}
    described = {**_descriptor(MANIFEST, manifest), "platform": platform, "annotations": dict.fromkeys(NAMES, name)}
    index = _json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [described]})
    files = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": index,
        **{f"blobs/sha256/{_digest(blob)[7:]}": blob for blob in (manifest, config, layer)},
    }
    return Archive(name, digest, _tar({path: Entry(data) for path, data in files.items()}))


def name_in(path: Path) -> str:
    """The full name of the image in an archive."""
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("index.json")
            index = json.load(member) if member else {}
        return str(index["manifests"][0]["annotations"][NAMES[0]])
    except FileNotFoundError as error:
        raise ConfigurationError(f"There is no image archive {path}.") from error
    except (tarfile.TarError, KeyError, ValueError, IndexError, gzip.BadGzipFile) as error:
        raise ConfigurationError(
            f"read {path}: it is no archive of one image that says its full name ({error!r}).",
            hint=f"bench_image writes such; any other needs the annotation {NAMES[0]} in its index.json.",
        ) from error


def check_repository(repository: str) -> None:
    """A name without a host is taken for one of docker.io and never found."""
    host, _, rest = repository.partition("/")
    if not rest or "." not in host or ":" in rest or "@" in rest or repository != repository.lower():
        raise ConfigurationError(
            f"{repository!r} is no full name of an image without its tag.", hint="nightbench.local/tools is one."
        )


def parents(path: str) -> list[str]:
    return [str(parent) for parent in reversed(PurePosixPath(path).parents) if str(parent) != "/"]


def _layer(entries: Mapping[str, Entry]) -> bytes:
    whole: dict[str, Entry] = {}
    for path in sorted(entries):
        if not path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise ConfigurationError(f"{path!r} is no absolute path inside an image.")
        for parent in parents(path):
            whole.setdefault(parent, entries.get(parent, Entry(mode=0o755)))
        whole[path] = entries[path]
    return _tar({path.lstrip("/"): entry for path, entry in sorted(whole.items())})


def _tar(entries: Mapping[str, Entry]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, entry in entries.items():
            member = tarfile.TarInfo(path)  # its times, owners and groups are 0
            member.mode = entry.mode
            if entry.target:
                member.type, member.linkname = tarfile.SYMTYPE, entry.target
            elif entry.content is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(entry.content)
            archive.addfile(member, io.BytesIO(entry.content) if entry.content is not None else None)
    return stream.getvalue()


def _descriptor(media_type: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
