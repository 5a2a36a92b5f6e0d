# SPDX-License-Identifier: GPL-3.0-or-later
"""`lint`: what is wrong with the manifests of AI workloads. The linter is the one that bench_lint has, as a program."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from harness.options import PROJECT

NAME = "lint"
HELP = "explain what is wrong with the manifests of AI workloads"
PROGRAM = "nightbench.lint_main"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_help = False
    parser.add_argument("rest", nargs=argparse.REMAINDER)


def run(args: argparse.Namespace) -> int:
    folder = PROJECT / "plugins" / "module_utils"
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.run([sys.executable, "-m", PROGRAM, *args.rest], env=environment, check=False).returncode
