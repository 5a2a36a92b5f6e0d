# SPDX-License-Identifier: GPL-3.0-or-later
"""report.html: one file that needs nothing beside it, with every number, its evidence and where it ran."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2
from plotly.offline import get_plotlyjs

from harness import cost_fit, dataplanes, dataplanes_table, fairness, metrics, presentation, readers, units
from harness.exit_codes import MEANING
from harness.model import Record
from harness.reader import Key, Material, Section, Table
from harness.repeat import Repeat

TEMPLATES = Path(__file__).parent / "templates"


def render(
    material: Material,
    run: Mapping[str, Any],
    records: Sequence[Record],
    stages: Sequence[str],
    code: int,
    sections: Mapping[Key, Section],
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    charts: dict[str, Any] = {}
    scenarios = [
        _scenario(key, list(group), material, sections.get(key, Section()), charts)
        for key, group in groupby(records, key=_key)
    ]
    return environment.get_template("report.html.j2").render(
        run_id=material.run_id,
        code=code,
        meaning=MEANING.get(code, "unknown"),
        counts=presentation.counts(records),
        facts=facts(run),
        origin=presentation.origin(records),
        unequal=fairness.between_subjects(fairness.manifests(material.observations)),
        scenarios=scenarios,
        comparison=comparison(material, records),
        troubled=presentation.reasons(records),
        stages=[(name, material.failures.get(name)) for name in stages],
        tools=_tools(run),
        configuration=_flat(run.get("effective_configuration")),
        variables=_flat(run.get("variables")),
        charts=charts,
        plotly=get_plotlyjs() if charts else "",
        style=(TEMPLATES / "report.css").read_text(encoding="utf-8"),
        script=(TEMPLATES / "report.js").read_text(encoding="utf-8"),
    )


def comparison(material: Material, records: Sequence[Record]) -> list[Table]:
    """Dataplanes side by side where a run has several of them, and what 1,000 nodes or policies cost where it tells."""
    own = [record for record in records if record.suite == dataplanes.SUITE]
    cost = cost_fit.document(material.observations, own)
    if len({dataplanes.subject_of(record) for record in own}) < 2:
        return dataplanes_table.cost_tables(cost)
    return dataplanes_table.tables(dataplanes.compare(own) | {"cost": cost})


def facts(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ran where, in a few lines; what is not known is left out."""
    host, git = run.get("host") or {}, run.get("git") or {}
    memory = units.show(float(host["memory_bytes"]), "bytes") if host.get("memory_bytes") else ""
    processors = f"{host['cpus']} × {host.get('cpu_model') or 'processor'}" if host.get("cpus") else ""
    dirty = " with uncommitted changes" if git.get("dirty") else ""
    revision = f"{str(git['revision'])[:12]}{dirty}" if git.get("revision") else ""
    found = {
        "Started": _moment(run.get("started_at")),
        "Took": _duration(run.get("started_at"), run.get("ended_at")),
        "Machine": ", ".join(filter(None, [str(host.get("hostname") or ""), processors, memory])),
        "System": ", ".join(str(host[name]) for name in ("os", "kernel") if host.get(name)),
        "Inventory": _text(run.get("inventory")),
        "Environment": ", ".join(map(str, run.get("environment_roles") or [])),
        "Revision": revision,
        "Command": _text(run.get("command")),
    }
    return [(name, text) for name, text in found.items() if text]


def _scenario(
    key: Key, records: list[Record], material: Material, section: Section, charts: dict[str, Any]
) -> dict[str, Any]:
    loads = material.loads.get(key, ())
    drawn = [("-".join((*key, chart.name)), chart) for chart in section.charts]
    charts |= {anchor: chart.data for anchor, chart in drawn}
    return {
        "suite": key[0],
        "name": key[1],
        "subject": key[2],
        "anchor": "-".join(key),
        "charts": drawn,
        "tables": section.tables,
        "remarks": section.remarks,
        "repeats": len(loads) or max((len(record.repeats) for record in records), default=0),
        "records": [_record(record, loads) for record in records],
        "bounds": presentation.limits(records),
        "machine": _machine(loads),
    }


def _record(record: Record, loads: Sequence[Repeat]) -> dict[str, Any]:
    metric = metrics.table().get(record.metric)
    quantiles = record.quantiles or {}
    return {
        "record": record,
        "anchor": "-".join((*_key(record), record.metric, "record")),
        "title": presentation.title(record.metric),
        "description": metric.description if metric else "",
        "value": presentation.value(record),
        "margin": presentation.margin(record),
        "bound": presentation.bound_of(record),
        "bound_in_words": presentation.bound_in_words(record),
        "objective": presentation.objective(record),
        "quantiles": [(name, units.show(value, record.unit)) for name, value in quantiles.items()],
        "repeats": [units.show(value, record.unit) for value in record.repeats],
        "interval": _interval(record),
        "resolution": units.show(record.resolution, record.unit) if record.resolution is not None else "",
        "simulated": record.parameters.get("simulated", ""),
        "evidence": [(item, readers.consequence(item.name, loads)) for item in record.evidence],
        "held": sum(item.holds for item in record.evidence),
        "open": record.verdict not in ("measured", "pass", "improvement", "not_runnable"),
        "parameters": _flat({k: v for k, v in record.parameters.items() if k not in ("machine", "simulated")}),
    }


def _interval(record: Record) -> str:
    if record.ci is None:
        return ""
    low, high = units.show(record.ci.low, record.unit), units.show(record.ci.high, record.unit)
    return f"{low} to {high} ({record.ci.level:.0%}, {record.ci.method})"


def _machine(loads: Sequence[Repeat]) -> dict[str, Any]:
    """What the machine did during each repeat's window, and who used it."""
    names = {
        "cpu_busy_ratio": "Processors busy",
        "steal_ratio": "Stolen",
        "other_cpu_ratio": readers.of(loads).unnamed_work if loads else "",
        "throttled_seconds": "Throttled",
    }
    rows = [
        (
            title,
            [units.show(load.number("machine", name), "s" if name.endswith("seconds") else "ratio") for load in loads],
        )
        for name, title in names.items()
    ]
    for resource in ("cpu", "io", "memory"):
        pressure = [units.show(load.number("machine", "pressure", resource), "ratio") for load in loads]
        rows.append((f"Pressure ({resource})", pressure))
    processes = dict.fromkeys(name for load in loads for name in (load.value("machine", "processes") or {}))
    used = [(name, [load.cores_used(name) for load in loads]) for name in processes]
    used.sort(key=lambda item: -max((cores or 0.0) for cores in item[1]))
    rows += [(f"Cores: {name}", [units.show(cores, "count") for cores in row]) for name, row in used[:8]]
    return {"repeats": [load.repeat for load in loads], "rows": rows}


def _tools(run: Mapping[str, Any]) -> list[dict[str, str]]:
    tools = run.get("tools") or {}
    return [
        {"name": str(name), **{k: _text(tool.get(k)) for k in ("version", "source", "sha256", "path")}}
        for name, tool in sorted(tools.items())
        if isinstance(tool, Mapping)
    ]


def _flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """(a.b.c, value) of nested settings."""
    if not isinstance(value, Mapping):
        return [(prefix, _text(value))] if prefix else []
    return [pair for key in value for pair in _flat(value[key], f"{prefix}.{key}" if prefix else str(key))]


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _moment(value: Any) -> str:
    try:
        return f"{datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M:%S %Z}"
    except ValueError:
        return ""


def _duration(start: Any, end: Any) -> str:
    try:
        seconds = (datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))).total_seconds()
    except (ValueError, TypeError):
        return ""
    return f"{int(seconds // 60)} min {int(seconds % 60)} s" if seconds >= 60 else f"{int(seconds)} s"


def _key(record: Record) -> Key:
    return record.suite, record.scenario, record.subject
