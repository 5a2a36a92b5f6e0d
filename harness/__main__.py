# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m harness` starts here."""

from __future__ import annotations

import sys

from harness.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
