# SPDX-License-Identifier: GPL-3.0-or-later
"""`import`: a result that somebody else has published, as a run beside our own."""

from __future__ import annotations

import argparse

from harness.commands import import_calico_log, import_gpu_text, import_kai_result

NAME = "import"
HELP = "make a run of a published result, and say what its numbers are the limit of"
DESCRIPTION = """\
Makes a results folder as a run of our own has, marked as imported: nothing of it was measured here. What is
assumed to explain a number is printed as assumed. Every record says where it is from; one that the published
file itself shows to be no number is invalid."""
EPILOG = """\
examples:
  python -m harness import kai-result kwok_scale_test.json
  python -m harness import calico-log default-calico-test-run-*.log
  python -m harness import gpu-text baseline_results.txt

'python -m harness import FORMAT --help' says more about each format.
"""
FORMATS = {"kai-result": import_kai_result, "calico-log": import_calico_log, "gpu-text": import_gpu_text}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    formats = parser.add_subparsers(dest="format", required=True, metavar="FORMAT")
    for name, module in FORMATS.items():
        own = formats.add_parser(
            name,
            help=module.HELP,
            description=module.DESCRIPTION,
            epilog=module.EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        module.add_arguments(own)


def run(args: argparse.Namespace) -> int:
    return int(FORMATS[args.format].run(args))
