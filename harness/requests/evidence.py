# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold for latencies and goodput to be those of the services, under the load that was meant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness import common_checks as common
from harness import units
from harness.common_checks import Finding, plain
from harness.model import Evidence
from harness.requests.fidelity import Fidelity, compared
from harness.requests.load import (
    ADDED,
    ANSWERED,
    DELAY,
    LOADED,
    OF_ANSWERS,
    OF_MODELS,
    OUTCOMES,
    SWAPPED,
    WITHOUT_SERVICE_TIME,
    Requests,
    value_of,
)

#: inference-perf and others publish achieved over requested; below this it was another load.
ACHIEVED_LEAST = 0.95
#: What is later is the load generator's own queue.
DELAY_MOST = 0.005
#: Quantiles of fewer answers would be those of the quick ones.
ANSWERED_LEAST = 0.99
ROUNDING = 2e-6
#: A model that was asked for less often, or a swap that was seen less often, says nothing.
SEEN_LEAST = 5


Context = common.Context[Requests]


def requests_accounted_for(load: Requests, context: Context) -> Finding:
    """A row for each request that was planned."""
    asked, planned, done = load.number("asked"), load.number("plan", "requests"), load.number("done")
    text = f"{len(load.rows)} rows; {plain(asked)} asked, {plain(planned)} planned, {plain(done)} told"
    return Finding("a row for each request", text, asked is not None and 0 < asked == planned == done == len(load.rows))


def observation_matches_samples(load: Requests, context: Context) -> Finding:
    """What the observation counts, counted again."""
    wrong = []
    for name in load.services:
        seen = load.outcomes(name)
        wrong += [
            f"{name}: {plain(told)} {outcome}, the samples give {seen[outcome]}"
            for outcome in OUTCOMES
            if (told := load.number("services", name, outcome)) != seen[outcome]
        ]
    strange = {str(row["service"]) for row in load.rows} - set(load.services)
    wrong += [f"{name} was not planned" for name in sorted(strange)]
    return Finding("the outcomes of the samples", "; ".join(wrong[:3]) or "the same", bool(load.services) and not wrong)


def moments_in_order(load: Requests, context: Context) -> Finding:
    """Due, sent, first item, last: of every request that was answered."""
    bad = [row for row in load.rows if row["outcome"] == ANSWERED and not _in_order(row)]
    example = f", e.g. {bad[0]['service']} at {units.show(float(bad[0]['due_seconds']), 's')}" if bad else ""
    return Finding("due ≤ sent ≤ first item ≤ last", f"{len(bad)} not{example}", not bad)


def arrivals_like_their_source(load: Requests, context: Context) -> Finding:
    """What was planned against the law of its process, or the trace it was taken from."""
    worst: list[str] = []
    texts = []
    for name in load.services:
        told = (load.number("plan", "services", name, "arrivals", key) for key in ("distance", "distance_most"))
        distance, most = told
        kind = load.value("plan", "services", name, "arrivals", "kind")
        if distance is None and kind == "constant":
            texts.append(f"{name}: constant")
        elif distance is None or most is None or distance > most:
            worst.append(f"{name}: {plain(distance)}, at most {plain(most)}")
        else:
            texts.append(f"{name}: {kind}, distance {distance:.3f}")
    return Finding(
        "gaps of the planned arrivals like their source's",
        "; ".join(worst or texts) or common.UNSEEN,
        bool(texts) and not worst,
    )


def arrivals_sent_as_planned(load: Requests, context: Context) -> Finding:
    """What was sent against what was due, by service."""
    wrong, fine = [], []
    for name in load.services:
        found = _fidelity(load, name)
        if found is None:
            wrong.append(f"{name}: too few were sent")
        elif faults := found.faults():
            wrong.append(f"{name}: {', '.join(faults)}")
        else:
            fine.append(f"{name}: CV {found.sent.cv:.3f}, planned {found.planned.cv:.3f}")
    return Finding("gaps as planned", "; ".join(wrong or fine) or common.UNSEEN, bool(fine) and not wrong)


def achieved_as_requested(load: Requests, context: Context) -> Finding:
    ratio = achieved_ratio(load)
    expected = f"≥ {units.show(ACHIEVED_LEAST, 'ratio')} of the rate that was planned"
    shown = common.UNSEEN if ratio is None else units.show(ratio, "ratio")
    return Finding(expected, shown, ratio is not None and ratio >= ACHIEVED_LEAST)


def load_generator_in_time(load: Requests, context: Context) -> Finding:
    """Where it is not, the record says that the load generator is what the number is bound by."""
    late = schedule_delay(load)
    text = common.UNSEEN if late is None else units.show(late, "s")
    expected = f"p99 of the schedule delay ≤ {units.show(DELAY_MOST, 's')}"
    return Finding(expected, text, late is not None and late <= DELAY_MOST)


def requests_answered(load: Requests, context: Context) -> Finding:
    share = sum(1 for row in load.rows if row["outcome"] == ANSWERED) / len(load.rows) if load.rows else 0.0
    example = next((f": {row['reason']}" for row in load.rows if row["outcome"] != ANSWERED), "")
    expected = f"≥ {units.show(ANSWERED_LEAST, 'ratio')} answered"
    return Finding(expected, f"{units.show(share, 'ratio')}{example}", share >= ANSWERED_LEAST)


def no_answer_before_its_service_time(load: Requests, context: Context) -> Finding:
    """A service that answers sooner than it says it sleeps does not sleep it, and what is left is no wait."""
    early = [row for row in load.rows if (value := value_of(ADDED, row)) is not None and value < -ROUNDING]
    example = f", e.g. {early[0]['service']} at {units.show(float(early[0]['due_seconds']), 's')}" if early else ""
    return Finding("latency ≥ what was planted of it", f"{len(early)} less{example}", not early)


def models_told(load: Requests, context: Context) -> Finding:
    """Every answer of a service with models says whether its model was in memory; there are two or more."""
    answers = {name: [row for row in load.of(name) if row["outcome"] == ANSWERED] for name in load.services}
    told = {name: [row["model_loaded"] for row in rows] for name, rows in answers.items()}
    models = {name: found for name, found in told.items() if any(one is not None for one in found)}
    unknown = sum(found.count(None) for found in models.values())
    few = [name for name, found in models.items() if len(found) < SEEN_LEAST]
    text = f"{len(models)} models, {unknown} answers do not say" + (f", few of {', '.join(few)}" if few else "")
    expected = f"two models or more, {SEEN_LEAST} answers of each, all say"
    return Finding(expected, text, len(models) > 1 and not unknown and not few)


def seen_often_enough(load: Requests, context: Context) -> Finding:
    count = len(load.values_of(context.metric))
    return Finding(f"at least {SEEN_LEAST} such requests", str(count), count >= SEEN_LEAST)


@dataclass(frozen=True)
class Row:
    name: str
    check: Callable[[Requests, Context], Finding]
    consequence: str = "invalid"
    metrics: Sequence[str] = ()  # all but for these


TABLE: tuple[Row, ...] = (
    Row("all_repeats_present", common.all_repeats_present),
    Row("same_parameters_in_every_repeat", common.same_parameters),
    Row("samples_intact", common.samples_intact),
    Row("requests_accounted_for", requests_accounted_for),
    Row("observation_matches_samples", observation_matches_samples),
    Row("moments_in_order", moments_in_order),
    Row("arrivals_like_their_source", arrivals_like_their_source),
    Row("arrivals_sent_as_planned", arrivals_sent_as_planned),
    Row("achieved_as_requested", achieved_as_requested),
    Row("requests_answered", requests_answered, metrics=OF_ANSWERS),
    Row("no_answer_before_its_service_time", no_answer_before_its_service_time, metrics=WITHOUT_SERVICE_TIME),
    Row("models_told", models_told, metrics=OF_MODELS),
    Row("seen_often_enough", seen_often_enough, metrics=(LOADED, SWAPPED)),
    Row("load_generator_in_time", load_generator_in_time, consequence="bound_by"),
    Row("cpu_not_stolen", common.cpu_not_stolen),
)
CONSEQUENCE = {row.name: row.consequence for row in TABLE}


def collect(metric: str, loads: Sequence[Requests], repeats: int) -> tuple[Evidence, ...]:
    context = Context(metric, repeats, loads)
    rows = [row for row in TABLE if not row.metrics or metric in row.metrics]
    return common.collect(((row.name, row.check) for row in rows), loads, context)


def schedule_delay(load: Requests) -> float | None:
    """The 99th percentile; one that was never sent is late without end, and counts by achieved_as_requested."""
    values = load.values_of(DELAY)
    return float(np.quantile(values, 0.99)) if values else None


def achieved_ratio(load: Requests) -> float | None:
    """The rate of what was sent, from the first to the last, over that of what was due."""
    due = [float(row["due_seconds"]) for row in load.rows]
    sent = [float(row["due_seconds"] + row["delay_seconds"]) for row in load.rows if row["delay_seconds"] is not None]
    if len(sent) < 2 or max(due) <= min(due):
        return None
    seconds = max(max(sent) - min(sent), max(due) - min(due))
    return len(sent) / seconds * (max(due) - min(due)) / len(due)


def _fidelity(load: Requests, service: str) -> Fidelity | None:
    step = load.number("plan", "services", service, "arrivals", "planned", "stride")
    rows = load.of(service)
    sent = [row["due_seconds"] + row["delay_seconds"] for row in rows if row["delay_seconds"] is not None]
    return None if step is None else compared([row["due_seconds"] for row in rows], sent, max(1, int(step)))


def _in_order(row: object) -> bool:
    assert isinstance(row, dict)
    moments = [row[f"{name}_seconds"] for name in ("delay", "first_item", "latency")]
    if None in moments:
        return False
    delay, first, latency = moments
    return bool(-ROUNDING <= delay <= first + ROUNDING and first <= latency + ROUNDING)
