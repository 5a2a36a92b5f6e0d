# SPDX-License-Identifier: GPL-3.0-or-later
"""One module a command: NAME, HELP, add_arguments(parser), run(args) -> exit code."""

from __future__ import annotations
