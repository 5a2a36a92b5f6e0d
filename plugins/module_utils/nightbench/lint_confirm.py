# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the API server what it says of a manifest, by a dry run: nothing is created."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .errors import ConfigurationError, KubeError
from .kube import Kube
from .lint_document import Document
from .lint_rule import Finding, Rule

DEFAULT_NAMESPACE = "default"
_WARNING = re.compile(r'^\d{3} \S+ "(.*)"$')


@dataclass(frozen=True)
class Answer:
    """What the API server said of one manifest; `accepted` None where it could not be asked."""

    source: str
    object: str
    accepted: bool | None
    message: str


def ask(kube: Kube, documents: Sequence[Document], namespace: str = "", strict: bool = False) -> list[Answer]:
    """One answer for each document; raises NightbenchError when the API server cannot be asked at all.

    `strict` has it refuse a field that it would drop and warn of.
    """
    fields = "Strict" if strict else "Warn"
    return [Answer(one.source, str(one), *_ask(kube, one, namespace or DEFAULT_NAMESPACE, fields)) for one in documents]


def confirmed(finding: Finding, rules: Mapping[str, Rule], answers: Sequence[Answer]) -> str:
    """The API server's own words for a finding; empty where it said nothing of it."""
    pattern = rules[finding.rule].refused
    if not pattern:
        return ""
    told = (one for one in answers if (one.source, one.object) == (finding.source, finding.object))
    return next((one.message for one in told if re.search(pattern, one.message)), "")


def _ask(kube: Kube, document: Document, namespace: str, fields: str) -> tuple[bool | None, str]:
    try:
        resource = kube.resource(document.api_version, document.kind)
    except ConfigurationError as error:
        return False, str(error)
    path = resource.collection(document.namespace or namespace)
    query = {"dryRun": "All", "fieldManager": "nightbench", "fieldValidation": fields}
    try:
        answer = kube.request("POST", path, query=query, body=document.body)
    except KubeError as error:
        if error.status == 409:
            # What it is made of is looked at before its name is.
            return True, "accepted; an object of this name is there already"
        if error.status in (401, 403) or (error.status == 404 and "namespaces" in str(error)):
            return None, str(error)
        return False, str(error)
    warning = _WARNING.match(answer.headers.get("warning", ""))
    return True, f"accepted, with a warning: {warning[1]}" if warning else "accepted"
