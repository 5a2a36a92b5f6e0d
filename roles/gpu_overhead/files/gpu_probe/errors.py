# SPDX-License-Identifier: GPL-3.0-or-later
"""What ends a run of the probe."""

from __future__ import annotations


class ProbeError(Exception):
    """This GPU cannot be measured; the text says why."""


class DriverError(ProbeError):
    def __init__(self, name: str, code: int, text: str) -> None:
        super().__init__(f"{name} answers {text}")
        self.name, self.code, self.text = name, code, text
