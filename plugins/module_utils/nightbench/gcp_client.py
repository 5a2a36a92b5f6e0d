# SPDX-License-Identifier: GPL-3.0-or-later
"""The Compute API by Google's own client, over REST, with every answer as a plain mapping.

`insert_unary` and own clients for operations: the operation that `insert` returns is polled at the client's built-in
address, whatever endpoint was given. Every request has a time-out; what is transient is asked again with the same
requestId until the caller's patience ends.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from . import gcp_errors
from .errors import CloudError, ConfigurationError, DeadlineExceeded
from .gcp_errors import Kind
from .gcp_request import last

try:
    import google.auth
    import requests
    from google.api_core import exceptions as api_exceptions
    from google.api_core.client_options import ClientOptions
    from google.auth import credentials as auth_credentials
    from google.auth import exceptions as auth_exceptions
    from google.cloud import compute_v1
    from google.oauth2 import credentials as oauth2_credentials
    from google.oauth2 import service_account

    MISSING = ""
except ImportError as missing_error:
    MISSING = str(missing_error)

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
LONGEST_PAUSE_SECONDS = 30.0
LONGEST_LOOK_SECONDS = 5.0
#: Called before a request is repeated or an operation looked at again; ends by raising when time is over.
Patience = Callable[[str], None]
Plain = dict[str, Any]
#: Which client deletes what, by kind and scope.
DELETED_BY = {
    ("instance", "zone"): "Instances",
    ("disk", "zone"): "Disks",
    ("disk", "region"): "RegionDisks",
    ("address", "region"): "Addresses",
    ("address", "global"): "GlobalAddresses",
}
T = TypeVar("T")


def credentials(kind: str, service_account_file: str | None, access_token: str | None) -> Any:
    """Who asks; raises CloudError where nobody can be found."""
    try:
        if kind == "accesstoken":
            if not access_token:
                raise _no_credentials("auth_kind is accesstoken and there is no access_token.")
            return oauth2_credentials.Credentials(token=access_token)
        if kind == "serviceaccount":
            if not service_account_file:
                raise _no_credentials("auth_kind is serviceaccount and there is no service_account_file.")
            return service_account.Credentials.from_service_account_file(service_account_file, scopes=SCOPES)
        return google.auth.default(scopes=SCOPES)[0]
    except (auth_exceptions.GoogleAuthError, OSError, ValueError) as error:
        raise _no_credentials(f"{kind}: {error}") from error


def _no_credentials(seen: str) -> CloudError:
    return CloudError(
        f"find credentials for the Compute API: {' '.join(seen.split())}",
        kind=Kind.AUTH,
        hint="Give service_account_file or access_token, or run: gcloud auth application-default login.",
    )


class Compute:
    """One project. `pause` is the time between two looks, doubled up to half a minute."""

    def __init__(
        self,
        project: str,
        who: auth_credentials.Credentials,
        *,
        endpoint: str | None = None,
        request_seconds: float = 30.0,
        pause: float = 1.0,
        patience: Patience = lambda _: None,
    ) -> None:
        self.project = project
        self.request_seconds = request_seconds
        self.pause = pause
        self.patience = patience
        self._who = who
        self._options = ClientOptions(api_endpoint=endpoint) if endpoint else ClientOptions()
        self._clients: dict[str, Any] = {}
        self._ahead = 0.0

    # --- what is there

    def now(self) -> float:
        """The server's clock, as its last answer had it: what expires, expires by that one."""
        return time.time() + self._ahead

    def zones(self) -> list[str]:
        found = self._each("list zones", self._client("Zones").list, {"project": self.project})
        return [zone["name"] for zone in found if zone.get("status") == "UP"]

    def accelerator_zones(self, kind: str) -> list[str]:
        """Where a GPU is offered at all."""
        found = self._aggregated("look where the GPU is offered", "AcceleratorTypes", f"name = {kind}")
        return sorted({last(one["zone"]) for one in found if "zone" in one})

    def machine_types(self, name: str) -> dict[str, tuple[str, int]]:
        """The zones that offer it, and the GPUs that it brings along itself: kind and count, "" and 0 for none."""
        found = {}
        for one in self._aggregated(f"look where {name} is offered", "MachineTypes", f"name = {name}"):
            own = (one.get("accelerators") or [{}])[0]
            kind, count = own.get("guestAcceleratorType", ""), int(own.get("guestAcceleratorCount", 0))
            found[last(one["zone"])] = (last(kind), count)
        return found

    def project_quotas(self) -> list[Plain]:
        client = self._client("Projects")
        return list(self._call("read the project's quotas", client.get, {"project": self.project}).get("quotas", []))

    def region_quotas(self, region: str) -> list[Plain]:
        asked = {"project": self.project, "region": region}
        return list(self._call(f"read the quotas of {region}", self._client("Regions").get, asked).get("quotas", []))

    def instances(self, wanted: str) -> list[Plain]:
        return self._aggregated("list instances", "Instances", wanted)

    def disks(self, wanted: str) -> list[Plain]:
        return self._aggregated("list disks", "Disks", wanted)

    def addresses(self, wanted: str) -> list[Plain]:
        return self._aggregated("list addresses", "Addresses", wanted)

    def operations(self, wanted: str) -> list[Plain]:
        return self._aggregated("list operations", "GlobalOperations", wanted)

    def instance(self, zone: str, name: str) -> Plain | None:
        asked = {"project": self.project, "zone": zone, "instance": name}
        try:
            return self._call(f"look at {name} in {zone}", self._client("Instances").get, asked)
        except CloudError as error:
            if error.kind == Kind.NOT_FOUND:
                return None
            raise

    def serial_output(self, zone: str, name: str) -> str:
        """What the host has written to its serial port; it needs no way into the host."""
        text, start = "", 0
        while True:
            asked = {"project": self.project, "zone": zone, "instance": name, "start": start}
            part: Plain = self._call(
                f"read the serial port of {name}", self._client("Instances").get_serial_port_output, asked
            )
            text += str(part.get("contents", ""))
            following = int(part.get("next", start))
            if following <= start or not part.get("contents"):
                return text
            start = following

    # --- what is changed

    def insert(self, zone: str, instance: Plain, request_id: str) -> Plain:
        asked = {
            "project": self.project,
            "zone": zone,
            "request_id": request_id,
            "instance_resource": compute_v1.Instance.from_json(json.dumps(instance)),
        }
        return self._call(f"create {instance['name']} in {zone}", self._client("Instances").insert_unary, asked)

    def delete(self, kind: str, scope: str, place: str, name: str, request_id: str) -> Plain | None:
        """Delete an instance, a disk or an address; `place` is its zone or region. None where it is gone already."""
        asked = {"project": self.project, kind: name, "request_id": request_id}
        if scope != "global":
            asked[scope] = place
        client = DELETED_BY[kind, scope]
        try:
            return self._call(f"delete {kind} {name} in {place}", self._client(client).delete_unary, asked)
        except CloudError as error:
            if error.kind == Kind.NOT_FOUND:
                return None
            raise

    def finish(self, what: str, operation: Plain, until: float | None = None) -> Plain:
        """The operation once it is done; `until` is by time.monotonic(). Errors of the operation are the caller's."""
        pause = self.pause
        while operation.get("status") != "DONE":
            if until is not None and time.monotonic() >= until:
                raise DeadlineExceeded(
                    f"{what}: operation {operation['name']} is {operation.get('status')} and does not go on.",
                    hint="Look at it with: gcloud compute operations describe.",
                )
            self.patience(f"operation {operation['name']} is {operation.get('status')}")
            began = time.monotonic()
            operation = self._look(operation)
            if operation.get("status") != "DONE" and time.monotonic() - began < pause:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_LOOK_SECONDS)
        return operation

    def _look(self, operation: Plain) -> Plain:
        asked: Plain = {"project": self.project, "operation": operation["name"]}
        for scope, client in (("zone", "ZoneOperations"), ("region", "RegionOperations")):
            if scope in operation:
                asked[scope] = last(operation[scope])
                return self._call(f"look at operation {operation['name']}", self._client(client).get, asked)
        return self._call(f"look at operation {operation['name']}", self._client("GlobalOperations").get, asked)

    # --- how it is asked

    def _client(self, name: str) -> Any:
        if name not in self._clients:
            try:
                client = getattr(compute_v1, f"{name}Client")(
                    credentials=self._who, client_options=self._options, transport="rest"
                )
            except (auth_exceptions.GoogleAuthError, ValueError) as error:
                raise ConfigurationError(f"reach the Compute API: {error}") from error
            session = client.transport._session
            session.hooks["response"].append(self._note_clock)
            if self._options.api_endpoint:
                # google-auth asks iamcredentials.googleapis.com in a thread where such accounts may be used from.
                session.credentials._maybe_start_regional_access_boundary_refresh = lambda request, url: None
            self._clients[name] = client
        return self._clients[name]

    def _note_clock(self, response: Any, *_: Any, **__: Any) -> None:
        stamp = response.headers.get("Date")
        if stamp:
            self._ahead = parsedate_to_datetime(stamp).timestamp() - datetime.now(UTC).timestamp()

    def _aggregated(self, what: str, name: str, wanted: str) -> list[Plain]:
        asked = {"project": self.project, "filter": wanted}
        found = []
        for _, scoped in self._pages(what, self._client(name).aggregated_list, asked):
            for entries in scoped.values():
                found += entries if isinstance(entries, list) else []
        return found

    def _pages(self, what: str, method: Callable[..., Any], asked: Plain) -> list[tuple[str, Plain]]:
        def ask() -> list[tuple[str, Plain]]:
            return [(place, _plain(scoped)) for place, scoped in method(request=asked, **self._how)]

        return self._repeat(what, ask)

    def _each(self, what: str, method: Callable[..., Any], asked: Plain) -> list[Plain]:
        def ask() -> list[Plain]:
            return [_plain(one) for one in method(request=asked, **self._how)]

        return self._repeat(what, ask)

    def _call(self, what: str, method: Callable[..., Any], asked: Plain) -> Plain:
        return self._repeat(what, lambda: _plain(method(request=asked, **self._how)))

    @property
    def _how(self) -> Plain:
        return {"timeout": self.request_seconds, "retry": None}

    def _repeat(self, what: str, ask: Callable[[], T]) -> T:
        pause = self.pause
        while True:
            try:
                return ask()
            except (
                api_exceptions.GoogleAPICallError,
                auth_exceptions.GoogleAuthError,
                requests.exceptions.RequestException,
            ) as error:
                told = _told(what, error)
                if told.kind != Kind.TRANSIENT:
                    raise told from error
                self.patience(told.message)
                time.sleep(max(pause, told.retry_after or 0.0))
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _plain(message: Any) -> Plain:
    text = type(message).to_json(message, use_integers_for_enums=False, always_print_fields_with_no_presence=False)
    return dict(json.loads(text))


def _told(what: str, error: Exception) -> CloudError:
    if isinstance(error, api_exceptions.GoogleAPICallError):
        reasons = [one.get("reason", "") for one in error.errors if isinstance(one, Mapping)]
        after = error.response.headers.get("Retry-After") if error.response is not None else None
        delay = float(after) if after and after.isdigit() else None
        return gcp_errors.of_status(what, int(error.code or 500), error.message, reasons, delay)
    if isinstance(error, (auth_exceptions.TransportError, requests.exceptions.RequestException)):
        return CloudError(f"{what}: no answer: {error}", kind=Kind.TRANSIENT, hint=gcp_errors.NEXT_STEP[Kind.TRANSIENT])
    return CloudError(
        f"{what}: the credentials are not accepted: {error}",
        kind=Kind.AUTH,
        hint="They have expired or were taken back: gcloud auth application-default login, or a new access_token.",
    )
