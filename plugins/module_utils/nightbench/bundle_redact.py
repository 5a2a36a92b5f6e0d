# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes secrets out of objects of a cluster, and leaves them objects: a snapshot can still be replayed."""

from __future__ import annotations

import io
import json
import re
import zipfile
import zlib
from typing import Any

from . import redact
from .errors import NightbenchError
from .redact import HIDDEN

#: Names of values, not of references: secretName and a toleration's key are none.
_SECRET = re.compile(r"passw|token|credential|api[-_]?key|private[-_]?key|access[-_]?key|secret$|secret[-_]?key", re.I)
_VARIABLE = re.compile(r"pass|token|secret|key|credential", re.IGNORECASE)
#: Holds the whole object once more, as text.
_COPY = "kubectl.kubernetes.io/last-applied-configuration"
#: What a zip may hold, so that it cannot fill the memory.
UNPACKED_BYTES = 256 * 2**20


def document(value: Any) -> Any:
    """Decoded JSON without secrets."""
    if isinstance(value, dict):
        if value.get("kind") == "Secret" or ("stringData" in value and "metadata" in value):
            value = {key: part for key, part in value.items() if key not in ("data", "stringData")}
        variable = isinstance(value.get("name"), str) and _VARIABLE.search(value["name"])
        return {key: _field(str(key), part, bool(variable)) for key, part in value.items() if key != _COPY}
    if isinstance(value, list):
        return [document(part) for part in value]
    return redact.text(value) if isinstance(value, str) else value


def text(data: bytes) -> bytes:
    """JSON as JSON, anything else as text."""
    try:
        decoded = json.loads(data)
    except ValueError:
        return redact.text(data.decode(errors="replace")).encode()
    return json.dumps(document(decoded), separators=(",", ":")).encode()


def archive(data: bytes) -> bytes:
    """A zip without the secrets in its files; raises NightbenchError for what is none, or is too big to look into."""
    kept = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as given, zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as clean:
            size = sum(member.file_size for member in given.infolist())
            if size > UNPACKED_BYTES:
                raise NightbenchError(
                    f"it is {size} bytes unpacked, more than {UNPACKED_BYTES}: too big to hide secrets in"
                )
            for member in given.infolist():
                clean.writestr(member.filename, text(given.read(member)))
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise NightbenchError(f"it is no zip that can be read: {error}") from error
    return kept.getvalue()


def _field(key: str, value: Any, variable: bool) -> Any:
    """`variable`: the field stands beside a name that sounds secret, as in a container's environment."""
    if isinstance(value, str) and ((variable and key == "value") or _SECRET.search(key)):
        return HIDDEN
    return document(value)
