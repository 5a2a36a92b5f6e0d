# SPDX-License-Identifier: GPL-3.0-or-later
"""The command lines of KAI's processes: their flags, defaults, and how Go refuses what it does not know.

scheduler and binder parse with pflag, the other three with Go's own flag package; the two word their errors
differently. The scheduler knows no --kubeconfig; podgroupcontroller takes one and does not look at it.
"""

from __future__ import annotations

import re
from typing import Any


class FlagError(Exception):
    """A command line that Go would refuse; the text is Go's."""


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Duration(float):
    """Seconds, written as Go writes them: 1s, 250ms, 1m30s."""

    @classmethod
    def parse(cls, text: str) -> Duration:
        sign = -1.0 if text.startswith("-") else 1.0
        parts = re.findall(r"(\d+(?:\.\d+)?)(h|ms|us|ns|m|s)", text)
        if text.lstrip("+-") == "0":
            return cls(0)
        if not parts or "".join(number + unit for number, unit in parts) != text.lstrip("+-"):
            raise ValueError(f'time: invalid duration "{text}"')
        return cls(sign * sum(float(number) * _UNITS[unit] for number, unit in parts))


_LIMITS: dict[str, Any] = {"qps": 50, "burst": 300}
_CONTROLLER: dict[str, Any] = {
    **_LIMITS,
    "kubeconfig": "",
    "leader-elect": False,
    "metrics-bind-address": ":8080",
    "health-probe-bind-address": ":8081",
    "max-concurrent-reconciles": 10,
    "zap-devel": False,
    "zap-encoder": "",
    "zap-log-level": "",
}
FLAGS: dict[str, dict[str, Any]] = {
    "scheduler": {
        **_LIMITS,
        "scheduler-name": "kai-scheduler",
        "namespace": "kai-scheduler",
        "metrics-namespace": "kai",
        "scheduler-conf": "",
        "schedule-period": Duration(1),
        "leader-elect": False,
        "listen-address": ":8080",
        "plugin-server-port": 8081,
        "enable-profiler": False,
        "profiler-port": "8182",
        "pyroscope-address": "",
        "pyroscope-mutex-profiler-rate": 5,
        "pyroscope-block-profiler-rate": 5,
        "v": 3,
        "log-json": False,
        "max-consolidation-preemptees": 16,
        "num-of-status-recording-workers": 5,
        "default-staleness-grace-period": Duration(60),
        "stuck-in-releasing-threshold": Duration(120),
        "detailed-fit-errors": False,
        "use-scheduling-signatures": True,
        "update-pod-eviction-condition": False,
        "enable-workload-eviction-metrics": False,
        "full-hierarchy-fairness": True,
        "allow-consolidating-reclaim": True,
        "restrict-node-scheduling": False,
        "schedule-csi-storage": False,
        "nodepool-label-key": "kai.scheduler/node-pool",
        "partition-label-value": "",
        "queue-label-key": "kai.scheduler/queue",
        "gpu-sharing-mode": "",
        "resource-reservation-app-label": "kai-resource-reservation",
        "cpu-worker-node-label-key": "node-role.kubernetes.io/cpu-worker",
        "gpu-worker-node-label-key": "node-role.kubernetes.io/gpu-worker",
        "mig-worker-node-label-key": "node-role.kubernetes.io/mig-enabled",
        "feature-gates": "",
        "version": True,
    },
    "binder": {
        **_CONTROLLER,
        "qps": 50.0,
        "scheduler-name": "kai-scheduler",
        "rate-limiter-base-delay": 1,
        "rate-limiter-max-delay": 60,
        "fake-gpu-nodes": False,
        "plugins": "",
        "resource-reservation-namespace": "kai-resource-reservation",
        "resource-reservation-service-account": "kai-resource-reservation",
        "resource-reservation-app-label": "kai-resource-reservation",
        "resource-reservation-pod-image": "",
        "resource-reservation-allocation-timeout": 40,
        "resource-reservation-pod-resources": "",
        "scale-adjust-namespace": "kai-scale-adjust",
        "runtime-class-name": "",
        "feature-gates": "",
    },
    "podgrouper": {
        **_CONTROLLER,
        "scheduler-name": "kai-scheduler",
        "nodepool-label-key": "kai.scheduler/node-pool",
        "queue-label-key": "kai.scheduler/queue",
        "search-legacy-pg": True,
        "knative-gang-schedule": True,
        "deployment-gang-schedule": True,
        "generic-karta-fallback": True,
        "default-priorities-configmap-name": "",
        "default-priorities-configmap-namespace": "",
        "pod-label-selector": "",
        "namespace-label-selector": "",
    },
    "podgroupcontroller": {
        **_CONTROLLER,
        "scheduler-name": "kai-scheduler",
        "enable-podgroup-webhook": True,
        "skip-controller-name-validation": False,
        "log-level": 3,
    },
    "queuecontroller": {
        **_LIMITS,
        "kubeconfig": "",
        "leader-elect": False,
        "enable-webhook": True,
        "skip-controller-name-validation": False,
        "metrics-listen-address": ":8080",
        "metrics-namespace": "kai",
        "queue-label-to-metric-label": "",
        "queue-label-to-default-metric-value": "",
        "zap-devel": False,
        "zap-encoder": "",
        "zap-log-level": "",
    },
}
_PFLAG = ("scheduler", "binder")
_WRONG = {int: "strconv.ParseInt", float: "strconv.ParseFloat", bool: "strconv.ParseBool"}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")


def parse(component: str, arguments: list[str]) -> dict[str, Any]:
    """Every flag of a component with its value; FlagError where the real process would end with 2."""
    known, pflag = FLAGS[component], component in _PFLAG
    values, rest = dict(known), list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            break
        if not word.startswith("-") or word == "-":
            if pflag:
                continue
            break
        if pflag and not word.startswith("--"):
            raise FlagError(f"unknown shorthand flag: '{word[1]}' in {word}")
        name, given, text = word.lstrip("-").partition("=")
        if name not in known:
            raise FlagError(f"unknown flag: --{name}" if pflag else f"flag provided but not defined: -{name}")
        if not given and isinstance(known[name], bool):
            text = "true"
        elif not given:
            if not rest:
                raise FlagError(f"flag needs an argument: {'--' if pflag else '-'}{name}")
            text = rest.pop(0)
        values[name] = _value(name, text, known[name], pflag)
    return values


def _value(name: str, text: str, default: Any, pflag: bool) -> Any:
    kind = type(default)
    try:
        if kind is bool:
            if text not in _TRUE + _FALSE:
                raise ValueError
            return text in _TRUE
        return Duration.parse(text) if kind is Duration else kind(text)
    except ValueError as error:
        if not pflag:
            raise FlagError(f'invalid value "{text}" for flag -{name}: parse error') from error
        why = f'{_WRONG[kind]}: parsing "{text}": invalid syntax' if kind in _WRONG else str(error)
        raise FlagError(f'invalid argument "{text}" for "--{name}" flag: {why}') from error
