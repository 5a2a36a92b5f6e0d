# SPDX-License-Identifier: GPL-3.0-or-later
"""A bucket of Cloud Storage as the way of large results.

This side opens an upload for a file and gives its address to the host, so the host needs no credentials and no rights;
what has arrived is read from here, verified and removed from the bucket.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import gcp_labels
from .errors import CloudError
from .fetch_remote import PUSH, Cut, Remote
from .gcp_errors import Kind
from .gcp_storage import ROOT, Objects, Plain
from .gcp_uploads import Upload, Uploads

PIECE = 8 << 20


@dataclass
class Bucket:
    """What one run has in a bucket on the way here, in a folder of its own."""

    objects: Objects
    run_id: str
    folder: str
    owner: str
    #: How long an object may stay before the reaper takes it for left.
    lives: float
    uploads: Uploads

    def push(self, remote: Remote, path: str, one: Mapping[str, Any]) -> None:
        """Have the file in the bucket, from where an upload of it stopped."""
        with _cuts():
            there = self._found(one)
            if there is not None and int(there.get("size", -1)) == one["bytes"]:
                return
            upload = self.uploads.find(self._run, self.objects.bucket, self._name(one)) or self._open(one, there)
        asked = {
            "url": self.objects.checked(upload.url),
            "path": path,
            "bytes": one["bytes"],
            "piece": PIECE,
            "seconds": self.objects.seconds,
        }
        try:
            with open(os.devnull, "wb") as nothing:
                remote.run(["python3", "-c", PUSH], nothing, json.dumps(asked).encode())
        except Cut as error:
            if "the bucket answered 4" in str(error):
                self._cancel(upload)  # it is over, or another file than before: a new one
            raise
        self.uploads.ended(upload)

    def read(self, one: Mapping[str, Any], start: int, part: Path) -> None:
        """Append what the bucket has from a byte on."""
        with _cuts():
            self.objects.read(self._name(one), start, part)

    def forget(self, one: Mapping[str, Any]) -> None:
        """What was verified here is not paid for there any longer."""
        with _cuts():
            there = self._found(one)
            if there is not None:
                self.objects.remove(there["name"], there["generation"])

    def sweep(self, wanted: Collection[Mapping[str, Any]]) -> None:
        """Remove what earlier fetches have left in this folder, but for what is gone on with."""
        names = {self._name(one) for one in wanted}
        with _cuts():
            for upload in self.uploads.open_in(self.objects.bucket):
                if upload.run == self._run and upload.name.startswith(self._folder) and upload.name not in names:
                    self._cancel(upload)
            for there in self.objects.ours(self._folder):
                if there["name"] not in names and gcp_labels.of_run(there["metadata"], self.run_id):
                    self.objects.remove(there["name"], there["generation"])

    def _found(self, one: Mapping[str, Any]) -> Plain | None:
        there = self.objects.look(self._name(one))
        if there is not None and not gcp_labels.of_run(there.get("metadata"), self.run_id):
            raise CloudError(
                f"bring {one['path']}: {there['name']} in bucket {self.objects.bucket} is somebody else's: it has no "
                f"labels of run {self.run_id}. It was not touched.",
                kind=Kind.TAKEN,
                hint="Remove it, or use another bucket.",
            )
        return there

    def _open(self, one: Mapping[str, Any], there: Plain | None) -> Upload:
        expires = self.objects.now() + self.lives
        labels = gcp_labels.labels(self.run_id, self.owner, expires, {"sha256": one["sha256"]})
        generation = "0" if there is None else there["generation"]
        url = self.objects.open(self._name(one), one["bytes"], labels, generation)
        return self.uploads.opened(self._run, self.objects.bucket, self._name(one), url, int(expires))

    def _cancel(self, upload: Upload) -> None:
        self.objects.cancel(upload.url)
        self.uploads.ended(upload)

    @property
    def _run(self) -> str:
        return gcp_labels.value(self.run_id)

    @property
    def _folder(self) -> str:
        return f"{ROOT}{self._run}/{self.folder}/"

    def _name(self, one: Mapping[str, Any]) -> str:
        """By content: another file of the same name is another object."""
        return f"{self._folder}{one['sha256']}"


@contextlib.contextmanager
def _cuts() -> Iterator[None]:
    """What is transient is tried again by whoever fetches."""
    try:
        yield
    except CloudError as error:
        if error.kind == Kind.TRANSIENT:
            raise Cut(str(error)) from error
        raise
