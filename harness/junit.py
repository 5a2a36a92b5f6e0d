# SPDX-License-Identifier: GPL-3.0-or-later
"""junit.xml for CI servers: a test suite for each suite, a test case for each record, one suite for the stages.

| verdict                                     | in JUnit                     |
|---------------------------------------------|------------------------------|
| fail, regression                            | <failure type="VERDICT">     |
| invalid, error                              | <error type="VERDICT">       |
| not_runnable                                | <skipped>                    |
| pass, improvement, measured, inconclusive   | passed (verdict as property) |

A stage that failed is an <error type="stage"> in the suite `stages`.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from itertools import groupby

from harness import presentation
from harness.model import Failure, Record
from harness.presentation import bound_in_words

ELEMENT = {
    "fail": "failure",
    "regression": "failure",
    "invalid": "error",
    "error": "error",
    "not_runnable": "skipped",
}
# XML 1.0 cannot hold other control characters, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(run_id: str, started_at: str, records: Sequence[Record], failures: Mapping[str, Failure]) -> bytes:
    root = ET.Element("testsuites", name=f"nightbench {run_id}")
    for suite, group in groupby(sorted(records, key=lambda r: r.suite), key=lambda r: r.suite):
        node = ET.SubElement(root, "testsuite", name=suite)
        if started_at:
            node.set("timestamp", started_at)
        for record in group:
            _case(node, record)
    if failures:
        node = ET.SubElement(root, "testsuite", name="stages")
        for stage, failure in failures.items():
            case = ET.SubElement(node, "testcase", classname="stages", name=stage)
            ET.SubElement(case, "error", type="stage", message=_text(failure.reason))
    for node in [*root]:
        _count(node)
    _count(root)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _case(parent: ET.Element, record: Record) -> None:
    classname = f"{record.suite}.{record.scenario}.{record.subject}"
    case = ET.SubElement(parent, "testcase", classname=classname, name=record.metric)
    properties = ET.SubElement(case, "properties")
    told = {
        "verdict": record.verdict,
        "value": presentation.value(record),
        "objective": presentation.objective(record),
        "bound_by": bound_in_words(record),
    }
    for name, value in told.items():
        if value:
            ET.SubElement(properties, "property", name=name, value=_text(value))
    if record.verdict in ELEMENT:
        node = ET.SubElement(case, ELEMENT[record.verdict], message=_text(record.reason))
        if record.verdict != "not_runnable":  # <skipped> has no type
            node.set("type", record.verdict)
        broken = [item for item in record.evidence if not item.holds]
        node.text = _text(
            "\n".join(f"{item.name}: expected {item.expected}; observed {item.observed}" for item in broken)
        )
    elif record.reason:
        ET.SubElement(case, "system-out").text = _text(record.reason)


def _count(node: ET.Element) -> None:
    node.set("tests", str(len(node.findall(".//testcase"))))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        if node.tag == "testsuite" or attribute != "skipped":
            node.set(attribute, str(len(node.findall(f".//testcase/{tag}"))))


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
