# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at the manifests of AI workloads and explains what is wrong with them. Pure.

    python -m nightbench.lint_main FILE…   what `python -m harness lint` runs

Each rule is tied to what the API server answers, or to what a run shows; tests/integration/test_lint_*.py do both.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import lint_jobs, lint_objects, lint_resources, lint_serving
from .lint_document import Bundle, Document, in_words
from .lint_rule import Finding, Rule

RULES: tuple[Rule, ...] = (*lint_jobs.RULES, *lint_resources.RULES, *lint_serving.RULES, *lint_objects.RULES)


def lint(documents: Sequence[Document], rules: Iterable[Rule] = RULES) -> list[Finding]:
    """All findings, in the order of the documents and of their lines."""
    bundle = Bundle(documents)
    rules = tuple(rules)
    found = [
        (
            number,
            Finding(
                rule=rule.name,
                severity=rule.severity,
                source=document.source,
                line=document.line(hit.place),
                object=str(document),
                field=in_words(hit.place),
                observed=hit.observed,
                why=rule.why,
                mend=hit.mend or rule.mend,
            ),
        )
        for number, document in enumerate(documents)
        for rule in rules
        for hit in rule.check(document, bundle)
    ]
    return [one for _, one in sorted(found, key=lambda pair: (pair[0], pair[1].line or 0, pair[1].rule))]
