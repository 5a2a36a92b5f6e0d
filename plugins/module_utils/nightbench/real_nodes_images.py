# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring images into real nodes, without a registry."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .errors import DeadlineExceeded, ProcessError, Stopped
from .node_config import CRI_SOCKET

POLL_SECONDS = 0.1
CALL_SECONDS = 120


def bring(
    nodes: Mapping[str, int], ctr: Path, images: Mapping[str, Path], seconds: float, stopped: Callable[[], bool]
) -> dict[str, list[str]]:
    """What was imported, by node; `nodes` are the pids whose namespaces containerd is in, `images` go by full name."""
    if not nodes:
        return {}
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        done = pool.map(lambda name: _bring(name, nodes[name], ctr, images, deadline, stopped), nodes)
        return dict(zip(nodes, done, strict=True))


def _bring(
    name: str, pid: int, ctr: Path, images: Mapping[str, Path], deadline: float, stopped: Callable[[], bool]
) -> list[str]:
    while True:
        seen, problem = present(pid, ctr)
        if not problem:
            break
        if stopped():
            raise Stopped(f"import images into {name}: the run was asked to stop.")
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"import images into {name}: its containerd does not answer: {problem}.")
        time.sleep(POLL_SECONDS)
    lacking = [image for image in images if image not in seen]
    for image in lacking:
        with open(images[image], "rb") as archive:
            done = subprocess.run(
                [*_ctr(pid, ctr), "import", "-"],
                stdin=archive,
                check=False,
                capture_output=True,
                text=True,
                timeout=CALL_SECONDS,
            )
        if done.returncode:
            raise ProcessError(f"import {images[image]} into {name}: {(done.stderr or done.stdout).strip()}.")
    return lacking


def present(pid: int, ctr: Path) -> tuple[set[str], str]:
    """The names of the images in a node; else why they are not known."""
    done = subprocess.run(
        [*_ctr(pid, ctr), "list", "-q"], check=False, capture_output=True, text=True, timeout=CALL_SECONDS
    )
    return set(done.stdout.split()), done.stderr.strip() if done.returncode else ""


def _ctr(pid: int, ctr: Path) -> Sequence[str]:
    enter = ["nsenter", f"--mount=/proc/{pid}/ns/mnt"]
    return [*enter, str(ctr), f"--address={CRI_SOCKET}", "--connect-timeout=1s", "--namespace=k8s.io", "images"]
