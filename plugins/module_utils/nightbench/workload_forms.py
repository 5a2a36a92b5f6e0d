# SPDX-License-Identifier: GPL-3.0-or-later
"""What the linter and the API server say of every form of a workload, and what a form lacks in this cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import workload_summary
from .errors import ConfigurationError
from .kube import Kube
from .lint_confirm import ask
from .lint_document import Document, of_object

Form = Sequence[Mapping[str, Any]]


def looked_at(
    kube: Kube, forms: Mapping[str, Form], operators: Sequence[Mapping[str, str]], namespace: str
) -> dict[str, Any]:
    """Of every form; a field that its kind does not have is refused, and a kind that is not served has no answer."""
    return {
        name: workload_summary.form(
            manifests,
            [_answer(kube, of_object(number, one), operators, namespace) for number, one in enumerate(manifests, 1)],
        )
        for name, manifests in forms.items()
    }


def lacking(form: Mapping[str, Any], leave_out: Sequence[str]) -> str:
    """Why the form cannot run here: kinds that are not served, and what serves them."""
    told = [one for one in form["api_server"] if "install" in one and one["object"].split()[0] not in leave_out]
    return "; ".join(f"{one['object']}: {one['message']}" for one in told)


def _answer(kube: Kube, document: Document, operators: Sequence[Mapping[str, str]], namespace: str) -> dict[str, Any]:
    try:
        kube.resource(document.api_version, document.kind)
    except ConfigurationError:
        named = [f"{one['name']} ({one['source']})" for one in operators if one["serves"] == document.api_version]
        install = " or ".join(named) or f"what serves {document.api_version}"
        message = f"the cluster has no {document.kind} in {document.api_version}; install {install}"
        return {"object": str(document), "accepted": None, "message": message, "install": install}
    (answer,) = ask(kube, [document], namespace, strict=True)
    return {"object": answer.object, "accepted": answer.accepted, "message": answer.message}
