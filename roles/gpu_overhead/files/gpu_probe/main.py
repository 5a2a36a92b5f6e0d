# SPDX-License-Identifier: GPL-3.0-or-later
"""The program: one process, one run of one variant, JSON Lines."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, TextIO

from . import VERSION, application, compute, control, driver, management, surroundings, tenants, transfer
from .driver import Driver
from .errors import ProbeError
from .management import Management
from .sampling import Limits, Sampler
from .writing import Watch, Writer

#: What is measured where a plan does not say.
PLAN: dict[str, Any] = {
    "measures": ["allocate_free", "synchronise", "launch", "copy", "gemm", "device_copy", "application", "start"],
    "copy_bytes": [4, 4096, 1 << 20, 16 << 20, 256 << 20, 1 << 30],
    "copy_memory": ["pinned", "pageable"],
    "allocate_bytes": [1 << 20],
    "batches": [1, 10, 100, 1000],
    "gemm_sizes": [2048],
    "device_copy_bytes": [64 << 20],
    "applications": [{"size": 512, "layers": 4}],
    "tenants": [1, 2, 4],
    "hung_seconds": 60,
    "lock_clocks": False,
    "limit_bytes": None,
    "samples": {},
}


def main(argv: list[str]) -> int:
    args = _arguments(argv)
    plan = dict(PLAN, **json.loads(args.plan))
    if args.tenant:
        return _tenant(args)
    with _stream(args.output) as stream:
        writer = Writer(stream)
        began = time.monotonic()
        watch = Watch(writer, float(plan["hung_seconds"]))
        try:
            counts = _measure(args, plan, writer, watch)
        except ProbeError as error:
            writer.line("end", status="not_runnable" if _absent(str(error)) else "error", reason=str(error))
            return 1
        finally:
            watch.end()
        writer.line("end", status="complete", reason="", seconds=time.monotonic() - began, **counts)
    return 0


def _arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="gpu_probe", description=__doc__)
    parser.add_argument("--plan", default="{}", help="JSON: what to measure (default: everything)")
    parser.add_argument("--output", default="-", help="file for the JSON Lines (default: standard output)")
    parser.add_argument("--device", type=int, default=0, help="ordinal of the device")
    parser.add_argument("--driver", default=driver.LIBRARY, help="the driver's library")
    parser.add_argument("--management", default=management.LIBRARY, help="NVML's library")
    parser.add_argument("--symbols", choices=driver.SYMBOLS, default="global", help="how the driver's names are found")
    parser.add_argument("--tenant", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _measure(args: argparse.Namespace, plan: dict[str, Any], writer: Writer, watch: Watch) -> dict[str, int]:
    writer.line("surroundings", version=VERSION, plan=plan, symbols=args.symbols, **surroundings.facts())
    api = Driver(args.driver, args.symbols)
    watch.step("cuInit")
    device, facts = driver.start(api, args.device)
    look = Management(facts["bus"], args.management)
    before = look.processes()
    writer.line("device", driver=facts, management=look.facts(), processes=before)
    watch.step("the first kernel")
    used = look.used_bytes()
    module, seconds, first_kernel = control.first_steps(api, device)
    with contextlib.ExitStack() as held:
        # The driver holds what this process has until it ends; the entry in NVML's list goes with the context.
        held.callback(api.cuDevicePrimaryCtxRelease, device)
        clock = _lock_clocks(look, plan, held)
        writer.line("attestation", **_attest(look, before, used), clocks=clock)
        for name, value in seconds.items():
            writer.line(
                "sample",
                metric=name,
                parameters={},
                calls=1,
                discarded=None,
                number=1,
                host_seconds=value,
                submit_seconds=None,
                device_seconds=first_kernel if name == "first_kernel" else None,
                **look.look(),
            )
        limits = Limits.of(plan["samples"])
        sampler = Sampler(api, look, writer, watch, limits, look.facts()["sm_clock_max_mhz"])
        sampler.counts["samples"] += len(seconds)
        for name in plan["measures"]:
            _measure_one(name, sampler, module, plan, args)
        if plan["limit_bytes"]:
            control.enforcement(sampler, int(plan["limit_bytes"]))
        # Link and errors once more, under load: an idle link may have been slower.
        writer.line(
            "afterwards",
            management=look.facts(),
            processes=look.processes(),
            quota=surroundings.cpu_quota(),
            libraries=surroundings.libraries(),
            shared=surroundings.shared(),
        )
        return sampler.counts


def _measure_one(name: str, sampler: Sampler, module: Any, plan: dict[str, Any], args: argparse.Namespace) -> None:
    if name == "allocate_free":
        control.allocate_and_free(sampler, plan["allocate_bytes"], plan["batches"])
    elif name == "synchronise":
        control.synchronise(sampler, plan["batches"])
    elif name == "launch":
        control.launches(sampler, module, plan["batches"])
    elif name == "copy":
        transfer.copies(sampler, plan["copy_bytes"], plan["copy_memory"])
    elif name == "gemm":
        compute.gemm(sampler, module, plan["gemm_sizes"])
    elif name == "device_copy":
        compute.device_copy(sampler, module, plan["device_copy_bytes"])
    elif name == "application":
        application.measure(sampler, module, plan["applications"])
    elif name == "start":
        tenants.measure(sampler, plan["tenants"], _tenant_command(args), float(plan["hung_seconds"]))
    else:
        raise ProbeError(f"the plan names no measure of ours: {name}")


def _attest(look: Management, before: list[int] | None, used: int | None) -> dict[str, Any]:
    """Whether this very process is on the device. In a pid namespace the numbers are others: then exactly one more."""
    after, clients, own = look.processes(), look.mps_clients(), surroundings.own_pids()
    new = sorted(set(after or []) - set(before or []))
    if after is None:
        how = None
    elif set(own) & {*after, *(clients or [])}:
        how = "pid"
    else:
        how = "one more process" if len(new) == 1 else None
    return {
        "own_pids": own,
        "before": before,
        "after": after,
        "new": new,
        "mps_clients": clients,
        "how": how,
        "used_before": used,
        "used_after": look.used_bytes(),
    }


def _lock_clocks(look: Management, plan: dict[str, Any], held: contextlib.ExitStack) -> dict[str, Any]:
    if not plan["lock_clocks"]:
        return {"asked": None, "locked": False, "reason": "not asked for"}
    highest = look.facts()["sm_clock_max_mhz"]
    locked, reason = look.lock_clocks(int(highest or 0))
    if locked:
        held.callback(look.unlock_clocks)
    return {"asked": highest, "locked": locked, "reason": reason}


def _tenant(args: argparse.Namespace) -> int:
    try:
        return tenants.tenant(Driver(args.driver, args.symbols), args.device)
    except ProbeError as error:
        sys.stdout.write(json.dumps({"error": str(error)}) + "\n")
        return 1


def _tenant_command(args: argparse.Namespace) -> list[str]:
    """The same file again; as a package it is found where this one was."""
    own = os.path.abspath(sys.argv[0])
    program = (
        [own] if own.endswith(".pyz") else ["-c", "import sys; from gpu_probe.main import main; main(sys.argv[1:])"]
    )
    more = ["--tenant", "--device", str(args.device), "--driver", args.driver, "--management", args.management]
    return [sys.executable, *program, *more, "--symbols", args.symbols]


def _absent(reason: str) -> bool:
    return reason.startswith(("no GPU", "no NVIDIA driver", "no NVML"))


@contextlib.contextmanager
def _stream(path: str) -> Iterator[TextIO]:
    if path == "-":
        yield sys.stdout
        return
    with open(path, "w", encoding="utf-8") as stream:
        yield stream
