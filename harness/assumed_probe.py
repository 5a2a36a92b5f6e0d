# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the period of a readiness probe, assumed and read nowhere, explains published start-ups. Pure.

A container that is not ready at its first probe is looked at again a whole period later: start-ups then are whole
periods and the little that passes between the pod's creation and the first probe, however fast the process is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from harness import units
from harness.bound_by import Finding
from harness.model import BoundBy, Evidence

#: readinessProbePeriodSeconds of tigera/operator up to v1.42, pkg/controller/utils/component.go.
PERIOD = 30.0
#: Seconds from the creation of a pod on a node that has the image to its first probe; an assumption as well.
FIRST_PROBE = 10.0
#: So likely may it be that start-ups of no relation to the period lie where these do.
CHANCE = 0.05


@dataclass(frozen=True)
class ProbeAssumption:
    component: str = "calico-node"
    period: float = PERIOD
    first_probe: float = FIRST_PROBE

    @property
    def text(self) -> str:
        return (
            f"the readiness probe of {self.component} looks every {units.show(self.period, 's')}, "
            f"first up to {units.show(self.first_probe, 's')} after the pod was created"
        )

    @property
    def document(self) -> dict[str, float]:
        return {"period_seconds": self.period, "first_probe_seconds": self.first_probe}

    def split(self, seconds: float) -> tuple[int, float]:
        """Whole periods, and the rest."""
        periods = int(seconds // self.period)
        return periods, seconds - periods * self.period

    def fits(self, seconds: float) -> bool:
        periods, rest = self.split(seconds)
        return periods >= 1 and rest <= self.first_probe


def derive(assumption: ProbeAssumption, seconds: float, every: Sequence[float]) -> Finding:
    """What this start-up is the limit of; `every` has those of all logs, this one among them."""
    periods, rest = assumption.split(seconds)
    shown = f"{units.show(seconds, 's')} is {periods} × {units.show(assumption.period, 's')} and {rest:g} s"
    if not assumption.fits(seconds):
        return Finding(None, f"{shown}: the assumed probe of {assumption.component} is not what held this back.")
    evidence = confirm(assumption, every)
    if evidence is not None and not evidence.holds:
        return Finding(None, f"{shown}, as the assumed probe gives it, but it is not confirmed: {evidence.observed}.")
    bound = BoundBy("probe_period", assumption.component, assumption.document, assumption.period, seconds)
    few = "" if evidence else f" Too few logs to confirm it: {len(every)}."
    return Finding(bound, f"{shown}: within a period nothing can be told from anything else.{few}", evidence)


def confirm(assumption: ProbeAssumption, every: Sequence[float]) -> Evidence | None:
    """All together: one may lie just behind a whole period by chance, many not; None of fewer than can tell."""
    fitting = [seconds for seconds in every if assumption.fits(seconds)]
    share = min((assumption.first_probe + 1) / assumption.period, 1.0)  # whole seconds: 0 to first_probe
    if share ** len(every) > CHANCE:
        return None
    chance = _at_least(len(fitting), len(every), share)
    rests = sorted(assumption.split(seconds)[1] for seconds in fitting)
    span = f", {rests[0]:g} to {rests[-1]:g} s behind it" if rests else ""
    return Evidence(
        "probe_period_confirmed",
        f"start-ups just behind a whole period of {units.show(assumption.period, 's')}, "
        f"so many that chance gives them in at most {CHANCE:.0%} of cases",
        f"{len(fitting)} of {len(every)} start-ups lie there{span}; chance gives as many in {chance:.2%} of cases",
        chance <= CHANCE,
    )


def _at_least(count: int, of: int, share: float) -> float:
    """How likely so many of them lie in such a share of all seconds by chance."""
    return sum(math.comb(of, n) * share**n * (1 - share) ** (of - n) for n in range(count, of + 1))
