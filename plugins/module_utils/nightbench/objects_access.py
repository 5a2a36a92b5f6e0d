# SPDX-License-Identifier: GPL-3.0-or-later
"""Find and read many objects, and send many calls about them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from .errors import ConfigurationError, KubeError, NightbenchError, NotFound, Unreachable
from .kube import Call, Kube, Resource, Response
from .manifest import Declared, Manifest
from .objects_report import Options, Report

LIST_FROM = 20  # from so many objects of a collection on, one list is cheaper than single reads
SERVED_SECONDS = 30.0  # from a CustomResourceDefinition to its kind being served

Read = dict[str, Any] | None | NightbenchError  # None: it is not there
Resources = dict[tuple[str, str], Resource]


def locate(
    kube: Kube, manifests: Sequence[Manifest], options: Options, report: Report, *, absent: bool = False
) -> Resources:
    """Where each kind lives. In check mode a kind that is still to come is counted here as created."""
    found: Resources = {}
    of_kind: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
    for one in manifests:
        of_kind[one.group_kind].append(one)
    for (api_version, kind), some in of_kind.items():
        try:
            found[api_version, kind] = kube.resource(api_version, kind)
        except ConfigurationError as error:
            for one in some:
                if absent:
                    report.add("unchanged", one)
                elif options.dry_run and (api_version, kind) in options.declared.resources:
                    report.add("created", one, None, one.body)
                else:
                    report.fail(one, error)
    return found


def read_all(kube: Kube, manifests: Sequence[Manifest], resources: Resources, options: Options) -> list[Read]:
    """Each object as it is now, None where it is not there."""
    collections: dict[str, list[int]] = defaultdict(list)
    result: list[Read] = [None] * len(manifests)
    paths = {}
    for index, one in enumerate(manifests):
        resource = resources[one.group_kind]
        try:
            paths[index] = resource.item(one.name, one.namespace)
        except ConfigurationError as error:
            result[index] = error
            continue
        collections[resource.collection(one.namespace)].append(index)
    single = []
    for path, indexes in collections.items():
        if len(indexes) < LIST_FROM:
            single += indexes
            continue
        items, _ = kube.list_pages(path)
        by_name = {item["metadata"]["name"]: item for item in items}
        for index in indexes:
            one = manifests[index]
            if one.name in by_name:  # the items of a list do not say what they are
                result[index] = {"apiVersion": one.api_version, "kind": one.kind, **by_name[one.name]}
    # Not ended by the stop file: what was not read must not be taken for absent.
    answers = _until_gone(kube, [Call("GET", paths[index]) for index in single], options, lambda: False)
    gone = next((answer for answer in answers if isinstance(answer, Unreachable)), None)
    for index, answer in zip(single, answers, strict=True):
        if isinstance(answer, Response):
            result[index] = answer.json()
        elif not isinstance(answer, NotFound):
            result[index] = answer or gone
    return result


def send(
    kube: Kube, calls: Sequence[Call], options: Options, report: Report
) -> list[Response | NightbenchError | None]:
    """The answers; None for what was not sent any more, which the report counts."""

    def heard() -> None:
        report.answered += 1

    answers = _until_gone(kube, calls, options, options.stop, heard)
    report.not_sent += sum(answer is None for answer in answers)
    return answers


def await_served(kube: Kube, declared: Declared, options: Options) -> None:
    """A new kind answers 404 for a moment after its definition was accepted."""
    deadline = time.monotonic() + SERVED_SECONDS
    for (api_version, kind), resource in declared.resources.items():
        while time.monotonic() < deadline and not options.stop():
            try:
                kube.resource(api_version, kind)
                kube.request("GET", resource.collection(), query={"limit": "1"})
                break
            except (ConfigurationError, NotFound):
                kube.forget_discovery()
                time.sleep(0.05)
            except KubeError:
                break  # it is served; whether we may list it is another question


def _until_gone(
    kube: Kube,
    calls: Sequence[Call],
    options: Options,
    stop: Callable[[], bool],
    heard: Callable[[], None] | None = None,
) -> list[Response | NightbenchError | None]:
    """Send the calls; once the API server does not answer, the rest is not tried one by one."""
    gone = False

    def done(_index: int, answer: Response | NightbenchError) -> None:
        nonlocal gone
        gone = gone or isinstance(answer, Unreachable)
        if heard is not None:
            heard()

    return kube.map(calls, options.connections, lambda: gone or stop(), done)
