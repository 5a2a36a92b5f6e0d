# SPDX-License-Identifier: GPL-3.0-or-later
"""The stand-in of the Compute API as tests have it: started, scripted, looked at and ended."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from tests.conftest import ROOT
from tests.fakes.compute_api.regions import PROJECT


class ComputeApi:
    """A handle on the process; every message that passes is held against the schemas."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.address = urlsplit(url).netloc
        self._connection = http.client.HTTPConnection(self.address, timeout=30)

    def control(self, name: str, /, **body: Any) -> dict[str, Any]:
        self._connection.request("POST", f"/control/{name}", json.dumps(body))
        return json.loads(self._connection.getresponse().read())

    def close(self) -> None:
        self._connection.close()

    def reset(self, **settings: Any) -> None:
        self.control("reset", **settings)

    def faults(self, *script: dict[str, Any]) -> None:
        self.control("faults", script=list(script))

    def put(self, kind: str, place: str, name: str, **labels: str) -> None:
        """Something that is there already; a dash in the name of a label goes as an underscore."""
        named = {key.replace("_", "-"): value for key, value in labels.items()}
        self.control("put", kind=kind, place=place, name=name, labels=named)

    @property
    def state(self) -> dict[str, Any]:
        return self.control("state")

    def settled(self) -> dict[str, list[str]]:
        """What is there once everything that was under way has come to its end."""
        return self.control("settle")["left"]

    def asked(self, *methods: str) -> list[dict[str, Any]]:
        """The requests of these methods, in order."""
        return [one for one in self.state["requests"] if one["method"] in methods]

    @property
    def access(self) -> dict[str, Any]:
        """The options of a module by which it finds the stand-in."""
        return {"project": PROJECT, "endpoint": self.url, "auth_kind": "accesstoken", "access_token": "test-token"}


@contextlib.contextmanager
def compute_api() -> Iterator[ComputeApi]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.compute_api"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None and process.stdin is not None
        with contextlib.closing(ComputeApi(process.stdout.readline().strip())) as api:
            yield api
    finally:
        process.communicate()


def service_account(url: str) -> dict[str, str]:
    """A key file as Google's console gives it, with a key that was made here and opens nothing."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return {
        "type": "service_account",
        "project_id": "nightbench-test",
        "private_key_id": "1",
        "private_key": key.private_bytes(*form).decode(),
        "client_email": "tester@nightbench-test.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": f"{url}/token",
    }
