#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_bundle
short_description: Keep the logs and objects that explain a failure
version_added: 0.1.0
description:
  - Writes one archive with the end of every log of a run, the records of its processes, and the events, nodes, pods
    and namespaces of its cluster.
  - Of every component that still answers it holds the metrics, a profile of the CPU and one of the heap where they are
    offered, and the snapshot of a scheduler that makes one.
  - What looks like a secret is hidden; keys, certificates and kubeconfigs are never in it.
  - A cluster or component that does not answer is no failure, its error is in the archive.
author:
  - Nightbench authors (@nightbench)
options:
  state_dir:
    description: State folder of the run.
    type: path
    required: true
  path:
    description: The archive, a C(.tar.gz).
    type: path
    required: true
  kubeconfig:
    description: Kubeconfig of the cluster. Without it, no objects are kept.
    type: path
  components:
    description:
      - Components by their names, as the session of a run has them.
      - C(metrics_url) is where a component has its metrics, C(pprof_url) the folder of its profiles (C(/debug/pprof)),
        C(snapshot_url) where a scheduler gives its snapshot.
      - C(client_cert), C(client_key) and C(ca_cert) are for those that want to know who asks.
    type: dict
    default: {}
  scrapes:
    description: Prometheus's scrapes, with C(url) and certificates; for components that name none of their own.
    type: list
    elements: dict
    default: []
  profile_seconds:
    description: How long each component's CPU is profiled; all at the same time. 0 leaves these profiles out.
    type: int
    default: 2
  timeout_seconds:
    description: How long all components together may take.
    type: float
    default: 30.0
attributes:
  check_mode:
    description: Says which logs would be kept; no component is asked.
    support: full
  diff_mode:
    description: Shows the names in the archive.
    support: full
  idempotent:
    description: An archive is written each time, for logs go on.
    support: none
"""

EXAMPLES = r"""
- name: Keep what explains the failure
  bench_bundle:
    state_dir: /home/me/.local/state/nightbench/runs/20260101T000000Z-0a1b
    path: /home/me/results/20260101T000000Z-0a1b/failure.tar.gz
    components:
      scheduler:
        metrics_url: http://127.0.0.1:8080/metrics
        pprof_url: http://127.0.0.1:8080/debug/pprof
        snapshot_url: http://127.0.0.1:8081/get-snapshot
"""

RETURN = r"""
files:
  description: The names in the archive.
  returned: success
  type: list
  elements: str
objects:
  description: How many objects of each kind are in it.
  returned: success
  type: dict
  sample: {events: 12, nodes: 500, pods: 500, namespaces: 6}
"""

from contextlib import closing
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import bundle, bundle_components
from ..module_utils.nightbench.errors import NightbenchError
from ..module_utils.nightbench.kube import Kube
from ..module_utils.nightbench.target import load_target

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state_dir": {"type": "path", "required": True},
    "path": {"type": "path", "required": True},
    "kubeconfig": {"type": "path"},
    "components": {"type": "dict", "default": {}},
    "scrapes": {"type": "list", "elements": "dict", "default": []},
    "profile_seconds": {"type": "int", "default": 2},
    "timeout_seconds": {"type": "float", "default": 30.0},
}
#: A broken cluster may not hold up its removal.
RETRY_SECONDS = 5


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    state, path = Path(module.params["state_dir"]), Path(module.params["path"])
    files = bundle.logs(state)
    if module.check_mode:
        names = [str(Path("logs") / file.relative_to(state)) for file in files]
        module.exit_json(changed=True, files=names, objects={}, diff=difference(names))
    # First of all: what a component does now is gone soon.
    components = bundle_components.ask(
        bundle_components.from_session(module.params["components"], module.params["scrapes"]),
        profile_seconds=max(0, module.params["profile_seconds"]),
        timeout_seconds=module.params["timeout_seconds"],
    )
    answers = asked(module.params["kubeconfig"])
    try:
        names = bundle.write(path, state, files, answers, components)
    except OSError as error:
        module.fail_json(msg=f"write {path}: {error.strerror}.", exit_code=3)
    module.exit_json(changed=True, files=names, objects=bundle.summary(answers), diff=difference(names))


def difference(names: list[str]) -> dict[str, str]:
    """Text: ansible cannot show a list."""
    return {"before": "", "after": "".join(f"{name}\n" for name in names)}


def asked(kubeconfig: str | None) -> dict[str, bytes]:
    if not kubeconfig:
        return {}
    try:
        with closing(Kube(load_target(kubeconfig=kubeconfig), retry_seconds=RETRY_SECONDS)) as kube:
            return bundle.objects(kube)
    except NightbenchError as error:
        return {"cluster.error": f"{error}\n".encode()}


if __name__ == "__main__":
    main()
