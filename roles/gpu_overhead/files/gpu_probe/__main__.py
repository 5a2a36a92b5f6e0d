# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import sys

from gpu_probe.main import main

sys.exit(main(sys.argv[1:]))
