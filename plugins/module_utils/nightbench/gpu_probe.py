# SPDX-License-Identifier: GPL-3.0-or-later
"""The GPU probe as one file, and one run of it: a fresh process whose JSON Lines go to a file of their own."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import signal
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import gpu_service
from .errors import ConfigurationError, ProcessError

MAIN = "__main__.py"
#: The oldest moment a ZIP can name: the same sources give the same bytes whenever they are packed.
MOMENT = (1980, 1, 1, 0, 0, 0)
#: How long a process that was asked to end may take.
END_SECONDS = 5.0
POLL_SECONDS = 0.05
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Variant:
    """How one variant's process is started, and where its layer counts the calls that it has seen."""

    name: str
    argv: Sequence[str]  # before the probe: the interpreter, and whatever it is started through
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    counter: Mapping[str, str] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)  # what has to run beside it, as gpu_service has it


def pack(source: Path) -> bytes:
    """A package of Python files as an archive that Python runs."""
    files = sorted(source.glob("*.py"))
    if not any(file.name == MAIN for file in files):
        raise ConfigurationError(f"pack {source}: there is no {MAIN} in it.")
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            name = MAIN if file.name == MAIN else f"{source.name}/{file.name}"
            archive.writestr(zipfile.ZipInfo(name, MOMENT), file.read_bytes())
    return made.getvalue()


def write_packed(source: Path, target: Path) -> str:
    """The packed probe at target; its sha256."""
    data = pack(source)
    digest = hashlib.sha256(data).hexdigest()
    if not target.exists() or target.read_bytes() != data:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return digest


def command(variant: Variant, probe: Path, plan: Mapping[str, Any], output: Path) -> list[str]:
    asked = json.dumps({**plan, **variant.plan}, sort_keys=True)
    return [*variant.argv, str(probe), "--plan", asked, "--output", str(output), *variant.arguments]


def run(
    variant: Variant,
    probe: Path,
    plan: Mapping[str, Any],
    output: Path,
    seconds: float,
    check: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """One process from start to end; `check` raises when the whole run has to stop."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.unlink(missing_ok=True)
    counted: dict[str, float | None] = {"before": None, "after": None}
    pids: list[int] = []
    took, code = 0.0, None
    try:
        with gpu_service.running(variant.name, variant.service, check) as service:
            counted["before"] = counter(variant)
            took, code, errors, late = _measured(variant, probe, plan, output, seconds, check)
            pids = service.pids if service else []
        status, reason = _ending(output, code, errors, late, seconds)
    except gpu_service.ServiceError as error:
        status, reason = "error", str(error)
    # A service that ends writes down the last that it has counted.
    counted["after"] = counter(variant)
    return {
        "variant": variant.name,
        "status": status,
        "reason": reason,
        "seconds": round(took, 3),
        "exit_code": code,
        "boot_id": boot_id(),
        "counter": counted if variant.counter else None,
        "service": {"pids": pids} if variant.service else None,
        "samples": _described(output),
    }


def _measured(
    variant: Variant,
    probe: Path,
    plan: Mapping[str, Any],
    output: Path,
    seconds: float,
    check: Callable[[], None],
) -> tuple[float, int | None, str, bool]:
    """(seconds that it took, exit code, what it wrote to standard error, whether it was too slow)."""
    begun = time.monotonic()
    try:
        process = subprocess.Popen(
            command(variant, probe, plan, output),
            env={**os.environ, **variant.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise ProcessError(f"start {variant.argv[0]} for {variant.name}: {error.strerror}.") from error
    try:
        errors, late = _wait(process, begun + seconds, check)
    finally:
        _end(process)
    return time.monotonic() - begun, process.returncode, errors, late


def _wait(process: subprocess.Popen[bytes], until: float, check: Callable[[], None]) -> tuple[str, bool]:
    """(what it wrote to standard error, whether it was too slow)."""
    while True:
        try:
            _, errors = process.communicate(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            check()
            if time.monotonic() >= until:
                return "", True
            continue
        return errors.decode("utf-8", "replace").strip(), False


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and the tenants it has started; the device itself is left alone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            break
        os.killpg(process.pid, number)
        try:
            process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    if process.stderr is not None:
        process.stderr.close()


def _ending(output: Path, code: int | None, errors: str, late: bool, seconds: float) -> tuple[str, str]:
    """The run's own last word where it has one."""
    if late:
        return "error", f"not done within {seconds:g} s; the process was ended, the device was not reset"
    try:
        last = json.loads(output.read_text(encoding="utf-8").splitlines()[-1])
    except (OSError, ValueError, IndexError):
        last = {}
    if last.get("kind") != "end":
        said = errors.splitlines()[-1] if errors else "nothing on standard error"
        return "error", f"ended with exit code {code} before it was done: {said}"
    return str(last["status"]), str(last["reason"])


def _described(output: Path) -> dict[str, Any] | None:
    if not output.exists():
        return None
    data = output.read_bytes()
    return {"path": str(output), "sha256": hashlib.sha256(data).hexdigest(), "rows": len(data.splitlines())}


def counter(variant: Variant) -> float | None:
    """What the variant's layer says it has counted: the numbers that a pattern catches in a file, added up.

    A pattern that catches nothing counts how often it is there.
    """
    if not variant.counter:
        return None
    try:
        text = Path(variant.counter["path"]).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    pattern = re.compile(variant.counter["pattern"])
    found = pattern.findall(text)
    if pattern.groups == 0:
        return float(len(found))
    return sum(float(one) for one in found) if found else None


def boot_id() -> str:
    """Changes when a host was preempted or started anew: a block over two boots compares two machines."""
    try:
        return BOOT_ID.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
