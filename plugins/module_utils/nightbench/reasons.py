# SPDX-License-Identifier: GPL-3.0-or-later
"""Why an object is not ready, where the reason says more than its words."""

from __future__ import annotations


class Hopeless(str):
    """A reason for which waiting longer is in vain, once it has stood for `after_seconds`."""

    after_seconds: float

    def __new__(cls, text: str, after_seconds: float = 0.0) -> Hopeless:
        self = super().__new__(cls, text)
        self.after_seconds = after_seconds
        return self
