# SPDX-License-Identifier: GPL-3.0-or-later
"""The lean client and the watch against a real API server, with faults injected in front of it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from ansible.module_utils.nightbench.errors import (
    ConfigurationError,
    Conflict,
    Forbidden,
    KubeError,
    NotFound,
    Unreachable,
)
from ansible.module_utils.nightbench.kube import Call, Kube
from ansible.module_utils.nightbench.target import Target, load_target
from ansible.module_utils.nightbench.watch import Event, ListWatch

from tests.conftest import eventually
from tests.control_plane import ControlPlane, free_ports
from tests.fakes.fault_proxy import Fault, FaultProxy, fault_proxy

pytestmark = pytest.mark.integration


def behind(control_plane: ControlPlane, *faults: Fault) -> AbstractContextManager[FaultProxy]:
    """A proxy in front of the real API server that has the administrator's certificate."""
    target = load_target(kubeconfig=control_plane.kubeconfig)
    return fault_proxy(target.host, target.port, target.context, *faults)


@contextlib.contextmanager
def client(proxy: FaultProxy, **options: Any) -> Iterator[Kube]:
    kube = Kube(load_target(host=proxy.url), **options)
    try:
        yield kube
    finally:
        kube.close()


def config_map(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"test": "watch"}}}


def config_maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


@pytest.mark.parametrize(
    ("fault", "retries"),
    [
        (Fault("status", code=429, times=2), {"429": 2}),
        (Fault("status", code=503, times=2), {"5xx": 2}),
        (Fault("status", code=500), {"5xx": 1}),
        (Fault("reset", times=2), {"dropped": 2}),
        (Fault("latency", seconds=0.05), {}),
    ],
    ids=["429", "503", "500", "reset", "latency"],
)
def test_a_passing_fault_is_retried_and_counted(
    control_plane: ControlPlane, fault: Fault, retries: dict[str, int]
) -> None:
    with behind(control_plane, fault) as proxy, client(proxy) as kube:
        assert kube.request("GET", "/version").json()["gitVersion"].startswith("v1.")
        assert kube.retries == retries


def test_retry_after_is_obeyed(control_plane: ControlPlane) -> None:
    with behind(control_plane, Fault("status", code=429, retry_after=1)) as proxy, client(proxy) as kube:
        started = time.monotonic()
        kube.request("GET", "/version")
        assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    ("fault", "kind", "text"),
    [
        (Fault("status", code=503, times=10**6), KubeError, "503"),
        (Fault("status", code=429, times=10**6), KubeError, "429"),
        (Fault("reset", times=10**6), Unreachable, "no answer"),
    ],
)
def test_a_fault_that_stays_ends_after_the_bound(
    control_plane: ControlPlane, fault: Fault, kind: type[Exception], text: str
) -> None:
    with (
        behind(control_plane, fault) as proxy,
        client(proxy, retry_seconds=0.3, connect_seconds=0.3) as kube,
        pytest.raises(kind, match=text),
    ):
        kube.request("GET", "/version")


def test_nobody_at_the_address_is_said_in_one_line() -> None:
    (port,) = free_ports(1)
    kube = Kube(load_target(host=f"http://127.0.0.1:{port}"), connect_seconds=0.2)
    with pytest.raises(Unreachable) as raised:
        kube.request("GET", "/version")
    assert str(raised.value) == (
        f"GET /version on http://127.0.0.1:{port}: no answer: [Errno 111] Connection refused. "
        "Is the API server running, and is the address in the kubeconfig right?"
    )


def test_an_answer_that_another_try_cannot_change_is_not_retried(kube: Kube, namespace: str) -> None:
    path = config_maps(namespace)
    kube.request("POST", path, body=config_map("twice"))
    with pytest.raises(Conflict, match="already exists"):
        kube.request("POST", path, body=config_map("twice"))
    with pytest.raises(NotFound, match="not found"):
        kube.request("GET", f"{path}/never")
    assert not kube.retries


def test_a_certificate_of_another_authority_is_not_accepted(control_plane: ControlPlane, tmp_path: Any) -> None:
    target = load_target(kubeconfig=control_plane.kubeconfig)
    kube = Kube(load_target(host=f"https://{target.host}:{target.port}"))
    with pytest.raises(Unreachable, match="certificate is not accepted"):
        kube.request("GET", "/version")


def test_many_calls_answer_in_their_order_with_errors_in_their_places(kube: Kube, namespace: str) -> None:
    path = config_maps(namespace)
    kube.request("POST", path, body=config_map("c-3"))
    results = kube.map([Call("POST", path, body=config_map(f"c-{n}")) for n in range(8)], connections=4)
    assert [isinstance(result, Conflict) for result in results] == [n == 3 for n in range(8)]


def test_what_comes_after_the_stop_is_not_sent(kube: Kube, namespace: str) -> None:
    path = config_maps(namespace)
    sent: list[int] = []
    calls = [Call("POST", path, body=config_map(f"s-{n}")) for n in range(10)]
    results = kube.map(calls, 1, stop=lambda: len(sent) >= 3, done=lambda index, _: sent.append(index))
    assert [result is None for result in results] == [n >= 3 for n in range(10)]
    assert len(kube.list_pages(path, label_selector="test=watch")[0]) == 3


def test_a_list_is_read_page_by_page(kube: Kube, namespace: str) -> None:
    path = config_maps(namespace)
    kube.map([Call("POST", path, body=config_map(f"p-{n}")) for n in range(7)])
    items, version = kube.list_pages(path, label_selector="test=watch", limit=3)
    assert [item["metadata"]["name"] for item in items] == [f"p-{n}" for n in range(7)]
    assert version.isdigit()


@pytest.mark.parametrize(
    ("api_version", "kind", "text"),
    [("v1", "Podd", "knows no kind Podd in v1"), ("example.com/v1", "Thing", "does not serve example.com/v1")],
)
def test_a_kind_that_is_not_served_is_named(kube: Kube, api_version: str, kind: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        kube.resource(api_version, kind)


def test_forbidden_says_who_may_not_do_what(control_plane: ControlPlane, namespace: str) -> None:
    with contextlib.closing(control_plane.kube()) as admin:
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
        token = admin.request(
            "POST", path, body={"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        ).json()
    target = load_target(kubeconfig=control_plane.kubeconfig)
    refused = f'"system:serviceaccount:{namespace}:default" cannot list resource "nodes"'
    with contextlib.closing(Kube(as_token(target, token["status"]["token"]))) as kube:
        with_right = kube.request("GET", "/version")
        with pytest.raises(Forbidden, match=refused):
            kube.request("GET", "/api/v1/nodes")
    assert with_right.status == 200


def as_token(target: Target, token: str) -> Target:
    return load_target(
        host=f"https://{target.host}:{target.port}", api_key=token, ca_cert=target.configuration.ssl_ca_cert
    )


@pytest.mark.parametrize(
    ("faults", "relists"),
    [
        ([], 0),
        ([Fault("cut", after=2), Fault("cut", after=1)], 0),
        ([Fault("gone", after=2)], 1),
        ([Fault("gone", after=1), Fault("cut", after=1), Fault("gone", after=0)], 2),
        ([Fault("status", path="watch=true", code=429, times=2), Fault("status", path="watch=true", code=500)], 0),
    ],
    ids=["no fault", "cut twice", "410 Gone", "410, cut, 410", "429 and 500 when it opens"],
)
def test_a_watch_loses_nothing_whatever_happens_to_it(
    control_plane: ControlPlane, namespace: str, faults: list[Fault], relists: int
) -> None:
    """Objects come and go while the watch is cut; in the end every creation and every deletion was handed out."""
    path = config_maps(namespace)
    there: set[str] = set()
    created: set[str] = set()

    def handle(event: Event) -> None:
        uid = event.object["metadata"]["uid"]
        if event.type == "DELETED":
            there.discard(uid)
        else:
            there.add(uid)
            created.add(uid)

    with (
        behind(control_plane, *faults) as proxy,
        client(proxy) as kube,
        contextlib.closing(control_plane.kube()) as direct,
    ):
        watch = ListWatch(kube, path, handle, label_selector="test=watch")
        thread = watch.start()
        made = [direct.request("POST", path, body=config_map(f"w-{n}")).json()["metadata"] for n in range(12)]
        eventually(lambda: created == {metadata["uid"] for metadata in made})
        for metadata in made[:6]:
            direct.request("DELETE", f"{path}/{metadata['name']}")
        eventually(lambda: there == {metadata["uid"] for metadata in made[6:]})
        watch.stop()
        thread.join(timeout=10)
        assert not thread.is_alive()
        assert (watch.relists, watch.error) == (relists, None)
        assert proxy.carried_out == faults or len(proxy.carried_out) >= len(faults)


def test_a_deletion_during_a_relist_is_handed_out_with_the_last_known_identity(
    control_plane: ControlPlane, namespace: str
) -> None:
    path = config_maps(namespace)
    events: list[tuple[str, str]] = []
    with contextlib.closing(control_plane.kube()) as direct:
        for name in ("stays", "goes"):
            direct.request("POST", path, body=config_map(name))
        # The watch opens and ends with 410 at once; before the second list one object is deleted.
        with behind(control_plane, Fault("gone", after=0)) as proxy, client(proxy) as kube:

            def handle(event: Event) -> None:
                events.append((event.type, event.object["metadata"]["name"]))
                if len(events) == 2:
                    direct.request("DELETE", f"{path}/goes")

            watch = ListWatch(kube, path, handle, label_selector="test=watch")
            thread = watch.start()
            eventually(lambda: ("DELETED", "goes") in events)
            watch.stop()
            thread.join(timeout=10)
    assert events == [("LISTED", "goes"), ("LISTED", "stays"), ("LISTED", "stays"), ("DELETED", "goes")]


def test_a_watch_that_may_not_be_opened_says_why(control_plane: ControlPlane, namespace: str) -> None:
    fault = Fault("status", path="limit=", code=403, times=10**6)
    with behind(control_plane, fault) as proxy, client(proxy) as kube, pytest.raises(Forbidden, match="injected"):
        ListWatch(kube, config_maps(namespace), lambda event: None).start()
