# SPDX-License-Identifier: GPL-3.0-or-later
"""Collections that watches keep up to date, and the queue of keys that controllers work from."""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

from ansible.module_utils.nightbench.errors import NightbenchError
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.watch import Event, ListWatch

Key = tuple[str, str]


def key_of(item: dict[str, Any]) -> Key:
    """(namespace, name)."""
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


class Store:
    """What a watch has shown, by key; each object goes through ``reduce`` once, and ``changed`` hears of its key."""

    def __init__(
        self,
        kube: Kube,
        path: str,
        *,
        reduce: Callable[[dict[str, Any]], Any] | None = None,
        changed: Callable[[Key], None] | None = None,
        field_selector: str = "",
    ) -> None:
        self._reduce = reduce or (lambda item: item)
        self._changed = changed
        self._items: dict[Key, Any] = {}
        self._uids: dict[Key, str] = {}
        self._lock = threading.Lock()
        self._watch = ListWatch(kube, path, self._take, field_selector=field_selector)

    def start(self) -> None:
        """Returns with the first list; raises what keeps it from coming."""
        self._watch.start()

    @property
    def error(self) -> NightbenchError | None:
        return self._watch.error

    def get(self, key: Key) -> Any:
        with self._lock:
            return self._items.get(key)

    def values(self) -> list[Any]:
        with self._lock:
            return list(self._items.values())

    def _take(self, event: Event) -> None:
        key, uid = key_of(event.object), event.object["metadata"]["uid"]
        value = None if event.type == "DELETED" else self._reduce(event.object)
        with self._lock:
            if event.type != "DELETED":
                self._items[key], self._uids[key] = value, uid
            elif self._uids.get(key) == uid:  # another object may have the name by now
                del self._items[key], self._uids[key]
        if self._changed is not None:
            self._changed(key)


class WorkQueue:
    """Keys to reconcile: each once, never two workers at one key, a failed one again after a growing delay."""

    def __init__(self, base_delay: float = 0.05, max_delay: float = 30.0) -> None:
        self._base, self._max = base_delay, max_delay
        self._due: list[tuple[float, int, Key]] = []
        self._when: dict[Key, float] = {}
        self._working: set[Key] = set()
        self._again: set[Key] = set()  # asked for while somebody worked at it
        self._failures: dict[Key, int] = {}
        self._order = itertools.count()
        self._changed = threading.Condition()

    def __len__(self) -> int:
        return len(self._when)

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Have the key reconciled in ``delay`` seconds, or sooner if it is waiting for less."""
        due = time.monotonic() + delay
        with self._changed:
            if self._when.get(key, due + 1) <= due:
                return
            self._when[key] = due
            heapq.heappush(self._due, (due, next(self._order), key))
            self._changed.notify()

    def failed(self, key: Key) -> int:
        """Have it tried again; returns how often it has failed."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        self.add(key, min(self._max, self._base * 2 ** (count - 1)))
        return count

    def forget(self, key: Key) -> None:
        self._failures.pop(key, None)

    def take(self) -> Key:
        """The next key that is due and that nobody works at; waits for one."""
        with self._changed:
            while True:
                now = time.monotonic()
                while self._due and self._due[0][0] <= now:
                    due, _, key = heapq.heappop(self._due)
                    if self._when.get(key) != due:
                        continue
                    del self._when[key]
                    if key not in self._working:
                        self._working.add(key)
                        return key
                    self._again.add(key)
                self._changed.wait(self._due[0][0] - now if self._due else None)

    def done(self, key: Key) -> None:
        with self._changed:
            self._working.discard(key)
            again = key in self._again
            self._again.discard(key)
        if again:
            self.add(key)
