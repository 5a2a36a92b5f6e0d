# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-ins that look at the API server again and again, each in a thread of the test."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def polling(look: Callable[[], None], period_seconds: float) -> Iterator[None]:
    """look() again and again as long as the context; what ends it wrongly is raised when the context is left."""
    ended = threading.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            while not ended.wait(period_seconds):
                look()
        except BaseException as error:  # noqa: BLE001 - raised again below
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        if errors:
            raise errors[0]
