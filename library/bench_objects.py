#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_objects
short_description: Apply or delete any number of Kubernetes objects in one call
version_added: 0.1.0
description:
  - Applies objects by server-side apply over several connections. Namespaces and CustomResourceDefinitions go first,
    and new kinds are waited for before their objects are applied.
  - Deletes objects by a list or by their labels, in the opposite order, and waits until they are gone.
  - An object counts as changed when it differs before and after, apart from C(managedFields), C(resourceVersion),
    C(generation) and, unless it was declared, the status. Somebody else's write in between is not taken for a change.
  - An object that fails does not keep the others from being handled. The module then fails and says what was done.
author:
  - Nightbench authors (@nightbench)
options:
  state:
    description: Whether the objects shall be there.
    type: str
    choices: [present, absent]
    default: present
  objects:
    description:
      - Manifests. Each needs C(apiVersion), C(kind), C(metadata.name) and, where the kind has one, a namespace.
      - A declared status is applied too.
    type: list
    elements: dict
  selector:
    description: Objects to delete by their labels, for O(state=absent).
    type: dict
    suboptions:
      api_version:
        description: API version of the kind.
        type: str
        required: true
      kind:
        description: Kind of the objects.
        type: str
        required: true
      label_selector:
        description: Labels that the objects carry. It cannot be empty.
        type: str
        required: true
      namespace:
        description: Namespace of the objects; all namespaces if unset.
        type: str
  declared:
    description:
      - Manifests of namespaces and CustomResourceDefinitions that an earlier task of the same play declares.
      - In check mode they are not there yet; what depends on them is then predicted instead of failing.
    type: list
    elements: dict
    default: []
  predict_cluster:
    description:
      - In check mode, take a cluster that does not exist or does not answer for an empty one, because an earlier task
        of the same play would start it.
    type: bool
    default: false
  field_manager:
    description: Name under which the fields are owned.
    type: str
    default: nightbench
  force:
    description:
      - Whether fields that another manager owns are taken over. Otherwise they are a failure that names the manager.
    type: bool
    default: false
  connections:
    description: Connections over which the requests are sent.
    type: int
    default: 16
  wait:
    description: Whether deleted objects are waited for until they are gone.
    type: bool
    default: true
  timeout_seconds:
    description: How long the whole call may take.
    type: float
    default: 300.0
  grace_period_seconds:
    description: Grace period of deleted objects, instead of their own; V(0) for pods whose node has no kubelet.
    type: int
  propagation_policy:
    description: What becomes of the objects that the deleted ones own.
    type: str
    choices: [Background, Foreground, Orphan]
    default: Background
  run_state:
    description: Folder of the run's state; a file C(stop) in it ends the call.
    type: path
  progress_path:
    description: File to which a line of progress is appended every second.
    type: path
  task:
    description: What the progress is called.
    type: str
    default: objects
  kubeconfig:
    description: Path of a kubeconfig. If unset, E(K8S_AUTH_KUBECONFIG), E(KUBECONFIG), then the default place.
    type: path
  context:
    description: Context of the kubeconfig. If unset, E(K8S_AUTH_CONTEXT).
    type: str
  host:
    description: URL of an API server, instead of a kubeconfig. If unset, E(K8S_AUTH_HOST).
    type: str
  api_key:
    description: Bearer token. If unset, E(K8S_AUTH_API_KEY).
    type: str
  client_cert:
    description: Client certificate (PEM). If unset, E(K8S_AUTH_CERT_FILE).
    type: path
  client_key:
    description: Key of the client certificate (PEM). If unset, E(K8S_AUTH_KEY_FILE).
    type: path
  ca_cert:
    description: Certificate authority (PEM) of the API server. If unset, E(K8S_AUTH_SSL_CA_CERT).
    type: path
  validate_certs:
    description: Whether the API server's certificate is checked. If unset, E(K8S_AUTH_VERIFY_SSL).
    type: bool
attributes:
  check_mode:
    description: Asks the API server by a dry run, and predicts from the declarations what cannot be asked yet.
    support: full
  diff_mode:
    description: Shows 20 changed objects, then counts; of a Secret only checksums.
    support: full
  idempotent:
    description: A second call with the same objects changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Apply a namespace and a priority class
  bench_objects:
    kubeconfig: /home/me/kubeconfig
    objects:
      - apiVersion: v1
        kind: Namespace
        metadata: {name: load}
      - apiVersion: scheduling.k8s.io/v1
        kind: PriorityClass
        metadata: {name: train}
        value: 100

- name: Delete all pods of a load
  bench_objects:
    kubeconfig: /home/me/kubeconfig
    state: absent
    selector: {api_version: v1, kind: Pod, namespace: load, label_selector: nightbench.io/load=fill}
"""

RETURN = r"""
counts:
  description:
    - How many objects were created, updated, unchanged, deleted or failed, and not_sent when the call was ended early.
  returned: always, on failure as far as they are known
  type: dict
  sample: {created: 2, updated: 0, unchanged: 1, deleted: 0, failed: 0, not_sent: 0}
failures:
  description: Up to 20 objects that failed.
  returned: always, on failure as far as they are known
  type: list
  elements: dict
  contains:
    object:
      description: Kind, namespace and name.
      returned: always
      type: str
    status:
      description: HTTP status of the answer, null when there was none.
      returned: always
      type: int
    reason:
      description: What the API server said.
      returned: always
      type: str
retries:
  description: Requests that were tried again, by cause.
  returned: always, on failure as far as they are known
  type: dict
  sample: {"429": 3}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import objects, objects_delete
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.cluster_missing import cluster_missing
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError, of_system
from ..module_utils.nightbench.kube import Kube
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.manifest import Declared, parse
from ..module_utils.nightbench.objects_delete import Deletion, Selector
from ..module_utils.nightbench.objects_report import Options, Report

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "objects": {"type": "list", "elements": "dict"},
    "selector": {
        "type": "dict",
        "options": {
            "api_version": {"type": "str", "required": True},
            "kind": {"type": "str", "required": True},
            "label_selector": {"type": "str", "required": True},
            "namespace": {"type": "str"},
        },
    },
    "declared": {"type": "list", "elements": "dict", "default": []},
    "predict_cluster": {"type": "bool", "default": False},
    "field_manager": {"type": "str", "default": "nightbench"},
    "force": {"type": "bool", "default": False},
    "connections": {"type": "int", "default": 16},
    "wait": {"type": "bool", "default": True},
    "timeout_seconds": {"type": "float", "default": 300.0},
    "grace_period_seconds": {"type": "int"},
    "propagation_policy": {"type": "str", "choices": ["Background", "Foreground", "Orphan"], "default": "Background"},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    "task": {"type": "str", "default": "objects"},
    **AUTH_SPEC,
}


class Work:
    """One call: what is asked for, and what has been done so far, also when it fails in the middle."""

    def __init__(self, module: AnsibleModule) -> None:
        self.params = module.params
        self.check_mode = bool(module.check_mode)
        self.present = self.params["state"] == "present"
        self.manifests = parse(self.params["objects"] or [])
        self.selector = Selector(**self.params["selector"]) if self.params["selector"] else None
        if self.selector and self.present:
            raise ConfigurationError("selector is for state=absent: objects that shall be there have to be given.")
        self.declared = Declared([*parse(self.params["declared"], "declared"), *self.manifests])
        self.report = Report()

    def run(self) -> None:
        """Do it all within the time allowed; raises when it cannot go on."""
        try:
            kube = client_from(self.params)
            try:
                self._carry_out(kube)
            finally:
                self.report.retries = dict(kube.retries)
                kube.close()
        except NightbenchError as error:
            if not (self.check_mode and self.params["predict_cluster"] and cluster_missing(error, self.params)):
                raise
            self._predict_empty()

    def _carry_out(self, kube: Kube) -> None:
        task = self.params["task"]
        long = LongModule.of("bench_objects", self.params, task=task, seconds="timeout_seconds", check=self.check_mode)
        long.report = self._progress
        options = Options(
            field_manager=self.params["field_manager"],
            force=self.params["force"],
            connections=max(1, self.params["connections"]),
            dry_run=self.check_mode,
            declared=self.declared,
            stop=long.stopped,
            check=long.check,
        )
        deletion = Deletion(
            wait=self.params["wait"],
            grace_period_seconds=self.params["grace_period_seconds"],
            propagation=self.params["propagation_policy"],
        )
        with long:
            if self.present:
                objects.apply(kube, self.manifests, options, self.report)
            elif self.selector:
                objects_delete.delete_selected(kube, self.selector, options, deletion, self.report)
            else:
                objects_delete.delete(kube, self.manifests, options, deletion, self.report)
            if self.report.not_sent:
                long.check(f"{self.report.handled} objects were handled")

    def _progress(self) -> dict[str, Any]:
        """Outcomes are known when a whole wave is; until then its answers are counted."""
        asked = len(self.manifests) or None
        seen = max(self.report.handled, self.report.answered)
        return {"done": min(seen, asked or seen), "asked": asked, "unit": "objects"}

    def _predict_empty(self) -> None:
        """What the declarations do to a cluster that is still to come."""
        self.report = Report()
        for one in self.manifests:
            if self.present:
                self.report.add("created", one, None, one.body)
            else:
                self.report.add("unchanged", one)


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        mutually_exclusive=[("objects", "selector")],
        required_one_of=[("objects", "selector")],
        required_together=[("client_cert", "client_key")],
    )
    try:
        work = Work(module)
    except NightbenchError as error:
        module.fail_json(msg=str(error), **error.details)
    try:
        work.run()
    except NightbenchError as error:
        module.fail_json(msg=str(error), **{**error.details, **result(module, work)})
    except OSError as error:
        module.fail_json(msg=of_system(error), exit_code=3)
    if work.report.failures or work.report.not_sent:
        module.fail_json(msg=work.report.told(work.params["state"]), **result(module, work))
    module.exit_json(**result(module, work))


def result(module: AnsibleModule, work: Work) -> dict[str, Any]:
    found = work.report.as_json()
    return {**found, "diff": work.report.diff()} if module._diff else found


if __name__ == "__main__":
    main()
