#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the place of nvidia-cuda-mps-control: a daemon in the foreground (-f), and the one who tells it to quit."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

PIPE = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
CONTROL, PID = PIPE / "control", PIPE / "nvidia-cuda-mps-control.pid"


def daemon() -> int:
    told: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: told.append(number))
    PID.write_text(f"{os.getpid()}\n", encoding="utf-8")
    CONTROL.touch()
    while not told:
        signal.pause()
    (PIPE / "quits").open("a", encoding="utf-8").write("quit\n")
    CONTROL.unlink()
    PID.unlink()
    return 0


def ask(word: str) -> int:
    if not word.startswith("quit"):
        return 1
    try:
        pid = int(PID.read_text(encoding="utf-8"))
    except OSError:
        print("Cannot find MPS control daemon process")
        return 1
    os.kill(pid, signal.SIGUSR1)
    while PID.exists():
        time.sleep(0.01)
    return 0


sys.exit(daemon() if sys.argv[1:] == ["-f"] else ask(sys.stdin.readline()))
