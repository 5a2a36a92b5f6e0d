#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Felix in the namespaces of a real node, started again when it ends for a changed configuration:

felix.py PID PROGRAM [ARGUMENT…]

Any other end of Felix is the end of this process, with the same exit code: a Felix that dies is to be seen.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

CONFIGURATION_CHANGED = 129  # calico, felix/daemon/daemon.go: configChangedRC


def main(arguments: Sequence[str]) -> int:
    pid, *program = arguments
    while True:
        code = subprocess.run(
            ["nsenter", f"--target={pid}", "--net", "--mount", "--pid", "--", *program], check=False
        ).returncode
        if code != CONFIGURATION_CHANGED:
            return code if code >= 0 else 128 - code
        print("felix.py: its configuration has changed, Felix is started again", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
