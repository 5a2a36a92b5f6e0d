#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_lint
short_description: Explain what is wrong with the manifests of AI workloads
version_added: 0.1.0
description:
  - Looks at manifests of Jobs, servers, autoscalers and what they need, and names each defect with its field, why it
    fails and how it is mended.
  - Each rule is tied to what the API server answers or to what a run shows.
  - It fails where it finds an error, so that a play stops before it applies what cannot work.
author:
  - Nightbench authors (@nightbench)
options:
  manifests:
    description: Manifests as data. They are looked at together with those of O(paths).
    type: list
    elements: dict
    default: []
  paths:
    description: Files of manifests in YAML or JSON, on the host where the module runs.
    type: list
    elements: path
    default: []
  ignore:
    description: Rules that are left out.
    type: list
    elements: str
    default: []
  fail_on:
    description: What makes the module fail.
    type: str
    choices: [error, warning, never]
    default: error
  confirm:
    description: Whether the API server is asked as well, by a dry run; what it refuses counts as an error.
    type: bool
    default: false
  namespace:
    description: Where manifests without a namespace would go.
    type: str
    default: default
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
    description: It only looks; check mode does the same.
    support: full
  diff_mode:
    description: It changes nothing.
    support: none
  idempotent:
    description: It changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Look at the manifests before they are applied
  bench_lint:
    paths: [training.yml, serving.yml]
    confirm: true
    kubeconfig: /home/me/kubeconfig
"""

RETURN = r"""
findings:
  description: What is wrong, in the order of the manifests and of their lines.
  returned: always, on failure as far as they are known
  type: list
  elements: dict
  contains:
    rule: {description: Name of the rule., returned: always, type: str, sample: job-restart-policy}
    severity: {description: error or warning., returned: always, type: str}
    source: {description: The file or the number of the manifest., returned: always, type: str}
    line: {description: Line of the file; none for manifests that came as data., returned: always, type: int}
    object: {description: Kind and name., returned: always, type: str}
    field: {description: The field., returned: always, type: str}
    observed: {description: What stands there., returned: always, type: str}
    why: {description: Why it fails., returned: always, type: str}
    mend: {description: What mends it., returned: always, type: str}
    api_server: {description: The API server's own words for it., returned: if it was asked and said so, type: str}
api_server:
  description: What the API server said of each manifest.
  returned: always, on failure as far as it is known
  type: list
  elements: dict
manifests:
  description: How many manifests were looked at.
  returned: always, on failure as far as it is known
  type: int
counts:
  description: How many findings are errors and how many warnings.
  returned: always, on failure as far as it is known
  type: dict
  sample: {error: 2, warning: 1}
exit_code:
  description: What the run should end with; 3 where the API server could not be asked, else 2.
  returned: on failure
  type: int
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.errors import ConfigurationError, NightbenchError
from ..module_utils.nightbench.lint import RULES, lint
from ..module_utils.nightbench.lint_confirm import ask
from ..module_utils.nightbench.lint_document import Document, of_object, read_file
from ..module_utils.nightbench.lint_output import as_json
from ..module_utils.nightbench.names import unknown

TABLE = {rule.name: rule for rule in RULES}
NOTHING: dict[str, Any] = {"findings": [], "api_server": [], "manifests": 0, "counts": {}}
COUNTED = {"error": ("error",), "warning": ("error", "warning"), "never": ()}

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "manifests": {"type": "list", "elements": "dict", "default": []},
    "paths": {"type": "list", "elements": "path", "default": []},
    "ignore": {"type": "list", "elements": "str", "default": []},
    "fail_on": {"type": "str", "choices": ["error", "warning", "never"], "default": "error"},
    "confirm": {"type": "bool", "default": False},
    "namespace": {"type": "str", "default": "default"},
    **AUTH_SPEC,
}


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_together=[("client_cert", "client_key")],
    )
    try:
        result = look(module.params)
    except NightbenchError as error:
        code = 2 if isinstance(error, ConfigurationError) else 3
        module.fail_json(msg=str(error), **{**NOTHING, "exit_code": code, **error.details})
    told = [
        f"{one['object']}: {one['field']}: {one['observed']}"
        for one in result["findings"]
        if one["severity"] in COUNTED[module.params["fail_on"]]
    ]
    if module.params["fail_on"] != "never":
        told += [f"{one['object']}: {one['message']}" for one in result["api_server"] if one["accepted"] is False]
    if told:
        module.fail_json(msg=f"{'; '.join(told)}. The findings say why, and what mends it.", exit_code=2, **result)
    module.exit_json(changed=False, **result)


def look(params: dict[str, Any]) -> dict[str, Any]:
    """All findings, and what the API server says where it is asked."""
    if wrong := unknown("rule", params["ignore"], TABLE):
        raise ConfigurationError(" ".join(wrong))
    documents: list[Document] = [one for path in params["paths"] for one in read_file(Path(path))]
    documents += [of_object(number, body) for number, body in enumerate(params["manifests"], 1)]
    if not documents:
        raise ConfigurationError("There is no manifest to look at.", hint="Give manifests or paths.")
    findings = lint(documents, [rule for rule in RULES if rule.name not in params["ignore"]])
    answers = []
    if params["confirm"]:
        kube = client_from(params)
        try:
            answers = ask(kube, documents, params["namespace"])
        finally:
            kube.close()
    return as_json(findings, len(documents), TABLE, answers)


if __name__ == "__main__":
    main()
