# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of Jobs, as training and batch inference use them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .lint_document import Bundle, Document, Part, containers
from .lint_resources import gpus
from .lint_rule import Hit, Rule

#: By what the pods of a Job are admitted together: Kueue, KAI, Volcano, the scheduler-plugins' PodGroup.
GANG_LABELS = (
    "kueue.x-k8s.io/queue-name",
    "kai.scheduler/queue",
    "scheduling.x-k8s.io/pod-group",
    "pod-group.scheduling.sigs.k8s.io",
)
GANG_SCHEDULERS = ("kai-scheduler", "volcano")
_FIELD = re.compile(r"[\d*/,\-A-Za-z?]+")


def _restart_policy(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for job in document.jobs():
        found = job.get("template", "spec", "restartPolicy")
        if found not in ("Never", "OnFailure"):
            yield Hit(job.at("template", "spec", "restartPolicy"), f"restartPolicy is {_said(found, 'Always')}")


def _without_completions(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for job in document.jobs():
        pods = job.number("parallelism", default=1)
        if pods and pods > 1 and job.get("completions") is None:
            yield Hit(
                job.at("parallelism"),
                f"parallelism is {pods} and completions is not given",
                f"Set completions: {pods} and completionMode: Indexed.",
            )


def _without_gang(document: Document, bundle: Bundle) -> Iterator[Hit]:
    """A Job of which one index may fail while the others go on has pods that do not need each other."""
    for job in document.jobs():
        if _pods_at_once(job) < 2 or not _wants_gpus(job) or job.get("suspend") or _in_gang(document, job):
            continue
        if job.get("backoffLimitPerIndex") is not None:
            continue
        yield Hit(job.at("parallelism"), f"{_pods_at_once(job)} pods with GPUs, each scheduled by itself")


def _indexed_without_completions(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for job in document.jobs():
        if job.get("completionMode") == "Indexed" and job.get("completions") is None:
            yield Hit(job.at("completionMode"), "completionMode is Indexed and completions is not given")


def _per_index_without_indexes(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for job in document.jobs():
        if job.get("backoffLimitPerIndex") is not None and job.get("completionMode") != "Indexed":
            yield Hit(job.at("backoffLimitPerIndex"), f"completionMode is {_said(job.get('completionMode'))}")


def _failure_policy(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for job in document.jobs():
        if job.get("podFailurePolicy") and job.get("template", "spec", "restartPolicy") == "OnFailure":
            yield Hit(job.at("podFailurePolicy"), "podFailurePolicy stands beside restartPolicy OnFailure")


def _disruptions_count(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for job in document.jobs():
        rules = job.items("podFailurePolicy", "rules")
        told = any(one.get("type") == "DisruptionTarget" for rule in rules for one in rule.items("onPodConditions"))
        # Pods that are restarted in place cannot have such a policy; where nothing is said it is still to be written.
        if _wants_gpus(job) and not told and job.get("template", "spec", "restartPolicy") in (None, "Never"):
            limit = job.number("backoffLimit", default=6)  # batch/v1 defaults.go
            yield Hit(job.at("backoffLimit"), f"the Job has failed after {limit} lost pods, whoever took them away")


def _stays(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind == "Job" and document.get("spec", "ttlSecondsAfterFinished") is None:
        yield Hit(("spec", "ttlSecondsAfterFinished"), "ttlSecondsAfterFinished is not given")


def _no_termination(document: Document, bundle: Bundle) -> Iterator[Hit]:
    """A pod that is to leave gets SIGTERM and then its grace period: 30 seconds where nothing is said."""
    for job in document.jobs():
        pod = Part((), job.mapping("template", "spec"))
        if not _wants_gpus(job) or pod.get("terminationGracePeriodSeconds") is not None:
            continue
        hooks = [one.get("lifecycle", "preStop") for one in containers(pod)]
        if not any(hooks):
            yield Hit(
                job.at("template", "spec", "terminationGracePeriodSeconds"),
                "neither terminationGracePeriodSeconds nor a preStop hook is given, so it has 30 s",
            )


def _schedule(document: Document, bundle: Bundle) -> Iterator[Hit]:
    if document.kind != "CronJob":
        return
    schedule = str(document.get("spec", "schedule") or "")
    words = schedule.split()
    if schedule.startswith("@"):
        good = schedule in ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
        good = good or (len(words) == 2 and words[0] == "@every")
    else:
        good = len(words) == 5 and all(_FIELD.fullmatch(word) for word in words)
    if not good:
        yield Hit(("spec", "schedule"), f"schedule is {_said(schedule)}")


def _pods_at_once(job: Part) -> int:
    return job.number("parallelism", default=1) or 0


def _wants_gpus(job: Part) -> bool:
    return any(gpus(one) for one in containers(Part((), job.mapping("template", "spec"))))


def _in_gang(document: Document, job: Part) -> bool:
    labels: dict[str, Any] = {}
    for words in ("labels", "annotations"):
        labels |= document.mapping("metadata", words)
        labels |= job.mapping("template", "metadata", words)
    gated = job.get("template", "spec", "schedulingGates")
    named = job.get("template", "spec", "schedulerName") in GANG_SCHEDULERS
    return bool(gated) or named or any(name in labels for name in GANG_LABELS)


def _said(value: Any, default: str = "") -> str:
    if value in (None, ""):
        return f"not given{f', so it is {default}' if default else ''}"
    return repr(value)


RULES = (
    Rule(
        "job-restart-policy",
        "error",
        "A Job whose pods would be restarted for ever",
        "A Job ends when its pods end. A pod that is always restarted never does, so the API server takes only Never "
        "and OnFailure, and what is not given is Always.",
        "Set restartPolicy: Never (each failure gets a new pod and can be read) or OnFailure.",
        _restart_policy,
        refused='restartPolicy: .*valid values: "OnFailure", "Never"|Unsupported value: "Always"',
    ),
    Rule(
        "job-completions",
        "error",
        "Parallel pods without ranks",
        "parallelism without completions makes a work queue: all pods are alike, none knows its rank or its peers, and "
        "once one of them has succeeded no lost one is replaced. Distributed training then waits for a peer for ever.",
        "Set completions to the number of pods and completionMode: Indexed.",
        _without_completions,
        shown="its pods carry no batch.kubernetes.io/job-completion-index",
    ),
    Rule(
        "job-gang",
        "warning",
        "Pods that need each other and are scheduled one by one",
        "Where the cluster has room for some of the pods only, those hold their GPUs and wait for the rest, which may "
        "wait for the GPUs of another Job that does the same.",
        "Have them admitted together: a queue of Kueue or KAI, a PodGroup, or suspend: true for what starts it. Where "
        "each index is work of its own, say so by backoffLimitPerIndex.",
        _without_gang,
        shown="on a cluster that is too small some of its pods run and hold their GPUs while the others are Pending",
    ),
    Rule(
        "job-indexed-completions",
        "error",
        "Indexes without a number of them",
        "An Indexed Job gives each pod an index below completions, so completions has to be given.",
        "Set completions.",
        _indexed_without_completions,
        refused="when completion mode is Indexed",
    ),
    Rule(
        "job-backoff-per-index",
        "error",
        "A limit for each index of a Job that has none",
        "backoffLimitPerIndex counts failures by index, which only an Indexed Job has.",
        "Set completionMode: Indexed, or backoffLimit instead.",
        _per_index_without_indexes,
        refused="requires indexed completion mode",
    ),
    Rule(
        "job-failure-policy",
        "error",
        "A failure policy for pods that are restarted in place",
        "podFailurePolicy looks at pods that have failed; with OnFailure the kubelet restarts containers instead.",
        "Set restartPolicy: Never.",
        _failure_policy,
        refused='only "Never" is supported when podFailurePolicy is specified',
    ),
    Rule(
        "job-disruptions",
        "warning",
        "A preempted or drained pod counts as a failure",
        "A pod that was preempted, drained or lost with its node counts against backoffLimit like a crash, so a long "
        "training fails because its nodes were upgraded.",
        "Add podFailurePolicy: rules: [{action: Ignore, onPodConditions: [{type: DisruptionTarget}]}]; it takes "
        "restartPolicy: Never.",
        _disruptions_count,
        shown="after backoffLimit + 1 evictions the Job is Failed with BackoffLimitExceeded",
    ),
    Rule(
        "job-time-to-live",
        "warning",
        "Finished Jobs that nobody removes",
        "A finished Job and its pods stay in the API server until somebody deletes them; a queue of thousands of them "
        "makes every list slow.",
        "Set ttlSecondsAfterFinished, long enough to read the logs.",
        _stays,
        shown="the Job is there long after it is Complete; with ttlSecondsAfterFinished: 0 it is gone",
    ),
    Rule(
        "job-checkpoint-on-termination",
        "warning",
        "No time to write a checkpoint",
        "A pod that has to go gets SIGTERM and is killed 30 seconds later. What was computed since the last checkpoint "
        "is lost, and a checkpoint of a large model takes longer than that.",
        "Handle SIGTERM, and set terminationGracePeriodSeconds to what a checkpoint takes (or a preStop hook).",
        _no_termination,
        shown="the API server writes terminationGracePeriodSeconds: 30 into the pods",
    ),
    Rule(
        "cron-schedule",
        "error",
        "A schedule that cannot be read",
        "A schedule has five fields (minute, hour, day of month, month, day of week) or is a word such as @daily.",
        "Write five fields, as in '0 3 * * *'; the time zone belongs to timeZone.",
        _schedule,
        refused="spec.schedule: Invalid value",
    ),
)
