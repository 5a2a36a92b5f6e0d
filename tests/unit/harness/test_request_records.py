# SPDX-License-Identifier: GPL-3.0-or-later
"""Latencies and goodput are published where the load was the one that was meant; a late generator is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.model import Record
from harness.report import report
from harness.requests.load import (
    ADDED,
    DELAY,
    FAILED,
    FAIRNESS,
    FIRST,
    GOODPUT,
    ITEM,
    LATENCY,
    LOADED,
    LOADED_SHARE,
    OF_ANSWERS,
    OF_MODELS,
    SWAPPED,
    WAIT_FAIRNESS,
    WITH_SERVICE_TIME,
    WITHOUT_SERVICE_TIME,
)
from harness.results import RunFolder
from harness.workload import guide
from tests.fakes.request_run_builder import METRICS, Rows, build, rows, values

Edit = Callable[[Rows, dict[str, Any]], None]


def records(run: RunFolder) -> dict[str, Record]:
    return {record.metric: record for record in report(run).records}


def broken(found: dict[str, Record]) -> dict[str, set[str]]:
    """Evidence by metric that makes a record invalid."""
    wrong = {
        metric: {item.name for item in record.evidence if not item.holds} - {"load_generator_in_time"}
        for metric, record in found.items()
    }
    assert {metric for metric, record in found.items() if record.verdict == "invalid"} == {m for m in wrong if wrong[m]}
    return {metric: names for metric, names in wrong.items() if names}


def one(tmp_path: Path, edit: Edit | None = None) -> RunFolder:
    found = rows()
    told = values(found)
    if edit is not None:
        edit(found, told)
    return build(tmp_path, [(told, found)])


def test_what_was_measured_is_a_record_of_each_metric(tmp_path: Path) -> None:
    run = build(tmp_path, [(values(found), found) for found in (rows(latency=at) for at in (0.09, 0.1, 0.11))])
    found = records(run)
    assert broken(found) == {}
    record = found[LATENCY]
    assert (record.value, record.repeats, record.n) == (pytest.approx(0.1), (0.09, 0.1, 0.11), 2400)
    assert record.quantiles is not None and record.quantiles["p99"] == 0.11
    assert record.ci is not None and record.bound_by is None and "monotonic" in (record.clock or "")
    assert found[FIRST].value == pytest.approx(0.02)
    assert found[ITEM].value == pytest.approx(0.02)
    assert found[ADDED].value == pytest.approx(0.04)
    assert found[DELAY].value == pytest.approx(0.0002)
    assert found[GOODPUT].value == pytest.approx(80, rel=0.1)
    assert (found[FAILED].value, found[FAIRNESS].value) == (0, 1)
    assert record.samples is not None and (run.path / record.samples.path).exists()
    assert "Requests by service" in (run.path / "report.html").read_text()


def test_a_planted_service_time_is_said_to_be_one(tmp_path: Path) -> None:
    found = records(one(tmp_path))
    assert found[LATENCY].parameters["simulated"].startswith("the service sleeps, for 60 ms of a request alone")
    assert {metric for metric, record in found.items() if "simulated" in record.parameters} == set(WITH_SERVICE_TIME)


def test_a_model_that_is_not_in_memory_is_told_from_one_that_is(tmp_path: Path) -> None:
    def swapped(found: Rows, told: dict[str, Any]) -> None:
        for row in found:
            if not row["model_loaded"]:
                row["latency_seconds"] = 0.2 if row["service"] == "chat" else 0.3

    run = one(tmp_path, swapped)
    found = records(run)
    assert broken(found) == {}
    assert (found[LOADED].value, found[LOADED].n) == (pytest.approx(0.04), 600)
    assert (found[SWAPPED].value, found[SWAPPED].n) == (pytest.approx(0.19), 200)
    assert found[LOADED_SHARE].value == pytest.approx(0.75)
    waits = (0.75 * 0.04 + 0.25 * 0.14, 0.75 * 0.04 + 0.25 * 0.24)
    assert found[WAIT_FAIRNESS].value == pytest.approx(sum(waits) ** 2 / (2 * sum(wait**2 for wait in waits)))
    assert "Models that share a place" in (run.path / "report.html").read_text()


def test_a_service_that_plants_nothing_has_nothing_added(tmp_path: Path) -> None:
    def none(found: Rows, told: dict[str, Any]) -> None:
        for row in found:
            row["planted_seconds"] = None

    found = records(one(tmp_path, none))
    assert "simulated" not in found[LATENCY].parameters
    assert found[ADDED].verdict == "invalid" and "give no request_added_seconds" in found[ADDED].reason


def test_a_late_load_generator_is_what_the_numbers_are_bound_by(tmp_path: Path) -> None:
    def late(found: Rows, told: dict[str, Any]) -> None:
        for row in found[::50]:
            row["delay_seconds"] = 0.012

    run = one(tmp_path, late)
    found = records(run)
    assert broken(found) == {}
    bound = found[LATENCY].bound_by
    assert bound is not None
    assert (bound.kind, bound.component, bound.observed) == ("load_generator", "load generator", pytest.approx(0.012))
    assert found[FAILED].bound_by is None
    assert "sent 12 ms or more after they were due" in (run.path / "report.html").read_text()


def test_a_load_generator_without_time_left_is_what_they_are_bound_by(tmp_path: Path) -> None:
    run = one(tmp_path, lambda found, told: told["generators"]["generator-0"].update(cpu_ratio_of_core=0.97))
    bound = records(run)[GOODPUT].bound_by
    assert bound is not None and bound.limit == {"load_generator_cores": 1.0}
    assert "its core is busy" in (run.path / "report.html").read_text()


def test_only_what_kept_its_objectives_is_goodput(tmp_path: Path) -> None:
    def slow(found: Rows, told: dict[str, Any]) -> None:
        for row in found:
            if row["service"] == "code":
                row["latency_seconds"] = 0.3

    found = records(one(tmp_path, slow))
    assert found[GOODPUT].value == pytest.approx(40, rel=0.1)
    assert found[FAIRNESS].value == pytest.approx(0.5)


def change(field: str, value: Any, every: int = 10_000) -> Edit:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        for row in found[::every]:
            row |= {field: value}

    return edit


def tell(value: Any, *path: str) -> Edit:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        place = told
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = value

    return edit


def failed(share: int) -> Edit:
    def edit(found: Rows, told: dict[str, Any]) -> None:
        for row in found[::share]:
            row |= {"outcome": "failed", "latency_seconds": None, "first_item_seconds": None, "reason": "no answer"}
        told |= values(found)

    return edit


def waves(found: Rows, told: dict[str, Any]) -> None:
    """A generator that sends four times a second what has come due."""
    for row in found:
        row["delay_seconds"] = round(-row["due_seconds"] % 0.25, 6)
        row["first_item_seconds"] = row["latency_seconds"] = 0.3


def behind(found: Rows, told: dict[str, Any]) -> None:
    """A generator that needs two seconds for each."""
    for row in found:
        row["delay_seconds"] = row["due_seconds"]
        row["first_item_seconds"] = row["latency_seconds"] = 30.0


def unsent(found: Rows, told: dict[str, Any]) -> None:
    for row in found[::10]:
        empty = dict.fromkeys(("delay_seconds", "first_item_seconds", "latency_seconds", "planted_seconds", "status"))
        row |= {**empty, "outcome": "not_sent", "reason": "no connection left"}
    told |= values(found)


def each(*evidence: str, of: tuple[str, ...] = METRICS) -> dict[str, set[str]]:
    return {metric: set(evidence) for metric in of}


UNLIKE = "arrivals_like_their_source"
WRONG: list[tuple[str, Edit, dict[str, set[str]]]] = [
    ("a row is missing", lambda found, told: found.pop() and None,
     each("requests_accounted_for", "observation_matches_samples")),
    ("an outcome that nobody counted", change("outcome", "failed"), each("observation_matches_samples")),
    ("a service that nobody planned", change("service", "other"), each("observation_matches_samples")),
    ("an answer before it was sent", change("first_item_seconds", 0.0001), each("moments_in_order")),
    ("a first item after the last", change("first_item_seconds", 0.2), each("moments_in_order")),
    ("an answer without a moment", change("latency_seconds", None), each("moments_in_order")),
    ("arrivals of another law", tell(0.3, "plan", "services", "chat", "arrivals", "distance"), each(UNLIKE)),
    ("arrivals of no known distance", tell(None, "plan", "services", "chat", "arrivals", "distance"), each(UNLIKE)),
    ("arrivals without their stride", tell(None, "plan", "services", "chat", "arrivals", "planned", "stride"),
     each("arrivals_sent_as_planned")),
    ("requests in waves", waves, each("arrivals_sent_as_planned")),
    ("a rate that was not reached", behind, each("achieved_as_requested")),
    ("requests that were not sent", unsent,
     {**each("achieved_as_requested"), **each("achieved_as_requested", "requests_answered", of=OF_ANSWERS)}),
    ("two in a hundred failed", failed(50), each("requests_answered", of=OF_ANSWERS)),
    ("an answer before its service time", change("planted_seconds", 0.5),
     each("no_answer_before_its_service_time", of=WITHOUT_SERVICE_TIME)),
    ("an answer that does not say where its model was", change("model_loaded", None),
     each("models_told", of=OF_MODELS)),
    ("one model alone", lambda found, told: [row.update(model_loaded=None) for row in found[:400]] and None,
     each("models_told", of=OF_MODELS)),
    ("a model that was asked for four times", lambda found, told: [
        row.update(outcome="failed", latency_seconds=None, first_item_seconds=None) for row in found[4:400]
    ] and told.update(values(found)),
     {**each("requests_answered", of=OF_ANSWERS), **each("requests_answered", "models_told", of=OF_MODELS)}),
    ("models that were always in memory", change("model_loaded", True, every=1),
     {SWAPPED: {"seen_often_enough"}}),
    ("models that never were", change("model_loaded", False, every=1), {LOADED: {"seen_often_enough"}}),
    ("stolen time", tell(0.4, "machine", "steal_ratio"), each("cpu_not_stolen")),
    ("nothing asked", tell(0, "asked"), each("requests_accounted_for")),
]  # fmt: skip


@pytest.mark.parametrize(("edit", "expected"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_what_does_not_hold_is_not_published(tmp_path: Path, edit: Edit, expected: dict[str, set[str]]) -> None:
    assert broken(records(one(tmp_path, edit))) == expected


def test_constant_arrivals_have_no_law_to_be_far_from(tmp_path: Path) -> None:
    def constant(found: Rows, told: dict[str, Any]) -> None:
        for number, row in enumerate(found):
            row["due_seconds"] = (number % 400) * 0.025
        for name in ("chat", "code"):
            told["plan"]["services"][name]["arrivals"] |= {"kind": "constant", "distance": None}

    assert broken(records(one(tmp_path, constant))) == {}


def test_of_few_requests_one_that_is_late_does_not_make_another_load(tmp_path: Path) -> None:
    found = rows(count=24)
    for row in found:
        row["due_seconds"] = round(row["due_seconds"] * 40, 6)
    found[3] |= {"delay_seconds": 0.03, "first_item_seconds": 0.05}
    assert broken(records(build(tmp_path, [(values(found), found)]))) == {}


def test_samples_that_were_changed_are_not_published(tmp_path: Path) -> None:
    run = one(tmp_path)
    path = run.path / "samples" / "1.jsonl"
    path.write_text(path.read_text().replace('"latency_seconds": 0.1', '"latency_seconds": 0.01', 1))
    assert "samples_intact" in broken(records(run))[LATENCY]


def test_the_guide_has_what_was_added_and_nothing_that_we_set(tmp_path: Path) -> None:
    run = one(tmp_path)
    report(run)
    (line,) = guide.made(run.records(), run.observations())
    record = line.cells["latency"].record
    assert record is not None and record.metric == ADDED
    assert line.cells["throughput"].text == "simulated"


def test_a_latency_with_a_planted_service_time_is_no_latency_of_the_guide(tmp_path: Path) -> None:
    found = report(one(tmp_path)).records
    chosen = [record for record in found if record.metric in (LATENCY, GOODPUT)]
    (line,) = guide.made(chosen, [])
    assert line.cells["latency"].record is None
