#!/usr/bin/python
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bench_gcp_reaper
short_description: Find and remove what runs have left behind on Google Cloud
version_added: 0.1.0
description:
  - Looks through all zones and regions of a project for instances, disks and addresses with the label
    C(managed-by=nightbench), and removes those of runs that are named and those whose label C(expires) is over by the
    clock of the server.
  - Instances go first, then disks, then addresses, then uploads that are open in O(buckets), then objects there. One
    that cannot be removed does not keep the others.
  - Requests of killed processes that are still under way are waited for, by the journals of their runs, so nothing
    comes
    into being afterwards.
  - What does not carry our labels is never touched.
  - It only looks unless O(dry_run=false).
requirements:
  - google-cloud-compute >= 1.40
  - google-auth
  - requests
author:
  - Nightbench authors (@nightbench)
options:
  dry_run:
    description: Only say what would be removed.
    type: bool
    default: true
  run_ids:
    description: Runs that are over. Everything of theirs goes, expired or not.
    type: list
    elements: str
    default: []
  expired:
    description: Whether everything that has expired goes, of whatever run.
    type: bool
    default: true
  preserved_names:
    description: Regular expressions of names that stay, whatever their labels say. Each has to fit the whole name.
    type: list
    elements: str
    default: []
  buckets:
    description:
      - Buckets of Cloud Storage that results came through. What killed fetches have left there goes by the same rules;
        it carries the labels as metadata, and lies below C(nightbench/). Uploads that a fetch of this machine has
        opened and not ended are cancelled; no list of the server shows them, so they are known by O(journal_dir).
    type: list
    elements: str
    default: []
  storage_endpoint:
    description: Another address of the Cloud Storage API; it holds for every request.
    type: str
  project:
    description:
      - The project.
      - By default the environment variable E(GCP_PROJECT).
    type: str
    required: true
  auth_kind:
    description:
      - Who asks. V(application), what C(gcloud auth application-default login) left, the file that
        E(GOOGLE_APPLICATION_CREDENTIALS) names, or the account of the machine. V(serviceaccount),
        O(service_account_file). V(accesstoken), O(access_token).
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
      - A token, as C(gcloud auth print-access-token) gives it.
      - By default the environment variable E(GCP_ACCESS_TOKEN).
    type: str
  endpoint:
    description:
      - Another address of the Compute API, such as C(https://compute.example.com). It holds for every request, those
        that
        look at operations too.
    type: str
  request_seconds:
    description: How long one request may take.
    type: float
    default: 30.0
  pause_seconds:
    description: Pause before something is looked at or asked for again; doubled each time, up to half a minute.
    type: float
    default: 1.0
  operation_seconds:
    description: How long one operation of the API may take.
    type: float
    default: 300.0
  timeout_seconds:
    description: How long the whole call may take.
    type: float
    default: 1200.0
  journal_dir:
    description:
      - Folder of the write-ahead journals, one file a run, of what is known of zones that had none lately, and of
        open uploads.
      - By default C(nightbench/gcp) in E(XDG_STATE_HOME), then in C(~/.local/state).
    type: path
  run_state:
    description: State directory of the run; its file C(stop) ends the module.
    type: path
  progress_path:
    description: File that gets one line of progress a second.
    type: path
attributes:
  check_mode:
    description: As O(dry_run=true).
    support: full
  diff_mode:
    description: Shows what is removed.
    support: full
  idempotent:
    description: A second call changes nothing.
    support: full
"""

EXAMPLES = r"""
- name: Show what has expired
  bench_gcp_reaper:
    project: my-project

- name: Remove what has expired and everything of one run
  bench_gcp_reaper:
    project: my-project
    dry_run: false
    run_ids: [20260101T000000Z-0a1b]
    preserved_names: ["keep-.*"]
    buckets: [my-bucket]
"""

RETURN = r"""
removed:
  description: What was removed, or would be.
  returned: always
  type: list
  elements: dict
  contains:
    kind:
      description: instance, disk, address, upload or object.
      returned: always
      type: str
    name:
      description: Its name.
      returned: always
      type: str
    place:
      description: Its zone, region or bucket.
      returned: always
      type: str
    run_id:
      description: The run it belongs to, as the label has it.
      returned: always
      type: str
    expires:
      description: When it expires, in seconds since 1970; null where the label is no number.
      returned: always
      type: int
kept:
  description: What is ours and stays, each with the C(reason).
  returned: always
  type: list
  elements: dict
left:
  description: What could not be removed, each with the reason.
  returned: on failure
  type: list
  elements: dict
kind:
  description: What went wrong, such as V(auth); V(left) when something could not be removed.
  returned: on failure of the API
  type: str
"""

import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ..module_utils.nightbench import gcp_client, gcp_labels, gcp_reap
from ..module_utils.nightbench.errors import ConfigurationError
from ..module_utils.nightbench.gcp_auth import GCP_SPEC, compute_from, journal_folder, objects_from
from ..module_utils.nightbench.gcp_journal import Journal, runs
from ..module_utils.nightbench.gcp_uploads import Uploads
from ..module_utils.nightbench.long_module import LongModule
from ..module_utils.nightbench.module_failure import failures_told

ARGUMENT_SPEC: dict[str, dict[str, Any]] = {
    "dry_run": {"type": "bool", "default": True},
    "run_ids": {"type": "list", "elements": "str", "default": []},
    "expired": {"type": "bool", "default": True},
    "preserved_names": {"type": "list", "elements": "str", "default": []},
    "buckets": {"type": "list", "elements": "str", "default": []},
    "storage_endpoint": {"type": "str"},
    **GCP_SPEC,
}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    if gcp_client.MISSING:
        module.fail_json(
            msg=f"{missing_required_lib('google-cloud-compute')} Here: pip install -r requirements-gcp.txt "
            "(in another project: pip install google-cloud-compute google-auth requests).",
            exception=gcp_client.MISSING,
        )
    params = module.params
    long = LongModule.of("bench_gcp_reaper", params, task="reap", seconds="timeout_seconds")
    with failures_told(module), long:
        swept = sweep(params, long, dry_run=module.check_mode or params["dry_run"])
    for told in swept.damaged:
        module.warn(told)
    removed = [one.as_json() for one in swept.removed]
    result = {
        "removed": removed,
        "kept": [{**one.as_json(), "reason": reason} for one, reason in swept.kept],
        "diff": {"before": {"there": removed}, "after": {"there": []}},
    }
    changed = bool(removed) and (module.check_mode or not params["dry_run"])
    if swept.failed:
        told = "; ".join(f"{what}: {why}" for what, why in swept.failed)
        module.fail_json(
            msg=f"reap project {params['project']}: {len(swept.failed)} left, {len(removed)} removed. {told} "
            "Run it again; the server's time limit ends what still runs.",
            changed=changed,
            kind="left",
            left=[{"what": what, "reason": reason} for what, reason in swept.failed],
            **result,
        )
    module.exit_json(changed=changed, **result)


def sweep(params: dict[str, Any], long: LongModule, *, dry_run: bool) -> gcp_reap.Swept:
    try:
        preserved = [re.compile(pattern) for pattern in params["preserved_names"]]
    except re.error as error:
        raise ConfigurationError(f"preserved_names: {error.pattern!r} is no regular expression: {error}.") from error
    wrong = [problem for run_id in params["run_ids"] for problem in gcp_labels.run_problems(run_id)]
    if wrong:
        raise ConfigurationError(" ".join(wrong), hint="Nothing was removed.")
    compute = compute_from(params, long.check)
    folder = journal_folder(params)
    compute.project_quotas()  # its answer says what time it is for the server
    ended = [gcp_labels.value(run_id) for run_id in params["run_ids"]]
    named = gcp_reap.of_runs(params["run_ids"])
    over = gcp_reap.expired(compute.now())
    reaper = gcp_reap.Reaper(
        compute,
        lambda thing: named(thing) or (over(thing) if params["expired"] else None),
        preserved=preserved,
        journals=[Journal(folder, run_id) for run_id in sorted({*ended, *runs(folder)})],
        runs=ended,
        dry_run=dry_run,
        operation_seconds=params["operation_seconds"],
        buckets=[objects_from(params, bucket, long.check) for bucket in params["buckets"]],
        uploads=Uploads(folder),
    )
    return reaper.sweep()


if __name__ == "__main__":
    main()
