# SPDX-License-Identifier: GPL-3.0-or-later
"""google.cloud's inventory plugin finds our hosts by their labels, from the very file that docs/gpu_hosts.md shows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.conftest import ROOT

if TYPE_CHECKING:
    from tests.compute_api import ComputeApi

OURS = {"managed_by": "nightbench", "run_id": "a", "expires": "9999999999"}
#: The plugin has Google's address built in, so it is pointed at the stand-in from inside.
PARSE = """
import json, sys
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader, inventory_loader
init_plugin_loader()
path, url = sys.argv[1:]
plugin = inventory_loader.get("google.cloud.gcp_compute")
assert plugin.verify_file(path)
plugin._instances = url + "/compute/v1/projects/%s/aggregated/instances"
inventory = InventoryData()
plugin.parse(inventory, DataLoader(), path, cache=False)
print(json.dumps({host.name: host.vars["labels"] for host in inventory.groups["gpu_hosts"].hosts}))
"""


def documented() -> str:
    page = (ROOT / "docs" / "gpu_hosts.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"```yaml\n# my_gcp_compute\.yml\n(.*?)```", page, re.DOTALL)
    return str(found)


def test_the_hosts_that_run_are_in_the_group(cloud: ComputeApi, tmp_path: Path) -> None:
    cloud.put("instance", "us-central1-a", "gpu-0", **OURS)
    cloud.put("instance", "europe-west4-b", "gpu-1", **OURS)
    cloud.put("instance", "us-central1-a", "ended", **OURS)
    cloud.control("preempt", zone="us-central1-a", name="ended")
    cloud.put("instance", "us-central1-a", "theirs", team="x")
    path = tmp_path / "my_gcp_compute.yml"
    access = "auth_kind: accesstoken\naccess_token: test-token\nhostnames: [name]\n"
    text = documented().replace("my-project", cloud.access["project"]).replace("auth_kind: application\n", access)
    path.write_text(text, encoding="utf-8")
    argv = [sys.executable, "-c", PARSE, str(path), cloud.url]
    answer = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert {name: labels["run-id"] for name, labels in found.items()} == {"gpu-0": "a", "gpu-1": "a"}
    assert [one["status"] for one in cloud.state["instances"] if one["name"] == "ended"] == ["TERMINATED"]
