# SPDX-License-Identifier: GPL-3.0-or-later
"""Source `path`: the tool is already on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .tool_source import SourceError
from .tool_table import Source, Tool


def look(tool: Tool, source: Source) -> Path:
    """The executable in the directories given, else on PATH; an absolute `file` is looked at alone."""
    file = source.text("file") or tool.file
    directories = [str(Path(directory).expanduser()) for directory in source.texts("directories")]
    found = shutil.which(str(Path(file).expanduser()), path=os.pathsep.join([*directories, _path()]))
    if not found:
        raise SourceError(f"no executable {file} there.")
    return Path(found).resolve()


def tried(tool: Tool, source: Source) -> str:
    file = source.text("file") or tool.file
    if os.path.isabs(file):
        return file
    return f"{file} in {', '.join([*source.texts('directories'), 'PATH'])}"


def _path() -> str:
    """PATH as a login shell of root would have it too: cron and sudo often leave sbin and /usr/local out."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/bin", "/usr/local/sbin", "/usr/sbin"])
