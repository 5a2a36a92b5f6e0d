# SPDX-License-Identifier: GPL-3.0-or-later
"""Source `download`: an official release artefact, checked by sha256 before anything is taken out of it.

`sha256` in the table proves that the file is the one we looked at. `sha256_url` names a checksum file of the same
publisher: it proves that the download is whole and is what the publisher offers today, and no more than that.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import socket
import ssl
import tarfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from email.message import Message
from pathlib import Path
from typing import IO, Any

from .tool_source import Obtained, SourceError, Surroundings
from .tool_table import Source, Tool

CHUNK = 1 << 20
CHECKSUM_LINE = re.compile(r"^([0-9a-fA-F]{64})(?:\s+\*?(\S+))?\s*$", re.MULTILINE)
CHECKSUM_FILE_BYTES = 1 << 20


def obtain(tool: Tool, source: Source, work: Path, around: Surroundings) -> Obtained:
    url, artefact = source.text("url"), work / "artefact"
    expected = source.text("sha256").lower()
    if not expected:
        expected = around.job.attend(lambda: _published_sha256(url, source.text("sha256_url"), around))
    actual = around.job.attend(lambda: _download(url, artefact, around))
    if actual != expected:
        raise SourceError(f"{url} has sha256 {actual}, expected {expected}; the file was thrown away.")
    file = work / tool.file
    if source.text("member"):
        _take_member(artefact, source.text("member"), file, url)
    else:
        os.replace(artefact, file)
    return Obtained(file, url)


def tried(tool: Tool, source: Source) -> str:
    return source.text("url")


def _download(url: str, path: Path, around: Surroundings) -> str:
    """Fetch into `path`; the sha256 of what came."""
    digest, received = hashlib.sha256(), 0
    with _open(url, around) as answer, open(path, "wb") as stream:
        announced = int(answer.headers.get("Content-Length") or 0)
        while chunk := _read(answer, url, received, around):
            stream.write(chunk)
            digest.update(chunk)
            received += len(chunk)
            around.job.progress(received, max(announced, received), "bytes")
    if announced and received != announced:
        raise SourceError(f"{url} was cut short: {received} of {announced} bytes came.")
    return digest.hexdigest()


def _published_sha256(url: str, sha256_url: str, around: Surroundings) -> str:
    """The checksum that the publisher's file gives for this artefact: a bare one, or the line with its name."""
    with _open(sha256_url, around) as answer:
        text = answer.read(CHECKSUM_FILE_BYTES).decode("utf-8", "replace")
    name = url.rpartition("/")[2]
    lines = CHECKSUM_LINE.findall(text)
    for checksum, file in lines:
        if (file.rpartition("/")[2] == name) or (not file and len(lines) == 1):
            return str(checksum).lower()
    raise SourceError(f"{sha256_url} has no sha256 for {name}: {text[:80]!r}")


def _open(url: str, around: Surroundings) -> Any:
    host = urllib.parse.urlsplit(url).netloc
    if host in around.dead_hosts:
        raise SourceError(f"{host} is not asked again: {around.dead_hosts[host]}")
    request = urllib.request.Request(url, headers={"User-Agent": "nightbench"})
    try:
        return _OPENER.open(request, timeout=around.timeout_seconds)
    except urllib.error.HTTPError as error:
        error.close()
        raise SourceError(f"{error.url} answered {error.code} {error.reason}.") from error
    except (OSError, http.client.HTTPException) as error:
        why = _why(error, around)
        if not isinstance(error, http.client.HTTPException):
            around.dead_hosts[host] = why
        raise SourceError(f"{url}: {why}") from error


def _read(answer: Any, url: str, received: int, around: Surroundings) -> bytes:
    try:
        return bytes(answer.read1(CHUNK))
    except (OSError, http.client.HTTPException) as error:
        raise SourceError(f"{url}: after {received} bytes: {_why(error, around)}") from error


def _why(error: Exception, around: Surroundings) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return f"no answer within {around.timeout_seconds:g} s."
    for kind, text in _PLAIN_WORDS:
        if isinstance(reason, kind):
            return f"{text} ({reason})."
    return f"{type(reason).__name__}: {reason}." if isinstance(reason, Exception) else f"{reason}."


_PLAIN_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (socket.gaierror, "the host's name cannot be resolved"),
    (ConnectionRefusedError, "the host refuses the connection"),
    (ConnectionError, "the connection broke"),
    (ssl.SSLError, "TLS failed"),
    (http.client.IncompleteRead, "the answer was cut short"),
)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Redirects are followed, but never from https to http."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise SourceError(f"{req.full_url} sends us on to {newurl}, which is not https.")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


_OPENER = urllib.request.build_opener(_NoDowngrade)


def _take_member(archive: Path, member: str, file: Path, url: str) -> None:
    """Take one file out of a tar (gz, xz, bz2) or zip."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as opened, opened.open(member) as inner, open(file, "wb") as out:
                shutil.copyfileobj(inner, out, CHUNK)
            return
        with tarfile.open(archive) as opened_tar:
            inner_file = opened_tar.extractfile(member)
            if inner_file is None:
                raise SourceError(f"{member} in {url} is not a file.")
            with inner_file, open(file, "wb") as out:
                shutil.copyfileobj(inner_file, out, CHUNK)
    except KeyError as error:
        raise SourceError(f"{url} has no {member} in it; it has {_contents(archive)}.") from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise SourceError(f"{url} cannot be unpacked: {error}") from error


def _contents(archive: Path) -> str:
    if zipfile.is_zipfile(archive):
        names = zipfile.ZipFile(archive).namelist()
    else:
        with tarfile.open(archive) as opened:
            names = opened.getnames()
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
