# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of containers: what they ask for and what they run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .lint_document import Bundle, Document, Part, containers
from .lint_rule import Hit, Rule
from .quantities import quantity

#: Resources of device plugins that are GPUs.
GPUS = ("nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe")


def gpus(container: Part) -> int:
    """How many GPUs a container asks for."""
    asked = (quantity(_of(container, "limits").get(name)) for name in GPUS)
    return sum(int(number) for number in asked if number)


def _of(container: Part, which: str) -> Mapping[str, Any]:
    return container.mapping("resources", which)


def _gpu_without_limit(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        for name in GPUS:
            if name in _of(container, "requests") and name not in _of(container, "limits"):
                yield Hit(container.at("resources", "requests", name), f"{name} is requested and not limited")


def _gpu_differs(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        for name in GPUS:
            asked, most = _of(container, "requests").get(name), _of(container, "limits").get(name)
            if asked is not None and most is not None and quantity(asked) != quantity(most):
                yield Hit(container.at("resources", "requests", name), f"request {asked}, limit {most}")


def _gpu_fraction(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        for which in ("limits", "requests"):
            for name in GPUS:
                number = quantity(_of(container, which).get(name))
                if number is not None and number != int(number):
                    yield Hit(container.at("resources", which, name), f"{name}: {_of(container, which)[name]}")


def _over_limit(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        for name, asked in _of(container, "requests").items():
            request, limit = quantity(asked), quantity(_of(container, "limits").get(name))
            if name not in GPUS and request is not None and limit is not None and request > limit:
                most = _of(container, "limits")[name]
                yield Hit(container.at("resources", "requests", name), f"{name} request {asked}, limit {most}")


def _unreadable(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        for which in ("limits", "requests"):
            for name, value in _of(container, which).items():
                if quantity(value) is None:
                    yield Hit(container.at("resources", which, name), f"{name}: {value!r}")


def _thousandths(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        for which in ("limits", "requests"):
            for name in ("memory", "ephemeral-storage"):
                number = quantity(_of(container, which).get(name))
                if number is not None and number != int(number):
                    value = _of(container, which)[name]
                    yield Hit(
                        container.at("resources", which, name),
                        f"{name}: {value}, which is {float(number):g} bytes",
                        f"Write {str(value).removesuffix('m')}Mi." if str(value).endswith("m") else "",
                    )


def _latest(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        image = str(container.get("image") or "")
        _, _, tag = image.rpartition("/")[2].partition(":")
        if image and "@" not in image and tag in ("", "latest"):
            yield Hit(container.at("image"), f"{image} is whatever is newest on the day a pod starts")


def _gpu_without_memory_limit(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for container in document.containers():
        if gpus(container) and "memory" not in _of(container, "limits"):
            yield Hit(container.at("resources", "limits", "memory"), "GPUs are limited and memory is not")


def _mounts(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for pod in document.pods():
        there = [one.get("name") for one in pod.items("volumes")]
        there += [one.get("metadata", "name") for one in document.items("spec", "volumeClaimTemplates")]
        for container in containers(pod, "initContainers", "containers"):
            for mount in container.items("volumeMounts"):
                if mount.get("name") not in there:
                    yield Hit(mount.at("name"), f"there is no volume {mount.get('name')}")


def _same_name(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for pod in document.pods():
        seen: list[Any] = []
        for container in containers(pod, "initContainers", "containers"):
            name = container.get("name")
            if name in seen:
                yield Hit(container.at("name"), f"two containers are called {name}")
            seen.append(name)


def _sleep_over_grace(document: Document, bundle: Bundle) -> Iterator[Hit]:
    for pod in document.pods():
        # core/v1 DefaultTerminationGracePeriodSeconds
        grace = pod.number("terminationGracePeriodSeconds", default=30)
        for container in containers(pod):
            sleep = container.number("lifecycle", "preStop", "sleep", "seconds")
            if sleep is not None and grace is not None and sleep > grace:
                place = container.at("lifecycle", "preStop", "sleep", "seconds")
                yield Hit(place, f"it sleeps {sleep} s of {grace} s")


RULES = (
    Rule(
        "gpu-limit",
        "error",
        "GPUs that are requested and not limited",
        "A GPU is never overcommitted: it has to stand among the limits, and the request follows from it.",
        "Move it from requests to limits.",
        _gpu_without_limit,
        refused="Limit must be set for non overcommitable resources",
    ),
    Rule(
        "gpu-request-equals-limit",
        "error",
        "A request for GPUs that is not the limit",
        "A GPU is never overcommitted, so request and limit have to be the same.",
        "Leave the request out.",
        _gpu_differs,
        refused=r"must be equal to .* limit",
    ),
    Rule(
        "gpu-whole",
        "error",
        "A part of a GPU",
        "Kubernetes counts GPUs in whole numbers. Sharing one is done by time-slicing, MPS, MIG or a scheduler's own "
        "annotations.",
        "Ask for a whole one, for a MIG profile, or for the fraction in the way of the scheduler that offers it.",
        _gpu_fraction,
        refused="must be an integer",
    ),
    Rule(
        "request-over-limit",
        "error",
        "A request above its limit",
        "Nothing can be promised more than it may use.",
        "Raise the limit or lower the request.",
        _over_limit,
        refused="must be less than or equal to",
    ),
    Rule(
        "quantity",
        "error",
        "A quantity that cannot be read",
        "Kubernetes writes 16Gi (binary) or 16G (decimal), and 500m for half a processor.",
        "Write it as Kubernetes does, as in 16Gi.",
        _unreadable,
        refused="quantities must match|unable to parse quantity",
    ),
    Rule(
        "memory-in-thousandths",
        "error",
        "Memory in thousandths of a byte",
        "The suffix m is a thousandth, also of bytes: 400m of memory is less than one byte, and the container is "
        "killed as soon as it starts.",
        "Write Mi for mebibytes.",
        _thousandths,
        refused="fractional byte value",
    ),
    Rule(
        "image-tag",
        "warning",
        "An image that changes by itself",
        "latest, or no tag, is another image tomorrow: two pods of one training can differ, a roll-back brings nothing "
        "back, and each start asks the registry, as its pull policy becomes Always.",
        "Name a version, or better a digest.",
        _latest,
        shown="the API server writes imagePullPolicy: Always into the pods",
    ),
    Rule(
        "gpu-memory-limit",
        "warning",
        "A GPU pod that may take all of the node's memory",
        "A data loader or a cache that grows takes the memory of the other GPU pods of its node, and the kernel "
        "chooses whom it kills. Without a limit the pod is never Guaranteed.",
        "Set limits.memory (and requests, where they should differ).",
        _gpu_without_memory_limit,
        shown="the API server gives the pod the class Burstable or BestEffort",
    ),
    Rule(
        "volume-mount",
        "error",
        "A mount without a volume",
        "Each volumeMount names a volume of its pod.",
        "Add the volume, or mend the name.",
        _mounts,
        refused="volumeMounts.*Not found",
    ),
    Rule(
        "container-name",
        "error",
        "Two containers of one name",
        "Containers of a pod are told apart by their names.",
        "Give each its own name.",
        _same_name,
        refused="Duplicate value",
    ),
    Rule(
        "stop-hook-in-grace",
        "error",
        "A stop hook that outlives the grace period",
        "The grace period begins with the preStop hook. A hook that takes longer leaves the process no time at all.",
        "Raise terminationGracePeriodSeconds above the hook's time and what the process needs.",
        _sleep_over_grace,
        refused="must be non-negative and less than terminationGracePeriodSeconds",
    ),
)
