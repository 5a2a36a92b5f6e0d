# SPDX-License-Identifier: GPL-3.0-or-later
"""What the linter found as text, JSON and SARIF 2.1.0 (OASIS, 2020). Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from .lint_confirm import Answer, confirmed
from .lint_rule import SEVERITIES, Finding, Rule

WIDTH = 110
#: What SARIF calls the answer to a dry run, which no rule of ours has to know.
REFUSED: Mapping[str, Any] = {
    "id": "api-server",
    "shortDescription": {"text": "The API server refuses it"},
    "fullDescription": {"text": "A dry run of the manifest was refused; the message holds the API server's own words."},
    "help": {"text": "Mend what the message names."},
    "defaultConfiguration": {"level": "error"},
}
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def as_text(findings: Sequence[Finding], documents: int, rules: Mapping[str, Rule], answers: Sequence[Answer]) -> str:
    """A paragraph a finding, and a line that counts them."""
    parts = []
    for one in findings:
        place = f"{one.source}:{one.line}" if one.line else one.source
        lines = [f"{place}: {one.severity} [{one.rule}] {one.object}: {one.field}: {one.observed}"]
        lines += _indented("why", one.why) + _indented("mend", one.mend)
        if said := confirmed(one, rules, answers):
            lines += _indented("the API server", said)
        parts.append("\n".join(lines))
    parts += [
        f"{one.source}: {one.object}: {_verdict(one)}: {one.message}" for one in answers if one.accepted is not True
    ]
    told = [_count(number, severity) for severity, number in counts(findings).items()]
    parts.append(f"{_count(documents, 'manifest')}: {', '.join(told)}")
    return "\n\n".join(parts)


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many there are of each severity."""
    return {severity: sum(one.severity == severity for one in findings) for severity in SEVERITIES}


def as_json(
    findings: Sequence[Finding], documents: int, rules: Mapping[str, Rule], answers: Sequence[Answer]
) -> dict[str, Any]:
    return {
        "manifests": documents,
        "counts": counts(findings),
        "findings": [asdict(one) | {"api_server": confirmed(one, rules, answers) or None} for one in findings],
        "api_server": [asdict(one) for one in answers],
    }


def as_sarif(findings: Sequence[Finding], rules: Mapping[str, Rule], answers: Sequence[Answer] = ()) -> dict[str, Any]:
    """One run; a finding's level is its severity, and its place the file and line.

    What the API server refuses is a result of the rule `api-server`; that it could not be asked is a notification.
    """
    refused = [one for one in answers if one.accepted is False]
    unasked = [one for one in answers if one.accepted is None]
    more: dict[str, Any] = {}
    if answers:
        told = [{"level": "warning", "message": {"text": f"{one.object}: {one.message}"}} for one in unasked]
        more = {"invocations": [{"executionSuccessful": not unasked, "toolExecutionNotifications": told}]}
    return {
        "$schema": SARIF_SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "nightbench",
                        "rules": [*(_rule(rule) for rule in rules.values()), *([REFUSED] if answers else [])],
                    }
                },
                "results": [
                    *(_result(one, list(rules)) for one in findings),
                    *(_refusal(one, len(rules)) for one in refused),
                ],
                **more,
            }
        ],
    }


def explained(rule: Rule) -> str:
    """All that there is to say of a rule."""
    shown = f"The API server refuses it: /{rule.refused}/" if rule.refused else f"A run shows it: {rule.shown}."
    lines = [f"{rule.name} ({rule.severity}): {rule.title}"]
    return "\n".join([*lines, *_indented("why", rule.why), *_indented("mend", rule.mend), *_indented("shown", shown)])


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.mend},
        "defaultConfiguration": {"level": rule.severity},
    }


def _result(finding: Finding, names: Sequence[str]) -> dict[str, Any]:
    location: dict[str, Any] = {"artifactLocation": {"uri": quote(finding.source)}}
    if finding.line:
        location["region"] = {"startLine": finding.line}
    return {
        "ruleId": finding.rule,
        "ruleIndex": names.index(finding.rule),
        "level": finding.severity,
        "message": {"text": f"{finding.object}: {finding.field}: {finding.observed}. {finding.why} {finding.mend}"},
        "locations": [
            {
                "physicalLocation": location,
                "logicalLocations": [{"fullyQualifiedName": f"{finding.object}: {finding.field}"}],
            }
        ],
    }


def _refusal(answer: Answer, index: int) -> dict[str, Any]:
    return {
        "ruleId": REFUSED["id"],
        "ruleIndex": index,
        "level": "error",
        "message": {"text": f"{answer.object}: {answer.message}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": quote(answer.source)}},
                "logicalLocations": [{"fullyQualifiedName": answer.object}],
            }
        ],
    }


def _verdict(answer: Answer) -> str:
    return "refused by the API server" if answer.accepted is False else "the API server could not be asked"


def _indented(word: str, text: str) -> list[str]:
    return textwrap.wrap(f"{word}: {text}", WIDTH, initial_indent="    ", subsequent_indent="      ")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
