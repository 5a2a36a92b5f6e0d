# SPDX-License-Identifier: GPL-3.0-or-later
"""Watches NetworkPolicies of a namespace and programs nft in a node's namespace, after a delay that a test plants.

While a policy is there everything to one address is dropped. It says itself when the kernel had what: an instrument
that is calibrated with it has to find these moments.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from ansible.module_utils.nightbench.watch import Event, ListWatch

if TYPE_CHECKING:
    from ansible.module_utils.nightbench.kube import Kube

CLONE_NEWNET = 0x40000000
TABLE = "planted"


@dataclass(frozen=True)
class Behaviour:
    """never: the kernel is not told. new_only: a flow that is established is let through for ever."""

    delay: float = 0.0
    never: bool = False
    new_only: bool = False


@dataclass(frozen=True)
class Programmed:
    """On the monotonic clock: when the event was read, and between which moments the kernel was told."""

    deny: bool
    read: float
    begun: float
    done: float


class Nft:
    """libnftables in this process, so that a rule takes no new process; it stays in the namespace of its thread."""

    def __init__(self) -> None:
        name = ctypes.util.find_library("nftables")
        if name is None:
            pytest.skip("libnftables is not installed (package nftables)")
        self._library = ctypes.CDLL(name)
        self._library.nft_ctx_new.restype = ctypes.c_void_p
        self._context = ctypes.c_void_p(self._library.nft_ctx_new(0))
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, commands: str) -> None:
        failed = self._library.nft_run_cmd_from_buffer(self._context, commands.encode())
        assert failed == 0, f"nft {commands!r} failed"

    def close(self) -> None:
        self._library.nft_ctx_free(self._context)


class Enforcer:
    def __init__(self, kube: Kube, namespace: str, network: str, address: str, behaviour: Behaviour) -> None:
        path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies"
        self._watch = ListWatch(kube, path, self._take)
        self._network, self._address, self._behaviour = network, address, behaviour
        self._due: queue.Queue[tuple[float, bool] | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._ready = threading.Event()
        self.programmed: list[Programmed] = []
        self.failure: BaseException | None = None

    @contextlib.contextmanager
    def running(self) -> Iterator[Enforcer]:
        """What ends it wrongly is raised when the context is left."""
        self._thread.start()
        self._ready.wait(10)
        watching = self._watch.start()
        try:
            yield self
        finally:
            self._watch.stop()
            watching.join(5)
            self._due.put(None)
            self._thread.join(5)
            if self.failure is not None:
                raise self.failure

    def _take(self, event: Event) -> None:
        if event.type in ("LISTED", "ADDED", "DELETED"):
            self._due.put((event.at, event.type != "DELETED"))

    def _work(self) -> None:
        try:
            with open(self._network) as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                assert libc.setns(namespace.fileno(), CLONE_NEWNET) == 0, "no way into the node's namespace"
            nft = Nft()
            chain = f"ip {TABLE} forward"
            # A namespace follows connections only where a rule asks for their state: one always does.
            nft.run(
                f"add table ip {TABLE}; flush table ip {TABLE}; "
                f"add chain ip {TABLE} followed {{ type filter hook forward priority -10; }}; "
                f"add rule ip {TABLE} followed ct state established accept; "
                f"add chain {chain} {{ type filter hook forward priority 0; }}"
            )
            self._ready.set()
            while (item := self._due.get()) is not None:
                self._program(nft, chain, *item)
            nft.close()
        except BaseException as error:  # noqa: BLE001 - raised again by the context
            self.failure = error
        finally:
            self._ready.set()

    def _program(self, nft: Nft, chain: str, read: float, deny: bool) -> None:
        if self._behaviour.never:
            return
        time.sleep(max(0.0, read + self._behaviour.delay - time.monotonic()))
        established = f"add rule {chain} ct state established accept; " if self._behaviour.new_only else ""
        commands = f"{established}add rule {chain} ip daddr {self._address} drop" if deny else f"flush chain {chain}"
        begun = time.monotonic()
        nft.run(commands)
        self.programmed.append(Programmed(deny, read, begun, time.monotonic()))
