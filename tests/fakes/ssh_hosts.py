# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rented host is in tests: a real sshd on loopback, or one in a namespace with an address of its own.

Both let in whose key is in FOLDER/keys. The host in a namespace has no checkout: where the project lies it has an empty
folder, and an empty /var/tmp.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, eventually

#: Becomes the server; what is mounted goes with the namespace.
INIT = """set -e
mount --make-rprivate /
mount -t tmpfs none {project}
mount -t tmpfs none /var/tmp
ip link set lo up
exec {program} -D -e -f {config}
"""


@contextlib.contextmanager
def on_loopback(folder: Path) -> Iterator[int]:
    """Its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program, config = _prepare(folder, "127.0.0.1", port)
    process = subprocess.Popen([program, "-D", "-e", "-f", config], stderr=subprocess.DEVNULL)
    try:
        eventually(lambda: _answers("127.0.0.1", port))
        yield port
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def in_a_namespace(folder: Path) -> Iterator[tuple[str, str]]:
    """Its address, where ssh answers on port 22, and the one by which it reaches this machine."""
    if os.geteuid() != 0:
        pytest.skip("a network of one's own needs root")
    name, near, far = f"nb-{secrets.token_hex(4)}", *_addresses()
    cable = [f"{name[:11]}{end}" for end in "ab"]
    program, config = _prepare(folder, far, 22)
    _ip("netns", "add", name)
    process = None
    try:
        _ip("link", "add", cable[0], "type", "veth", "peer", "name", cable[1], "netns", name)
        _ip("address", "add", f"{near}/30", "dev", cable[0])
        _ip("link", "set", cable[0], "up")
        _ip("-n", name, "address", "add", f"{far}/30", "dev", cable[1])
        _ip("-n", name, "link", "set", cable[1], "up")
        script = INIT.format(project=ROOT, program=program, config=config)
        process = subprocess.Popen(
            ["ip", "netns", "exec", name, "sh", "-c", script], cwd="/", stderr=subprocess.DEVNULL
        )
        eventually(lambda: _answers(far, 22))
        yield far, near
    finally:
        for pid in _ip("netns", "pids", name).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if process is not None:
            process.wait()
        _ip("netns", "delete", name)


def _prepare(folder: Path, address: str, port: int) -> tuple[str, Path]:
    """The program and its configuration."""
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("sshd is not installed: apt-get install openssh-server")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    key, keys, config = (folder / name for name in ("host_key", "keys", "sshd_config"))
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    keys.touch()
    settings = {
        "Port": port,
        "ListenAddress": address,
        "HostKey": key,
        "AuthorizedKeysFile": keys,
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "PidFile": "none",
        "Subsystem": "sftp internal-sftp",
    }
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), encoding="utf-8")
    return program, config


def _addresses() -> tuple[str, str]:
    """Both ends of a cable, of RFC 2544's range, where this machine has nothing yet."""
    taken = _ip("-4", "-oneline", "address", "show")
    while True:
        net = f"198.19.{200 + secrets.randbelow(50)}.{4 * secrets.randbelow(64)}"
        base, last = net.rpartition(".")[::2]
        pair = (f"{base}.{int(last) + 1}", f"{base}.{int(last) + 2}")
        if not any(f" {one}/" in taken for one in pair):
            return pair


def _ip(*words: str) -> str:
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def _answers(address: str, port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((address, port)) == 0
