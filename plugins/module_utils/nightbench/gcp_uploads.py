# SPDX-License-Identifier: GPL-3.0-or-later
"""The uploads that are open in buckets, one file each until it has ended: no list of the server shows them.

Whoever has the address of an upload may write there, so only the owner may read the files. They lie beside the journals
and, like those, outlive the process: the next fetch goes on with an upload, the reaper cancels it.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass
from pathlib import Path

from . import jsonfile
from .errors import ConfigurationError

FIELDS = ("bucket", "name", "url", "expires")


@dataclass(frozen=True)
class Upload:
    """One upload of one run; `expires` is when nobody can need it any more, by the server's clock."""

    run: str
    bucket: str
    name: str
    url: str
    expires: int
    path: Path


class Uploads:
    """Every upload that somebody on this machine has opened."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "uploads"

    def opened(self, run: str, bucket: str, name: str, url: str, expires: int) -> Upload:
        path = self._path(run, bucket, name)
        jsonfile.write_atomic(path, {"bucket": bucket, "name": name, "url": url, "expires": expires}, mode=0o600)
        return Upload(run, bucket, name, url, expires, path)

    def ended(self, upload: Upload) -> None:
        upload.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            upload.path.parent.rmdir()  # the last one of its run

    def find(self, run: str, bucket: str, name: str) -> Upload | None:
        return _read(self._path(run, bucket, name))

    def open_in(self, bucket: str) -> list[Upload]:
        """Of whatever run."""
        found = (_read(path) for path in sorted(self.folder.glob("*/*.json")))
        return [one for one in found if one is not None and one.bucket == bucket]

    def _path(self, run: str, bucket: str, name: str) -> Path:
        return self.folder / run / f"{hashlib.sha256(f'{bucket}/{name}'.encode()).hexdigest()}.json"


def _read(path: Path) -> Upload | None:
    """A damaged file names no upload; the server forgets that one after a week."""
    with contextlib.suppress(ConfigurationError):
        found = jsonfile.read(path)
        if isinstance(found, dict) and set(FIELDS) <= found.keys():
            return Upload(path.parent.name, **{name: found[name] for name in FIELDS}, path=path)
    return None
