# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: one table of commands, each a module of harness/commands with add_arguments and run."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from typing import Any

from harness.errors import HarnessError
from harness.words import nearest

# Imported only when asked for: the commands that report pull in far more than the ones that run.
COMMANDS = {
    "run": "harness.commands.run",
    "resume": "harness.commands.resume",
    "report": "harness.commands.report",
    "list": "harness.commands.list_runs",
    "show": "harness.commands.show",
    "compare": "harness.commands.compare",
    "dataplanes": "harness.commands.dataplanes",
    "import": "harness.commands.import_result",
    "overhead": "harness.commands.overhead",
    "verdict": "harness.commands.verdict",
    "doctor": "harness.commands.doctor",
    "guide": "harness.commands.guide",
    "lint": "harness.commands.lint",
    "clean": "harness.commands.clean",
}

EPILOG = """\
examples:
  python -m harness doctor                          what does this machine lack?
  python -m harness run nightly                     measure everything on this machine
  python -m harness run nightly -i inventories/cluster --limit gpu_hosts
  python -m harness run nightly -e kwok_nodes_count=100 --tags environment,scheduler_scale
  python -m harness run nightly --tags environment,traffic_mesh
  python -m harness resume latest                   redo only what is not finished
  python -m harness show latest                     the records of the newest run
  python -m harness clean                           end what a killed run left behind

exit codes:
  0 good   1 regression or failed objective   2 usage or configuration
  3 infrastructure or a broken suite   4 invalid measurement   130 interrupted

'python -m harness COMMAND --help' says more about each command.
NO_COLOR=1 turns colours off.
"""


def main(argv: list[str]) -> int:
    """Run one command; every error a user can cause ends in one message and its exit code."""
    try:
        return _dispatch(argv)
    except HarnessError as error:
        print(f"nightbench: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader (head, less) has seen enough; keep the interpreter's own flush at exit quiet too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # noqa: BLE001 - Python's own exit code for it is 1, which would read as a regression
        traceback.print_exc()
        print("nightbench: this is a defect of the harness", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("nightbench: interrupted", file=sys.stderr)
        return 130


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_overview(), end="")
        return 0 if argv else 2
    name = argv[0]
    if name not in COMMANDS:
        print(f"nightbench: {unknown_command(name)}", file=sys.stderr)
        return 2
    module = importlib.import_module(COMMANDS[name])
    # argparse cannot tell words after "--" from more positional ones.
    own, dashes, more = _split_at_dashes(argv[1:])
    parser = command_parser(name, module)
    args = parser.parse_args(own)
    if dashes and "more" not in args:
        parser.error(f"nothing is passed on after '--' by '{name}'")
    if dashes:
        args.more = more
    return int(module.run(args))


def unknown_command(name: str) -> str:
    """What to tell somebody who mistyped a command."""
    if name.startswith("-"):
        return f"the command comes first, options after it; '{name}' is no command (one of: {', '.join(COMMANDS)})"
    close = nearest(name, COMMANDS)
    guess = f"did you mean '{close}'?" if close else f"one of: {', '.join(COMMANDS)}"
    return f"there is no command '{name}'; {guess}"


def command_parser(name: str, module: Any) -> argparse.ArgumentParser:
    """The parser of one command; its module adds the arguments and may give EPILOG."""
    parser = argparse.ArgumentParser(
        prog=f"python -m harness {name}",
        description=getattr(module, "DESCRIPTION", module.HELP),
        epilog=getattr(module, "EPILOG", None),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    return parser


def _split_at_dashes(argv: list[str]) -> tuple[list[str], bool, list[str]]:
    if "--" not in argv:
        return argv, False, []
    place = argv.index("--")
    return argv[:place], True, argv[place + 1 :]


def _overview() -> str:
    lines = ["usage: python -m harness COMMAND [options]", "", "commands:"]
    for name, path in COMMANDS.items():
        lines.append(f"  {name:<10} {importlib.import_module(path).HELP}")
    return "\n".join([*lines, "", EPILOG])
