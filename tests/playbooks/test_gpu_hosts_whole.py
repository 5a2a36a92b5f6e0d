# SPDX-License-Identifier: GPL-3.0-or-later
"""gpu_hosts.yml with the suite on a host that is only reached by ssh: from nothing to comparison.md to no host left."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.fakes.bucket import NAME, FakeBucket, fake_bucket
from tests.fakes.ssh_hosts import in_a_namespace
from tests.gpu_hosts import HOST, NOTHING, RUN, Night

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi

pytestmark = pytest.mark.integration


@pytest.fixture
def whole(cloud: ComputeApi, tmp_path: Path) -> Iterator[tuple[Night, FakeBucket]]:
    with in_a_namespace(tmp_path) as (address, here):
        cloud.reset(host_address=address, authorized_keys=str(tmp_path / "keys"))
        roles = ["gpu_hypervisor", "gpu_overhead"]
        with fake_bucket(here) as bucket:
            way = {"gpu_host_bucket": NAME, "gpu_host_storage_endpoint": bucket.url}
            yield Night(cloud, tmp_path, gpu_host_access="internal", gpu_hosts_roles=roles, **way), bucket


def test_from_nothing_to_comparison_md_to_no_host_left(whole: tuple[Night, FakeBucket]) -> None:
    """There is no GPU here: the rows of real ones say so, and the calibration has numbers. The first look ends it.

    What it looks at comes through the bucket, as everything does in the end."""
    night, bucket = whole
    calibration = {
        "gpu_overhead_scenarios": ["isolation", "calibration"],
        "gpu_overhead_subjects": ["host_again", "kvm", "calibration"],
        "gpu_overhead_kvm_argv": ["ssh", "guest"],
        "gpu_overhead_repeats": 12,
        "gpu_overhead_looks": [6],
        "gpu_overhead_calibration_clock": "virtual",
    }
    rc, output = night.play(**calibration)
    assert (rc, night.cloud.settled()) == (0, NOTHING), output
    folder = night.results / HOST / RUN
    page = (folder / "comparison.md").read_text(encoding="utf-8")
    assert "| slower_10 | no GPU: a stand-in | matrix product | compute |" in page
    assert "| isolation | host_again | no NVIDIA device (there is no /dev/nvidiactl) |" in page
    [guest] = [line for line in page.splitlines() if line.startswith("| isolation | kvm |")]
    assert "no guest of kvm can have the GPU here: no NVIDIA device on the PCI bus" in guest, (
        "as gpu_hypervisor told it"
    )
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    verdicts = {record["verdict"] for record in records if record["scenario"] == "calibration"}
    assert verdicts == {"pass"}, records
    lines = (folder / "observations.jsonl").read_text(encoding="utf-8").splitlines()
    blocks = {one["repeat"] for one in map(json.loads, lines) if one["kind"] == "overhead"}
    assert blocks == {1, 2, 3, 4, 5, 6}
    assert (night.manifest["complete"], "Partial" in page) == (True, False)
    uploaded = {one.name.rpartition("/")[2] for one in bucket.uploads.values()}
    assert {one["sha256"] for one in night.manifest["files"]} <= uploaded, "what a look brings is not brought again"
    assert (bucket.objects, bucket.open_uploads) == ({}, [])
