# SPDX-License-Identifier: GPL-3.0-or-later
"""The other side of a fetch: the programs that run there, and ssh as one way to run them.

They need Python 3 there and nothing else.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from .errors import ConfigurationError, NightbenchError

#: Every plain file with size and checksum, as JSON. Links are not followed.
LIST = """
import hashlib, json, os, sys
root, found = sys.argv[1], []
if not os.path.isdir(root):
    sys.exit("there is no folder " + root)
for folder, names, files in os.walk(root):
    for name in sorted(files):
        path = os.path.join(folder, name)
        if os.path.islink(path) or not os.path.isfile(path):
            continue
        digest, size = hashlib.sha256(), 0
        with open(path, "rb") as stream:
            for piece in iter(lambda: stream.read(1 << 20), b""):
                digest.update(piece)
                size += len(piece)
        found.append({"path": os.path.relpath(path, root), "bytes": size, "sha256": digest.hexdigest()})
print(json.dumps(sorted(found, key=lambda one: one["path"])))
"""
#: A file from a byte on.
READ = """
import shutil, sys
with open(sys.argv[1], "rb") as stream:
    stream.seek(int(sys.argv[2]))
    shutil.copyfileobj(stream, sys.stdout.buffer, 1 << 20)
"""
#: A file into an upload that was opened for it. The address comes by standard input: whoever has it may write there. It
#: stays open for as long as somebody waits for the file: nothing comes into a bucket that nobody looks after any more.
#: Pieces are multiples of 256 KiB (cloud.google.com/storage/docs/performing-resumable-uploads#chunked-upload).
PUSH = """
import http.client, json, os, re, sys, threading, urllib.parse
asked = json.loads(sys.stdin.readline())
def end_with_the_caller():
    while os.read(0, 4096):
        pass
    os._exit(1)
threading.Thread(target=end_with_the_caller, daemon=True).start()
url, size, piece = urllib.parse.urlsplit(asked["url"]), asked["bytes"], asked["piece"]
plain = url.scheme == "http"
kind = http.client.HTTPConnection if plain else http.client.HTTPSConnection
def put(connection, data, span):
    headers = {"Content-Range": "bytes %s/%d" % (span, size), "Content-Length": str(len(data))}
    connection.request("PUT", url.path + "?" + url.query, data, headers)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status in (200, 201):
        return size
    if answer.status != 308:
        sys.exit("the bucket answered %d: %s" % (answer.status, text[:200].decode(errors="replace")))
    there = re.fullmatch("bytes=0-([0-9]+)", answer.headers.get("Range") or "")
    return int(there.group(1)) + 1 if there else 0
connection = kind(url.netloc, timeout=asked["seconds"])
with open(asked["path"], "rb") as stream:
    at = put(connection, b"", "*")
    while at < size:
        stream.seek(at)
        data = stream.read(piece)
        if not data:
            sys.exit("the file is shorter than it was")
        at = put(connection, data, "%d-%d" % (at, at + len(data) - 1))
"""


class Cut(NightbenchError):
    """The connection ended before everything was here."""


class Remote(Protocol):
    """A way to run a program on the other side."""

    def run(self, argv: Sequence[str], output: BinaryIO, given: bytes = b"") -> None:
        """What it says goes to `output`, its first line of input is `given`, after which nothing comes until it ends.

        Raises Cut when it did not come to a good end."""


@dataclass(frozen=True)
class Ssh:
    """`command` is the command line up to the host, to which the remote command is added."""

    command: Sequence[str]
    seconds: float

    def run(self, argv: Sequence[str], output: BinaryIO, given: bytes = b"") -> None:
        # Held open by this process only: when it is gone, however it ends, the other side sees the end of its input.
        reading, writing = os.pipe()
        try:
            with subprocess.Popen(
                [*self.command, shlex.join(argv)],
                stdin=reading,
                stdout=subprocess.PIPE if not _is_file(output) else output,
                stderr=subprocess.PIPE,
            ) as process:
                os.write(writing, given + b"\n")
                said, errors = _end(process, self.seconds)
        except OSError as error:
            raise ConfigurationError(f"run {self.command[0]}: {error.strerror}.", hint="Is ssh installed?") from error
        finally:
            os.close(reading)
            os.close(writing)
        if said:
            output.write(said)
        if process.returncode != 0:
            told = " ".join(errors.decode(errors="replace").split())[-300:]
            raise Cut(f"exit code {process.returncode}: {told or 'nothing was said'}.")


def _end(process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes | None, bytes]:
    try:
        return process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise Cut(f"no end after {seconds:g} s.") from error


def _is_file(output: BinaryIO) -> bool:
    try:
        output.fileno()
    except OSError:
        return False
    return True
