# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python interpreter of this machine with no more of the standard library than some scripts import."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import ConfigurationError

ASK_SECONDS = 60
#: An interpreter without these starts, and fails at the first text that is not ASCII.
ALWAYS = ("encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.punycode", "encodings.utf_8")

# Runs in the interpreter itself. Compiled files carry no time stamps and are not checked against their source, so that
# a container does not compile what it cannot store.
_ASK = """
import importlib, json, os, py_compile, sys, tempfile
for name in json.load(sys.stdin):
    importlib.import_module(name)
files = sorted({os.path.realpath(m.__file__) for m in list(sys.modules.values()) if getattr(m, "__file__", None)
                and m.__name__ != "__main__"})
compiled = {}
with tempfile.TemporaryDirectory() as folder:
    for file in files:
        if file.endswith(".py"):
            target = os.path.join(folder, "one.pyc")
            py_compile.compile(file, target, dfile=file, doraise=True,
                               invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
            with open(target, "rb") as stream:
                compiled[importlib.util.cache_from_source(file)] = stream.read().hex()
json.dump({"executable": os.path.realpath(sys.executable), "version": sys.version.split()[0],
           "stdlib": os.path.realpath(os.path.dirname(os.__file__)), "files": files, "compiled": compiled}, sys.stdout)
"""


@dataclass(frozen=True)
class Python:
    """What has to be in an image for the interpreter to run the scripts."""

    executable: str
    version: str
    files: tuple[str, ...]  # of this machine, at the same paths in the image
    compiled: dict[str, bytes]  # by path in the image


def imported(scripts: Iterable[Path]) -> set[str]:
    """The modules that the scripts import, wherever in them the statement stands."""
    names: set[str] = set()
    for script in scripts:
        try:
            tree = ast.parse(script.read_text(encoding="utf-8"), str(script))
        except SyntaxError as error:
            raise ConfigurationError(f"read {script}: it is no Python program ({error}).") from error
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                names.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module)
    return names


def gather(interpreter: str, modules: Sequence[str], scripts: Sequence[Path]) -> Python:
    names = sorted({*ALWAYS, *modules, *imported(scripts)})
    argv = [interpreter, "-S", "-s", "-c", _ASK]
    try:
        # The order of sets stands in compiled files; a fixed seed makes them the same each time.
        done = subprocess.run(
            argv,
            input=json.dumps(names),
            check=False,
            capture_output=True,
            text=True,
            timeout=ASK_SECONDS,
            env={"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"},
        )
    except OSError as error:
        raise ConfigurationError(f"execute {interpreter}: {error.strerror}.") from error
    if done.returncode:
        raise ConfigurationError(
            f"{interpreter}: import {', '.join(names)}: {done.stderr.strip().splitlines()[-1]}.",
            hint="Only modules of the standard library can go into the image.",
        )
    said: dict[str, Any] = json.loads(done.stdout)
    strange = [file for file in said["files"] if not file.startswith(said["stdlib"] + "/")]
    if strange:
        raise ConfigurationError(f"{strange[0]} is outside the standard library {said['stdlib']} of {interpreter}.")
    return Python(
        executable=said["executable"],
        version=said["version"],
        files=tuple(said["files"]),
        compiled={path: bytes.fromhex(data) for path, data in said["compiled"].items()},
    )
