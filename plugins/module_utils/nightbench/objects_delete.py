# SPDX-License-Identifier: GPL-3.0-or-later
"""Delete many objects, by name or by label, one call each.

The API server deletes a collection with one worker and does not say in advance what it will take; single deletes over
several connections are faster, count exactly, and name the uid, so that an object that was made anew is left alone.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import ConfigurationError, NightbenchError, NotFound
from .kube import Call, Kube
from .manifest import Manifest, waves
from .objects_access import Resources, locate, read_all, send
from .objects_report import Options, Report
from .predicates import absent

NAMED = 10  # objects that are named when they do not go
POLL_SECONDS = (0.05, 1.0)  # the first pause and the longest

Found = tuple[Manifest, dict[str, Any]]


@dataclass(frozen=True)
class Selector:
    """Objects of one kind by their labels, in one namespace or in all."""

    api_version: str
    kind: str
    label_selector: str
    namespace: str | None = None

    def __post_init__(self) -> None:
        if not self.label_selector.strip():
            raise ConfigurationError(
                f"selector: without a label_selector every {self.kind} would be deleted.", hint="Name a label."
            )


@dataclass(frozen=True)
class Deletion:
    """How it is deleted, and whether it is waited for."""

    wait: bool = True
    grace_period_seconds: int | None = None
    propagation: str = "Background"


def delete(kube: Kube, manifests: Sequence[Manifest], options: Options, deletion: Deletion, report: Report) -> None:
    """Delete what is there of the list; what others need goes last."""
    for wave in reversed(waves(manifests)):
        resources = locate(kube, wave, options, report, absent=True)
        known = [one for one in wave if one.group_kind in resources]
        found: list[Found] = []
        for one, before in zip(known, read_all(kube, known, resources, options), strict=True):
            if isinstance(before, NightbenchError):
                report.fail(one, before)
            elif before is None:
                report.add("unchanged", one)
            else:
                found.append((one, before))
        _send_deletes(kube, found, resources, options, deletion, report)
        if deletion.wait and not options.dry_run and not report.failures:
            _await_gone(kube, found, resources, options)


def delete_selected(kube: Kube, selector: Selector, options: Options, deletion: Deletion, report: Report) -> None:
    """Delete everything that carries the labels, also what appears while the rest goes."""
    try:
        resource = kube.resource(selector.api_version, selector.kind)
    except ConfigurationError:
        return  # of a kind that is not there, no object is
    path = resource.collection(selector.namespace)
    sent: set[str] = set()
    pause = POLL_SECONDS[0]
    while True:
        items, _ = kube.list_pages(path, label_selector=selector.label_selector)
        found = [(_manifest(selector, item), item) for item in items]
        new = [(one, item) for one, item in found if item["metadata"]["uid"] not in sent]
        sent.update(item["metadata"]["uid"] for _, item in new)
        _send_deletes(kube, new, {(selector.api_version, selector.kind): resource}, options, deletion, report)
        if not found or not deletion.wait or options.dry_run or report.failures or report.not_sent:
            return
        options.check(_still_there(found))
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS[1])


def _send_deletes(
    kube: Kube, found: list[Found], resources: Resources, options: Options, deletion: Deletion,
    report: Report,
) -> None:  # fmt: skip
    """Delete what is not being deleted already."""
    going = []
    for one, before in found:
        if before["metadata"].get("deletionTimestamp") and deletion.grace_period_seconds is None:
            report.add("unchanged", one)
        else:
            going.append((one, before))
    calls = []
    for one, before in going:
        body: dict[str, Any] = {
            "propagationPolicy": deletion.propagation,
            "preconditions": {"uid": before["metadata"]["uid"]},
        }
        if deletion.grace_period_seconds is not None:
            body["gracePeriodSeconds"] = deletion.grace_period_seconds
        if options.dry_run:
            body["dryRun"] = ["All"]
        calls.append(Call("DELETE", resources[one.group_kind].item(one.name, one.namespace), None, body))
    for (one, before), answer in zip(going, send(kube, calls, options, report), strict=True):
        if isinstance(answer, NightbenchError) and not isinstance(answer, NotFound):
            report.fail(one, answer)
        elif answer is not None:  # also 404: it was there a moment ago, and the answer to our delete may have been lost
            report.add("deleted", one, before, None)


def _await_gone(kube: Kube, found: list[Found], resources: Resources, options: Options) -> None:
    left = found
    pause = POLL_SECONDS[0]
    while True:
        states = read_all(kube, [one for one, _ in left], resources, options)
        still: list[Found] = []
        for (one, before), state in zip(left, states, strict=True):
            if isinstance(state, NightbenchError):
                raise state
            if state is not None and state["metadata"]["uid"] == before["metadata"]["uid"]:
                still.append((one, state))
        left = still
        if not left:
            return
        options.check(_still_there(left))
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS[1])


def _still_there(left: list[Found]) -> str:
    named = "; ".join(f"{one}: {absent(item, {})}" for one, item in left[:NAMED])
    more = f"; and {len(left) - NAMED} more" if len(left) > NAMED else ""
    return f"{len(left)} objects are still there: {named}{more}"


def _manifest(selector: Selector, item: dict[str, Any]) -> Manifest:
    """Items of a list do not say their own kind."""
    return Manifest({"apiVersion": selector.api_version, "kind": selector.kind, **item})
