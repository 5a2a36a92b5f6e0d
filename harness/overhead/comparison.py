# SPDX-License-Identifier: GPL-3.0-or-later
"""comparison.md, and beside it one text file an environment. Generated: nobody writes a number into them."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from harness import units
from harness.markdown import table
from harness.model import Evidence, Record
from harness.overhead import cost_model, crosscheck, evidence, experiment_checks, gates, measures, tails, waterfall
from harness.overhead.experiment import Experiment
from harness.overhead.gates import UNIT, Decision
from harness.overhead.measures import Measure
from harness.overhead.runs import Run
from harness.overhead.statistics import Floats

#: Names of the published comparison that this suite is modelled on.
FILES = {
    "host": "baseline_results.txt",
    "k8s": "k8s-baseline-results.txt",
    "proxy": "with-gpu-proxy-results.txt",
    "k8s_proxy": "k8s-with-proxy-results.txt",
    "k8s_hypervisor": "k8s-with-hypervisor-results.txt",
}
HEADINGS = (
    *("variant", "environment", "metric", "class", "overhead", "95 % interval", "objective", "verdict", "noise floor"),
    *("blocks", "evidence"),
)
WITHOUT = "without"


def markdown(
    experiments: Mapping[str, Experiment],
    records: Sequence[Record],
    not_runnable: Mapping[tuple[str, str], str],
    partial: str = "",
    others: Mapping[str, crosscheck.Found] | None = None,
) -> str:
    """Every scenario; verdicts are those of the records, so that no page says two things."""
    verdicts = {(record.scenario, record.subject, record.metric): record for record in records}
    parts = ["# GPU isolation: what it costs", "Generated from the observations of this run; not to be edited."]
    if partial:
        parts.append(f"**Partial: {partial}**")
    for scenario, experiment in experiments.items():
        parts += _scenario(scenario, experiment, verdicts)
        if experiment.blocks and (found := (others or {}).get(scenario)):
            told = _table(crosscheck.HEADINGS, crosscheck.rows(experiment, found))
            parts += ["### What other tools say of the same device", told]
    if not_runnable:
        rows = [[scenario, subject, reason] for (scenario, subject), reason in not_runnable.items()]
        parts += ["## Not run here", _table(("scenario", "variant", "why"), rows)]
    return "\n\n".join(parts) + "\n"


def _scenario(scenario: str, experiment: Experiment, verdicts: Mapping[tuple[str, str, str], Record]) -> list[str]:
    whole = len(experiment.blocks)
    parts = [f"## {scenario}"]
    if not whole:
        told = "; ".join(f"block {number}: {why}" for number, why in experiment.dropped.items())
        return [*parts, f"No whole block, so nothing is compared. {told}"]
    warned = [_warned(row) for row in rows(scenario, experiment, verdicts)]
    parts += [environment(experiment), cost(experiment), _table(HEADINGS, warned)]
    parts += ["### Why, and what would change it", _reasons(experiment)]
    falls = [fall for measure in measures.TABLE for fall in waterfall.of(experiment, measure)]
    if falls:
        parts += ["### What each layer adds", _waterfalls(falls)]
    parts += ["### What a call costs", _model(experiment)]
    if checked := _model_checked(experiment):
        parts += ["### What the calls say of the application, and what it took", checked]
    parts += ["### Evidence", _evidence(experiment)]
    return parts


def environment(experiment: Experiment) -> str:
    run = next(iter(experiment.blocks.values()))[experiment.native]
    driver, management = run.line("device", "driver") or {}, run.line("device", "management") or {}
    clocks = run.line("attestation", "clocks") or {}
    held = "locked" if clocks.get("locked") else f"not locked ({clocks.get('reason')})"
    return (
        f"{driver.get('name')}, driver {management.get('driver_version')}, CUDA {driver.get('cuda_driver_version')}; "
        f"native is {evidence.label(run)}; clocks {held}; "
        f"kernel {run.line('surroundings', 'kernel')}; probe {str(run.value('probe_sha256'))[:12]}."
    )


def cost(experiment: Experiment) -> str:
    whole, dropped = len(experiment.blocks), len(experiment.dropped)
    more = [d.more_blocks for v in experiment.variants for d in experiment.decisions(v).values() if d.more_blocks]
    spent = experiment.seconds
    price = float(experiment.runs[0].of_experiment("price_per_hour") or 0) / 3600
    each = spent / max(1, whole + dropped)
    text = f"{whole} whole blocks, {dropped} dropped; cost so far {_money(spent, price)}"
    text += "".join(f"; block {number} was dropped: {why}" for number, why in experiment.dropped.items())
    if more:
        text += f"; to decide everything about {max(more)} more blocks, {_money(max(more) * each, price)}"
    elif whole:
        text += "; there is nothing that more blocks would decide"
    return text + "."


def _money(seconds: float, price: float) -> str:
    return units.show(seconds, "s") + (f" ({seconds * price:.2f} USD)" if price else "")


def rows(
    scenario: str, experiment: Experiment, verdicts: Mapping[tuple[str, str, str], Record], only: str = ""
) -> list[list[str]]:
    found = []
    for variant in [only] if only else experiment.variants:
        decisions, first = experiment.decisions(variant), experiment.of(variant)[0]
        judged = first.value("judged") is True
        for measure in measures.TABLE:
            compared = experiment.compared(measure, variant)
            if compared is None:
                continue
            decision = decisions.get(measure.metric)
            record = verdicts.get((scenario, first.observation.subject or variant, measure.metric)) if judged else None
            proof = experiment_checks.collect(experiment, variant, measure)
            missing = [item.name for item in proof if not item.holds]
            # What is in no record is accepted by the same rule.
            own = "invalid" if missing else decision.verdict if decision else "measured"
            verdict = record.verdict if record else own
            told = _told(measure, decision, verdict, compared)
            shown = f"{WITHOUT} {', '.join(missing)}" if missing else f"all {len(proof)} hold"
            found.append([variant, evidence.label(first), measure.title, measure.kind, *told, shown])
    return found


def _warned(row: Sequence[str]) -> list[str]:
    """On the page, evidence that is missing is not to be overlooked."""
    *cells, proof = row
    return [*cells, f"**{proof}**" if proof.startswith(WITHOUT) else proof]


def _told(measure: Measure, decision: Decision | None, verdict: str, compared: Floats) -> list[str]:
    """Overhead, interval, objective, verdict, noise floor, blocks."""
    scale = measure.scale
    if decision is None:
        estimate = float(scale.told(float(compared.mean())))
        return [gates.show(estimate, scale), "–", "–", verdict, "–", str(len(compared))]
    shown = [units.show(value, UNIT[scale.name]) for value in (decision.estimate, decision.low, decision.high)]
    return [
        shown[0],
        f"{shown[1]} to {shown[2]}",
        f"≤ {gates.show(decision.gate.objective, scale)}",
        verdict,
        units.show(decision.noise_floor, UNIT[scale.name]),
        str(decision.blocks),
    ]


def _reasons(experiment: Experiment) -> str:
    lines = [
        f"* {variant}, {measures.BY_METRIC[metric].title}: {decision.reason}."
        for variant in experiment.variants
        for metric, decision in experiment.decisions(variant).items()
    ]
    return "\n".join(lines) or "No variant has an objective."


def _waterfalls(falls: Sequence[waterfall.Waterfall]) -> str:
    rows = []
    for fall in falls:
        for step in (*fall.steps, fall.whole):
            scale = fall.measure.scale
            ends = f"{gates.show(step.low, scale)} to {gates.show(step.high, scale)}"
            rows.append([fall.measure.title, step.name, gates.show(step.effect, scale), ends])
    return _table(("metric", "step", "adds", "95 % interval"), rows)


def _model(experiment: Experiment) -> str:
    """Seconds of a call are a + b · bytes."""
    rows = []
    for variant in (experiment.native, *experiment.variants):
        for call, line in cost_model.middle(experiment, variant).items():
            speed = units.show(1 / line.b, "bytes/s") if line.b > 0 else "–"
            rows.append([variant, call, units.show(line.a, "s"), speed])
    return _table(("variant", "call", "a", "1 / b"), rows)


def _model_checked(experiment: Experiment) -> str:
    """The model knows no overlap, so that it predicts more of a step rather than less."""
    trace = cost_model.application_of(experiment)
    known = set(cost_model.middle(experiment, experiment.native))
    if not trace or not {call.name for call in trace if call.name != "wait"} <= known:
        return ""
    measure = measures.BY_METRIC["gpu_application_overhead_ratio"]
    rows = []
    for variant in experiment.variants:
        compared = experiment.compared(measure, variant)
        if compared is not None:
            found = cost_model.predict(experiment, variant, trace)
            taken = gates.show(float(measure.scale.told(float(compared.mean()))), measure.scale)
            rows.append([variant, gates.show(found.overhead, measure.scale), taken])
    return _table(("variant", "predicted from its calls", "measured"), rows)


def _evidence(experiment: Experiment) -> str:
    rows = []
    for variant in experiment.variants:
        for item in evidence.collect(experiment, variant):
            rows.append([variant, item.name, _holds(item), item.observed])
    return _table(("variant", "evidence", "holds", "seen"), rows)


def _holds(item: Evidence) -> str:
    return "yes" if item.holds else "**no**"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(table(headings, rows))


def text_of(variant: str, runs: Sequence[Run]) -> str:
    """One environment by itself: medians over its runs, in units that say what they are."""
    first = runs[0]
    driver = first.line("device", "driver") or {}
    lines = [
        f"Environment: {variant} ({first.of_variant('title')}), {evidence.label(first)}",
        f"Device: {driver.get('name')}, driver {first.line('device', 'management', 'driver_version')}",
        f"Runs: {len(runs)}, one fresh process each; medians of the runs' medians",
        "",
    ]
    for measure in measures.TABLE:
        found = [value for run in runs if (value := measure.value(run)) is not None]
        if found:
            lines.append(f"{measure.title}: {units.show(statistics.median(found), 's')} a call")
    for parameters, series in first.all_of("copy"):
        found = [s.median for run in runs for p, s in run.all_of("copy") if p == parameters and s.median]
        if found and series.median and parameters["bytes"] >= measures.LARGE_COPY:
            ways = 2 if parameters["direction"] == "both" else 1
            rate = ways * parameters["bytes"] / statistics.median(found)
            name = f"copy {parameters['direction']} {parameters['memory']} {units.show(parameters['bytes'], 'bytes')}"
            lines.append(f"{name}: {rate / 1e9:.3f} GB/s ({rate / 2**30:.3f} GiB/s)")
    if found_tails := tails.of(runs):
        lines += ["", "Single calls of all runs (p50 and p90 by Harrell and Davis, p99 with 99 % confidence):"]
        lines += [str(tail) for tail in found_tails]
    return "\n".join(lines) + "\n"
