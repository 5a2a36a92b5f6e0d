# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of a pod come by the API server's exec, with the same manifest and checksums as those of a host."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.fakes.pod_exec_api import PodApi, pod_api
from tests.fetched import Fetch, brought, fetching, lay

if TYPE_CHECKING:
    from tests.conftest import RunModule

FILES = {"observations.jsonl": b'{"a":1}\n' * 400, "samples/x.bin": random.Random(1).randbytes(300_000), "empty": b""}


@pytest.fixture
def api() -> Iterator[PodApi]:
    with pod_api() as started:
        yield started


@pytest.fixture
def fetch(run_module: RunModule, tmp_path: Path, api: PodApi) -> Fetch:
    pod = {"namespace": "gpu", "name": "probe-0"}
    return fetching(run_module, lay(tmp_path / "pod", FILES), host=api.url, api_key="good", pod=pod)


def test_everything_comes_over_and_only_once(fetch: Fetch, api: PodApi, tmp_path: Path) -> None:
    first, second = fetch(pod={"namespace": "gpu", "name": "probe-0", "container": "main"}).ok(), fetch().ok()
    assert (first["changed"], first["complete"], second["changed"], brought(tmp_path) == FILES) == (
        True,
        True,
        False,
        True,
    )
    assert (api.containers, api.pongs > 0) == ([*["main"] * 4, ""], True)


CUTS: list[list[int | None]] = [[0], [None, 0, 100, 1000], [None, None, None, 1], [None, None, None, 100_000, 100_000]]


@pytest.mark.parametrize("faults", CUTS, ids=str)
def test_a_connection_that_is_cut_is_gone_on_with(
    fetch: Fetch, api: PodApi, tmp_path: Path, faults: list[int | None]
) -> None:
    api.faults = list(faults)
    assert fetch().ok()["complete"] is True
    assert (brought(tmp_path) == FILES, api.faults) == (True, [])


def test_a_pod_that_goes_away_leaves_what_is_here_marked_partial(fetch: Fetch, api: PodApi, tmp_path: Path) -> None:
    api.faults = [None, None, None, 1000, 0]
    told = fetch(attempts=2, allow_partial=True).ok()
    assert (told["complete"], told["missing"]) == (False, ["samples/x.bin"])
    assert "the connection ended" in told["reason"]
    assert fetch().ok()["complete"] is True
    assert brought(tmp_path) == FILES


REFUSED = {"kind": "Status", "message": 'pods "probe-0" is forbidden: cannot create resource "pods/exec"'}
BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"source": "/nowhere"}, {}, "exit status 1. there is no folder /nowhere"),
    ({"api_key": "other"}, {}, "401 Unauthorized"),
    ({"pod": {"name": "probe-0"}}, {}, "/api/v1/namespaces/default/pods/probe-0 not found"),
    ({}, {"phase": "Succeeded"}, "pod probe-0 in gpu is Succeeded: files are brought from a container that runs"),
    ({}, {"answer": (403, REFUSED)}, 'cannot create resource "pods/exec"'),
    ({}, {"answer": (200, {})}, "200"),
]


@pytest.mark.parametrize(("parameters", "state", "told"), BAD, ids=[text[:40] for *_, text in BAD])
def test_what_cannot_work_is_told(
    fetch: Fetch, api: PodApi, parameters: dict[str, Any], state: dict[str, Any], told: str
) -> None:
    vars(api).update(state)
    assert told in fetch(attempts=2, **parameters).failed().msg
