# SPDX-License-Identifier: GPL-3.0-or-later
"""Apply many objects by server-side apply, and know exactly which of them that changed.

What an object was before is read first, and its resourceVersion goes along with the patch: somebody else's write in
between is answered with a conflict and read again, so it is never taken for a change of ours. A dry run takes the
same way; what cannot be asked because its namespace or kind is still to come is predicted from the declarations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from .compare import contains, same
from .errors import Conflict, NightbenchError, NotFound
from .kube import APPLY_PATCH, Call, Kube, Resource
from .manifest import Declared, Manifest, waves
from .objects_access import Read, Resources, await_served, locate, read_all, send
from .objects_report import Options, Report

LOCKED_TRIES = 4  # with the resourceVersion; after that without, for an object that is written all the time


def apply(kube: Kube, manifests: Sequence[Manifest], options: Options, report: Report) -> None:
    """Apply all objects, namespaces and kinds first; an object that fails does not keep the others from it."""
    for wave in waves(manifests):
        _apply_wave(kube, wave, options, report)
        if not options.dry_run and any(one.kind == "CustomResourceDefinition" for one in wave):
            kube.forget_discovery()
            await_served(kube, Declared(wave), options)


@dataclass(frozen=True)
class _Applied:
    """An object that the API server has taken: as it was at first, just before, and afterwards."""

    manifest: Manifest
    first: dict[str, Any] | None
    before: dict[str, Any] | None
    after: dict[str, Any]
    locked: bool

    def changed(self, manager: str) -> bool:
        """Whether we changed it: in this try, or in an earlier one whose answer was lost."""
        assert self.before is not None
        if self.locked:
            now = not same(self.before, self.after, status=self.manifest.has_status)
        else:
            now = _wrote(manager, self.before, self.after)
        return now or _wrote(manager, self.first or self.before, self.before)


def _apply_wave(kube: Kube, wave: list[Manifest], options: Options, report: Report) -> None:
    resources = locate(kube, wave, options, report)
    left = [one for one in wave if one.group_kind in resources]
    firsts: dict[int, dict[str, Any] | None] = {}
    for attempt in range(LOCKED_TRIES + 1):
        locked = attempt < LOCKED_TRIES
        readable = _readable(left, read_all(kube, left, resources, options), report)
        calls = [_patch(one, before, resources[one.group_kind], options, locked) for one, before in readable]
        answers = send(kube, calls, options, report)
        left = []
        applied = []
        for (one, before), answer in zip(readable, answers, strict=True):
            first = firsts.setdefault(id(one), before)
            if locked and before and isinstance(answer, Conflict) and not _owned_by_another(answer):
                left.append(one)  # somebody else wrote it since we read it
            elif isinstance(answer, NotFound) and options.dry_run and one.namespace in options.declared.namespaces:
                report.add("created", one, None, one.body)
            elif isinstance(answer, NightbenchError):
                report.fail(one, answer)
            elif answer is not None:
                applied.append(_Applied(one, first, before, answer.json(), locked))
        _finish(kube, applied, resources, options, report)
        if not left:
            return


def _finish(kube: Kube, applied: list[_Applied], resources: Resources, options: Options, report: Report) -> None:
    """Apply a declared status too where the API server did not take it with the object, then count."""
    calls = {}
    for index, one in enumerate(applied):
        manifest = one.manifest
        exists = one.before is not None or not options.dry_run  # of what a dry run creates no status can be asked
        if manifest.has_status and exists and not contains(one.after.get("status"), manifest.body["status"]):
            path = resources[manifest.group_kind].item(manifest.name, manifest.namespace) + "/status"
            calls[index] = Call("PATCH", path, _query(options), _status_of(manifest), APPLY_PATCH)
    answers = dict(zip(calls, send(kube, list(calls.values()), options, report), strict=True))
    for index, one in enumerate(applied):
        answer = answers.get(index)
        if isinstance(answer, NightbenchError):
            report.fail(f"status of {one.manifest}", answer)
            continue
        if answer is not None:
            one = replace(one, after={**one.after, "status": answer.json().get("status")})
        if one.before is None:
            report.add("created", one.manifest, None, one.after)
        elif one.changed(options.field_manager):
            report.add("updated", one.manifest, one.first, one.after)
        else:
            report.add("unchanged", one.manifest)


def _readable(
    left: list[Manifest], befores: list[Read], report: Report
) -> list[tuple[Manifest, dict[str, Any] | None]]:
    """The objects whose state is known; the others have failed."""
    found = []
    for one, before in zip(left, befores, strict=True):
        if isinstance(before, NightbenchError):
            report.fail(one, before)
        else:
            found.append((one, before))
    return found


def _patch(one: Manifest, before: dict[str, Any] | None, resource: Resource, options: Options, locked: bool) -> Call:
    body = one.body
    if before is not None:
        # What exists takes its status by the status subresource alone; what is new may take it along (nodes do).
        body = {key: value for key, value in body.items() if key != "status"}
        if locked:
            metadata = {**body["metadata"], "resourceVersion": before["metadata"]["resourceVersion"]}
            body = {**body, "metadata": metadata}
    return Call("PATCH", resource.item(one.name, one.namespace), _query(options), body, APPLY_PATCH)


def _query(options: Options) -> dict[str, str]:
    query = {"fieldManager": options.field_manager, "force": str(options.force).lower()}
    return {**query, "dryRun": "All"} if options.dry_run else query


def _status_of(one: Manifest) -> dict[str, Any]:
    metadata = {key: one.body["metadata"][key] for key in ("name", "namespace") if key in one.body["metadata"]}
    return {"apiVersion": one.api_version, "kind": one.kind, "metadata": metadata, "status": one.body["status"]}


def _owned_by_another(error: Conflict) -> bool:
    """A conflict over a field, not over the resourceVersion: another try would not help."""
    return "Apply failed with" in error.message


def _wrote(manager: str, before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether the manager applied a change in between: its entries then have other fields or another time."""

    def entries(item: dict[str, Any]) -> list[dict[str, Any]]:
        mine = [one for one in item["metadata"].get("managedFields", []) if one.get("manager") == manager]
        applied = [one for one in mine if one.get("operation") == "Apply"]
        return sorted(applied, key=lambda one: str(one.get("subresource")))

    return entries(before) != entries(after)
