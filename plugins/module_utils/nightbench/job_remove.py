# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the objects of a load away: Jobs first, so that nobody makes their pods anew, then the pods."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator

from .errors import NightbenchError
from .job_rows import JobRow
from .kube import MERGE_PATCH, Call, Kube

POLL_SECONDS = 0.02
#: What is still there after this time is asked to go once more.
AGAIN_SECONDS = 2.0
#: A pod of a Job keeps its finalizer until the Job controller has seen it end; one that is too slow is not waited for.
FINALIZER_SECONDS = 2.0
#: Answers hold whole objects: this many are in memory at a time.
CHUNK = 1000
PAGE = 500

Check = Callable[[str], None]


class Remover:
    """Deletes what carries the load's label, by row or by list."""

    def __init__(self, kube: Kube, pods: str, jobs: str, selector: str, connections: int) -> None:
        self._kube = kube
        self._pods = pods
        self._jobs = jobs
        self._selector = selector
        self._connections = connections

    def remove(self, rows: Iterable[JobRow]) -> None:
        """Delete these Jobs and bare pods; what becomes of their pods from now on is our doing."""
        rows = list(rows)
        now = time.monotonic()
        for job in rows:
            job.removed = now if job.removed is None else job.removed
        self._delete_jobs(job.name for job in rows if job.state.part.form == "jobs")
        self._delete_pods(row.name for job in rows for row in job.pods if row.deleted is None)

    def wait_gone(self, rows: Iterable[JobRow], check: Check) -> None:
        """Until the watch has seen every pod of these Jobs go."""
        rows = list(rows)
        begin = again = time.monotonic()
        left = [row for job in rows for row in job.pods if row.deleted is None]
        while left:
            check(f"{len(left)} pods have not gone yet")
            time.sleep(POLL_SECONDS)
            if time.monotonic() > again + AGAIN_SECONDS:
                again = time.monotonic()
                if again > begin + FINALIZER_SECONDS:
                    self._drop_finalizers(row.name for row in left)
                # A Job's controller may have made a pod after the Job was gone.
                left = [row for job in rows for row in job.pods]
                self._delete_pods(row.name for row in left if row.deleted is None)
            left = [row for row in left if row.deleted is None]

    def sweep(self, check: Check) -> None:
        """Delete all that carries the label, whoever made it, until a list shows nothing."""
        begin = time.monotonic()
        while self._any():
            self._delete_jobs(self._names(self._jobs))
            names = list(self._names(self._pods))
            if time.monotonic() > begin + FINALIZER_SECONDS:
                self._drop_finalizers(names)
            self._delete_pods(names)
            again = time.monotonic() + AGAIN_SECONDS
            while time.monotonic() < again and self._any():
                check(f"waiting for {len(names)} pods with {self._selector} to go")
                time.sleep(POLL_SECONDS)

    def _any(self) -> bool:
        query = {"limit": "1", "labelSelector": self._selector}
        return any(
            self._kube.request("GET", path, query=query).json().get("items") for path in (self._jobs, self._pods)
        )

    def _names(self, path: str) -> Iterator[str]:
        for page, _ in self._kube.pages(path, label_selector=self._selector, limit=PAGE):
            yield from (item["metadata"]["name"] for item in page)

    def _delete_jobs(self, names: Iterable[str]) -> None:
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        self._send(Call("DELETE", f"{self._jobs}/{name}", body=options) for name in names)

    def _delete_pods(self, names: Iterable[str]) -> None:
        """At once: nobody runs in these pods, so a grace period would only be waited for."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        self._send(Call("DELETE", f"{self._pods}/{name}", body=options) for name in names)

    def _drop_finalizers(self, names: Iterable[str]) -> None:
        body = {"metadata": {"finalizers": None}}
        self._send(Call("PATCH", f"{self._pods}/{name}", body=body, content_type=MERGE_PATCH) for name in names)

    def _send(self, calls: Iterator[Call]) -> None:
        while chunk := list(itertools.islice(calls, CHUNK)):
            for result in self._kube.map(chunk, self._connections):
                if isinstance(result, NightbenchError) and getattr(result, "status", 0) != 404:
                    raise result
