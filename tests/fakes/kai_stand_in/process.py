# SPDX-License-Identifier: GPL-3.0-or-later
"""One component as a process: flags, cluster, pages over HTTP, and the end by a signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible.module_utils.nightbench.errors import KubeError, NightbenchError
from ansible.module_utils.nightbench.kube import Kube
from ansible.module_utils.nightbench.target import load_target

from tests.fakes.kai_stand_in import faults, flags
from tests.fakes.kai_stand_in.limits import Clients, LimitedKube
from tests.fakes.kai_stand_in.serving import Pages, healthy, serve
from tests.fakes.kai_stand_in.store import Key, Store, WorkQueue
from tests.fakes.kai_stand_in.telemetry import Metrics

#: Components whose --kubeconfig is looked at; for the others only KUBECONFIG counts.
READS_KUBECONFIG_FLAG = ("binder", "podgrouper", "queuecontroller")
#: Where a webhook's server looks for its certificate.
CERTIFICATE = "/tmp/k8s-webhook-server/serving-certs/tls.crt"
#: How often a component looks whether its watches still hold.
PAUSE_SECONDS = 0.5


class Component:
    """What every component has: its flags, its clients, its figures, the faults planted in it."""

    def __init__(self, name: str, options: dict[str, Any], planted: frozenset[str]) -> None:
        self.name = name
        self.options = options
        self.faults = planted
        self.metrics = Metrics()
        self.stores: list[Store] = []
        target = load_target(kubeconfig=options["kubeconfig"] if name in READS_KUBECONFIG_FLAG else None)
        target.user_agent = f"{name}/v0.0.0 (linux/amd64) kubernetes/stand-in"
        limits = flags.FLAGS[name] if "ignore_limit_flag" in planted else options
        self._clients = Clients(target, limits["qps"], limits["burst"])
        self.watcher = Kube(target)

    def client(self, name: str) -> LimitedKube:
        return self._clients.client(name)

    def store(self, path: str, **options: Any) -> Store:
        """A watched collection; it starts with follow()."""
        self.stores.append(Store(self.watcher, path, **options))
        return self.stores[-1]

    def follow(self) -> None:
        for store in self.stores:
            store.start()

    def log(self, text: str) -> None:
        print(f"{time.strftime('%H:%M:%S')} {self.name}: {text}", flush=True)

    def reconcile(self, queue: WorkQueue, workers: int, work: Callable[[Key], None]) -> None:
        """Have ``workers`` threads take keys from the queue; what fails is tried again later."""
        self.metrics.gauge("workqueue_depth", lambda: float(len(queue)))

        def loop() -> None:
            while True:
                key = queue.take()
                try:
                    work(key)
                except NightbenchError as error:
                    self.metrics.add("controller_runtime_reconcile_total", controller=self.name, result="error")
                    if not isinstance(error, KubeError) or error.status != 409:
                        self.log(f"{'/'.join(key)}: {error}")
                    queue.failed(key)
                else:
                    self.metrics.add("controller_runtime_reconcile_total", controller=self.name, result="success")
                    queue.forget(key)
                finally:
                    queue.done(key)

        for _ in range(workers):
            threading.Thread(target=loop, daemon=True).start()

    def pages(self) -> Pages:
        return {"/metrics": lambda: ("text/plain; version=0.0.4", self.metrics.text()), "/healthz": healthy}


def run(make: Callable[[dict[str, Any], frozenset[str]], Component], name: str, arguments: Sequence[str]) -> int:
    """Run a component until SIGTERM or SIGINT (0), a broken watch (1) or a refused command line (2)."""
    try:
        options = flags.parse(name, list(arguments))
        planted = faults.planted()
    except (flags.FlagError, ValueError) as error:
        print(f"{error}\nUsage of {name}:", file=sys.stderr)
        for flag in sorted(flags.FLAGS[name]):
            print(f"  --{flag}", file=sys.stderr)
        print(error, file=sys.stderr)
        return 2
    if options.get("enable-webhook") or options.get("enable-podgroup-webhook"):
        # As the real ones end where nobody has put a certificate for the webhook's server.
        print(f"{name}: open {CERTIFICATE}: no such file or directory", file=sys.stderr)
        return 1
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        component = make(options, planted)
        for address, pages in addresses(component).items():
            serve(address, pages)
        component.follow()
    except (NightbenchError, OSError) as error:
        print(f"{name}: {error}", file=sys.stderr)
        return 1
    print("gitVersion: stand-in")
    component.log(f"runs with qps {options['qps']}, burst {options['burst']}, faults {sorted(planted)}")
    while not ended.wait(PAUSE_SECONDS):
        broken = next((store.error for store in component.stores if store.error is not None), None)
        if broken is not None:
            print(f"{name}: a watch ended: {broken}", file=sys.stderr)
            return 1
    return 0


def addresses(component: Component) -> dict[str, Pages]:
    """Where a component listens, and with what."""
    options, pages = component.options, component.pages()
    if component.name == "scheduler":
        return {options["listen-address"]: pages, f"127.0.0.1:{options['plugin-server-port']}": pages}
    if component.name == "queuecontroller":
        return {options["metrics-listen-address"]: pages}
    health: Pages = dict.fromkeys(("/healthz", "/readyz"), healthy)
    return {options["metrics-bind-address"]: pages, options["health-probe-bind-address"]: health}


def main(script: str, arguments: Sequence[str]) -> int:
    """What an installed executable calls; which component it is, its file's name says."""
    from tests.fakes.kai_stand_in import components

    name = Path(script).name
    # Threads that wait for a token or a worker would keep a plain exit from ending.
    code = run(components.COMPONENTS[name], name, arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
