#!/usr/bin/python
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Get every tool of a table, by path, package, download, image or Go module."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_tool
short_description: Get every tool of a table into a cache
version_added: 0.1.0
author:
  - Nightbench authors (@nightbench)
description:
  - Finds or makes all tools that are named, in one call. For each tool its sources are tried in order until one
    answers with the version asked for.
  - What is on the machine already (found by O(table) source V(path), or in the cache) wins over what would have to
    be fetched.
  - Results are kept in O(cache_dir) by name, version and a hash of everything that decides their content. A file
    appears there whole or not at all, two runs at once wait for each other, and a file that was altered is noticed
    and made anew.
  - One tool that cannot be had does not keep the others from being tried. The module fails afterwards when the tool
    is C(required) in its row, with what every source answered.
  - It is a long module. It ends by itself after O(deadline_seconds), and soon after the file C(stop) appears in
    O(run_state).
options:
  table:
    description:
      - One row for each tool. A row has C(name), C(version) (exactly that, or comparisons such as V(>=3.6,<3.7)),
        C(sources), and optionally C(file) (its file name, default C(name)), C(required) (default V(true)),
        C(version_arguments) (default V(["--version"]), an empty list skips the check) and C(version_regex) (its
        first group is the version).
      - A source has C(source) (its kind), optionally a C(version) of its own, and the fields of its kind. V(path)
        takes C(file) and C(directories). V(package) takes C(package) and C(member). V(download) takes C(url),
        C(sha256) or C(sha256_url), and C(member) for archives. V(image) takes C(image) with its digest, and
        C(member). V(go_module) takes C(directory) (below O(go_dir)), C(package), C(ldflags) and C(tags).
      - V({version}) and V({arch}) in the fields of a source are filled in.
      - Of two rows with one name the first is taken.
    type: list
    elements: dict
    required: true
  tools:
    description: Names of the rows to get. All rows when not given.
    type: list
    elements: str
  sources:
    description: Kinds of sources that may be used, in the order in which they are tried.
    type: list
    elements: str
    choices: [path, package, download, image, go_module]
    default: [path, package, download, image, go_module]
  cache_dir:
    description: Folder of the cache.
    type: path
    required: true
  go_dir:
    description: Folder that holds the pinned Go modules, one folder each.
    type: path
  registry:
    description: Mirror that takes the place of the registry's host in every image.
    type: str
    default: ""
  registry_verify_tls:
    description: Whether the registry has to show a valid certificate.
    type: bool
    default: true
  timeout_seconds:
    description: How long a host may take to answer.
    type: float
    default: 20
  deadline_seconds:
    description: How long all tools together may take.
    type: float
    default: 3600
  run_id:
    description: Identifier of the run; every process started carries it in the environment variable NIGHTBENCH_RUN_ID.
    type: str
  run_state:
    description: Folder of the run's state. A file C(stop) in it ends the module.
    type: path
  progress_path:
    description: JSON Lines file to which a line on the progress is appended once a second.
    type: path
  state:
    description: V(present) gets the tools, V(absent) removes them from the cache.
    type: str
    choices: [present, absent]
    default: present
attributes:
  check_mode:
    description: Says what would be obtained or removed; looks at PATH and the cache, fetches nothing.
    support: full
  diff_mode:
    description: Shows which tools were had before and are had after.
    support: full
  idempotent:
    description: A second call finds everything in the cache and changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Get etcd
  bench_tool:
    cache_dir: ~/.cache/nightbench/tools
    go_dir: "{{ playbook_dir }}/../tools/go"
    table:
      - name: etcd
        version: 3.6.16
        version_regex: 'etcd Version: (\S+)'
        sources:
          - source: path
          - source: download
            url: https://github.com/etcd-io/etcd/releases/download/v{version}/etcd-v{version}-linux-{arch}.tar.gz
            sha256_url: https://github.com/etcd-io/etcd/releases/download/v{version}/SHA256SUMS
            member: etcd-v{version}-linux-{arch}/etcd
          - source: go_module
            directory: etcd
            package: go.etcd.io/etcd/server/v3
"""

RETURN = r"""
tools:
  description: One entry for each tool that was had (in check mode also those that would be obtained).
  returned: state is present
  type: list
  elements: dict
  contains:
    name: {description: Name of the tool., type: str, returned: always}
    path: {description: The executable or null in check mode while it is not there yet., type: str, returned: always}
    version: {description: The version that the tool itself states., type: str, returned: always}
    source: {description: Kind of the source it came from., type: str, returned: always}
    sha256: {description: Checksum of the executable., type: str, returned: always}
    detail: {description: Where exactly it came from., type: str, returned: always}
    changed: {description: Whether it was obtained by this call., type: bool, returned: always}
    attempts:
      description: What was tried, in order.
      returned: always
      type: list
      elements: dict
      contains:
        source: {description: Kind of the source or cache., type: str, returned: always}
        tried: {description: What was asked for., type: str, returned: always}
        answer: {description: What came of it., type: str, returned: always}
by_name:
  description: The same tools as a mapping from name to path, version, source, sha256 and detail.
  returned: state is present
  type: dict
failed_tools:
  description: The tools that could not be had, each with name, asked, required, reason and attempts.
  returned: state is present
  type: list
  elements: dict
removed:
  description: Names of the tools that were (in check mode would be) removed from the cache.
  returned: state is absent
  type: list
  elements: str
"""

import os
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import tool_obtain, tool_table
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.tool_cache import Cache
from ..module_utils.nightbench.tool_job import Job
from ..module_utils.nightbench.tool_obtain import Result
from ..module_utils.nightbench.tool_source import Surroundings

PUBLISHED = ("path", "version", "source", "sha256", "detail")


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "table": {"type": "list", "elements": "dict", "required": True},
            "tools": {"type": "list", "elements": "str"},
            "sources": {
                "type": "list",
                "elements": "str",
                "choices": list(tool_table.SOURCE_ORDER),
                "default": list(tool_table.SOURCE_ORDER),
            },
            "cache_dir": {"type": "path", "required": True},
            "go_dir": {"type": "path"},
            "registry": {"type": "str", "default": ""},
            "registry_verify_tls": {"type": "bool", "default": True},
            "timeout_seconds": {"type": "float", "default": 20},
            "deadline_seconds": {"type": "float", "default": 3600},
            "run_id": {"type": "str"},
            "run_state": {"type": "path"},
            "progress_path": {"type": "path"},
            "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
        },
        supports_check_mode=True,
    )
    given = module.params
    if given["run_id"]:
        os.environ["NIGHTBENCH_RUN_ID"] = given["run_id"]
    with failures_told(module):
        tools = tool_table.select(
            given["table"],
            given["tools"] if given["tools"] is not None else [str(row.get("name")) for row in given["table"]],
            given["sources"],
            tool_table.machine_architecture(),
        )
        cache = Cache(Path(given["cache_dir"]).absolute())
        with Job(
            deadline_seconds=given["deadline_seconds"],
            run_state=None if module.check_mode else given["run_state"],
            progress_path=None if module.check_mode else given["progress_path"],
        ) as job:
            if given["state"] == "absent":
                answer = remove([tool.name for tool in tools], cache, job, module.check_mode)
            else:
                answer = obtain(tools, cache, job, given, module.check_mode)
    if "msg" in answer:
        module.fail_json(**answer)
    module.exit_json(**answer)


def obtain(tools: list[tool_table.Tool], cache: Cache, job: Job, given: dict[str, Any], check: bool) -> dict[str, Any]:
    """Get the tools; the module's answer, with `msg` when a required one could not be had."""
    around = Surroundings(
        job=job,
        arch=tool_table.machine_architecture(),
        cache_dir=cache.root,
        go_dir=Path(given["go_dir"] or "."),
        registry=given["registry"],
        registry_verify_tls=given["registry_verify_tls"],
        timeout_seconds=given["timeout_seconds"],
    )
    results = tool_obtain.obtain(tools, cache, around, check=check)
    had = [result for result in results if not result.failed]
    answer: dict[str, Any] = {
        "changed": any(result.changed for result in had),
        "tools": [as_dict(result, "name", *PUBLISHED, "changed", "attempts") for result in had],
        "by_name": {result.name: as_dict(result, *PUBLISHED) for result in had},
        "failed_tools": [
            as_dict(result, "name", "asked", "required", "reason", "attempts") for result in results if result.failed
        ],
        "diff": {
            "before": listing(result for result in had if not result.changed),
            "after": listing(had),
        },
    }
    if any(result.failed and result.required for result in results):
        answer["msg"] = tool_obtain.explain(results)
    return answer


def remove(names: list[str], cache: Cache, job: Job, check: bool) -> dict[str, Any]:
    """Remove the tools from the cache; what is on PATH is not ours."""
    before = cache.names()
    removed = [name for name in names if (name in before if check else cache.remove(name, job))]
    after = [name for name in before if name not in removed]
    return {
        "changed": bool(removed),
        "removed": removed,
        "diff": {"before": "".join(f"{n}\n" for n in before), "after": "".join(f"{n}\n" for n in after)},
    }


def as_dict(result: Result, *names: str) -> dict[str, Any]:
    return {name: getattr(result, name) for name in names}


def listing(results: Any) -> str:
    return "".join(f"{r.name} {r.version or r.asked} ({r.source}: {r.detail})\n" for r in results)


if __name__ == "__main__":
    main()
