# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a stage failed, in one sentence or two, without secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from . import redact

#: Where a result says what went wrong, the best place first.
PLACES = ("msg", "stderr", "module_stderr", "stdout", "exception", "censored")
LONGEST = 4000
#: The harness's exit code for usage and configuration.
CONFIGURATION = 2
#: How Ansible 2.19 and later calls a text in the message about an argument's type.
_TAGGED = re.compile(r": <class '[\w.]*\._AnsibleTagged\w+'> cannot be converted to \w+( \w+)?")


def reason(result: Mapping[str, Any]) -> str:
    """The message of a failed result; of a loop, that of the first item that failed."""
    items = result.get("results")
    if isinstance(items, list):
        failed = [
            item for item in items if isinstance(item, Mapping) and (item.get("failed") or item.get("unreachable"))
        ]
        if failed:
            return reason(failed[0])
    text = next((str(result[place]).strip() for place in PLACES if result.get(place)), "failed without a message")
    stderr = str(result.get("stderr") or "").strip()
    if result.get("msg") and stderr and stderr not in text:
        text = f"{text}\n{tail(stderr)}"
    return shortened(redact.text(_TAGGED.sub("", text)))


def exit_code(result: Mapping[str, Any], task: str = "") -> int | None:
    """The exit code of the harness: what a module of ours asks for, or 2 where a role refuses what it was given."""
    code = result.get("exit_code")
    if isinstance(code, int) and not isinstance(code, bool):
        return code
    refused = "argument_errors" in result or ("assertion" in result and task.startswith("preflight |"))
    return CONFIGURATION if refused else None


def document(stage: str, task: str, result: Mapping[str, Any], at: str) -> dict[str, Any]:
    """The FAILURE file."""
    code = exit_code(result, task)
    failure: dict[str, Any] = {"stage": stage, "reason": reason(result), "task": task, "at": at}
    return failure if code is None else {**failure, "exit_code": code}


def tail(text: str, lines: int = 20) -> str:
    return "\n".join(text.splitlines()[-lines:])


def shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}\n…\n{text[-LONGEST // 2 :]}"
