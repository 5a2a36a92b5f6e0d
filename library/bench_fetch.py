#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_fetch
short_description: Bring the results of a host or a pod here, verified and as often as it takes
version_added: 0.1.0
description:
  - Asks the host (O(ssh)) or the pod (O(pod)) for one manifest of all files with their sha256, then brings each file
    that is not here yet, by the same way or through a bucket (O(bucket)).
  - A connection that is cut is gone on with where it stopped, also by a later call. A file only gets its name when its
    checksum is that of the manifest.
  - C(manifest.json) in O(dest) says what there is, what of it is here and whether that is all. It is written too when
    the
    host does not answer any more, so partial results are never taken for whole ones.
  - Runs on the control host; the host or the container needs C(python3).
author:
  - Nightbench authors (@nightbench)
options:
  ssh:
    description:
      - The command line up to the host, to which the remote command is added.
      - Through IAP it contains C(-o ProxyCommand=gcloud compute start-iap-tunnel …).
    type: list
    elements: str
    default: []
  pod:
    description:
      - The pod that has the files, instead of O(ssh). They come by exec of the API server with checksums, not as logs,
        which are rotated and cut. Its container has to run until they are here.
    type: dict
    suboptions:
      namespace:
        description: Its namespace.
        type: str
        default: default
      name:
        description: Its name.
        type: str
        required: true
      container:
        description: Its container; by default the first one, or the one that the pod names for it.
        type: str
        default: ""
  bucket:
    description:
      - A bucket of Cloud Storage that files go through, for results that are too large for IAP.
      - This side opens an upload for each file with its own credentials and hands its address to the host over O(ssh);
        the host needs no credentials. An object is removed from the bucket when its file is here and verified, and what
        an earlier call has left there first.
    type: str
    default: ""
  run_id:
    description:
      - The run whose results they are; required with O(bucket). Objects lie below C(nightbench/RUN-ID/) and carry it in
        their metadata with the other labels of M(nightbench.infra.bench_gcp_instance), so that a later call and
        M(nightbench.infra.bench_gcp_reaper) find what a killed one has left. Others are never touched.
    type: str
    default: ""
  bucket_folder:
    description: Folder of the objects below that, such as the host's name; two calls at once need one each.
    type: str
    default: results
  bucket_seconds:
    description: How long an object may stay there until the reaper takes it for left, in the label C(expires).
    type: float
    default: 7200.0
  owner:
    description: Who is asked about them, in the label C(owner).
    type: str
    default: nightbench
  storage_endpoint:
    description: Another address of the Cloud Storage API; it holds for every request, the host's too.
    type: str
  auth_kind:
    description:
      - Who asks for the bucket, as in M(nightbench.infra.bench_gcp_instance).
      - By default the environment variable E(GCP_AUTH_KIND).
    type: str
    choices: [application, serviceaccount, accesstoken]
    default: application
  service_account_file:
    description:
      - Key file of a service account.
      - By default the environment variable E(GCP_SERVICE_ACCOUNT_FILE).
    type: path
  access_token:
    description:
      - A token.
      - By default the environment variable E(GCP_ACCESS_TOKEN).
    type: str
  journal_dir:
    description:
      - Folder in which the addresses of open uploads are kept, for their owner only. A later call goes on with them;
        M(nightbench.infra.bench_gcp_reaper) cancels those of a run that is over.
      - By default C(nightbench/gcp) in E(XDG_STATE_HOME), then in C(~/.local/state).
    type: path
  source:
    description: Folder on the host.
    type: str
    required: true
  dest:
    description: Folder here.
    type: path
    required: true
  facts:
    description: What else the manifest is to say, such as the host's name and id.
    type: dict
    default: {}
  partial_reason:
    description: Why the results are known to be partial whatever arrives, such as V(preempted); empty when they are
      not.
    type: str
    default: ""
  allow_partial:
    description: Whether partial results are a success.
    type: bool
    default: false
  attempts:
    description: How often one file is tried.
    type: int
    default: 5
  pause_seconds:
    description: Pause between two attempts.
    type: float
    default: 2.0
  request_seconds:
    description: How long one ssh may take, and how long a pod or a bucket may say nothing.
    type: float
    default: 600.0
  timeout_seconds:
    description: How long the whole call may take.
    type: float
    default: 1800.0
  run_state:
    description: State directory of the run; its file C(stop) ends the module.
    type: path
  progress_path:
    description: File that gets one line of progress a second.
    type: path
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
    description: Asks for the manifest and brings nothing.
    support: full
  diff_mode:
    description: Shows which files are brought.
    support: full
  idempotent:
    description: A second call brings nothing.
    support: full
"""

EXAMPLES = r"""
- name: Bring the results
  bench_fetch:
    ssh: [ssh, -o, BatchMode=yes, bench@203.0.113.7]
    source: /var/tmp/nightbench/results
    dest: results/20260101T000000Z-0a1b/hosts/gpu-0

- name: Bring large results through a bucket
  bench_fetch:
    ssh: [ssh, -o, BatchMode=yes, bench@203.0.113.7]
    bucket: my-bucket
    run_id: 20260101T000000Z-0a1b
    bucket_folder: gpu-0
    source: /var/tmp/nightbench/results
    dest: results/20260101T000000Z-0a1b/hosts/gpu-0

- name: Bring the results of a pod
  bench_fetch:
    kubeconfig: /home/me/.kube/config
    pod: {namespace: gpu, name: probe-0}
    source: /results
    dest: results/20260101T000000Z-0a1b/pods/probe-0
"""

RETURN = r"""
complete:
  description: Whether everything that the host has is here and nothing says that it is partial.
  returned: success
  type: bool
reason:
  description: Why it is not complete.
  returned: success
  type: str
brought:
  description: The files that this call has brought, or would bring.
  returned: success
  type: list
  elements: str
missing:
  description: The files that are not here.
  returned: success
  type: list
  elements: str
files:
  description: How many files the host has.
  returned: success
  type: int
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils.nightbench import fetch, gcp_client, gcp_labels
from ..module_utils.nightbench.auth import AUTH_SPEC, client_from
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.fetch_remote import Remote, Ssh
from ..module_utils.nightbench.gcp_auth import GCP_SPEC, journal_folder, objects_from
from ..module_utils.nightbench.gcp_bucket import Bucket
from ..module_utils.nightbench.gcp_uploads import Uploads
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.module_failure import failures_told
from ..module_utils.nightbench.pod_exec import pod_of

POD_SPEC: dict[str, dict[str, Any]] = {
    "namespace": {"type": "str", "default": "default"},
    "name": {"type": "str", "required": True},
    "container": {"type": "str", "default": ""},
}
ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "ssh": {"type": "list", "elements": "str", "default": []},
    "pod": {"type": "dict", "options": POD_SPEC},
    "bucket": {"type": "str", "default": ""},
    "run_id": {"type": "str", "default": ""},
    "bucket_folder": {"type": "str", "default": "results"},
    "bucket_seconds": {"type": "float", "default": 7200.0},
    "owner": {"type": "str", "default": "nightbench"},
    "storage_endpoint": {"type": "str"},
    **{name: GCP_SPEC[name] for name in ("auth_kind", "service_account_file", "access_token", "journal_dir")},
    "source": {"type": "str", "required": True},
    "dest": {"type": "path", "required": True},
    "facts": {"type": "dict", "default": {}},
    "partial_reason": {"type": "str", "default": ""},
    "allow_partial": {"type": "bool", "default": False},
    "attempts": {"type": "int", "default": 5},
    "pause_seconds": {"type": "float", "default": 2.0},
    "request_seconds": {"type": "float", "default": 600.0},
    "timeout_seconds": {"type": "float", "default": 1800.0},
    "run_state": {"type": "path"},
    "progress_path": {"type": "path"},
    **AUTH_SPEC,
}


def check(params: dict[str, Any]) -> None:
    """Raise where nobody could know what is meant."""
    if params["attempts"] < 1 or params["request_seconds"] <= 0:
        raise ConfigurationError("attempts has to be at least 1, and request_seconds more than 0.")
    if bool(params["ssh"]) == bool(params["pod"]):
        raise ConfigurationError("Give ssh, a command line, or pod, and not both.")
    if params["bucket"] and params["pod"]:
        raise ConfigurationError("Files of a pod do not go through a bucket; leave bucket out.")
    wrong = gcp_labels.run_problems(params["run_id"]) if params["bucket"] else []
    if wrong:
        raise ConfigurationError(" ".join(wrong), hint="With a bucket, results belong to a run.")
    if params["bucket"] and gcp_client.MISSING:
        raise ConfigurationError(
            f"bucket needs google-auth and requests ({gcp_client.MISSING}).",
            hint="Here: pip install -r requirements-gcp.txt (in another project: pip install google-auth requests).",
        )


def remote_of(params: dict[str, Any]) -> Remote:
    if params["pod"]:
        return pod_of(client_from(params), params["pod"], params["request_seconds"])
    return Ssh(params["ssh"], params["request_seconds"])


def bucket_of(params: dict[str, Any], long: LongModule) -> Bucket:
    objects = objects_from(params, params["bucket"], long.check)
    uploads = Uploads(journal_folder(params))
    named = (params["run_id"], params["bucket_folder"], params["owner"])
    return Bucket(objects, *named, params["bucket_seconds"], uploads)


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    params = module.params
    long = LongModule.of("bench_fetch", params, task=f"fetch {params['source']}", seconds="timeout_seconds")
    with failures_told(module):
        check(params)
        with long:
            job = fetch.Fetch(
                remote=remote_of(params),
                detour=bucket_of(params, long) if params["bucket"] else None,
                source=params["source"].rstrip("/"),
                folder=Path(params["dest"]),
                facts=params["facts"],
                attempts=params["attempts"],
                pause=params["pause_seconds"],
                check=long.check,
            )
            done = fetch.fetch(job, params["partial_reason"], check=module.check_mode)
    for told in job.left:
        module.warn(told)
    missing = [one["path"] for one in done["missing"]]
    brought = missing if module.check_mode else job.got
    result = {
        "changed": bool(brought),
        "complete": done["complete"],
        "reason": done["reason"],
        "brought": brought,
        "missing": missing,
        "files": len(done["files"]),
        "diff": {"before": {"brought": []}, "after": {"brought": brought}},
    }
    if not (done["complete"] or params["allow_partial"] or module.check_mode):
        module.fail_json(
            msg=f"fetch {params['source']}: partial, {len(missing)} of {len(done['files'])} files are not here: "
            f"{done['reason']} What is here stays in {params['dest']}, marked partial; the same call goes on with it.",
            **result,
        )
    module.exit_json(**result)


if __name__ == "__main__":
    main()
