# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module tells its caller that it failed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn, Protocol

from .errors import NightbenchError, Stopped, of_system


class Module(Protocol):
    """What of an AnsibleModule is needed here."""

    def fail_json(self, msg: str, **told: Any) -> NoReturn: ...


@contextlib.contextmanager
def failures_told(module: Module, *, stoppable: bool = False, **known: Any) -> Iterator[None]:
    """Ends the module with an explained error, or with what the system answered where no file of ours had words.

    ``stoppable``: an explained error tells too whether the run asked us to stop. ``known`` is told with every failure.
    """
    try:
        yield
    except NightbenchError as error:
        stopped = {"stopped": isinstance(error, Stopped)} if stoppable else {}
        module.fail_json(msg=str(error), **stopped, **known, **error.details)
    except OSError as error:
        module.fail_json(msg=of_system(error), **known, exit_code=3)
