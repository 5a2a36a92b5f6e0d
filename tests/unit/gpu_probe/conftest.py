# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.fakes import gpu_stand_in
from tests.fakes.gpu_stand_in import Seen


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return gpu_stand_in.build(tmp_path_factory.mktemp("stand_in"))


@pytest.fixture
def probe(library: Path, tmp_path: Path) -> Callable[..., Seen]:
    return partial(gpu_stand_in.probe, library, tmp_path / "state")
