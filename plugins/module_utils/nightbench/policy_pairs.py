# SPDX-License-Identifier: GPL-3.0-or-later
"""The probes of many pairs of pods: started in the pods' network namespaces, stopped together, read back."""

from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from . import udp_probe
from .errors import ConfigurationError, ProcessError
from .pod_places import PodPlace

ANY = "0.0.0.0"
START_SECONDS = 20.0
STOP_SECONDS = 10.0
#: What a probe may take beyond the time that it is meant for, so that one whose parent was killed ends by itself.
SPARE_SECONDS = 30.0
_OUTPUT = 2000


@dataclass(frozen=True)
class Pair:
    """One sender and one receiver. A namespace is a path like /proc/PID/ns/net; without one it is ours."""

    name: str
    address: str
    port: int
    source_address: str = ANY
    source_namespace: str = ""
    target_namespace: str = ""


def in_pods(pair: Pair, source: PodPlace | None, target: PodPlace | None) -> Pair:
    """The same pair between these pods; what it says itself stands."""
    if source is not None:
        sends_from = pair.source_address if pair.source_address != ANY else source.address
        pair = replace(pair, source_address=sends_from, source_namespace=pair.source_namespace or source.namespace)
    if target is not None:
        into = pair.target_namespace or target.namespace
        pair = replace(pair, address=pair.address or target.address, target_namespace=into)
    return pair


@dataclass
class Running:
    pair: Pair
    end: str
    out: Path
    process: subprocess.Popen[bytes]
    said: bytes = b""

    def listen(self) -> None:
        """Take what it has printed, without waiting for more."""
        assert self.process.stdout is not None
        if not self.process.stdout.closed:
            self.said = (self.said + (self.process.stdout.read() or b""))[-_OUTPUT:]

    @property
    def words(self) -> str:
        self.listen()
        return self.said.decode("utf-8", "replace").removeprefix("ready").strip()


class Probes:
    """The probes of all pairs while they run."""

    def __init__(
        self, pairs: Sequence[Pair], folder: Path, *, interval: float, seconds: float, program: ModuleType = udp_probe
    ) -> None:
        names = [pair.name for pair in pairs]
        if not pairs or len(set(names)) != len(names):
            raise ConfigurationError(
                f"pairs: {len(pairs)} pairs with {len(set(names))} names; each needs one of its own."
            )
        self._pairs = pairs
        self._folder = folder
        self._program = program
        self._interval = interval
        self._seconds = seconds + SPARE_SECONDS
        self._running: list[Running] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Receivers first; in the end all of them have written their files or the error says which has not."""
        try:
            script = write_program(self._program, self._folder)
            tokens = {pair.name: secrets.token_hex(4) for pair in self._pairs}
            for end in ("receive", "send"):
                for pair in self._pairs:
                    self._running.append(self._start(script, pair, end, tokens[pair.name]))
                self._wait_ready([one for one in self._running if one.end == end])
            yield
        finally:
            self._stop()

    def results(self) -> list[tuple[Pair, Mapping[str, Any], Mapping[str, Any]]]:
        """(pair, sender's file, receiver's file), once they have ended."""
        found = {(one.pair.name, one.end): self._read(one) for one in self._running}
        return [(pair, found[pair.name, "send"], found[pair.name, "receive"]) for pair in self._pairs]

    def check(self) -> None:
        """Raise ProcessError when one of them has died."""
        for one in self._running:
            if one.process.poll() is not None:
                raise ProcessError(f"the probe {one.end} of pair {one.pair.name} ended early: {one.words}")

    def _start(self, script: Path, pair: Pair, end: str, token: str) -> Running:
        out = self._folder / f"{pair.name}.{end}.json"
        out.unlink(missing_ok=True)
        namespace = pair.source_namespace if end == "send" else pair.target_namespace
        argv = [
            *(["nsenter", f"--net={namespace}", "--"] if namespace else []),
            *(sys.executable, "-I", os.fspath(script), end),
            *("--address", pair.address, "--port", str(pair.port), "--token", token, "--out", os.fspath(out)),
            *("--seconds", f"{self._seconds:g}", "--interval", f"{self._interval:g}", "--source", pair.source_address),
        ]
        try:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
            )
        except OSError as error:
            raise ProcessError(f"{argv[0]} of pair {pair.name}: {error.strerror}") from error
        return Running(pair, end, out, process)

    def _wait_ready(self, started: Sequence[Running]) -> None:
        deadline = time.monotonic() + START_SECONDS
        for one in started:
            assert one.process.stdout is not None
            os.set_blocking(one.process.stdout.fileno(), False)
            while b"ready" not in one.said:
                ended = one.process.poll() is not None
                one.listen()
                if ended and b"ready" not in one.said:
                    raise ProcessError(
                        f"the probe {one.end} of pair {one.pair.name} did not start: {one.words or 'it died'}"
                    )
                if time.monotonic() > deadline:
                    raise ProcessError(
                        f"the probe {one.end} of pair {one.pair.name} was not ready in {START_SECONDS:g} s"
                    )
                time.sleep(0.005)

    def _stop(self) -> None:
        """Senders first: what they sent has to be able to arrive."""
        for end in ("send", "receive"):
            mine = [one for one in self._running if one.end == end]
            for one in mine:
                if one.process.poll() is None:
                    one.process.terminate()
            deadline = time.monotonic() + STOP_SECONDS
            for one in mine:
                try:
                    one.process.wait(max(0.0, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    one.process.kill()
                    one.process.wait()
                one.listen()
                assert one.process.stdout is not None
                one.process.stdout.close()

    def _read(self, one: Running) -> Mapping[str, Any]:
        try:
            document: Mapping[str, Any] = json.loads(one.out.read_text())
        except (OSError, ValueError) as error:
            raise ProcessError(
                f"the probe {one.end} of pair {one.pair.name} left no result (exit {one.process.returncode}): "
                f"{one.words or error}"
            ) from error
        return document


def write_program(program: ModuleType, folder: Path) -> Path:
    """The file of a module of ours, also where Ansible has packed it."""
    package, _, name = program.__name__.rpartition(".")
    data = pkgutil.get_data(package, f"{name}.py")
    assert data is not None
    path = folder / f"{name}.py"
    path.write_bytes(data)
    return path
