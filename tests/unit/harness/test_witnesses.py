# SPDX-License-Identifier: GPL-3.0-or-later
"""Every published stamp has a second instrument: where it differs nothing is published, a late watch is no fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.run_builder import OFF, Run, build
from tests.unit.harness.test_evidence import SMALL, broken, judged, record


def late_audit(run: Run) -> None:
    """The audit log saw the last bind more than a second later than the watch claims."""
    item = run.loads()[1]
    last = max(run.rows_of(item), key=lambda row: row["audit_bound"])
    last["audit_bound"] += 1.2
    item["values"]["audit"]["last_bind"] = last["audit_bound"]


def early_audit(run: Run) -> None:
    """The audit log's clock is half a second behind that of the pods' conditions."""
    item = run.loads()[1]
    for row in run.rows_of(item):
        row["audit_bound"] -= 0.5
    item["values"]["audit"] |= {name: item["values"]["audit"][name] - 0.5 for name in ("first_bind", "last_bind")}


def late_watch(run: Run) -> None:
    """The API server is so busy that its watch tells of every binding two seconds late."""
    item = run.loads()[1]
    for row in run.rows_of(item):
        row |= {name: row[name] + 2 for name in ("bound", "running", "deleted")}
    moments = ("first_bind", "last_bind", "first_running", "last_running", "delete_started", "delete_ended")
    item["values"] |= {name: item["values"][name] + 2 for name in moments}


def ran_later(run: Run) -> None:
    """What the audit log has is a patch of the status some seconds before the pods were Ready."""
    for row in run.rows_of(run.loads()[1]):
        row["started"] += 4


def unready(run: Run) -> None:
    for row in run.rows_of(run.loads()[1]):
        row["started"] = None


def wordless(edit: Callable[[Run], None]) -> Callable[[Run], None]:
    """The same, where no pod has a condition that says when it was bound."""

    def both(run: Run) -> None:
        edit(run)
        for row in run.rows_of(run.loads()[1]):
            row["scheduled"] = None

    return both


DIFFERENT: list[tuple[str, Callable[[Run], None], dict[str, str]]] = [
    (
        "the audit log disagrees on the time",
        late_audit,
        {
            "second_witness_agrees": "repeat 2: 1.327 s by the conditions, 3.002 s by the audit log "
            "(0 pods earlier in it), 1.804 s by the watch; 80 and 80 bound"
        },
    ),
    (
        "the audit log disagrees with what the pods say",
        early_audit,
        {
            "second_witness_agrees": "repeat 2: 1.327 s by the conditions, 1.302 s by the audit log "
            "(80 pods earlier in it), 1.804 s by the watch; 80 and 80 bound"
        },
    ),
    (
        "the audit log disagrees on the time, and the pods say nothing",
        wordless(late_audit),
        {"second_witness_agrees": "repeat 2: 1.804 s by the watch, 3.002 s by the audit log; 80 and 80 binds"},
    ),
]


@pytest.mark.parametrize(("edit", "expected"), [case[1:] for case in DIFFERENT], ids=[case[0] for case in DIFFERENT])
def test_bindings_that_another_instrument_saw_otherwise_are_not_published(
    tmp_path: Path, edit: Callable[[Run], None], expected: dict[str, str]
) -> None:
    found = record(build(tmp_path, SMALL, edits=[edit]))
    assert (found.verdict, found.value, broken(found)) == ("invalid", None, expected)


@pytest.mark.parametrize(
    ("edit", "seen"),
    [
        (
            ran_later,
            (
                "repeat 2: 5.327 s by the conditions, 1.843 s by the audit log (80 pods earlier in it), "
                "1.845 s by the watch; 80 and 80 running"
            ),
        ),
        (unready, "repeat 2: not observed"),
    ],
)
def test_a_logged_patch_that_pods_do_not_confirm_is_not_published_as_running(
    tmp_path: Path, edit: Callable[[Run], None], seen: str
) -> None:
    found = {r.metric: broken(r) for r in judged(build(tmp_path, SMALL, edits=[edit])) if r.scenario == OFF}
    of_running = ("run_all_seconds", "pod_bound_to_running_seconds")
    assert found == {name: {"pods_say_when_they_ran": seen} if name in of_running else {} for name in found}


def test_a_watch_that_is_late_is_no_fault_of_the_audit_log(tmp_path: Path) -> None:
    found = record(build(tmp_path, SMALL, edits=[late_watch]))
    (shown,) = [item for item in found.evidence if item.name == "second_witness_agrees"]
    assert (found.verdict, shown.holds) == ("measured", True)
    assert "repeat 2: 1.327 s by the conditions, 1.802 s by the audit log (0 pods earlier in it), 3.804 s by" in str(
        shown.observed
    )
