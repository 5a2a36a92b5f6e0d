# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong in the harness, and the exit code of each.

HarnessError                   3
├── UsageError                 2   the command line, the configuration or an input cannot be used
├── ResultsError               3   a file of a results folder is missing, half written or not what its schema says
└── InfrastructureError        3   something the harness needs (a machine, a tool, a play) does not work
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class HarnessError(Exception):
    """Says what was tried, on what and what was seen; `hint` says what to do next."""

    exit_code: ClassVar[int] = 3

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  {self.hint}" if self.hint else self.message


class UsageError(HarnessError):
    exit_code = 2


class ResultsError(HarnessError):
    """Names the file, the line where there is one, what is wrong with it and what to do."""

    def __init__(self, message: str, *, path: Path, line: int | None = None, hint: str = "") -> None:
        place = f"{path}:{line}" if line is not None else str(path)
        super().__init__(f"{place}: {message}", hint=hint)
        self.path = path
        self.line = line


class InfrastructureError(HarnessError):
    pass
