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


EPILOG = """\
examples:
  python -m harness lint training.yml serving.yml
  python -m harness lint --confirm --kubeconfig ~/.kube/config training.yml
  python -m harness lint --format sarif manifests/*.yml > lint.sarif
  python -m harness lint --explain job-gang

exit codes: 0 nothing wrong, 1 an error (--strict: or a warning), 2 not readable, 3 no API server
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="manifests in YAML or JSON; - for standard input")
    parser.add_argument("--format", default="text", metavar="FORMAT", help="text, json or sarif (text)")
    parser.add_argument("--strict", action="store_true", help="let warnings end with 1 as well")
    parser.add_argument("--ignore", action="append", metavar="RULE", help="leave a rule out; may be repeated")
    parser.add_argument("--only", action="append", metavar="RULE", help="look by this rule alone; may be repeated")
    parser.add_argument("--confirm", action="store_true", help="ask the API server too, by a dry run")
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="of the cluster that is asked (KUBECONFIG, ~/.kube/config)"
    )
    parser.add_argument("--context", metavar="NAME", help="context of the kubeconfig")
    parser.add_argument("--namespace", metavar="NAME", help="where manifests without a namespace would go (default)")
    parser.add_argument("--rules", action="store_true", help="name every rule")
    parser.add_argument("--explain", metavar="RULE", help="say all there is to say of a rule")


def run(args: argparse.Namespace) -> int:
    paths = [str(PROJECT / "plugins" / "module_utils"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    argv = [sys.executable, "-m", PROGRAM, *arguments(args)]
    return subprocess.run(argv, env=environment, check=False).returncode


def arguments(args: argparse.Namespace) -> list[str]:
    """The same, as the program takes it."""
    found: list[str] = []
    for name, value in vars(args).items():
        if name == "files" or not value:
            continue
        for one in value if isinstance(value, list) else [value]:
            found += [f"--{name}"] if one is True else [f"--{name}={one}"]
    return [*found, "--", *args.files]
