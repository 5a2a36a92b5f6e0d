# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring about hosts: each exists already, or is tried in one zone after the other until one has it.

Before a request is sent it stands in the journal with its requestId. An entry that is open is gone on with first, so a
process that was killed in the middle leaves no second host behind.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import gcp_labels, gcp_offer
from .errors import CloudError, ConfigurationError, DeadlineExceeded
from .gcp_client import LONGEST_PAUSE_SECONDS, Compute, Plain
from .gcp_errors import Kind, of_operation
from .gcp_journal import Entry, Journal
from .gcp_placement import Candidate, Placement, ZoneMemory
from .gcp_request import Request, body, differences, last

#: On its way or at work; everything else ends or has ended.
LIVING = ("PENDING", "PROVISIONING", "STAGING", "RUNNING", "REPAIRING")


@dataclass
class Hosts:
    """Brings hosts of one kind about for one run."""

    compute: Compute
    journal: Journal
    memory: ZoneMemory
    request: Request
    zones: list[str]
    region: str
    operation_seconds: float
    cost_per_hour: float | None = None
    #: Every kind of host that will do, `request` among them.
    kinds: Sequence[Request] = ()
    #: What was tried and did not work, for the caller to see.
    tried: list[str] = field(default_factory=list)

    def there(self, names: list[str]) -> dict[str, Plain]:
        """Those of the names that are ours and alive; raises where a name belongs to somebody else."""
        found: dict[str, Plain] = {}
        for name in names:
            for instance in self.compute.instances(f"name = {name}"):
                self._refuse_stranger(name, instance)
                self._refuse_other_kind(name, instance)
                found[name] = instance
        return found

    def adopt(self, found: Mapping[str, Plain]) -> None:
        """Hosts that are there were created, whatever became of the process that asked for them."""
        for entry in self.journal.living():
            instance = found.get(entry.name)
            if entry.open and instance is not None and last(instance.get("zone", "")) == entry.zone:
                self.journal.note(entry, "created", self.compute.now(), id=str(instance.get("id", "")))

    def offered(self, count: int) -> list[str]:
        """The zones worth a try for that many hosts."""
        zones, why = gcp_offer.zones(self.compute, self.request, self.zones, self.region, count)
        self.tried += why
        return zones

    def open_request(self, name: str) -> Entry | None:
        """The request of a killed process for this host, if there is one."""
        return self.journal.remembered(name, self.compute.now())

    def await_begun(self, name: str, instance: Plain) -> Plain:
        """A host that is there and does not run yet, asked for from another machine: nobody here knows its request."""
        zone = last(instance.get("zone", ""))
        return self._running(f"wait for {name} in {zone}", name, Candidate(zone, ""))

    def create(self, name: str, zones: list[str]) -> Plain:
        """The host, RUNNING; raises when no candidate has it, and at once when trying on cannot help."""
        now = self.compute.now()
        candidates = [Candidate(zone, model) for zone in zones for model in self.request.models]
        placement = Placement(
            zones, self.request.models, self.memory.cooling(self.request.kind, candidates, now), tried=self.tried
        )
        earlier = self.open_request(name)
        if earlier is not None and earlier.kind not in ("", self.request.kind):
            earlier = None
        pause = self.compute.pause
        while True:
            entry, earlier = earlier, None
            candidate = Candidate(entry.zone, entry.model) if entry else placement.take()
            if candidate is None:
                raise self._nothing_left(name, placement)
            try:
                instance = self._try(name, candidate, placement, entry)
            except CloudError as error:
                if error.kind != Kind.TRANSIENT or not error.decided:
                    raise
                # The operation itself came to nothing, and its requestId would only bring the same one back.
                placement.again(candidate)
                self.compute.patience(error.message)
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if instance is not None:
                    return instance

    def _try(self, name: str, candidate: Candidate, placement: Placement, entry: Entry | None) -> Plain | None:
        now = self.compute.now()
        if entry is None:
            entry = self.journal.intend(
                name,
                candidate.zone,
                candidate.model,
                now=now,
                until=now + self.request.max_run_seconds,
                cost_per_hour=self.cost_per_hour,
                kind=self.request.kind,
            )
        what = f"create {name} in {candidate}"
        try:
            instance = self._ask(what, name, candidate, entry)
        except CloudError as error:
            if not error.decided:
                raise  # it may have been carried out: the entry stays open
            self.journal.note(entry, "failed", self.compute.now(), why=error.kind)
            if error.kind == Kind.CAPACITY:
                self.memory.exhausted(self.request.kind, candidate, self.compute.now())
                placement.exhausted(candidate, error.hints, error.message.removeprefix(f"{what}: "))
                return None
            if error.kind in (Kind.NOT_OFFERED, Kind.NOT_FOUND):
                placement.drop(candidate.zone, error.message.removeprefix(f"{what}: "))
                return None
            raise
        except ConfigurationError:
            self.journal.note(entry, "failed", self.compute.now(), why="taken")
            raise
        self.journal.note(entry, "created", self.compute.now(), id=str(instance.get("id", "")))
        return instance

    def _ask(self, what: str, name: str, candidate: Candidate, entry: Entry) -> Plain:
        asked = body(self.request, name, candidate.zone, candidate.model, self.compute.now())
        try:
            operation = self.compute.insert(candidate.zone, asked, entry.request_id)
        except CloudError as error:
            instance = self._seen(candidate.zone, name) if error.kind == Kind.TAKEN else None
            if instance is None:
                raise
            # Ours after all: an earlier request arrived whose answer did not.
            self._refuse_stranger(name, instance)
        else:
            operation = self._finish(what, operation, name, candidate, entry)
            failed = of_operation(what, operation)
            if failed is not None:
                raise failed
        return self._running(what, name, candidate)

    def _finish(self, what: str, operation: Plain, name: str, candidate: Candidate, entry: Entry) -> Plain:
        try:
            return self.compute.finish(what, operation, until=time.monotonic() + self.operation_seconds)
        except CloudError as error:
            error.decided = False
            raise
        except DeadlineExceeded as error:
            # Nobody waits for it any more; what is there of it is taken back, the server's limit sees to the rest.
            gone = self.compute.delete("instance", "zone", candidate.zone, name, str(uuid.uuid4()))
            if gone:
                self.journal.note(entry, "deleting", self.compute.now(), why="operation stuck")
            raise DeadlineExceeded(
                f"{error.message} It was given {self.operation_seconds:g} s.",
                hint=f"{'The host was deleted again. ' if gone else ''}The reaper removes what may still come of it.",
            ) from error

    def _running(self, what: str, name: str, candidate: Candidate) -> Plain:
        """The host once it runs; one that was taken away on the way is a zone that has none."""
        until, pause = time.monotonic() + self.operation_seconds, self.compute.pause
        while True:
            instance = self._seen(candidate.zone, name)
            status = (instance or {}).get("status", "gone")
            if instance is not None and status == "RUNNING":
                return instance
            if status not in LIVING:
                raise CloudError(f"{what}: preempted while it started (it is {status})", kind=Kind.CAPACITY)
            if time.monotonic() >= until:
                raise DeadlineExceeded(
                    f"{what}: it is {status} after {self.operation_seconds:g} s.",
                    hint="It stays, in the journal and with its time limit; state absent or the reaper removes it.",
                )
            self.compute.patience(f"{name} is {status}")
            time.sleep(pause)

    def _seen(self, zone: str, name: str) -> Plain | None:
        try:
            return self.compute.instance(zone, name)
        except CloudError as error:
            error.decided = False
            raise

    def _refuse_stranger(self, name: str, instance: Mapping[str, Any]) -> None:
        labels = instance.get("labels") or {}
        if gcp_labels.of_run(labels, self.request.run_id):
            return
        whose = f"run {labels.get(gcp_labels.RUN)}" if gcp_labels.is_ours(labels) else "somebody else"
        raise ConfigurationError(
            f"create {name}: an instance of that name in {last(instance.get('zone', ''))} belongs to {whose} "
            f"(labels {dict(labels) or 'none'}). It was not touched.",
            hint="Choose another name.",
        )

    def _refuse_other_kind(self, name: str, instance: Mapping[str, Any]) -> None:
        where = f"{name} in {last(instance.get('zone', ''))}"
        if instance.get("status") not in LIVING:
            raise ConfigurationError(
                f"{where} is {instance.get('status')}: it was preempted or stopped, and a host that comes back "
                "is another one for a comparison.",
                hint="Remove it with state absent, then create it anew.",
            )
        found = [differences(kind, instance) for kind in (*self.kinds, self.request)]
        if all(found):
            raise ConfigurationError(
                f"{where} is there and is another kind of host: {'; '.join(found[0])}.",
                hint="None of it can be changed in place: remove it with state absent first.",
            )

    def _nothing_left(self, name: str, placement: Placement) -> CloudError:
        others = f" The cloud names {', '.join(placement.unused_hints)} beside." if placement.unused_hints else ""
        return CloudError(
            f"create {name} ({self.request.machine_type}, {self.request.gpus}): no zone has it. "
            f"Tried: {'; '.join(placement.tried)}.{others}",
            kind=Kind.CAPACITY,
            hint="Allow more zones or provisioning models, or try again later.",
        )
