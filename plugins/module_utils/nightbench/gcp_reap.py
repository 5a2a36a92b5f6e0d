# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds everything of ours in a project and removes what nobody needs any more, in the order of dependency.

Hosts go first, then disks and addresses, then what fetches have left in buckets, into which nobody writes any more.

Only what carries our labels is ever touched, and only when it is of a run that is named or when it has expired by the
server's clock. Operations that are still under way are waited for, since a host may come of them after its process was
killed.
"""

from __future__ import annotations

import contextlib
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from . import gcp_labels
from .errors import CloudError, ConfigurationError, DeadlineExceeded
from .gcp_client import LONGEST_PAUSE_SECONDS, Compute, Plain
from .gcp_errors import Kind, of_operation
from .gcp_journal import Entry, Journal
from .gcp_request import last
from .gcp_storage import ROOT, Objects
from .gcp_uploads import Upload, Uploads

#: Instances hold disks and addresses, so they go first.
ORDER = ("instance", "disk", "address")
UNDER_WAY = "status != DONE"
T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """One thing of ours."""

    kind: str
    name: str
    place: str
    run: str
    expires: int | None
    #: Where the API has it: in a zone, in a region, or global.
    scope: str = ""
    users: tuple[str, ...] = ()
    #: Of an object in a bucket.
    generation: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "name": self.name,
            "place": self.place,
            "run_id": self.run,
            "expires": self.expires,
        }

    def __str__(self) -> str:
        return f"{self.kind} {self.name} in {self.place}"


@dataclass
class Swept:
    """What was found, what of it was removed (or would be), and what is left with the reason."""

    removed: list[Found] = field(default_factory=list)
    kept: list[tuple[Found, str]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    #: Journals that cannot be read: labels say what goes, so they keep nothing from it.
    damaged: list[str] = field(default_factory=list)


@dataclass
class Reaper:
    """One sweep over all zones. `wanted` says of a thing why it goes, or None."""

    compute: Compute
    wanted: Callable[[Found], str | None]
    preserved: Sequence[re.Pattern[str]] = ()
    journals: Sequence[Journal] = ()
    #: Runs that are over, by the value of their label.
    runs: Collection[str] = ()
    dry_run: bool = True
    operation_seconds: float = 300.0
    buckets: Sequence[Objects] = ()
    uploads: Uploads | None = None

    def sweep(self) -> Swept:
        swept = Swept()
        with contextlib.ExitStack() as held:
            if not self.dry_run:
                self._hold_journals(held)
                self._await_coming(swept)
            for kind in ORDER:  # one list after the other: what an instance took along is not there any more
                self._remove(self.found(kind), swept, self._delete)
            if not self.dry_run:
                self._close_journals(swept)
            for bucket in self.buckets:
                self._cancel(bucket, swept)
                self._empty(bucket, swept)
        return swept

    def _hold_journals(self, held: contextlib.ExitStack) -> None:
        """Let a process that still creates hosts of a run come to its end; a folder that cannot be written to keeps
        nobody from removing."""
        for journal in self.journals:
            if journal.run in self.runs and journal.path.exists():
                with contextlib.suppress(OSError):
                    held.enter_context(journal.held(self.compute.patience))

    def found(self, kind: str) -> list[Found]:
        listed = {
            "instance": self.compute.instances,
            "disk": self.compute.disks,
            "address": self.compute.addresses,
        }[kind]
        return [_found(kind, one) for one in listed(gcp_labels.FILTER)]

    def _await_coming(self, swept: Swept) -> None:
        """Let requests of killed processes come to their end: what comes of them is seen by no list before."""
        names = {entry.name for _, entry in self._concerned(swept)}
        for operation in self.compute.operations(UNDER_WAY):
            target = last(operation.get("targetLink", ""))
            if target in names:
                what = f"{operation.get('operationType')} of {target}"
                try:
                    self.compute.finish(what, operation, until=time.monotonic() + self.operation_seconds)
                except (CloudError, DeadlineExceeded) as error:
                    swept.failed.append((what, str(error)))

    def _cancel(self, bucket: Objects, swept: Swept) -> None:
        """Uploads that are still open go first: an object may yet come of one."""
        uploads = self.uploads
        if uploads is None:
            return
        there = {_upload(one): one for one in uploads.open_in(bucket.bucket)}

        def cancel(thing: Found) -> None:
            self._patiently(lambda: bucket.cancel(there[thing].url))
            uploads.ended(there[thing])

        self._remove(there, swept, cancel)

    def _empty(self, bucket: Objects, swept: Swept) -> None:
        """One that cannot be looked into does not keep the others."""
        try:
            there = self._patiently(lambda: bucket.ours(ROOT))
        except CloudError as error:
            swept.failed.append((f"bucket {bucket.bucket}", str(error)))
            return
        found = [_object(bucket.bucket, one) for one in there]
        self._remove(found, swept, lambda thing: self._patiently(lambda: bucket.remove(thing.name, thing.generation)))

    def _patiently(self, ask: Callable[[], T]) -> T:
        pause = self.compute.pause
        while True:
            try:
                return ask()
            except CloudError as error:
                if error.kind != Kind.TRANSIENT:
                    raise
                self.compute.patience(str(error))
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _remove(self, things: Iterable[Found], swept: Swept, delete: Callable[[Found], Plain | None]) -> None:
        """Send every deletion, then wait for all; one that fails does not keep the others."""
        under_way: list[tuple[Found, Plain | None]] = []
        for thing in things:
            reason = self._why_not(thing, swept)
            if reason is not None:
                swept.kept.append((thing, reason))
            elif self.dry_run:
                swept.removed.append(thing)
            else:
                try:
                    under_way.append((thing, delete(thing)))
                except CloudError as error:
                    swept.failed.append((str(thing), str(error)))
        for thing, operation in under_way:
            try:
                self._finish(thing, operation)
            except (CloudError, DeadlineExceeded) as error:
                swept.failed.append((str(thing), str(error)))
            else:
                swept.removed.append(thing)

    def _why_not(self, thing: Found, swept: Swept) -> str | None:
        if self.wanted(thing) is None:
            return "its run is not over" if thing.expires is not None else "its label expires is no number"
        if any(pattern.fullmatch(thing.name) for pattern in self.preserved):
            return "its name is preserved"
        gone = {one.name for one in swept.removed if one.kind == "instance"}
        if set(thing.users) - gone:
            return f"{', '.join(sorted(set(thing.users) - gone))} uses it"
        return None

    def _delete(self, thing: Found) -> Plain | None:
        return self.compute.delete(thing.kind, thing.scope, thing.place, thing.name, str(uuid.uuid4()))

    def _finish(self, thing: Found, operation: Plain | None) -> None:
        if operation is not None:
            until = time.monotonic() + self.operation_seconds
            failed = of_operation(f"delete {thing}", self.compute.finish(f"delete {thing}", operation, until))
            if failed is not None:
                raise failed

    def _concerned(self, swept: Swept) -> list[tuple[Journal, Entry]]:
        """What the journals have open of runs that are named, and of others once their time is over."""
        now, found = self.compute.now(), []
        for journal in self.journals:
            try:
                living = journal.living()
            except ConfigurationError as error:
                if str(error) not in swept.damaged:
                    swept.damaged.append(str(error))
                continue
            found += [(journal, entry) for entry in living if journal.run in self.runs or entry.until < now]
        return found

    def _close_journals(self, swept: Swept) -> None:
        """What a journal has open and no list shows is over."""
        concerned = self._concerned(swept)
        if not concerned or swept.failed:
            return
        there = {(one.place, one.name) for one in self.found("instance")}
        removed = {(one.place, one.name) for one in swept.removed if one.kind == "instance"}
        for journal, entry in concerned:
            place = (entry.zone, entry.name)
            if place not in there and (place in removed or self._over(entry)):
                journal.note(entry, "deleted", self.compute.now())

    def _over(self, entry: Entry) -> bool:
        """A request that nobody saw arrive may still be on its way for as long as a request may take."""
        return not entry.open or self.compute.now() - entry.at > self.compute.request_seconds


def of_runs(run_ids: Collection[str], names: Collection[str] = ()) -> Callable[[Found], str | None]:
    """Everything of these runs, expired or not; with names only things of these names."""
    values = {gcp_labels.value(run_id) for run_id in run_ids}

    def wanted(thing: Found) -> str | None:
        return "its run is over" if thing.run in values and (not names or thing.name in names) else None

    return wanted


def expired(now: float) -> Callable[[Found], str | None]:
    """Everything whose time is over by the server's clock."""

    def wanted(thing: Found) -> str | None:
        return "it has expired" if thing.expires is not None and thing.expires < now else None

    return wanted


def _found(kind: str, one: Plain) -> Found:
    labels = one.get("labels") or {}
    scope = next((name for name in ("zone", "region") if one.get(name)), "global")
    return Found(
        kind,
        one["name"],
        last(one.get(scope) or scope),
        labels.get(gcp_labels.RUN, ""),
        gcp_labels.expires(labels),
        scope,
        tuple(last(user) for user in one.get("users") or ()),
    )


def _upload(one: Upload) -> Found:
    return Found("upload", one.name, one.bucket, one.run, one.expires)


def _object(bucket: str, one: Plain) -> Found:
    labels = one["metadata"]
    return Found(
        "object",
        one["name"],
        bucket,
        labels.get(gcp_labels.RUN, ""),
        gcp_labels.expires(labels),
        generation=one["generation"],
    )
