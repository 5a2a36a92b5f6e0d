# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module's caller is told of a failure, key by key and in this order."""

from __future__ import annotations

import errno
from typing import Any, NoReturn

import pytest
from ansible.module_utils.nightbench.errors import ConfigurationError, NightbenchError, Stopped
from ansible.module_utils.nightbench.module_failure import failures_told


class Module:
    """Ends as an AnsibleModule does, and keeps what was told."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def fail_json(self, msg: str, **told: Any) -> NoReturn:
        self.told = {"msg": msg, **told}
        raise SystemExit(1)


FULL = "Free some room there, then resume the run."
CASES: dict[str, tuple[BaseException, dict[str, Any], dict[str, Any]]] = {
    "an explained error": (
        ConfigurationError("count: 0.", hint="At least 1.", exit_code=2, at="count"),
        {},
        {"msg": "count: 0. At least 1.", "exit_code": 2, "at": "count"},
    ),
    "a load that was stopped": (
        Stopped("load: stopped.", done=3),
        {"stoppable": True},
        {"msg": "load: stopped.", "stopped": True, "done": 3},
    ),
    "a load that fails by itself": (
        NightbenchError("load: broken."),
        {"stoppable": True, "runs": [1]},
        {"msg": "load: broken.", "stopped": False, "runs": [1]},
    ),
    "a full disk": (
        OSError(errno.ENOSPC, "No space left on device", "/there"),
        {"stoppable": True, "runs": [1]},
        {"msg": f"/there: No space left on device. {FULL}", "runs": [1], "exit_code": 3},
    ),
}


@pytest.mark.parametrize(("error", "given", "told"), CASES.values(), ids=CASES)
def test_a_failure_is_told_and_ends_the_module(
    error: BaseException, given: dict[str, Any], told: dict[str, Any]
) -> None:
    module = Module()
    with pytest.raises(SystemExit), failures_told(module, **given):
        raise error
    assert list(module.told.items()) == list(told.items())


@pytest.mark.parametrize("error", [ValueError("of ours"), SystemExit(0)], ids=["a mistake of ours", "a regular end"])
def test_what_is_no_failure_of_that_kind_goes_on_untold(error: BaseException) -> None:
    module = Module()
    with pytest.raises(type(error)) as raised, failures_told(module):
        raise error
    assert (raised.value, module.told) == (error, {})
