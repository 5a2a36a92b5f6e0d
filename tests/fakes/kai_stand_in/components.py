# SPDX-License-Identifier: GPL-3.0-or-later
"""The five executables by name."""

from __future__ import annotations

from tests.fakes.kai_stand_in.binder import Binder
from tests.fakes.kai_stand_in.podgroupcontroller import PodGroupController
from tests.fakes.kai_stand_in.podgrouper import PodGrouper
from tests.fakes.kai_stand_in.queuecontroller import QueueController
from tests.fakes.kai_stand_in.scheduler import Scheduler

COMPONENTS = {
    "scheduler": Scheduler,
    "binder": Binder,
    "podgrouper": PodGrouper,
    "podgroupcontroller": PodGroupController,
    "queuecontroller": QueueController,
}
