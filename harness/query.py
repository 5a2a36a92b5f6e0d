# SPDX-License-Identifier: GPL-3.0-or-later
"""What list, show and compare share on the command line: the results root, --json and --query."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jmespath
import jmespath.exceptions

from harness.errors import UsageError


def add_results_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results-dir", type=Path, default=Path("results"), metavar="DIR", help="where the runs are (default: results)"
    )


def add_run(parser: argparse.ArgumentParser, *, default: str | None = "latest") -> None:
    parser.add_argument(
        "run",
        metavar="RUN",
        nargs="?" if default else None,
        default=default,
        help="a run-id or its beginning, the path of a run's folder, or latest" + (" (default)" if default else ""),
    )


def add_output(parser: argparse.ArgumentParser, shape: str) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--query", metavar="JMESPATH", help=f"print what this JMESPath expression finds in {shape}")


def wants_document(args: argparse.Namespace) -> bool:
    return bool(args.json or args.query is not None)


def print_document(args: argparse.Namespace, document: Any) -> None:
    """The whole document, or what --query finds in it; a text alone is printed without quotes."""
    found = search(args.query, document) if args.query is not None else document
    if isinstance(found, str):
        sys.stdout.write(found + "\n")
    else:
        sys.stdout.write(json.dumps(found, indent=2, ensure_ascii=False) + "\n")


def search(expression: str, document: Any) -> Any:
    try:
        return jmespath.search(expression, document)
    except jmespath.exceptions.JMESPathError as error:
        raise UsageError(
            f"--query {expression!r}: {' '.join(str(error).split())}",
            hint='https://jmespath.org explains the expressions; e.g. --query "records[].[metric, value, verdict]"',
        ) from error
